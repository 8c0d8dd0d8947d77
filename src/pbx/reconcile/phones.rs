//! The phones that ring for the sessions of a queue.
//!
//! INVARIANT: an interface is derived from the user's present extension. A session's device only chooses among that
//! user's interfaces.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use crate::{
    domain::ids::{Extension, OrganizationId, QueueRef},
    pbx::{
        api::{ApiClient, Failure},
        config::Config,
        key_locks::MemberKey,
        names::MemberProfile,
    },
    rpc::proto,
};

/// The time limit of a request to queuegate.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of users whose extensions are cached.
const MAX_CACHED_EXTENSIONS: usize = 100_000;

/// The users with a session on a queue.
#[derive(Debug, Default)]
pub(crate) struct SignedIn {
    /// The phones that ring at this PBX, by member.
    pub phones: BTreeMap<MemberKey, RingingPhone>,
    /// The extensions of the users.
    pub extensions: BTreeSet<Extension>,
}

/// A phone that rings for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RingingPhone {
    pub interface: String,
    pub profile: MemberProfile,
}

/// Finds the phones of sessions. It caches the extensions of users.
#[derive(Debug, Default)]
pub(crate) struct SessionPhones {
    /// By organization and user id.
    extensions: HashMap<(OrganizationId, String), Option<Extension>>,
}

impl SessionPhones {
    /// Forget the extensions, because they may have changed.
    pub(crate) fn forget(&mut self) {
        self.extensions.clear();
    }

    /// Return the phones that ring for the sessions of a queue.
    pub(crate) async fn of_queue(
        &mut self,
        config: &Config,
        api: &ApiClient,
        (organization, queue, pbx_queue): (&OrganizationId, &QueueRef, &str),
    ) -> Result<SignedIn, Failure> {
        let mut signed_in = SignedIn::default();
        for session in &api.sessions(organization, queue, Instant::now() + REQUEST_TIMEOUT).await? {
            let Some(extension) = self.extension(api, organization, session).await? else {
                let (user, queue) = (&session.user_id, &session.queue_id);
                warn!(%organization, user, queue, "a session has no phone, because its user has no extension");
                continue;
            };
            signed_in.extensions.insert(extension);
            if config.rings_elsewhere(extension, session) {
                continue;
            }
            if let Some(interface) = interface_of(config, organization, extension, session) {
                let key = MemberKey::new(pbx_queue, &interface);
                signed_in.phones.insert(key, RingingPhone { interface, profile: MemberProfile::of(session) });
            }
        }
        Ok(signed_in)
    }

    /// Return the present extension of a session's user, or `None` if the user has none.
    async fn extension(
        &mut self,
        api: &ApiClient,
        organization: &OrganizationId,
        session: &proto::Session,
    ) -> Result<Option<Extension>, Failure> {
        let user = (organization.clone(), session.user_id.clone());
        if let Some(extension) = self.extensions.get(&user) {
            return Ok(*extension);
        }
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let found = api.extension(organization, &session.user_id, &session.queue_id, deadline).await?;
        if self.extensions.len() >= MAX_CACHED_EXTENSIONS {
            self.extensions.clear();
        }
        self.extensions.insert(user, found);
        Ok(found)
    }
}

/// Return the interface that rings for a session: the session's device if it is the user's, and otherwise the interface
/// of the user's first endpoint.
fn interface_of(
    config: &Config,
    organization: &OrganizationId,
    extension: Extension,
    session: &proto::Session,
) -> Option<String> {
    if let Some(interface) = config.interface_of_session(organization, extension, &session.device) {
        return Some(interface.to_owned());
    }
    let Config { interface, endpoints, .. } = config;
    interface.of(organization, &endpoints.endpoint(organization, &extension), &extension)
}
