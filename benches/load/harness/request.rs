//! Requests, which are encoded once and sent often, and the paths of their methods.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// The method of most scenarios.
pub const CHECK: &str = "/queuegate.v1.QueueAccessService/CheckQueueAccess";

/// Many checks in one call.
pub const BATCH_CHECK: &str = "/queuegate.v1.QueueAccessService/BatchCheckQueueAccess";

/// A change: a session starts.
pub const SIGN_IN: &str = "/queuegate.v1.QueueAccessService/SignIn";

/// A change: a session ends.
pub const SIGN_OUT: &str = "/queuegate.v1.QueueAccessService/SignOut";

/// A stream, which is called without a deadline.
pub const WATCH: &str = "/queuegate.v1.QueueAccessService/WatchSessions";

/// A check by Cerbos.
pub const CERBOS_CHECK: &str = "/cerbos.svc.v1.CerbosService/CheckResources";

/// The length of gRPC's header of a message: one byte for compression, and the message's length in four bytes.
pub const HEADER_BYTES: usize = 5;

/// An encoded request and the path of its method.
#[derive(Debug, Clone)]
pub struct EncodedRequest {
    pub path: &'static str,
    frame: Bytes,
}

impl EncodedRequest {
    /// Encode a message, with gRPC's header before it.
    pub fn new(path: &'static str, message: &impl Message) -> Self {
        let length = message.encoded_len();
        let mut frame = BytesMut::with_capacity(HEADER_BYTES + length);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        frame.put_slice(&message.encode_to_vec());
        Self { path, frame: frame.freeze() }
    }

    /// Return the header and the message.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }
}
