//! The write side of a store, of either kind.

use super::{postgres, sqlite};

/// The write side of a store. It has one owner.
#[derive(Debug)]
pub enum Store {
    /// The SQLite file of a server on one machine.
    Sqlite(Box<sqlite::Store>),
    /// The PostgreSQL database that several nodes share.
    Postgres(Box<postgres::Store>),
}

impl From<sqlite::Store> for Store {
    fn from(store: sqlite::Store) -> Self {
        Self::Sqlite(Box::new(store))
    }
}

impl From<postgres::Store> for Store {
    fn from(store: postgres::Store) -> Self {
        Self::Postgres(Box::new(store))
    }
}
