//! A caller who has said who they are, and what they may do.

use std::{collections::BTreeSet, fmt::Display, sync::Arc};

use tokio::sync::watch;

use crate::domain::{
    ids::{Caller, OrganizationId},
    named_enum::named_enum,
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

/// A caller, as a token or a certificate says. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Credentials>);

#[derive(Debug)]
struct Credentials {
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
        Self(Arc::new(Credentials { caller, scopes, organizations, expires, ended: watch::Sender::new(false) }))
    }

    /// Somebody at a network address, where nobody needs credentials: they may do everything.
    pub fn anyone_at(address: impl Display) -> Self {
        Self::new(Caller::at_address(address), BTreeSet::from([Scope::Admin]), None, None)
    }

    /// The name under which what they do is recorded.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// Whether they hold a scope, or [`Scope::Admin`], which is all of them.
    pub fn holds(&self, scope: Scope) -> bool {
        self.0.scopes.contains(&scope) || self.0.scopes.contains(&Scope::Admin)
    }

    /// Whether they may use an organization, whether or not it exists.
    pub fn may_use(&self, organization_id: &OrganizationId) -> bool {
        self.0.organizations.as_ref().is_none_or(|organizations| organizations.contains(organization_id))
    }

    /// Whether they may use every organization, those included that don't exist yet.
    pub fn may_use_all(&self) -> bool {
        self.0.organizations.is_none()
    }

    /// Whether it ever does.
    pub(super) fn expires(&self) -> bool {
        self.0.expires.is_some()
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.0.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether it is the same, and not only alike.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn end(&self) {
        self.0.ended.send_replace(true);
    }

    /// Completes when the credentials were revoked or have expired, for the sake of calls that go on and on.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so waiting doesn't fail.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
