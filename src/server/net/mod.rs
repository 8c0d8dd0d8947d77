//! Connections: accepted, dealt out to the processors' threads, handshaken and ended.

mod tls;
mod preface;
mod connection;
mod cores;
mod listener;

pub use self::tls::{Error as TlsError, TlsFiles};
pub(super) use self::{connection::Connections, cores::Cores, listener::accept, tls::Tls};
