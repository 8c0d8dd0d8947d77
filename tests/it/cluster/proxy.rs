//! A TCP proxy between a node and PostgreSQL, which loses messages when a test says so.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{Notify, watch},
};

/// The fate of the next statement that writes to the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It passes.
    Passes,
    /// The connection breaks before PostgreSQL gets it.
    IsLost,
    /// PostgreSQL gets it, and the connection breaks before its answer comes.
    LosesItsAnswer,
    /// Nothing passes any more in either direction, but the connection stays.
    Hangs,
    /// It arrives when [`Proxy::deliver`] lets it, even if the client is gone by then.
    IsDelayed,
}

/// The proxy. It ends with the runtime.
pub struct Proxy {
    pub address: SocketAddr,
    control: Arc<Control>,
}

struct Control {
    next: watch::Sender<Next>,
    is_open: AtomicBool,
    /// Rises when all connections are to break.
    breaks: watch::Sender<u32>,
    delivery: Notify,
    delivered: Notify,
}

impl Proxy {
    /// Start a proxy for the server with this socket.
    pub async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control {
            next: watch::Sender::new(Next::Passes),
            is_open: AtomicBool::new(true),
            breaks: watch::Sender::new(0),
            delivery: Notify::new(),
            delivered: Notify::new(),
        });
        let of_all = Arc::clone(&control);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if of_all.is_open.load(Ordering::SeqCst) {
                    tokio::spawn(carry(client, socket.clone(), Arc::clone(&of_all)));
                }
            }
        });
        Self { address, control }
    }

    /// The connection string of a database behind the proxy.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://queuegate@{}/{database}", self.address)
    }

    /// Decide the fate of the next write.
    pub fn next(&self, next: Next) {
        self.control.next.send_replace(next);
    }

    /// Deliver a delayed write, and wait until PostgreSQL has answered it.
    pub async fn deliver(&self) {
        self.control.delivery.notify_one();
        self.control.delivered.notified().await;
    }

    /// Break all connections, and refuse new ones.
    pub fn close(&self) {
        self.control.is_open.store(false, Ordering::SeqCst);
        self.control.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// Accept connections again.
    pub fn open(&self) {
        self.control.is_open.store(true, Ordering::SeqCst);
    }
}

/// How the requests of a connection end.
enum End {
    /// The connection breaks.
    Breaks,
    /// The client gets no answer any more, but PostgreSQL gets this.
    Delivers(Vec<u8>),
    /// PostgreSQL gets this once the test delivers it.
    DeliversLater(Vec<u8>),
}

async fn carry(client: TcpStream, socket: PathBuf, control: Arc<Control>) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (from_client, to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut breaks = control.breaks.subscribe();
    breaks.borrow_and_update();
    let end = tokio::select! {
        end = requests(from_client, &mut to_server, &control) => end,
        () = answers(&mut from_server, to_client) => End::Breaks,
        _ = breaks.changed() => End::Breaks,
    };
    let (bytes, is_later) = match end {
        End::Breaks => return,
        End::Delivers(bytes) => (bytes, false),
        End::DeliversLater(bytes) => (bytes, true),
    };
    if is_later {
        control.delivery.notified().await;
    }
    to_server.write_all(&bytes).await.unwrap();
    // The first answer comes after the end of the statement.
    let _ = from_server.read(&mut [0; 1 << 12]).await;
    if is_later {
        control.delivered.notify_one();
    }
}

/// Carry requests, and decide the fate of a write.
async fn requests(mut client: impl AsyncRead + Unpin, mut server: impl AsyncWrite + Unpin, control: &Control) -> End {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = client.read(&mut buffer).await {
        let bytes = &buffer[..read];
        // A write is a Bind message with the entry of an event.
        let is_write = bytes.first() == Some(&b'B') && bytes.windows(11).any(|window| window == b"\"revision\":");
        let next = if is_write { control.next.send_replace(Next::Passes) } else { Next::Passes };
        match next {
            Next::Passes => {
                if server.write_all(bytes).await.is_err() {
                    return End::Breaks;
                }
            }
            Next::IsLost => return End::Breaks,
            Next::LosesItsAnswer => return End::Delivers(bytes.to_vec()),
            Next::Hangs => std::future::pending().await,
            Next::IsDelayed => {
                let mut delayed = bytes.to_vec();
                // The rest of the statement comes, until the client gives up.
                while let Ok(read @ 1..) = client.read(&mut buffer).await {
                    delayed.extend_from_slice(&buffer[..read]);
                }
                return End::DeliversLater(delayed);
            }
        }
    }
    End::Breaks
}

async fn answers(mut server: impl AsyncRead + Unpin, mut client: impl AsyncWrite + Unpin) {
    let _ = tokio::io::copy(&mut server, &mut client).await;
}
