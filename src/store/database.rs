//! The write side of a store, of either kind.

use std::path::Path;

use super::{error::Error, postgres, sqlite};

/// The write side of a store. It has one owner.
#[derive(Debug)]
pub enum Store {
    /// The SQLite file of a server on one machine.
    Sqlite(Box<sqlite::Store>),
    /// The PostgreSQL database that several nodes share.
    Postgres(Box<postgres::Store>),
}

impl Store {
    /// Open an SQLite file, or create it. A new file gets the id `new_store_id`.
    pub fn open(path: &Path, new_store_id: u64) -> Result<Self, Error> {
        sqlite::Store::open(path, new_store_id).map(|store| Self::Sqlite(Box::new(store)))
    }
}
