//! One gRPC call over HTTP/2 without a gRPC library, so that the load costs little beside the servers.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use anyhow::{Context, bail};
use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, Response};
use prost::Message;
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

use crate::crew::Callee;

/// The rpc that most of this is about.
pub const CHECK: &str = "/queuegate.v1.QueueAccessService/CheckQueueAccess";

/// A thousand checks.
pub const BATCH: &str = "/queuegate.v1.QueueAccessService/BatchCheckQueueAccess";

/// Changes.
pub const SIGN_IN: &str = "/queuegate.v1.QueueAccessService/SignIn";
pub const SIGN_OUT: &str = "/queuegate.v1.QueueAccessService/SignOut";

/// Goes on and on, and so has no deadline.
pub const WATCH: &str = "/queuegate.v1.QueueAccessService/WatchSessions";

/// A check of Cerbos.
pub const CERBOS: &str = "/cerbos.svc.v1.CerbosService/CheckResources";

/// What is before each message: whether it is compressed, and its length.
pub const HEADER: usize = 5;

/// How much may be sent to us before we have read it: never the limit.
const WINDOW: u32 = 1 << 24;

/// What to ask: made once, sent often.
#[derive(Debug, Clone)]
pub struct CheckCall {
    pub path: &'static str,
    message: Bytes,
}

impl CheckCall {
    /// A message with gRPC's length before it.
    pub fn new(path: &'static str, message: &impl Message) -> Self {
        let length = message.encoded_len();
        let mut framed = BytesMut::with_capacity(HEADER + length);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        framed.put_slice(&message.encode_to_vec());
        Self { path, message: framed.freeze() }
    }

    /// The message with its length.
    pub fn bytes(&self) -> &[u8] {
        &self.message
    }
}

/// A connection to a server.
#[derive(Clone)]
pub struct Line {
    sender: SendRequest<Bytes>,
    heads: Rc<[(&'static str, Request<()>)]>,
}

impl Line {
    /// Connects as a caller who has a token.
    pub async fn connect(callee: &Callee) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(callee.address).await?;
        stream.set_nodelay(true)?;
        let mut headers = HeaderMap::new();
        headers.insert("te", "trailers".parse()?);
        headers.insert("content-type", "application/grpc".parse()?);
        headers.insert("user-agent", "queuegate-load".parse()?);
        headers.insert("grpc-timeout", "1S".parse()?);
        headers.insert("authorization", format!("Bearer {}", callee.token).parse()?);
        let (sender, scheme) = match &callee.tls {
            None => (begin(stream).await?, "http"),
            Some(tls) => (begin(secure(stream, callee.address, tls).await?).await?, "https"),
        };
        let head = |path| {
            let mut head = Request::post(format!("{scheme}://localhost{path}")).body(())?;
            *head.headers_mut() = headers.clone();
            if path == WATCH {
                head.headers_mut().remove("grpc-timeout");
            }
            anyhow::Ok((path, head))
        };
        let paths = METHODS.iter().map(|method| method.path).chain([CERBOS]);
        Ok(Self { sender, heads: paths.map(head).collect::<Result<_, _>>()? })
    }

    /// Asks, and waits until the answer begins.
    async fn answer(&self, question: &CheckCall) -> anyhow::Result<Response<RecvStream>> {
        let mut sender = self.sender.clone().ready().await?;
        let (_, head) = self.heads.iter().find(|(path, _)| *path == question.path).context("an unknown path")?;
        let (answer, mut body) = sender.send_request(head.clone(), false)?;
        body.send_data(question.message.clone(), true)?;
        Ok(answer.await?)
    }

    /// Asks for what goes on and on.
    pub async fn begin(&self, question: &CheckCall) -> anyhow::Result<RecvStream> {
        let answer = self.answer(question).await?;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            bail!("{} was answered with {status}", question.path);
        }
        Ok(answer.into_body())
    }

    /// Asks, and waits for the end of the answer, whose data `read` gets as it comes.
    pub async fn call(&self, question: &CheckCall, mut read: impl FnMut(&Bytes)) -> anyhow::Result<Code> {
        let answer = self.answer(question).await?;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Ok(status.code());
        }
        let mut body = answer.into_body();
        while let Some(data) = body.data().await {
            let data = data?;
            read(&data);
            body.flow_control().release_capacity(data.len())?;
        }
        let trailers = body.trailers().await?.context("an answer without an end")?;
        Ok(Status::from_header_map(&trailers).context("an answer without a status")?.code())
    }

    /// Asks once, and says what the answer was: the message without its length.
    pub async fn ask(&self, question: &CheckCall) -> anyhow::Result<Bytes> {
        let mut answer = BytesMut::new();
        let code = self.call(question, |data| answer.extend_from_slice(data)).await?;
        anyhow::ensure!(code == Code::Ok, "{} was answered with {code:?}", question.path);
        let _length = answer.split_to(HEADER.min(answer.len()));
        Ok(answer.freeze())
    }
}

async fn secure(
    stream: TcpStream,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
) -> anyhow::Result<impl AsyncRead + AsyncWrite + Unpin + 'static> {
    let name = ServerName::IpAddress(address.ip().into());
    Ok(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?)
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> anyhow::Result<SendRequest<Bytes>> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (sender, connection) = builder.handshake(stream).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}
