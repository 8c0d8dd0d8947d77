//! The rules, and the state they are about. PURE: no I/O, no clock, no async, nothing of the other rooms.
//!
//! Everything that decides is a function over an immutable [`Snapshot`](snapshot::Snapshot); everything that changes
//! it is a [`Change`](change::Change). Time and randomness are passed in.

pub mod audit;
pub mod change;
pub mod command;
pub mod decide;
pub mod directory;
pub mod explain;
#[cfg(test)]
mod fixture;
pub mod ids;
pub mod list;
pub mod model;
pub mod permission;
pub mod plan;
pub mod preview;
pub mod settings;
pub mod snapshot;
pub mod text;
pub mod time;
