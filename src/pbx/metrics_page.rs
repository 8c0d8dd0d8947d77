//! The handler's metrics over plain HTTP.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tracing::warn;

use super::context::HandlerContext;

/// Concurrent readers, and the longest time of a connection.
const MAX_READERS: usize = 16;
const READER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failure to accept a connection.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serve `/metrics`, without end.
pub(super) async fn serve(context: Arc<HandlerContext>, listener: TcpListener) {
    let readers = Arc::new(Semaphore::new(MAX_READERS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection for metrics can't be accepted");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&readers).try_acquire_owned() else { continue };
        let context = Arc::clone(&context);
        connections.spawn(async move {
            let answer = service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(page(&context, &request)));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(READER_TIMEOUT).keep_alive(false);
            // The reader may have disconnected.
            let serving = http.serve_connection(TokioIo::new(stream), answer);
            let _ = tokio::time::timeout(READER_TIMEOUT, serving).await;
            drop(permit);
        });
    }
}

fn page(context: &HandlerContext, request: &Request<Incoming>) -> Response<String> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "try /metrics\n");
    }
    let mut page = Response::new(context.metrics.text(context.journal.entries().len()));
    page.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS));
    page
}

fn plain(status: StatusCode, text: &str) -> Response<String> {
    let mut page = Response::new(text.to_owned());
    *page.status_mut() = status;
    page
}
