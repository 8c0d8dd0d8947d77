//! The FastAGI protocol, line by line.
//!
//! Asterisk first sends its environment: lines such as `agi_channel: PJSIP/101-00000001`, and an empty line at the end.
//! Then it answers each command with one reply.
//!
//! Dialed digits are part of the environment. If the dialplan doesn't filter them, they may contain line ends. So a
//! call is carried out only after the channel itself has confirmed its name.
//!
//! Between replies Asterisk may send `HANGUP`. From then on it answers 511 to commands that need a caller. It still
//! carries out all others, EXEC included.

mod malformed;
mod environment;
mod command;
mod reply;
mod connection;

pub(crate) use self::connection::{AgiConnection, AgiError};
