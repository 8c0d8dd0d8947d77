//! A peer that behaves as Asterisk 22 does towards a FastAGI server (`res_agi.c`, `app_queue.c`):
//!
//! - It sends HANGUP between replies, and again after the server has closed the connection.
//! - A dead channel replies 511 to commands that need a caller, and carries out all others.
//! - The reply to EXEC is 0 in any case. The result of AddQueueMember is in AQMSTATUS.
//! - AGISTATUS is SUCCESS even if the server closed the connection without a reply.
//! - There are no timeouts.
//! - Line ends in dialed text are sent unchanged.
//!
//! `tests/asterisk/run` shows the same with a real Asterisk.

mod pbx;
mod call;

pub use self::{
    call::{Call, Ended, Mishap},
    pbx::{Membership, Pbx},
};
