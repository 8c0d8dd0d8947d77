//! The event socket that the handler connects to: the password, filters, events and the API.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::switch::Switch;

pub const PASSWORD: &str = "ClueCon";

/// The port. Its connections end with it.
pub struct EventSocketPort {
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl EventSocketPort {
    pub async fn open(switch: Arc<Switch>) -> Self {
        Self::open_at("127.0.0.1:0".parse().unwrap(), switch).await
    }

    pub async fn open_at(address: SocketAddr, switch: Arc<Switch>) -> Self {
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // The connections before may not be closed yet.
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let switch = Arc::clone(&switch);
                connections.spawn(async move { drop(serve(stream, &switch).await) });
            }
        });
        Self { address, serving }
    }

    /// End the port and its connections, as a restart does.
    pub async fn close(self) -> SocketAddr {
        self.serving.abort();
        let _ = self.serving.await;
        self.address
    }
}

async fn serve(stream: TcpStream, switch: &Switch) -> std::io::Result<()> {
    let mut events = switch.events.subscribe();
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"Content-Type: auth/request\n\n").await?;
    let (mut is_accepted, mut filters, mut has_events) = (false, Vec::new(), false);
    let mut command = Vec::new();
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            event = events.recv() => {
                let event = event.unwrap();
                let passes = |filter: &String| event.lines().any(|header| header == filter);
                if has_events && filters.iter().any(passes) {
                    let text = format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{event}\n", event.len() + 1);
                    writer.write_all(text.as_bytes()).await?;
                }
                continue;
            }
        };
        let Some(line) = line else { return Ok(()) };
        if !line.is_empty() {
            command.push(line);
            continue;
        }
        let lines = std::mem::take(&mut command);
        let reply = |text: &str| format!("Content-Type: command/reply\nReply-Text: {text}\n\n");
        let text = match lines[0].split_once(' ').unwrap_or((&lines[0], "")) {
            ("auth", PASSWORD) => {
                is_accepted = true;
                reply("+OK accepted")
            }
            _ if !is_accepted => {
                writer.write_all(reply("-ERR invalid").as_bytes()).await?;
                return Ok(());
            }
            ("filter", filter) => {
                filters.push(filter.replacen(' ', ": ", 1));
                reply("+OK filter added.")
            }
            ("event", "plain API PRESENCE_PROBE CUSTOM callcenter::info") => {
                has_events = true;
                reply("+OK event listener enabled plain")
            }
            ("sendevent", "PRESENCE_IN") => {
                let header = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
                switch.publish(&format!("{}+{}", header("proto: "), header("from: ")), header("answer-state: "));
                reply("+OK 5c6aeae9")
            }
            ("api", command) => {
                let answer = switch.api(command);
                format!("Content-Type: api/response\nContent-Length: {}\n\n{answer}", answer.len())
            }
            _ => reply("-ERR command not found"),
        };
        writer.write_all(text.as_bytes()).await?;
    }
}
