//! A proxy between a client and queuegate, which can be interrupted in either direction.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// The direction that the proxy forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    Everything,
    /// It forwards requests, and holds answers back.
    Requests,
    /// It forwards nothing and closes nothing, like a machine that hangs.
    Nothing,
    /// It closes all connections at once, like a server that is down.
    Broken,
}

pub struct Wire {
    pub address: SocketAddr,
    passing: watch::Sender<Passing>,
}

impl Wire {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (passing, state) = watch::channel(Passing::Everything);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let state = state.clone();
                if *state.borrow() != Passing::Broken {
                    tokio::spawn(carry(near, server, state));
                }
            }
        });
        Self { address, passing }
    }

    pub fn set(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }
}

async fn carry(near: TcpStream, server: SocketAddr, mut state: watch::Receiver<Passing>) {
    let Ok(far) = TcpStream::connect(server).await else { return };
    let (near, far) = (near.into_split(), far.into_split());
    let is_open = |passing: Passing, to_server: bool| match passing {
        Passing::Everything => true,
        Passing::Requests => to_server,
        Passing::Nothing | Passing::Broken => false,
    };
    let there = copy(near.0, far.1, state.clone(), move |passing| is_open(passing, true));
    let back = copy(far.0, near.1, state.clone(), move |passing| is_open(passing, false));
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = state.wait_for(|passing| *passing == Passing::Broken) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<Passing>,
    is_open: impl Fn(Passing) -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 || state.wait_for(|passing| is_open(*passing)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
