//! The SQLite file: the only room that knows SQL.
//!
//! INVARIANT: one commit holds whole commands: their rows, their audit events and their request ids, or none of them.
//! INVARIANT: when [`Store::commit`] has returned, what it was given survives a power failure; if [`Store::defer_sync`] was
//! called before, when a [`LogSync::sync`] that began after it has returned.

mod error;
mod values;
mod file_kind;
mod paths;
mod connection;
mod schema;
mod lock;
mod open_files;
mod sync;
mod log;
mod log_reader;
mod rows;
mod database;
mod load;
mod verify;
mod examine;
mod backup;

pub use self::{
    backup::{Restored, back_up, restore},
    database::{RequestRecord, Store},
    error::Error,
    examine::{Examination, examine},
    file_kind::refuse_special,
    log_reader::{EventFilter, LogReader, Logged, Newest},
    paths::write_ahead_log,
    sync::LogSync,
    verify::{Fault, Verification},
};
