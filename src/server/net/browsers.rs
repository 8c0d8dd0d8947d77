//! The console's listener: HTTP/1.1 for browsers, with limits of its own, on a thread of its own. Pages are rendered there
//! too, at a lower priority than that of checks.

use std::{io, sync::Arc, thread, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::{cores::give_way, tls::Tls};
use crate::server::drain::began;

/// The most connections. More are closed at once. A browser opens up to six.
const MOST_CONNECTIONS: usize = 1_024;

/// The longest handshake, and the longest wait for the headers of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest headers of a request, in bytes.
const HEADER_BYTES: usize = 16 * 1024;

/// How long requests in flight may go on when the server drains.
const DRAIN: Duration = Duration::from_secs(5);

/// Serve the console on a thread of its own, until the server drains and the requests in flight have ended. The future
/// completes then; its drop ends the thread.
pub fn serve_browsers(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    console: impl FnOnce() -> Router + Send + 'static,
    draining: watch::Receiver<bool>,
) -> io::Result<impl Future<Output = ()> + Send> {
    let runtime =
        Builder::new_current_thread().enable_all().thread_name("console").on_thread_start(give_way).build()?;
    let listener = listener.into_std()?;
    let (end, done) = oneshot::channel();
    let (lease, mut given_up) = oneshot::channel::<()>();
    thread::Builder::new().name("console".to_owned()).spawn(move || {
        give_way();
        runtime.block_on(async {
            let serving = async {
                match TcpListener::from_std(listener) {
                    Ok(listener) => serve_on(listener, tls, console(), draining).await,
                    Err(error) => warn!(%error, "can't serve the console"),
                }
            };
            tokio::select! {
                () = serving => {}
                _ = &mut given_up => {}
            }
        });
        runtime.shutdown_background();
        // The receiver may be dropped already.
        let _ = end.send(());
    })?;
    Ok(async move {
        let _lease = lease;
        let _ = done.await;
    })
}

async fn serve_on(listener: TcpListener, tls: Option<Arc<Tls>>, console: Router, mut draining: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = began(&mut draining) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // Without a permit, the drop closes the connection.
                let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
                let (tls, console, draining) = (tls.clone(), console.clone(), draining.clone());
                connections.spawn(async move {
                    serve(stream, tls.as_deref(), console, draining).await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "can't accept a connection of a browser");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    // The rest is cut off.
    let _ = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
}

async fn serve(stream: TcpStream, tls: Option<&Tls>, console: Router, draining: watch::Receiver<bool>) {
    // Pages are sent at once. A socket that refuses this is about to fail anyway.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(stream, console, draining).await };
    match timeout(PATIENCE, TlsAcceptor::from(tls.browser_config()).accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, console, draining).await,
        Ok(Err(error)) => debug!(%error, "the handshake of a browser failed"),
        Err(_) => debug!("the handshake of a browser took too long"),
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    console: Router,
    mut draining: watch::Receiver<bool>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEADER_BYTES);
    let conversation = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(console));
    let mut conversation = std::pin::pin!(conversation);
    let ended = tokio::select! {
        ended = &mut conversation => ended,
        () = began(&mut draining) => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "the connection of a browser failed");
    }
}
