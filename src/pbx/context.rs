//! The state that all calls share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use super::{
    api::{ApiClient, Failure, QueueInfo},
    config::Config,
    journal::Journal,
    key_locks::KeyLocks,
    queues::{DirtyQueues, KnownQueues},
};
use crate::{
    domain::ids::{OrganizationId, QueueRef},
    telemetry::handler_metrics::HandlerMetrics,
};

/// The number of queues in the cache.
const MAX_CACHED_QUEUES: usize = 10_000;

/// The configuration, the client of queuegate, the journal, and the knowledge of the PBX.
pub(super) struct HandlerContext {
    pub config: Config,
    pub api: ApiClient,
    pub journal: Journal,
    pub key_locks: Arc<KeyLocks>,
    pub dirty_queues: DirtyQueues,
    pub known_queues: KnownQueues,
    pub metrics: HandlerMetrics,
    queue_cache: Mutex<HashMap<(OrganizationId, String), QueueInfo>>,
}

impl HandlerContext {
    /// Create the state at the start of the handler.
    pub(super) fn new(config: Config, api: ApiClient, journal: Journal) -> Self {
        Self {
            config,
            api,
            journal,
            key_locks: Arc::default(),
            dirty_queues: DirtyQueues::default(),
            known_queues: KnownQueues::default(),
            metrics: HandlerMetrics::default(),
            queue_cache: Mutex::default(),
        }
    }

    /// Return the name of a queue on the PBX, or `None` if it can't be derived.
    pub(super) async fn pbx_queue(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Option<String> {
        let (id, extension) = match queue {
            QueueRef::Id(id) => (Some(id.as_str()), None),
            QueueRef::Extension(extension) => (None, Some(extension.digits())),
        };
        if let Some(name) = self.config.queue_name.of(organization, id, extension.as_deref()) {
            return Some(name);
        }
        // The cached id and extension serve while queuegate is unreachable, and after the queue is deleted.
        let info = match self.queue(organization, queue, deadline).await {
            Ok(Some(info)) => Some(info),
            Ok(None) | Err(_) => self.cached_queue(organization, queue),
        }?;
        self.config.queue_name.of(organization, Some(&info.id), info.extension.as_deref())
    }

    /// Return a queue, or `None` if it doesn't exist.
    pub(super) async fn queue(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        deadline: Instant,
    ) -> Result<Option<QueueInfo>, Failure> {
        let found = self.api.queue(organization, queue, deadline).await?;
        if let Some(info) = &found {
            let mut cache = self.queue_cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= MAX_CACHED_QUEUES {
                cache.clear();
            }
            cache.insert((organization.clone(), queue.key()), info.clone());
        }
        Ok(found)
    }

    fn cached_queue(&self, organization: &OrganizationId, queue: &QueueRef) -> Option<QueueInfo> {
        let cache = self.queue_cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&(organization.clone(), queue.key())).cloned()
    }
}
