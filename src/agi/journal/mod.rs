//! The journal: a file of operations whose outcome is open.
//!
//! An operation is a sign-out that queuegate didn't answer, or the undoing of a sign-in whose outcome is unknown. The
//! file has a line for each operation that becomes pending, and one for each that is done.
//!
//! INVARIANT: a pending operation is on disk before the caller hears the result. A crash can cut off only a line whose
//! caller has heard nothing.

mod error;
mod entry;
mod append;
mod file;
mod shared;

pub use self::error::Error;
pub(super) use self::{
    entry::{JournalEntry, MAX_REQUEST_IDS, PendingAction},
    shared::Journal,
};
