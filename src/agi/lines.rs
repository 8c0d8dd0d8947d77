//! Lines from a peer, none longer than allowed.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
    /// The line doesn't end.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads lines. INVARIANT: giving up the wait for one loses nothing; what has come of it is there for the next call.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    longest: usize,
    begun: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of at most so many bytes.
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader: BufReader::new(reader), longest, begun: Vec::new() }
    }

    /// The next line without its end; none when the peer has closed. What comes after the last line feed is no line. Bytes that aren't
    /// UTF-8, such as those of a caller's name in Latin-1, become U+FFFD.
    pub(super) async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            let come = self.reader.fill_buf().await?;
            if come.is_empty() {
                return Ok(None);
            }
            let end = come.iter().position(|byte| *byte == b'\n');
            let piece = come.get(..end.unwrap_or(come.len())).unwrap_or_default();
            if self.begun.len() + piece.len() > self.longest {
                return Err(Error::TooLong(self.longest));
            }
            self.begun.extend_from_slice(piece);
            let taken = piece.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            if end.is_some() {
                let mut line = std::mem::take(&mut self.begun);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
        }
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
    async fn what_is_cut_off_is_no_line() {
        let mut lines = Lines::new(&b"200 result=1\n200 resul"[..], 100);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("200 result=1"));
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_name_in_latin_1_is_no_reason_to_hang_up() {
        let mut lines = Lines::new(&b"agi_calleridname: M\xfcller\r\n\n"[..], 100);
        assert_eq!(lines.next().await.unwrap().as_deref(), Some("agi_calleridname: M\u{fffd}ller"));
        assert_eq!(lines.next().await.unwrap().as_deref(), Some(""));
    }
}
