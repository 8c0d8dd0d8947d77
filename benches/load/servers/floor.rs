//! Floors: tonic servers that decode the request, and answer with a response given in advance, which they encode for
//! each call. One of them also stores the changes.

use std::{fs, io::Read, net::SocketAddr, path::Path};

use anyhow::{Context, bail};
use queuegate::rpc::proto::queue_access_service_server::QueueAccessServiceServer;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming};

use crate::servers::{floor_service::FloorService, storing::ChangeStore};

/// The first argument that makes this program a floor.
pub const COMMAND: &str = "floor";

/// The kinds of floors. They differ in their use of the processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Tonic's server with its defaults, on tokio's multi-threaded runtime.
    Stock,
    /// One single-threaded runtime per processor. Connections are assigned to them in turn.
    ///
    /// With SO_REUSEPORT the kernel would assign them, but a few connections are seldom spread evenly. The floor would
    /// then measure that.
    PerCore,
    /// The same, and changes are stored.
    Storing,
}

impl Layout {
    /// Return the name in reports and arguments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "floor-stock",
            Self::PerCore => "floor-per-core",
            Self::Storing => "floor-storing",
        }
    }
}

/// Serve until standard input ends.
///
/// The arguments are the layout, the folder of answers, which also has the configuration of [`Layout::Storing`], and,
/// for TLS, a certificate and its key.
pub fn main(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let layout = arguments.next().context("no layout")?;
    let answers = arguments.next().context("no folder of answers")?;
    let mut service = FloorService::read(Path::new(&answers))?;
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
        serve_stock(listener, address, service, tls)
    } else if layout == Layout::PerCore.as_str() {
        serve_per_core(&listener, address, &service, tls.as_ref())
    } else if layout == Layout::Storing.as_str() {
        service.store = Some(ChangeStore::start(Path::new(&answers))?);
        serve_per_core(&listener, address, &service, tls.as_ref())
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
    service: FloorService,
    tls: Option<ServerTlsConfig>,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
        println!("{address}");
        Ok(server(tls)?.add_service(QueueAccessServiceServer::new(service)).serve_with_incoming(incoming).await?)
    })
}

fn serve_per_core(
    listener: &std::net::TcpListener,
    address: SocketAddr,
    service: &FloorService,
    tls: Option<&ServerTlsConfig>,
) -> anyhow::Result<()> {
    let mut runtimes = Vec::new();
    for _ in 0..std::thread::available_parallelism()?.get() {
        let (sender, connections) = mpsc::unbounded_channel::<std::net::TcpStream>();
        let (service, tls) = (service.clone(), tls.cloned());
        std::thread::spawn(move || serve_one_core(connections, service, tls));
        runtimes.push(sender);
    }
    println!("{address}");
    for sender in runtimes.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        sender.send(stream)?;
    }
    Ok(())
}

fn serve_one_core(
    connections: mpsc::UnboundedReceiver<std::net::TcpStream>,
    service: FloorService,
    tls: Option<ServerTlsConfig>,
) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        use tokio_stream::StreamExt;
        let incoming = UnboundedReceiverStream::new(connections).map(TcpStream::from_std);
        Ok(server(tls)?.add_service(QueueAccessServiceServer::new(service)).serve_with_incoming(incoming).await?)
    })
}
