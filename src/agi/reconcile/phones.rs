//! The phones that ring for the sessions of a queue.
//!
//! INVARIANT: an interface is derived from the user's present extension. A session's device only chooses among that
//! user's interfaces.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;
use tracing::warn;

use crate::{
    agi::{
        api::{ApiClient, Failure},
        config::Config,
        key_locks::MemberKey,
    },
    domain::ids::{Extension, OrganizationId, QueueRef},
    rpc::proto,
};

/// The time limit of a request to queuegate.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of users whose extensions are cached.
const MAX_CACHED_EXTENSIONS: usize = 100_000;

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

    /// Return the interfaces that ring for the sessions of a queue, by member.
    pub(crate) async fn of_queue(
        &mut self,
        config: &Config,
        api: &ApiClient,
        (organization, queue, pbx_queue): (&OrganizationId, &QueueRef, &str),
    ) -> Result<BTreeMap<MemberKey, String>, Failure> {
        let mut with_session = BTreeMap::new();
        for session in &api.sessions(organization, queue, Instant::now() + REQUEST_TIMEOUT).await? {
            if let Some(interface) = self.interface_of(config, api, organization, session).await? {
                with_session.insert(MemberKey::new(pbx_queue, &interface), interface);
            }
        }
        Ok(with_session)
    }

    /// Return the interface that rings for a session: the session's device if it is the user's, and otherwise the
    /// interface of the user's first endpoint.
    async fn interface_of(
        &mut self,
        config: &Config,
        api: &ApiClient,
        organization: &OrganizationId,
        session: &proto::Session,
    ) -> Result<Option<String>, Failure> {
        let Some(extension) = self.extension(api, organization, session).await? else {
            let (user, queue) = (&session.user_id, &session.queue_id);
            warn!(%organization, user, queue, "a session has no phone, because its user has no extension");
            return Ok(None);
        };
        if let Some(interface) = config.own_interface(organization, extension, &session.device) {
            return Ok(Some(interface.to_owned()));
        }
        let Config { interface, endpoints, .. } = config;
        Ok(interface.of(organization, &endpoints.endpoint(organization, &extension), &extension))
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
