//! A caller who has said who they are, and what they may do.

use std::{collections::BTreeSet, fmt::Display};

use tokio::sync::watch;

use crate::domain::{
    ids::{Caller, OrganizationId},
    model::named_enum,
    time::Timestamp,
};

named_enum!(
    /// What a caller may ask for (`SEMANTICS.md` section 5.1).
    Scope, "check, sign-in, supervise, settings, directory, audit or admin" {
        /// Decisions, permission checks, lists, sessions.
        Check = "check",
        /// SignIn and SignOut.
        SignIn = "sign-in",
        /// SupervisorSignIn and SupervisorSignOut.
        Supervise = "supervise",
        /// Permission settings.
        Settings = "settings",
        /// Users, queues, roles, organizations.
        Directory = "directory",
        /// What was done and refused.
        Audit = "audit",
        /// Everything.
        Admin = "admin",
    }
);

/// A caller, as a token or a certificate says.
#[derive(Debug)]
pub struct Identity {
    caller: Caller,
    scopes: BTreeSet<Scope>,
    /// None: all of them.
    organizations: Option<BTreeSet<OrganizationId>>,
    expires: Option<Timestamp>,
    /// Turns true once these credentials are good for nothing any more.
    ended: watch::Sender<bool>,
}

impl Identity {
    pub(super) fn new(
        caller: Caller,
        scopes: BTreeSet<Scope>,
        organizations: Option<BTreeSet<OrganizationId>>,
        expires: Option<Timestamp>,
    ) -> Self {
        Self { caller, scopes, organizations, expires, ended: watch::Sender::new(false) }
    }

    /// Somebody at a network address, where nobody needs credentials: they may do everything.
    pub fn anyone_at(address: impl Display) -> Self {
        Self::new(Caller::at_address(address), BTreeSet::from([Scope::Admin]), None, None)
    }

    /// The name under which what they do is recorded.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether they hold a scope, or [`Scope::Admin`], which is all of them.
    pub fn holds(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether they may use an organization, whether or not it exists.
    pub fn may_use(&self, organization_id: &OrganizationId) -> bool {
        self.organizations.as_ref().is_none_or(|organizations| organizations.contains(organization_id))
    }

    /// Whether they may use every organization, those included that don't exist yet.
    pub fn may_use_all(&self) -> bool {
        self.organizations.is_none()
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Completes when the credentials were revoked or have expired, for the sake of calls that go on and on.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so waiting doesn't fail.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
