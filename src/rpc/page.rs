//! Pages of a list. INVARIANT: the pages of one list come from one revision, so no item is missing or repeated. If that
//! snapshot isn't kept any more, the next page is an error.

use std::{fmt::Debug, sync::Arc};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    error::Error,
    from_proto::{self, all},
    revisions::own_revision,
    services::Rpc,
};
use crate::{
    domain::{
        ids::{Caller, OrganizationId, QueueRef, Revision, Sequence, UserRef},
        snapshot::{OrganizationState, Snapshot},
    },
    state::State,
};

const DEFAULT_SIZE: usize = 100;
const LARGEST_SIZE: usize = 1_000;

const MUST_BE_A_TOKEN: &str = "must be the next_page_token of the page before";

/// The paging fields of a list request.
pub(super) struct Paging<'r> {
    size: usize,
    page_token: &'r str,
    at_least_revision: &'r str,
}

impl<'r> Paging<'r> {
    /// Read the paging fields. A size over the maximum is reduced to the maximum.
    pub(super) fn read(page_size: i32, page_token: &'r str, at_least_revision: &'r str) -> Result<Self, Error> {
        let (size, ()) = all((size(page_size), from_proto::at_least(at_least_revision)))?;
        Ok(Self { size, page_token, at_least_revision })
    }
}

/// One page, while it is computed.
pub(super) struct Page {
    state: State,
    /// The owner of the list: an organization, or a caller who lists organizations.
    pub owner: String,
    pub snapshot: Arc<Snapshot>,
    /// The key of the last item of the page before; empty on the first page.
    pub after: Vec<String>,
    size: usize,
    query: String,
}

/// The content of a page token.
#[derive(Serialize, Deserialize)]
struct Token {
    revision: String,
    query: String,
    after: Vec<String>,
}

/// The content of a page token of the audit log. The log only grows at its end, so no snapshot is kept for it.
#[derive(Serialize, Deserialize)]
struct LogToken {
    revision: String,
    query: String,
    before: Sequence,
    cut: Sequence,
    names: Names,
}

/// The meaning of the request's names at its first page.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Names {
    pub users: Vec<UserRef>,
    pub queues: Vec<QueueRef>,
}

/// One page of an organization's audit log, newest first.
pub(super) struct LogPage {
    pub snapshot: Arc<Snapshot>,
    /// Only events before this one.
    pub before: Sequence,
    pub names: Names,
    pub size: usize,
    pub revision: Revision,
    /// Only events after this one: the others were cut.
    pub cut: Sequence,
    query: String,
}

impl LogPage {
    /// Begin a page of the list that `query` identifies. `names` resolves the request's names on the first page.
    pub(super) async fn begin(
        rpc: &Rpc,
        query: &(impl Debug + ?Sized),
        organization_id: &OrganizationId,
        paging: Paging<'_>,
        names: impl FnOnce(Option<&OrganizationState>) -> Names,
    ) -> Result<Self, Error> {
        let Paging { size, page_token, at_least_revision } = paging;
        let query = fingerprint(query);
        let snapshot = rpc.snapshot(at_least_revision).await?;
        let cut = snapshot.audit_cut(organization_id.as_str());
        if page_token.is_empty() {
            let names = names(snapshot.organization(organization_id.as_str()));
            let revision = snapshot.revision();
            return Ok(Self { snapshot, before: revision.sequence.next(), names, size, revision, cut, query });
        }
        let token: LogToken = decode(page_token)?;
        let revision = own_revision("page_token", &token.revision, &snapshot)?;
        same_list(&token.query, &query)?;
        if revision.sequence > snapshot.revision().sequence {
            return Err(Error::invalid("page_token", &MUST_BE_A_TOKEN));
        }
        if token.cut != cut {
            return Err(Error::PageTokenExpired);
        }
        if token.before > revision.sequence {
            return Err(Error::invalid("page_token", &MUST_BE_A_TOKEN));
        }
        Ok(Self { snapshot, before: token.before, names: token.names, size, revision, cut, query })
    }

    /// Return the token of the next page. This page ended with `last`.
    pub(super) fn token(&self, last: Sequence) -> String {
        encode(&LogToken {
            revision: self.revision.to_string(),
            query: self.query.clone(),
            before: last,
            cut: self.cut,
            names: self.names.clone(),
        })
    }
}

impl Page {
    /// Begin a page of an organization's list. `query` (the rpc and its filters) identifies the list.
    pub(super) async fn begin(
        rpc: &Rpc,
        organization_id: &OrganizationId,
        query: &(impl Debug + ?Sized),
        paging: Paging<'_>,
    ) -> Result<Self, Error> {
        Self::begin_of(rpc, organization_id.to_string(), &(organization_id, query), paging).await
    }

    /// Begin a page of one caller's list of organizations.
    pub(super) async fn begin_of_organizations(rpc: &Rpc, caller: &Caller, paging: Paging<'_>) -> Result<Self, Error> {
        // No organization id has a space.
        Self::begin_of(rpc, format!("caller {caller}"), "ListOrganizations", paging).await
    }

    async fn begin_of(
        rpc: &Rpc,
        owner: String,
        query: &(impl Debug + ?Sized),
        paging: Paging<'_>,
    ) -> Result<Self, Error> {
        let Paging { size, page_token, at_least_revision } = paging;
        let state = rpc.state()?.clone();
        let query = fingerprint(query);
        if page_token.is_empty() {
            let snapshot = rpc.snapshot(at_least_revision).await?;
            return Ok(Self { state, owner, snapshot, after: Vec::new(), size, query });
        }
        let token: Token = decode(page_token)?;
        let revision = own_revision("page_token", &token.revision, &state.snapshot())?;
        same_list(&token.query, &query)?;
        if !at_least_revision.is_empty() {
            let wanted = own_revision("at_least_revision", at_least_revision, &state.snapshot())?;
            if wanted.sequence > revision.sequence {
                let problem =
                    "is later than the revision that page_token pins; leave it out, or list again from the start";
                return Err(Error::invalid("at_least_revision", &problem));
            }
        }
        let snapshot = state.kept_for_pages(&owner, revision.sequence).ok_or(Error::PageTokenExpired)?;
        Ok(Self { state, owner, snapshot, after: token.after, size, query })
    }

    /// Return the first part of the key of the last item of the page before, or `None` on the first page.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.first().map(String::as_str)
    }

    /// Take a page of `items`, and the token of the next page, which is empty on the last one. The next page begins
    /// after `key` of the last item.
    pub(super) fn take<T>(
        &self,
        mut items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> Vec<String>,
    ) -> (Vec<T>, String) {
        let page: Vec<T> = items.by_ref().take(self.size).collect();
        let more = items.next().is_some();
        let token = match page.last() {
            Some(last) if more => {
                // For a list of organizations, keep all of them.
                let kept = match self.snapshot.organization(&self.owner) {
                    Some(_) => self.snapshot.only(&self.owner),
                    None => Snapshot::clone(&self.snapshot),
                };
                self.state.keep_for_pages(&self.owner, kept);
                let revision = self.snapshot.revision().to_string();
                let token = Token { revision, query: self.query.clone(), after: key(last) };
                encode(&token)
            }
            Some(_) | None => String::new(),
        };
        (page, token)
    }
}

/// Identify a list, so that its tokens aren't used for another list.
fn fingerprint(query: &(impl Debug + ?Sized)) -> String {
    let hash = Sha256::digest(format!("{query:?}"));
    HEXLOWER.encode(hash.get(..8).unwrap_or_default())
}

fn size(page_size: i32) -> Result<usize, Error> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(DEFAULT_SIZE),
        Ok(size) => Ok(size.min(LARGEST_SIZE)),
        Err(_) => {
            let problem = format_args!("must be 0 (for {DEFAULT_SIZE}) or more, but is {page_size}");
            Err(Error::invalid("page_size", &problem))
        }
    }
}

fn same_list(of_token: &str, of_request: &str) -> Result<(), Error> {
    if of_token == of_request {
        return Ok(());
    }
    let problem = "was given for another list; repeat the request with only the token changed";
    Err(Error::invalid("page_token", &problem))
}

fn encode(token: &impl Serialize) -> String {
    // A token is plain data, so it always serializes.
    BASE64URL_NOPAD.encode(&serde_json::to_vec(token).unwrap_or_default())
}

fn decode<T: DeserializeOwned>(page_token: &str) -> Result<T, Error> {
    let bytes = BASE64URL_NOPAD.decode(page_token.as_bytes()).ok();
    let token = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    token.ok_or_else(|| Error::invalid("page_token", &MUST_BE_A_TOKEN))
}
