//! The processes under test, and the floors: servers that do nothing, or only store.

pub mod environment;
pub mod sqlite;
pub mod storing;
pub mod floor_service;
pub mod floor;
pub mod process;
pub mod import;
