//! What all calls share: the configuration, the way to queuegate, what is owed to it, and who is at which place.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    ask::{Failure, Questions, QueueFacts},
    config::Config,
    debts::Debts,
    names::Interface,
    places::Places,
};
use crate::{
    domain::ids::{OrganizationId, QueueRef},
    rpc::proto,
};

/// How many queues' names are remembered.
const MOST_KNOWN: usize = 10_000;

pub(super) struct Desk {
    pub config: Config,
    pub questions: Questions,
    pub debts: Debts,
    pub places: Arc<Places>,
    pub doubts: Doubts,
    known: Mutex<HashMap<(OrganizationId, String), QueueFacts>>,
}

impl Desk {
    pub(super) fn new(config: Config, questions: Questions, debts: Debts) -> Self {
        let (places, doubts) = (Arc::default(), Doubts::default());
        Self { config, questions, debts, places, doubts, known: Mutex::default() }
    }

    /// What the PBX calls a queue; none if nobody knows.
    pub(super) async fn pbx_queue(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        by: Instant,
    ) -> Option<String> {
        let (id, extension) = match queue {
            QueueRef::Id(id) => (Some(id.as_str()), None),
            QueueRef::Extension(extension) => (None, Some(extension.digits())),
        };
        if let Some(name) = self.config.queue_name.of(organization, id, extension.as_deref()) {
            return Some(name);
        }
        // What it was called when it was last heard of will do while nobody can be asked, or once it is gone.
        let facts = match self.queue(organization, queue, by).await {
            Ok(Some(facts)) => Some(facts),
            Ok(None) | Err(_) => self.remembered(organization, queue),
        }?;
        self.config.queue_name.of(organization, Some(&facts.id), facts.extension.as_deref())
    }

    /// What a queue is.
    pub(super) async fn queue(
        &self,
        organization: &OrganizationId,
        queue: &QueueRef,
        by: Instant,
    ) -> Result<Option<QueueFacts>, Failure> {
        let found = self.questions.queue(organization, queue, by).await?;
        if let Some(facts) = &found {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert((organization.clone(), queue.key()), facts.clone());
        }
        Ok(found)
    }

    fn remembered(&self, organization: &OrganizationId, queue: &QueueRef) -> Option<QueueFacts> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(organization.clone(), queue.key())).cloned()
    }

    /// The interface that rings for a session, if the session says so.
    pub(super) fn interface_of<'s>(&self, session: &'s proto::Session) -> Option<&'s str> {
        let interface: &Interface = &self.config.interface;
        interface.is_one(&session.device).then_some(session.device.as_str())
    }
}

/// The PBX's queues whose members may not be in line with the sessions.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    marked: Mutex<Marked>,
    news: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Marked {
    /// All of them.
    pub all: bool,
    pub queues: BTreeSet<String>,
    /// Members of queues that queuegate doesn't know any more: a queue's name and an interface.
    pub left_over: BTreeSet<(String, String)>,
}

impl Doubts {
    pub(super) fn about(&self, pbx_queue: &str) {
        self.mark(|marked| marked.queues.extend([pbx_queue.to_owned()]));
    }

    pub(super) fn about_all(&self) {
        self.mark(|marked| marked.all = true);
    }

    pub(super) fn about_left_over(&self, pbx_queue: &str, interface: &str) {
        self.mark(|marked| marked.left_over.extend([(pbx_queue.to_owned(), interface.to_owned())]));
    }

    fn mark(&self, mark: impl FnOnce(&mut Marked)) {
        mark(&mut self.marked.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_one();
    }

    /// What there is doubt about, which from here on there isn't.
    pub(super) fn take(&self) -> Marked {
        std::mem::take(&mut self.marked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for a doubt.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}
