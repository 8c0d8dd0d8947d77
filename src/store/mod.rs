//! The database of a server: an SQLite file. The only other SQL is that of the AGI handler's journal.
//!
//! INVARIANT: a commit has whole commands, each with its rows, audit events and request id, or nothing of them.

mod error;
mod numbers;
mod events;
mod entry;
mod request;
mod verification;
mod sqlite;

pub use self::{
    error::Error,
    events::{EventFilter, Logged, Newest},
    request::RequestRecord,
    sqlite::{
        Examination, LogReader, LogSync, Restored, Store, back_up, examine, refuse_special, restore, write_ahead_log,
    },
    verification::{Fault, Verification},
};
