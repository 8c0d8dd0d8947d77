//! A thread for each processor, each with a runtime and connections of its own: a call is answered where it came in, and
//! no two processors wait for each other on its way.
//!
//! Connections are taken in one place and given to whoever has the fewest, so that they land evenly, those included that
//! go on for days.

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

use super::connection::Connections;

/// All of them. Dropping it cuts off what they are at.
pub struct Cores(Vec<Core>);

struct Core {
    connections: mpsc::UnboundedSender<(TcpStream, SocketAddr)>,
    open: Arc<AtomicUsize>,
    /// Completes when the last connection has ended.
    done: oneshot::Receiver<()>,
    /// The thread ends with it.
    _lease: oneshot::Sender<()>,
}

impl Cores {
    /// One for each of `connections`, which says how it serves them.
    pub fn start(connections: Vec<Connections>) -> io::Result<Self> {
        connections.into_iter().map(Core::start).collect::<Result<_, _>>().map(Self)
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.0.iter().map(Core::open).sum()
    }

    /// Serves a connection.
    pub fn serve(&self, stream: TcpStream, address: SocketAddr) {
        if let Some(core) = self.0.iter().min_by_key(|core| core.open()) {
            core.open.fetch_add(1, Ordering::Relaxed);
            // A core that is gone has failed; the connection is closed, as it would be there.
            let _ = core.connections.send((stream, address));
        }
    }

    /// Takes no more connections, and waits for the end of those that are open.
    pub async fn finish(self) {
        let leases: Vec<_> = self.0.into_iter().map(|core| (core.done, core._lease)).collect();
        for (done, _lease) in leases {
            // A core that is gone has no connections.
            let _ = done.await;
        }
    }
}

/// How much less than other threads a background thread gets of a processor: about a tenth.
const NICENESS: i32 = 10;

/// Lets the threads that answer checks run first. Lists, exports and imports are computed on the others.
fn give_way() {
    // On Linux this is about the calling thread alone, elsewhere about the whole process.
    if cfg!(target_os = "linux") {
        // Where it isn't allowed, they share the processors as equals.
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

impl Core {
    fn start(connections: Connections) -> io::Result<Self> {
        // The runtime itself runs on the thread that is spawned below; these are the threads that may block.
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
            // Whatever still runs is of no use to anybody any more.
            runtime.shutdown_background();
            // Nobody may be waiting for the end any more.
            let _ = end.send(());
        })?;
        Ok(Self { connections: sender, open, done, _lease: lease })
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
