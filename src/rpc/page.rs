//! Pages of a list. INVARIANT: the pages of one list come from one snapshot, so nothing is missing or repeated; when that
//! snapshot isn't kept any more, the next page is an error and not a guess.

use std::{fmt::Debug, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Rpc, own_revision, status::Error};
use crate::{domain::snapshot::Snapshot, state::State};

const DEFAULT_SIZE: usize = 100;
const LARGEST_SIZE: usize = 1_000;

/// What the paging fields of a list request say.
pub(super) struct Paging<'r> {
    pub page_size: i32,
    pub page_token: &'r str,
    pub at_least_revision: &'r str,
}

/// One page that is being put together.
pub(super) struct Page {
    state: State,
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

impl Page {
    /// Begins a page of the list that `query` (the rpc and its filters) stands for.
    pub(super) async fn begin(rpc: &Rpc, query: &(impl Debug + ?Sized), paging: Paging<'_>) -> Result<Self, Error> {
        let Paging { page_size, page_token, at_least_revision } = paging;
        let size = match usize::try_from(page_size) {
            Ok(0) => DEFAULT_SIZE,
            Ok(size) if size <= LARGEST_SIZE => size,
            Ok(_) | Err(_) => {
                let problem = format_args!("must be from 0 to {LARGEST_SIZE}, but is {page_size}");
                return Err(Error::invalid("page_size", &problem));
            }
        };
        let state = rpc.state()?.clone();
        let query = fingerprint(query);
        if page_token.is_empty() {
            let snapshot = rpc.snapshot(at_least_revision).await?;
            return Ok(Self { state, snapshot, after: Vec::new(), size, query });
        }
        let wrong = |problem: &str| Error::invalid("page_token", &problem);
        let bytes = URL_SAFE_NO_PAD.decode(page_token);
        let token = bytes.ok().and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
        let token = token.ok_or_else(|| wrong("must be the next_page_token of the page before"))?;
        let revision = own_revision("page_token", &token.revision, &state.snapshot())?;
        if token.query != query {
            return Err(wrong("was given for another list; repeat the request with only the token changed"));
        }
        if !at_least_revision.is_empty() {
            let wanted = own_revision("at_least_revision", at_least_revision, &state.snapshot())?;
            if wanted.sequence > revision.sequence {
                let problem = "is later than the revision that page_token pins; leave it out, or list anew";
                return Err(Error::invalid("at_least_revision", &problem));
            }
        }
        let snapshot = state.pinned(revision.sequence).ok_or(Error::PageTokenExpired)?;
        Ok(Self { state, snapshot, after: token.after, size, query })
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
                self.state.pin(&self.snapshot);
                let revision = self.snapshot.revision().to_string();
                let token = Token { revision, query: self.query.clone(), after: key(last) };
                // A token is plain data, which always serializes.
                URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
            }
            Some(_) | None => String::new(),
        };
        (page, token)
    }
}

/// Tells lists apart, so that a token isn't used for another one.
fn fingerprint(query: &(impl Debug + ?Sized)) -> String {
    let hash = Sha256::digest(format!("{query:?}"));
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
