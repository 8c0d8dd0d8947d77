//! Servers that do nothing but what gRPC asks of every server: they decode the request, and answer with what they were
//! given, encoded anew. In two layouts: as tonic's documentation has it, and with a runtime for each processor. And one
//! that stores what it is asked to change, and does nothing else.

use std::{fs, io::Read, net::SocketAddr, path::Path, pin::Pin};

use anyhow::{Context, bail};
use prost::Message;
use queuegate::rpc::proto::{
    queue_access_service_server::{QueueAccessService, QueueAccessServiceServer},
    *,
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::{Stream, wrappers::UnboundedReceiverStream};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use crate::{
    call::{self, CheckCall},
    storing::Storing,
};

/// With this as its first argument the load program is a floor.
pub const COMMAND: &str = "floor";

/// How a floor uses the processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Tonic's server on tokio's runtime of many threads, everything as it is by default.
    Stock,
    /// A runtime of one thread for each processor, to which connections are dealt out in turn. (Where the system deals
    /// them out, by SO_REUSEPORT, a few connections are seldom spread evenly, and then it is that which is measured.)
    PerCore,
    /// The same, and changes are stored.
    Storing,
}

impl Layout {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "floor-stock",
            Self::PerCore => "floor-per-core",
            Self::Storing => "floor-storing",
        }
    }
}

/// Serves until standard input ends. Arguments: the layout, the folder of answers, where the order of what to store is too,
/// and, for TLS, certificate and key.
pub fn main(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let layout = arguments.next().context("no layout")?;
    let answers = arguments.next().context("no answers")?;
    let mut nothing = Nothing::read(Path::new(&answers))?;
    let tls = match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => {
            Some(ServerTlsConfig::new().identity(Identity::from_pem(fs::read(certificate)?, fs::read(key)?)))
        }
        _ => None,
    };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    if layout == Layout::Stock.as_str() {
        serve_stock(listener, address, nothing, tls)
    } else if layout == Layout::PerCore.as_str() {
        serve_per_core(&listener, address, &nothing, tls.as_ref())
    } else if layout == Layout::Storing.as_str() {
        nothing.storing = Some(Storing::start(Path::new(&answers))?);
        serve_per_core(&listener, address, &nothing, tls.as_ref())
    } else {
        bail!("no such layout: {layout}")
    }
}

fn server(tls: Option<ServerTlsConfig>) -> anyhow::Result<Server> {
    let server = Server::builder();
    Ok(match tls {
        Some(tls) => server.tls_config(tls)?,
        None => server,
    })
}

fn serve_stock(
    listener: std::net::TcpListener,
    address: SocketAddr,
    nothing: Nothing,
    tls: Option<ServerTlsConfig>,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
        println!("{address}");
        Ok(server(tls)?.add_service(QueueAccessServiceServer::new(nothing)).serve_with_incoming(incoming).await?)
    })
}

fn serve_per_core(
    listener: &std::net::TcpListener,
    address: SocketAddr,
    nothing: &Nothing,
    tls: Option<&ServerTlsConfig>,
) -> anyhow::Result<()> {
    let mut runtimes = Vec::new();
    for _ in 0..std::thread::available_parallelism()?.get() {
        let (dealt, connections) = mpsc::unbounded_channel::<std::net::TcpStream>();
        let (nothing, tls) = (nothing.clone(), tls.cloned());
        std::thread::spawn(move || serve_one_core(connections, nothing, tls));
        runtimes.push(dealt);
    }
    println!("{address}");
    for dealt in runtimes.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        dealt.send(stream)?;
    }
    Ok(())
}

fn serve_one_core(
    connections: mpsc::UnboundedReceiver<std::net::TcpStream>,
    nothing: Nothing,
    tls: Option<ServerTlsConfig>,
) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        use tokio_stream::StreamExt;
        let incoming = UnboundedReceiverStream::new(connections).map(TcpStream::from_std);
        Ok(server(tls)?.add_service(QueueAccessServiceServer::new(nothing)).serve_with_incoming(incoming).await?)
    })
}

/// What floors answer.
#[derive(Debug, Clone, Default)]
pub struct Nothing {
    check: CheckQueueAccessResponse,
    batch: BatchCheckQueueAccessResponse,
    sign_in: SignInResponse,
    sign_out: SignOutResponse,
    storing: Option<Storing>,
}

impl Nothing {
    /// Keeps an answer of the server under test, which is to be given by the floors as well.
    pub fn write(folder: &Path, question: &CheckCall, answer: &[u8]) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        Ok(fs::write(folder.join(Self::file(question.path)), answer)?)
    }

    fn read(folder: &Path) -> anyhow::Result<Self> {
        // What isn't there isn't asked for.
        let read = |path| fs::read(folder.join(Self::file(path))).unwrap_or_default();
        Ok(Self {
            check: CheckQueueAccessResponse::decode(&*read(call::CHECK))?,
            batch: BatchCheckQueueAccessResponse::decode(&*read(call::BATCH))?,
            sign_in: SignInResponse::decode(&*read(call::SIGN_IN))?,
            sign_out: SignOutResponse::decode(&*read(call::SIGN_OUT))?,
            storing: None,
        })
    }

    /// Where the answer of an rpc is kept: under its own name.
    fn file(path: &str) -> &str {
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }

    async fn store(&self) -> Result<(), Status> {
        match &self.storing {
            Some(storing) => storing.change().await,
            None => none().map(|_: Response<()>| ()),
        }
    }
}

/// An answer that floors don't give.
fn none<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("a floor does nothing"))
}

#[tonic::async_trait]
impl QueueAccessService for Nothing {
    type WatchSessionsStream = Pin<Box<dyn Stream<Item = Result<WatchSessionsResponse, Status>> + Send>>;

    async fn check_queue_access(
        &self,
        _: Request<CheckQueueAccessRequest>,
    ) -> Result<Response<CheckQueueAccessResponse>, Status> {
        Ok(Response::new(self.check.clone()))
    }

    async fn batch_check_queue_access(
        &self,
        _: Request<BatchCheckQueueAccessRequest>,
    ) -> Result<Response<BatchCheckQueueAccessResponse>, Status> {
        Ok(Response::new(self.batch.clone()))
    }

    async fn list_accessible_queues(
        &self,
        _: Request<ListAccessibleQueuesRequest>,
    ) -> Result<Response<ListAccessibleQueuesResponse>, Status> {
        none()
    }

    async fn list_eligible_agents(
        &self,
        _: Request<ListEligibleAgentsRequest>,
    ) -> Result<Response<ListEligibleAgentsResponse>, Status> {
        none()
    }

    async fn sign_in(&self, _: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        self.store().await?;
        Ok(Response::new(self.sign_in.clone()))
    }

    async fn sign_out(&self, _: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        self.store().await?;
        Ok(Response::new(self.sign_out.clone()))
    }

    async fn supervisor_sign_in(
        &self,
        _: Request<SupervisorSignInRequest>,
    ) -> Result<Response<SupervisorSignInResponse>, Status> {
        none()
    }

    async fn supervisor_sign_out(
        &self,
        _: Request<SupervisorSignOutRequest>,
    ) -> Result<Response<SupervisorSignOutResponse>, Status> {
        none()
    }

    async fn get_session(&self, _: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        none()
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>, Status> {
        none()
    }

    async fn watch_sessions(
        &self,
        _: Request<WatchSessionsRequest>,
    ) -> Result<Response<Self::WatchSessionsStream>, Status> {
        none()
    }
}
