//! Lines from a peer, with a limit on their length.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// The reason why the next line can't be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The line is longer than the limit.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads lines. INVARIANT: `next` and `bytes` are cancel-safe. The bytes that were read before a cancellation stay in `partial`.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    max_bytes: usize,
    partial: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Read lines of at most `max_bytes` bytes.
    pub(super) fn new(reader: R, max_bytes: usize) -> Self {
        Self { reader: BufReader::new(reader), max_bytes, partial: Vec::new() }
    }

    /// Return the next line without its line end, or `None` when the peer has closed the connection. Bytes after the
    /// last line feed are dropped. Bytes that aren't UTF-8, such as those of a caller's name in Latin-1, become U+FFFD.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            let received = self.reader.fill_buf().await?;
            if received.is_empty() {
                return Ok(None);
            }
            let end = received.iter().position(|byte| *byte == b'\n');
            let chunk = received.get(..end.unwrap_or(received.len())).unwrap_or_default();
            if self.partial.len() + chunk.len() > self.max_bytes {
                return Err(Error::TooLong(self.max_bytes));
            }
            self.partial.extend_from_slice(chunk);
            let consumed = chunk.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                let mut line = std::mem::take(&mut self.partial);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
        }
    }

    /// Return the next bytes as text, or `None` when the peer has closed the connection before their end.
    pub(super) async fn bytes(&mut self, count: usize) -> Result<Option<String>, Error> {
        while self.partial.len() < count {
            let received = self.reader.fill_buf().await?;
            if received.is_empty() {
                return Ok(None);
            }
            let chunk = received.get(..count - self.partial.len()).unwrap_or(received);
            let consumed = chunk.len();
            self.partial.extend_from_slice(chunk);
            self.reader.consume(consumed);
        }
        let bytes = std::mem::take(&mut self.partial);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_is_refused_before_it_ends() {
        let mut lines = Lines::new(&b"short\r\nlonger than ten bytes, and without an end"[..], 10);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("short"));
        assert!(matches!(lines.next().await, Err(Error::TooLong(10))));
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_dropped() {
        let mut lines = Lines::new(&b"200 result=1\n200 resul"[..], 100);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("200 result=1"));
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_name_in_latin_1_is_read_with_replacement_characters() {
        let mut lines = Lines::new(&b"agi_calleridname: M\xfcller\r\n\n"[..], 100);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("agi_calleridname: M\u{fffd}ller"));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(""));
    }
}
