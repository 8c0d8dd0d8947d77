//! One connection: its handshake, its calls, and the ways in which it ends.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{
    preface::Begun,
    tls::{Tls, client_names},
};
use crate::{
    server::{
        call::{Activity, ConnectionService, Gate},
        drain::began,
        limits::Limits,
    },
    telemetry::metrics::Metrics,
};

/// The largest part of an answer that is kept ready for a slow reader, in bytes.
const SEND_BUFFER: usize = 128 * 1024;

/// How many streams that the caller gave up at once may wait to be noticed. More is an attack ("rapid reset").
const PENDING_RESETS: usize = 32;

/// How many streams may fail by the caller's mistakes before the connection is given up.
const MISTAKES: usize = 256;

/// How long the end of an idle connection may take.
const FAREWELL: Duration = Duration::from_secs(10);

/// How often within its patience a connection is looked at for answers that nobody takes.
const LOOKS: u32 = 3;

/// What connections need.
pub struct Connections {
    pub gate: Arc<Gate>,
    pub limits: Limits,
    pub tls: Option<Arc<Tls>>,
    /// Turns true once no more calls are taken.
    pub draining: watch::Receiver<bool>,
}

impl Connections {
    /// Serves a connection to its end.
    pub async fn serve(&self, stream: std::net::TcpStream, address: SocketAddr) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "can't serve a connection"),
        };
        let _open = Open::new(&self.gate.metrics);
        // Answers are small, and must not wait for more to send. What refuses this is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let refused = |why: &dyn std::fmt::Display| {
            self.gate.metrics.handshake_failures.inc();
            debug!(%address, why = %why, "connection refused");
        };
        let begun = timeout(self.limits.handshake, async {
            match &self.tls {
                None => {
                    let service = ConnectionService::new(Arc::clone(&self.gate), address.ip(), Vec::new());
                    Ok((service, Either::Plain(Begun::read(stream).await?)))
                }
                Some(tls) => {
                    let stream = TlsAcceptor::from(tls.config()).accept(stream).await?;
                    let names = client_names(stream.get_ref().1);
                    let service = ConnectionService::new(Arc::clone(&self.gate), address.ip(), names);
                    Ok::<_, std::io::Error>((service, Either::Tls(Box::new(Begun::read(stream).await?))))
                }
            }
        });
        match begun.await {
            Err(_) => refused(&"the handshake took too long"),
            Ok(Err(error)) => refused(&error),
            Ok(Ok((service, Either::Plain(stream)))) => self.converse(stream, service).await,
            Ok(Ok((service, Either::Tls(stream)))) => self.converse(stream, service).await,
        }
    }

    async fn converse(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: ConnectionService) {
        let Limits {
            streams_per_connection,
            header_bytes,
            keepalive_interval,
            keepalive_timeout,
            idle,
            age,
            age_grace,
            read_patience,
            ..
        } = self.limits;
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            // HTTP wants one, and gRPC has no use for it.
            .auto_date_header(false)
            .max_concurrent_streams(streams_per_connection)
            .max_header_list_size(header_bytes)
            .max_send_buf_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(MISTAKES)
            .keep_alive_interval(keepalive_interval)
            .keep_alive_timeout(keepalive_timeout);
        let mut conversation = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service.clone()));
        let mut draining = self.draining.clone();
        let mut until_old = std::pin::pin!(sleep(jittered(age)));
        let mut look_for_idle = std::pin::pin!(sleep(idle));
        let mut until_stuck = std::pin::pin!(stuck(service.activity(), read_patience));
        loop {
            let grace = tokio::select! {
                ended = &mut conversation => return note(ended),
                // The server's own deadline ends what doesn't end by itself.
                () = began(&mut draining) => None,
                () = &mut until_old => Some(age_grace),
                () = &mut until_stuck => return debug!("connection closed: its peer takes no answers"),
                () = &mut look_for_idle => match service.activity().idle_for() {
                    Some(quiet) if quiet >= idle => Some(FAREWELL),
                    quiet => {
                        let rest = idle.saturating_sub(quiet.unwrap_or_default());
                        look_for_idle.as_mut().reset(Instant::now() + rest);
                        continue;
                    }
                },
            };
            conversation.as_mut().graceful_shutdown();
            let end = grace.map(|grace| sleep_until(Instant::now() + grace));
            let end: Pin<Box<dyn Future<Output = ()> + Send>> = match end {
                Some(end) => Box::pin(end),
                None => Box::pin(std::future::pending()),
            };
            tokio::select! {
                ended = &mut conversation => note(ended),
                () = end => debug!("connection cut off with calls under way"),
                () = &mut until_stuck => debug!("connection closed: its peer takes no answers"),
            }
            return;
        }
    }
}

/// Completes once answers have waited for `patience`, and for at most a third longer, and the peer took no byte of any. That
/// it answers pings doesn't count.
async fn stuck(activity: &Activity, patience: Duration) {
    let look = patience / LOOKS;
    let (mut last, mut unchanged) = (None, 0);
    while unchanged < LOOKS {
        sleep(look).await;
        let taken = activity.taken_while_answers_wait();
        unchanged = if taken.is_some() && taken == last { unchanged + 1 } else { 0 };
        last = taken;
    }
}

/// A connection that is open.
struct Open<'m>(&'m Metrics);

impl<'m> Open<'m> {
    fn new(metrics: &'m Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

enum Either<P, T> {
    Plain(P),
    Tls(Box<T>),
}

fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%error, "connection failed");
    }
}

/// More or less a tenth, so that connections that began together don't end together.
fn jittered(age: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness they do end together, which is no harm.
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    age.mul_f64(0.9 + 0.2 * f64::from(byte) / 255.0)
}
