//! The SQLite file of a server on one machine.
//!
//! INVARIANT: once [`Store::commit`] has returned, its batch survives a power failure. After [`Store::defer_sync`],
//! that holds once a [`LogSync::sync`] that began after the commit has returned.

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
pub(super) mod moving;

pub use self::{
    backup::{Restored, back_up, restore},
    database::Store,
    examine::examine,
    file_kind::refuse_special,
    log_reader::LogReader,
    paths::write_ahead_log,
    sync::LogSync,
};
