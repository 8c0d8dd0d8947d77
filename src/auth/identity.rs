//! The identity of an authenticated caller, and its rights.

use std::{collections::BTreeSet, fmt::Display, sync::Arc};

use tokio::sync::watch;

use crate::domain::{
    ids::{Caller, OrganizationId, UserId},
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
    acts_for: ActsFor,
    /// Turns true once the credentials are revoked or expired.
    ended: watch::Sender<bool>,
}

/// The users on whose behalf a caller may act: as a supervisor, as the user of a sign-in, or as the acting user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActsFor {
    /// Any user that a request names by id or by extension.
    Anybody,
    /// This user alone, named by id.
    User(UserId),
    /// Nobody: the caller only reads.
    Nobody,
}

impl Identity {
    pub(super) fn new(
        caller: Caller,
        scopes: BTreeSet<Scope>,
        organizations: Option<BTreeSet<OrganizationId>>,
        expires: Option<Timestamp>,
    ) -> Self {
        Self::bound(caller, scopes, organizations, expires, ActsFor::Anybody)
    }

    fn bound(
        caller: Caller,
        scopes: BTreeSet<Scope>,
        organizations: Option<BTreeSet<OrganizationId>>,
        expires: Option<Timestamp>,
        acts_for: ActsFor,
    ) -> Self {
        let ended = watch::Sender::new(false);
        Self(Arc::new(Credentials { caller, scopes, organizations, expires, acts_for, ended }))
    }

    /// A person in the console. Has every scope but [`Scope::Admin`], in one organization, and acts as this user alone.
    pub fn of_person(organization_id: OrganizationId, user_id: UserId) -> Self {
        let scopes = Scope::ALL.iter().copied().filter(|scope| *scope != Scope::Admin).collect();
        let caller = Caller::in_console(&user_id);
        Self::bound(caller, scopes, Some(BTreeSet::from([organization_id])), None, ActsFor::User(user_id))
    }

    /// The console itself, which only reads. `None`: all organizations.
    pub fn of_console(organization_id: Option<OrganizationId>) -> Self {
        let scopes = BTreeSet::from([Scope::Check, Scope::Settings, Scope::Directory, Scope::Audit]);
        let organizations = organization_id.map(|id| BTreeSet::from([id]));
        Self::bound(Caller::console(), scopes, organizations, None, ActsFor::Nobody)
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

    /// The users on whose behalf the caller may act.
    pub fn acts_for(&self) -> &ActsFor {
        &self.0.acts_for
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

    /// End the identity, and with it its streams and later calls.
    pub fn end(&self) {
        self.0.ended.send_replace(true);
    }

    /// Whether the identity has ended.
    pub fn has_ended(&self) -> bool {
        *self.0.ended.borrow()
    }

    /// Complete when the credentials are revoked or expire, to end streams.
    pub async fn ended(&self) {
        // The sender lives as long as `self`, so waiting never fails.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
