//! The rules, and the state they are about. PURE: no I/O, no clock, no async, nothing of the other rooms.
//!
//! Everything that decides is a function over an immutable [`Snapshot`](snapshot::Snapshot); everything that changes
//! it is a [`Change`](change::Change). Time and randomness are passed in.

pub mod named_enum;
pub mod text;
pub mod time;
pub mod ids;
pub mod language;
pub mod epochs;
pub mod model;
pub mod settings;
pub mod vocabulary;
pub mod chain;
pub mod directory;
pub mod change;
pub mod summary;
pub mod snapshot;
pub mod pin;
pub mod permission;
pub mod decide;
pub mod list;
pub mod directory_lists;
pub mod sentences;
pub mod explain;
pub mod preview;
pub mod export;
pub mod command;
pub mod plan;
#[cfg(test)]
mod fixture;
