//! One thread per processor, each with its own runtime and connections. The thread that receives a call answers it, and
//! processors don't wait for each other.
//!
//! One listener accepts all connections and gives each to the core with the fewest, so that long connections are spread
//! evenly too.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::connection::ConnectionServer;

/// All cores. The drop cuts off their calls in flight.
pub struct Cores(Vec<Core>);

struct Core {
    connections: mpsc::UnboundedSender<(TcpStream, SocketAddr)>,
    open: Arc<AtomicUsize>,
    /// Completes when the last connection has ended.
    done: oneshot::Receiver<()>,
    /// The thread ends when this is dropped.
    lease: oneshot::Sender<()>,
}

impl Cores {
    /// Start one core for each of `connections`.
    pub fn start(servers: Vec<ConnectionServer>) -> io::Result<Self> {
        servers.into_iter().map(Core::start).collect::<Result<_, _>>().map(Self)
    }

    /// Return the number of open connections.
    pub fn open(&self) -> usize {
        self.0.iter().map(Core::open).sum()
    }

    /// Serve a connection on the core with the fewest.
    pub fn serve(&self, stream: TcpStream, address: SocketAddr) {
        if let Some(core) = self.0.iter().min_by_key(|core| core.open()) {
            core.open.fetch_add(1, Ordering::Relaxed);
            // If the core has failed, the drop closes the connection.
            let _ = core.connections.send((stream, address));
        }
    }

    /// Accept no more connections, and wait for the end of the open ones.
    pub async fn finish(self) {
        let leases: Vec<_> = self.0.into_iter().map(|core| (core.done, core.lease)).collect();
        for (done, _lease) in leases {
            // A core that has failed has no connections.
            let _ = done.await;
        }
    }
}

/// The niceness of background threads: against a normal thread, one gets about a tenth of a processor.
const NICENESS: i32 = 10;

/// Lower this thread's priority, so that the threads that answer checks run first. Background threads compute lists,
/// exports, imports and pages.
pub(super) fn give_way() {
    // On Linux this sets the priority of the calling thread alone, elsewhere that of the whole process.
    if cfg!(target_os = "linux") {
        // If the system refuses, all threads have equal priority.
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

impl Core {
    fn start(connections: ConnectionServer) -> io::Result<Self> {
        // The runtime itself runs on the thread spawned below. `give_way` and the name are for its blocking threads.
        let runtime =
            Builder::new_current_thread().enable_all().thread_name("background").on_thread_start(give_way).build()?;
        let (sender, mut receiver) = mpsc::unbounded_channel::<(TcpStream, SocketAddr)>();
        let open = Arc::new(AtomicUsize::new(0));
        let (end, done) = oneshot::channel();
        let (lease, mut given_up) = oneshot::channel::<()>();
        let (connections, open_here) = (Arc::new(connections), Arc::clone(&open));
        let serving = async move {
            let mut conversations = JoinSet::new();
            loop {
                tokio::select! {
                    came = receiver.recv() => match came {
                        Some((stream, address)) => {
                            let connections = Arc::clone(&connections);
                            conversations.spawn(async move { connections.serve(stream, address).await });
                        }
                        None => break,
                    },
                    Some(_) = conversations.join_next() => drop(open_here.fetch_sub(1, Ordering::Relaxed)),
                }
            }
            while conversations.join_next().await.is_some() {
                open_here.fetch_sub(1, Ordering::Relaxed);
            }
        };
        thread::Builder::new().name("core".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = &mut given_up => {}
                }
            });
            // Don't wait for the work of blocking threads: no call needs it any more.
            runtime.shutdown_background();
            // The receiver may be dropped already.
            let _ = end.send(());
        })?;
        Ok(Self { connections: sender, open, done, lease })
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
