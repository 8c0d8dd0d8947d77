//! A gRPC connection over HTTP/2 without a gRPC library, so that the load generator uses little processor time.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, Response};
use queuegate::rpc::methods::METHODS;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::{Code, Status};

use crate::harness::{
    process_usage::ProcessUsage,
    request::{CERBOS_CHECK, EncodedRequest, HEADER_BYTES, WATCH},
};

/// The flow-control window, large enough that a server never waits for it.
const WINDOW_BYTES: u32 = 1 << 24;

/// The server to call: its address, its process, and the caller's credentials.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub token: String,
    /// The trusted certificates, or `None` for plain HTTP/2.
    pub tls: Option<Arc<ClientConfig>>,
    pub usage: ProcessUsage,
}

/// An open connection to a server.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    /// The HTTP request of each method, without a body.
    heads: Rc<[(&'static str, Request<()>)]>,
}

impl Connection {
    /// Connect with the target's token.
    pub async fn open(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let mut headers = HeaderMap::new();
        headers.insert("te", "trailers".parse()?);
        headers.insert("content-type", "application/grpc".parse()?);
        headers.insert("user-agent", "queuegate-load".parse()?);
        headers.insert("grpc-timeout", "1S".parse()?);
        headers.insert("authorization", format!("Bearer {}", target.token).parse()?);
        let (sender, scheme) = match &target.tls {
            None => (start_http2(stream).await?, "http"),
            Some(tls) => (start_http2(start_tls(stream, target.address, tls).await?).await?, "https"),
        };
        let head = |path| {
            let mut head = Request::post(format!("{scheme}://localhost{path}")).body(())?;
            *head.headers_mut() = headers.clone();
            if path == WATCH {
                head.headers_mut().remove("grpc-timeout");
            }
            anyhow::Ok((path, head))
        };
        let paths = METHODS.iter().map(|method| method.path).chain([CERBOS_CHECK]);
        Ok(Self { sender, heads: paths.map(head).collect::<Result<_, _>>()? })
    }

    /// Start a stream, and return its messages as they arrive.
    pub async fn stream(&self, request: &EncodedRequest) -> anyhow::Result<RecvStream> {
        let response = self.send(request).await?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            bail!("{} was answered with {status}", request.path);
        }
        Ok(response.into_body())
    }

    /// Call, and wait for the end of the response. `read` gets the response's data as it arrives.
    pub async fn call(&self, request: &EncodedRequest, mut read: impl FnMut(&Bytes)) -> anyhow::Result<Code> {
        let response = self.send(request).await?;
        if let Some(status) = Status::from_header_map(response.headers()) {
            return Ok(status.code());
        }
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let data = data?;
            read(&data);
            body.flow_control().release_capacity(data.len())?;
        }
        let trailers = body.trailers().await?.context("a response without trailers")?;
        Ok(Status::from_header_map(&trailers).context("a response without a status")?.code())
    }

    /// Call, and return the response's message without its header. A status other than OK is an error.
    pub async fn response(&self, request: &EncodedRequest) -> anyhow::Result<Bytes> {
        let mut response = BytesMut::new();
        let code = self.call(request, |data| response.extend_from_slice(data)).await?;
        anyhow::ensure!(code == Code::Ok, "{} was answered with {code:?}", request.path);
        let _header = response.split_to(HEADER_BYTES.min(response.len()));
        Ok(response.freeze())
    }

    /// Send a request, and wait until its response begins.
    async fn send(&self, request: &EncodedRequest) -> anyhow::Result<Response<RecvStream>> {
        let mut sender = self.sender.clone().ready().await?;
        let (_, head) = self.heads.iter().find(|(path, _)| *path == request.path).context("an unknown path")?;
        let (response, mut body) = sender.send_request(head.clone(), false)?;
        body.send_data(request.frame().clone(), true)?;
        Ok(response.await?)
    }
}

async fn start_tls(
    stream: TcpStream,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> anyhow::Result<impl AsyncRead + AsyncWrite + Unpin + 'static> {
    let name = ServerName::IpAddress(address.ip().into());
    Ok(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
}

async fn start_http2(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> anyhow::Result<SendRequest<Bytes>> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
    let (sender, connection) = builder.handshake(stream).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
