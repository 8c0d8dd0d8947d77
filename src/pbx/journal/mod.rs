//! The journal: a file of operations whose outcome is open.
//!
//! An operation is a sign-out that queuegate didn't answer, or the undoing of a sign-in whose outcome is unknown.
//!
//! INVARIANT: a pending operation is on disk before the caller hears the result.

mod error;
mod entry;
mod lines;
mod database;
mod shared;

pub use self::error::Error;
pub(super) use self::{
    entry::{JournalEntry, MAX_REQUEST_IDS, PendingAction},
    shared::Journal,
};
