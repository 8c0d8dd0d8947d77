//! Pages of a list. INVARIANT: the pages of one list come from one revision, so nothing is missing or repeated; when that
//! isn't kept any more, the next page is an error and not a guess.

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

/// What the paging fields of a list request say.
pub(super) struct Paging<'r> {
    size: usize,
    page_token: &'r str,
    at_least_revision: &'r str,
}

impl<'r> Paging<'r> {
    /// Reads the paging fields. A size over the maximum is brought down to it.
    pub(super) fn read(page_size: i32, page_token: &'r str, at_least_revision: &'r str) -> Result<Self, Error> {
        let (size, ()) = all((size(page_size), from_proto::at_least(at_least_revision)))?;
        Ok(Self { size, page_token, at_least_revision })
    }
}

/// One page that is being put together.
pub(super) struct Page {
    state: State,
    /// Of whom the list is: an organization, or a caller who lists organizations.
    pub owner: String,
    pub snapshot: Arc<Snapshot>,
    /// The key of the last item of the page before; empty on the first.
    pub after: Vec<String>,
    size: usize,
    query: String,
}

/// What a page token says.
#[derive(Serialize, Deserialize)]
struct Token {
    revision: String,
    query: String,
    after: Vec<String>,
}

/// What the token of a page of the audit log says. The log only grows at its end, so no state needs to be kept for it.
#[derive(Serialize, Deserialize)]
struct LogToken {
    revision: String,
    query: String,
    before: Sequence,
    cut: Sequence,
    names: Names,
}

/// Whom and what the names in a request stood for when its first page was made.
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
    /// Only events after this one: the others were cut off.
    pub cut: Sequence,
    query: String,
}

impl LogPage {
    /// Begins a page of the list that `query` stands for. `names` reads the request's names on the first page.
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

    /// The token for the page after this one, which ended with `last`.
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
    /// Begins a page of a list of an organization. `query` (the rpc and its filters) tells the list from others.
    pub(super) async fn begin(
        rpc: &Rpc,
        organization_id: &OrganizationId,
        query: &(impl Debug + ?Sized),
        paging: Paging<'_>,
    ) -> Result<Self, Error> {
        Self::begin_of(rpc, organization_id.to_string(), &(organization_id, query), paging).await
    }

    /// Begins a page of the list of organizations, as one caller sees it.
    pub(super) async fn begin_of_organizations(rpc: &Rpc, caller: &Caller, paging: Paging<'_>) -> Result<Self, Error> {
        // No organization has a name with a space.
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
                let problem = "is later than the revision that page_token pins; leave it out, or list anew";
                return Err(Error::invalid("at_least_revision", &problem));
            }
        }
        let snapshot = state.kept_for_pages(&owner, revision.sequence).ok_or(Error::PageTokenExpired)?;
        Ok(Self { state, owner, snapshot, after: token.after, size, query })
    }

    /// The first part of the key of the last item of the page before.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.first().map(String::as_str)
    }

    /// Takes a page of `items`, and the token for the next if there are more. `key` is what the next page begins after.
    pub(super) fn take<T>(
        &self,
        mut items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> Vec<String>,
    ) -> (Vec<T>, String) {
        let page: Vec<T> = items.by_ref().take(self.size).collect();
        let more = items.next().is_some();
        let token = match page.last() {
            Some(last) if more => {
                // Of a list of organizations all of them are kept.
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

/// Tells lists apart, so that a token isn't used for another one.
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
    // A token is plain data, which always serializes.
    BASE64URL_NOPAD.encode(&serde_json::to_vec(token).unwrap_or_default())
}

fn decode<T: DeserializeOwned>(page_token: &str) -> Result<T, Error> {
    let bytes = BASE64URL_NOPAD.decode(page_token.as_bytes()).ok();
    let token = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    token.ok_or_else(|| Error::invalid("page_token", &MUST_BE_A_TOKEN))
}
