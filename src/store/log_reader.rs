//! The read side of either kind of store: the audit log, which is also the history from which watches resume, and the
//! hashes of PINs.

use std::ops::ControlFlow;

use super::{
    error::Error,
    events::{EventFilter, Logged, Newest},
    numbers::sequence,
    postgres, sqlite,
    verification::Verification,
};
use crate::domain::{
    chain::{Digest, Link},
    ids::{OrganizationId, Sequence, UserId},
    pin::PinHash,
    settings::Etag,
    time::Timestamp,
};

/// The read side, to follow, search or verify the audit log.
#[derive(Debug)]
pub enum LogReader {
    /// Of an SQLite file.
    Sqlite(sqlite::LogReader),
    /// Of a PostgreSQL database.
    Postgres(Box<postgres::LogReader>),
}

impl LogReader {
    /// Open another connection to the same log, for long work.
    pub fn another(&self) -> Result<Self, Error> {
        match self {
            Self::Sqlite(reader) => reader.another().map(Self::Sqlite),
            Self::Postgres(reader) => Ok(Self::Postgres(Box::new(reader.another()))),
        }
    }

    /// Return up to `most` records of an organization after `after`, and up to `up_to`, in order.
    pub fn records_since(
        &self,
        after: Sequence,
        up_to: Sequence,
        organization_id: &OrganizationId,
        most: u32,
    ) -> Result<Vec<Logged>, Error> {
        match self {
            Self::Sqlite(reader) => reader.records_since(after, up_to, Some(organization_id), most),
            Self::Postgres(reader) => reader.records_since(after, up_to, Some(organization_id), most),
        }
    }

    /// Return the newest events of an organization after `after` and before `before` that match the filter, newest
    /// first. There are up to `most`, and fewer if their entries exceed `most_bytes`, or if too many events were
    /// examined.
    pub fn newest_events(
        &self,
        organization_id: &OrganizationId,
        range: (Sequence, Sequence),
        filter: &EventFilter,
        most: usize,
        most_bytes: usize,
    ) -> Result<Newest, Error> {
        match self {
            Self::Sqlite(reader) => reader.newest_events(organization_id, range, filter, most, most_bytes),
            Self::Postgres(reader) => reader.newest_events(organization_id, range, filter, most, most_bytes),
        }
    }

    /// Return up to `most` stored entries after `after` and up to `up_to`, each with its number and its hash.
    pub fn entries_since(
        &self,
        organization_id: &OrganizationId,
        after: Sequence,
        up_to: Sequence,
        most: u32,
    ) -> Result<Vec<(Link, Timestamp, String)>, Error> {
        match self {
            Self::Sqlite(reader) => reader.entries_since(organization_id, after, up_to, most),
            Self::Postgres(reader) => reader.entries_since(organization_id, after, up_to, most),
        }
    }

    /// Wait until everything that was read so far is durable. Call this before giving a hash to a caller who may keep
    /// it. PostgreSQL shows a change only once it is durable.
    pub fn settle(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(reader) => reader.settle(),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Return where an organization's chain was cut, and its head. `None` means that nothing was ever recorded.
    pub fn chain(&self, organization_id: &OrganizationId) -> Result<Option<(Link, Link)>, Error> {
        match self {
            Self::Sqlite(reader) => reader.chain(organization_id),
            Self::Postgres(reader) => reader.chain(organization_id),
        }
    }

    /// Return the hash of an event of an organization, or `None` if it is missing.
    pub fn hash_at(&self, organization_id: &OrganizationId, at: Sequence) -> Result<Option<Digest>, Error> {
        match self {
            Self::Sqlite(reader) => reader.hash_at(organization_id, at),
            Self::Postgres(reader) => reader.hash_at(organization_id, at),
        }
    }

    /// Verify an organization's chain, and compare it with an earlier noted link, if given. `progress` repeatedly gets
    /// the number of verified events, and may stop the verification. Return `None` if it does, or if the organization
    /// never had a chain.
    pub fn verify(
        &self,
        organization_id: &OrganizationId,
        expected: Option<Link>,
        progress: impl Fn(u64) -> ControlFlow<()>,
    ) -> Result<Option<Verification>, Error> {
        match self {
            Self::Sqlite(reader) => reader.verify(organization_id, expected, progress),
            Self::Postgres(reader) => reader.verify(organization_id, expected, progress),
        }
    }

    /// Return the shared database and its nodes, or `None` for a file.
    pub fn cluster(&self) -> Result<Option<postgres::ClusterReport>, Error> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(reader) => reader.cluster().map(Some),
        }
    }

    /// Return the hash of a user's PIN and its version, or `None` without a PIN.
    pub fn pin_hash(
        &self,
        organization_id: &OrganizationId,
        user_id: &UserId,
    ) -> Result<Option<(Etag, PinHash)>, Error> {
        let row = match self {
            Self::Sqlite(reader) => reader.pin_hash(organization_id, user_id),
            Self::Postgres(reader) => reader.pin_hash(organization_id, user_id),
        }?;
        row.map(|(etag, hash)| Ok((Etag(sequence(etag)?.0), PinHash::new(hash)))).transpose()
    }

    /// Estimate the number of events of an organization's chain.
    pub fn count_events(&self, organization_id: &OrganizationId) -> Result<u64, Error> {
        match self {
            Self::Sqlite(reader) => reader.count_events(organization_id),
            Self::Postgres(reader) => reader.count_events(organization_id),
        }
    }
}
