//! Connections: the listener, the cores, handshakes, and the ends of connections.

mod tls;
mod preface;
mod connection;
mod cores;
mod listener;
mod browsers;

pub use self::tls::{Error as TlsError, TlsFiles};
pub(super) use self::{
    browsers::serve_browsers, connection::ConnectionServer, cores::Cores, listener::accept, tls::Tls,
};
