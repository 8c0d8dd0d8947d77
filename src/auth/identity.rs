//! The identity of an authenticated caller, and its rights.

use std::{collections::BTreeSet, fmt::Display, sync::Arc};

use tokio::sync::watch;

use crate::domain::{
    ids::{Caller, OrganizationId},
    named_enum::named_enum,
    time::Timestamp,
};

named_enum!(
    /// A right of a caller (`docs/semantics.md` section 5.1).
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
        /// The audit log.
        Audit = "audit",
        /// Everything.
        Admin = "admin",
    }
);

/// A caller, identified by a token or a certificate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<Credentials>);

#[derive(Debug)]
struct Credentials {
    caller: Caller,
    scopes: BTreeSet<Scope>,
    /// `None`: all organizations.
    organizations: Option<BTreeSet<OrganizationId>>,
    expires: Option<Timestamp>,
    /// Turns true once the credentials are revoked or expired.
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

    /// A caller at a network address, on a server without credentials. Has all rights.
    pub fn anyone_at(address: impl Display) -> Self {
        Self::new(Caller::at_address(address), BTreeSet::from([Scope::Admin]), None, None)
    }

    /// The caller's name in the audit log.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// Whether the caller holds a scope, or [`Scope::Admin`], which includes all.
    pub fn holds(&self, scope: Scope) -> bool {
        self.0.scopes.contains(&scope) || self.0.scopes.contains(&Scope::Admin)
    }

    /// Whether the caller may use an organization, which may not exist.
    pub fn may_use(&self, organization_id: &OrganizationId) -> bool {
        self.0.organizations.as_ref().is_none_or(|organizations| organizations.contains(organization_id))
    }

    /// Whether the caller may use every organization, including future ones.
    pub fn may_use_all(&self) -> bool {
        self.0.organizations.is_none()
    }

    /// Whether the credentials ever expire.
    pub(super) fn expires(&self) -> bool {
        self.0.expires.is_some()
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.0.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether both are the same identity, not only equal ones.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn end(&self) {
        self.0.ended.send_replace(true);
    }

    /// Complete when the credentials are revoked or expire, to end streams.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so waiting never fails.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
