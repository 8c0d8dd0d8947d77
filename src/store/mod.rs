//! The database of a server: an SQLite file, or a PostgreSQL database that several nodes share. The only other SQL is
//! that of the AGI handler's journal.
//!
//! INVARIANT: a commit has whole commands, each with its rows, audit events and request id, or nothing of them.

mod error;
mod numbers;
mod events;
mod entry;
mod request;
mod verification;
mod examination;
mod tables;
pub mod sqlite;
pub mod postgres;
mod database;
mod log_reader;
mod migrate;

pub use self::{
    database::Store,
    error::Error,
    events::{EventFilter, Logged, Newest},
    examination::Examination,
    log_reader::LogReader,
    migrate::{migrate_to_file, migrate_to_postgres, reopen_file, reopen_postgres},
    request::RequestRecord,
    sqlite::{LogSync, Restored, back_up, examine, refuse_special, restore, write_ahead_log},
    verification::{Fault, Verification},
};
