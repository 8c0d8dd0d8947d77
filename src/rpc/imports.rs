//! The permits for imports, which bound the memory that imports take.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    error::Error,
    permits::{Permit, Permits, Refused},
};
use crate::{auth::Identity, domain::ids::OrganizationId};

/// The most imports in flight.
const MAX_IMPORTS: usize = 8;

/// The most imports of one caller. An organization has one at a time.
const IMPORTS_OF_CALLER: usize = 4;

/// The most documents that are planned at once: each is in memory several times over.
const MAX_PLANS: usize = 2;

/// The limits of imports in flight and of plans.
#[derive(Clone)]
pub(super) struct Imports {
    /// Permits for imports, from their first message to the end of their change.
    in_flight: Permits,
    /// Permits to read and plan documents.
    pub(super) plans: Arc<Semaphore>,
}

impl Imports {
    pub(super) fn new() -> Self {
        Self { in_flight: Permits::new(MAX_IMPORTS), plans: Arc::new(Semaphore::new(MAX_PLANS)) }
    }

    pub(super) fn permit(&self, caller: &Identity, organization_id: &OrganizationId) -> Result<Permit, Error> {
        // No organization id has a space.
        let of_caller = (format!("caller {}", caller.caller()), IMPORTS_OF_CALLER);
        self.in_flight.take(&[of_caller, (organization_id.to_string(), 1)]).map_err(|refused| match refused {
            Refused::All => Error::TooManyImports,
            Refused::Share(0) => Error::ImportInFlight("you have as many imports in flight as a caller may have"),
            Refused::Share(_) => Error::ImportInFlight("an import of this organization is in flight"),
        })
    }
}
