//! Permits for expensive work: their total is limited, and each owner (a caller, an organization) may hold a limited
//! share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The most exports and verifications in flight.
pub(super) const MAX_LONG_READS: usize = 8;

/// The permits for one kind of work.
#[derive(Clone)]
pub(super) struct Permits(Arc<Pool>);

struct Pool {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_owner: HashMap<String, usize>,
}

/// A permit. Its drop returns it.
pub(super) struct Permit {
    pool: Arc<Pool>,
    owners: Vec<String>,
}

/// The reason why there is no permit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// All permits are held.
    All,
    /// The owner of this index holds its full share.
    Share(usize),
}

impl Permits {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Pool { most, held: Mutex::default() }))
    }

    /// Take a permit for all of these owners, each with the most permits that it may hold. Fails if the pool is empty, or
    /// if an owner already holds that many.
    pub(super) fn take(&self, owners: &[(String, usize)]) -> Result<Permit, Refused> {
        let mut held = self.0.held();
        if held.all >= self.0.most {
            return Err(Refused::All);
        }
        let is_over = |(owner, most): &(String, usize)| held.by_owner.get(owner).is_some_and(|held| held >= most);
        if let Some(index) = owners.iter().position(is_over) {
            return Err(Refused::Share(index));
        }
        held.all += 1;
        let owners: Vec<String> = owners.iter().map(|(owner, _)| owner.clone()).collect();
        for owner in &owners {
            *held.by_owner.entry(owner.clone()).or_default() += 1;
        }
        Ok(Permit { pool: Arc::clone(&self.0), owners })
    }
}

impl Pool {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.pool.held();
        held.all -= 1;
        for owner in &self.owners {
            if let Some(count) = held.by_owner.get_mut(owner) {
                *count -= 1;
            }
        }
        held.by_owner.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_holds_at_most_its_share_and_leaves_the_others_theirs() {
        let permits = Permits::new(5);
        let take = |caller: &str, organization: &str| {
            permits.take(&[(format!("caller {caller}"), 2), (organization.to_owned(), 1)])
        };
        let acme = take("pbx", "acme").unwrap();
        assert_eq!(take("other", "acme").err(), Some(Refused::Share(1)));
        let _globex = take("pbx", "globex").unwrap();
        assert_eq!(take("pbx", "initech").err(), Some(Refused::Share(0)));
        drop(acme);
        let _acme = take("other", "acme").unwrap();
        let _more = ["a", "b", "c"].map(|name| take(name, name).unwrap());
        assert_eq!(take("d", "d").err(), Some(Refused::All));
        drop(_more);
        assert!(take("d", "d").is_ok());
        assert_eq!(permits.0.held().by_owner.len(), 4, "an owner without permits is forgotten");
    }
}
