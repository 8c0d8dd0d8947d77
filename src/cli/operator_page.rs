//! Reads a page of a server's operator listener over plain HTTP.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::Status;

/// Time limit of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of an answer.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Read the page of this name. `is_page` recognizes it. A failure has the code UNAVAILABLE.
pub(super) async fn read(
    address: SocketAddr,
    name: &str,
    is_page: impl FnOnce(&str) -> bool,
) -> Result<String, Status> {
    let failed = |problem: String| {
        Status::unavailable(format!(
            "can't read {name} at `{address}`: {problem}; was the server started with `--metrics-listen`?"
        ))
    };
    let answer = tokio::time::timeout(PATIENCE, get(address, name)).await;
    let answer =
        answer.map_err(|_| failed("no answer in time".to_owned()))?.map_err(|error| failed(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") || !is_page(body) {
        let found = crate::domain::ids::shortened(status);
        return Err(failed(format!("not {name} of queuegate, but `{found}`")));
    }
    Ok(body.to_owned())
}

async fn get(address: SocketAddr, name: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    // In version 1.0, the answer ends with the connection and is not sent in chunks.
    connection.write_all(format!("GET /{name} HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    connection.take(MAX_ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}
