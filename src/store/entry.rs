//! An event of the audit log as it is stored and hashed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{error::Error, events::Logged, numbers::sequence};
use crate::domain::{
    chain::Digest,
    change::{Change, Event, Origin, Record},
    ids::{Lineage, OrganizationId, Revision, Sequence},
    summary::Summary,
    time::Timestamp,
};

/// The hashed text: all of a record, as JSON.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry<'r> {
    pub revision: Cow<'r, str>,
    pub time_ms: i64,
    pub organization_id: Cow<'r, OrganizationId>,
    #[serde(flatten)]
    pub origin: Cow<'r, Origin>,
    pub change: Cow<'r, Event>,
}

/// The columns beside the entry, for searches.
pub(super) struct Columns {
    pub action: &'static str,
    pub allowed: bool,
    pub actor: Option<String>,
    pub user: Option<String>,
    pub queue: Option<String>,
}

impl Columns {
    pub(super) fn of(event: &Event, origin: &Origin) -> Self {
        let Summary { action, verdict, actor, user, queue, role: _, reason: _ } = Summary::of(event, origin);
        Self {
            action: action.as_str(),
            allowed: verdict.is_allowed(),
            actor: actor.map(|user| user.key()),
            user: user.map(|user| user.key()),
            queue: queue.map(|queue| queue.key()),
        }
    }
}

/// Return a record's entry, and its hash after the previous one.
pub(super) fn encode(lineage: Lineage, record: &Record, previous: Digest) -> Result<(String, Digest), Error> {
    let Record { sequence, time, origin, change: Change { organization_id, event } } = record;
    let entry = Entry {
        revision: Revision { lineage, sequence: *sequence }.to_string().into(),
        time_ms: time.unix_ms(),
        organization_id: Cow::Borrowed(organization_id),
        origin: Cow::Borrowed(origin),
        change: Cow::Borrowed(event),
    };
    let entry = serde_json::to_string(&entry).map_err(|error| Error::Damaged(error.to_string()))?;
    let hash = Digest::chained(previous, &entry);
    Ok((entry, hash))
}

/// Read a stored event.
pub(super) fn decode(revision: i64, entry: &str, hash: Digest) -> Result<Logged, Error> {
    let Entry { revision: _, time_ms, organization_id, origin, change } =
        serde_json::from_str(entry).map_err(|error| damaged(revision, &error))?;
    Ok(Logged {
        record: Record {
            sequence: sequence(revision)?,
            time: Timestamp::from_unix_ms(time_ms),
            origin: origin.into_owned(),
            change: Change { organization_id: organization_id.into_owned(), event: change.into_owned() },
        },
        hash,
    })
}

/// Return the error of an event that can't be read.
pub(super) fn damaged(revision: i64, problem: &dyn std::fmt::Display) -> Error {
    Error::DamagedEvent { sequence: Sequence(u64::try_from(revision).unwrap_or(0)), problem: problem.to_string() }
}
