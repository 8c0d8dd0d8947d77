//! Compression of long answers by gzip, for callers that accept it: exports, and the pages of lists. A check is never
//! compressed.
//!
//! INVARIANT: the threads that answer checks don't compress. Background threads do, one message at a time.

use std::{
    convert::Infallible,
    future::poll_fn,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body as _, Bytes, Frame};
use tokio::task::{JoinHandle, spawn_blocking};
use tonic::{Status, body::Body};

use super::services::Answering;
use crate::rpc::{
    error::Error,
    methods::{Method, Work},
};

const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const ENCODING: &str = "grpc-encoding";
const GZIP: &str = "gzip";

/// The shortest message that is compressed, in bytes. A shorter one fits a few packets anyway.
const SHORTEST: usize = 8 * 1024;

/// The length of the header of a gRPC message: a compression flag and four bytes of length.
const HEADER: usize = 5;

/// Return whether the answer of a call may be compressed.
pub fn applies(method: &Method, headers: &HeaderMap) -> bool {
    let is_long = match method.work {
        Work::Scan | Work::Stream => {
            let name = method.path.rsplit('/').next().unwrap_or_default();
            name.starts_with("List") || name.starts_with("Export")
        }
        Work::Probe | Work::Check | Work::Write | Work::Import => false,
    };
    is_long && accepts_gzip(headers)
}

/// Compress the messages of an answer.
pub fn compressed(answering: Answering) -> Answering {
    Box::pin(async {
        let (mut parts, body) = answering.await?.into_parts();
        if parts.headers.contains_key(Status::GRPC_STATUS) {
            return Ok::<_, Infallible>(Response::from_parts(parts, body));
        }
        parts.headers.insert(ENCODING, HeaderValue::from_static(GZIP));
        let mut body = CompressedBody { body, first: None, compressing: None };
        // A unary answer is complete when it begins.
        body.first = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        Ok(Response::from_parts(parts, Body::new(body)))
    })
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.split(',').any(|encoding| encoding.trim() == GZIP))
}

/// A body whose messages are compressed.
struct CompressedBody {
    body: Body,
    /// The first frame, which was read in advance.
    first: Option<Result<Frame<Bytes>, Status>>,
    compressing: Option<JoinHandle<io::Result<Bytes>>>,
}

impl hyper::body::Body for CompressedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        loop {
            if let Some(compressing) = &mut self.compressing {
                let done = ready!(Pin::new(compressing).poll(context));
                self.compressing = None;
                let done = done.map_err(io::Error::other).flatten();
                let failed = |error: io::Error| Error::Internal(format!("can't compress an answer: {error}")).into();
                return Poll::Ready(Some(done.map(Frame::data).map_err(failed)));
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(messages))) if messages.len() >= SHORTEST => {
                    self.compressing = Some(spawn_blocking(move || compress(&messages).map(Bytes::from)));
                }
                Some(Ok(Ok(messages))) => return Poll::Ready(Some(Ok(Frame::data(messages)))),
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Compress the long ones of whole messages, each with its header.
fn compress(mut messages: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressed = Vec::with_capacity(messages.len() / 4);
    while let Some((&[flag, length @ ..], rest)) = messages.split_first_chunk::<HEADER>() {
        let malformed = || io::Error::other("a message is shorter than its header says");
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
        let (message, others) = rest.split_at_checked(length).ok_or_else(malformed)?;
        if length < SHORTEST {
            compressed.extend(messages.get(..HEADER + length).unwrap_or_default());
        } else {
            debug_assert_eq!(flag, 0, "the message isn't compressed yet");
            let mut encoder = GzEncoder::new(Vec::with_capacity(length / 4), Compression::fast());
            encoder.write_all(message)?;
            let message = encoder.finish()?;
            compressed.push(1);
            compressed.extend(u32::try_from(message.len()).map_err(io::Error::other)?.to_be_bytes());
            compressed.extend(message);
        }
        messages = others;
    }
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;
    use crate::rpc::methods::METHODS;

    #[test]
    fn lists_and_exports_are_compressed_and_nothing_else_is() {
        let mut headers = HeaderMap::new();
        let names = |headers: &HeaderMap| {
            let found = METHODS.iter().filter(|method| applies(method, headers));
            found.map(|method| method.path.rsplit('/').next().unwrap()).collect::<Vec<_>>()
        };
        assert!(names(&headers).is_empty());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity, br"));
        assert!(names(&headers).is_empty());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity, deflate,gzip"));
        let expected = [
            "ExportAuditLog",
            "ListAuditEvents",
            "ExportDirectory",
            "ListOrganizations",
            "ListQueues",
            "ListRoleAssignments",
            "ListUsers",
            "ListAccessibleQueues",
            "ListEligibleAgents",
            "ListSessions",
        ];
        assert_eq!(names(&headers), expected);
    }

    #[test]
    fn of_several_messages_the_long_ones_are_compressed() {
        let message = |length: usize| {
            let header = [&[0], &u32::try_from(length).unwrap().to_be_bytes()[..]].concat();
            [header, vec![b'x'; length]].concat()
        };
        let (short, long) = (message(100), message(SHORTEST));
        let found = compress(&[short.clone(), long.clone(), short.clone()].concat()).unwrap();
        let rest = found.strip_prefix(&short[..]).unwrap().strip_suffix(&short[..]).unwrap();
        assert_eq!((rest[0], rest.len() < 200), (1, true));
        assert_eq!(u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize, rest.len() - HEADER);
        let mut plain = Vec::new();
        GzDecoder::new(&rest[HEADER..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, long[HEADER..]);
        assert!(compress(&long[..long.len() - 1]).is_err());
    }
}
