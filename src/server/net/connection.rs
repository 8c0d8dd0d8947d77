//! One connection: its handshake, its calls, and its end.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
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
    auth::Identity,
    server::{
        call::{Activity, ConnectionService, CoreResources},
        drain::began,
        limits::Limits,
    },
    telemetry::metrics::Metrics,
};

/// The largest part of an answer that is buffered for a slow reader, in bytes.
const SEND_BUFFER: usize = 128 * 1024;

/// The most streams that the caller has reset before the server accepts them. More is an attack ("rapid reset").
const PENDING_RESETS: usize = 32;

/// The most streams that may fail by the caller's protocol errors. Then the connection is closed.
const MISTAKES: usize = 256;

/// The longest graceful shutdown of an idle connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of checks for unread answers within `read_patience`.
const LOOKS: u32 = 3;

/// The resources that connections share.
pub struct ConnectionServer {
    pub core: Arc<CoreResources>,
    pub limits: Limits,
    pub tls: Option<Arc<Tls>>,
    /// True once the server drains.
    pub draining: watch::Receiver<bool>,
}

impl ConnectionServer {
    /// Serve a connection to its end.
    pub async fn serve(&self, stream: std::net::TcpStream, address: SocketAddr) {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return warn!(%error, "can't serve a connection"),
        };
        let _open = Open::new(&self.core.metrics);
        // Answers are small, and must not wait for more data. A socket that refuses this is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let refused = |why: &dyn std::fmt::Display| {
            self.core.metrics.handshake_failures.inc();
            debug!(%address, why = %why, "connection refused");
        };
        let begun = timeout(self.limits.handshake, async {
            match &self.tls {
                None => {
                    let service = ConnectionService::new(Arc::clone(&self.core), address.ip(), Vec::new());
                    Ok((service, Either::Plain(Begun::read(stream).await?)))
                }
                Some(tls) => {
                    let stream = TlsAcceptor::from(tls.config()).accept(stream).await?;
                    let names = client_names(stream.get_ref().1);
                    let service = ConnectionService::new(Arc::clone(&self.core), address.ip(), names);
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

    /// Serve a connection within the process to its end.
    pub async fn serve_in_process(&self, stream: DuplexStream, identity: Identity) {
        let service = ConnectionService::in_process(Arc::clone(&self.core), Arc::new(identity));
        self.converse(stream, service).await;
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
            // HTTP suggests a `date` header, but gRPC doesn't use it.
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
                // The server's drain deadline ends the calls that don't end by themselves.
                () = began(&mut draining) => None,
                () = &mut until_old => Some(age_grace),
                () = &mut until_stuck => return debug!("connection closed: its peer doesn't read its answers"),
                () = &mut look_for_idle => match service.activity().idle_for() {
                    Some(quiet) if quiet >= idle => Some(CLOSE_TIMEOUT),
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
                () = end => debug!("connection cut off with calls in flight"),
                () = &mut until_stuck => debug!("connection closed: its peer doesn't read its answers"),
            }
            return;
        }
    }
}

/// Wait until answers have waited for `patience`, and for at most a third longer, while the peer read no byte of any
/// answer. Answers to pings don't count.
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

/// An open connection, which is counted.
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

/// Vary a connection's age by up to a tenth, so that connections that began together don't end together.
fn jittered(age: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness they end together, which does no harm.
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    age.mul_f64(0.9 + 0.2 * f64::from(byte) / 255.0)
}
