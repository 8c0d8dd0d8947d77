//! What all calls share: the configuration, the way to queuegate, what is owed to it, and who is at which place.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use super::{
    ask::{Failure, Questions, QueueFacts},
    config::Config,
    debts::Debts,
    manager::{Member, Standing},
    places::{Key, Places},
};
use crate::{
    domain::ids::{Extension, OrganizationId, QueueRef},
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
    pub queues: PbxQueues,
    known: Mutex<HashMap<(OrganizationId, String), QueueFacts>>,
}

impl Desk {
    pub(super) fn new(config: Config, questions: Questions, debts: Debts) -> Self {
        let (places, doubts) = (Arc::default(), Doubts::default());
        Self { config, questions, debts, places, doubts, queues: PbxQueues::default(), known: Mutex::default() }
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

    /// The interface that rings for a session of the user with this extension, if the session names one of theirs.
    /// INVARIANT: a device is what some caller of queuegate wrote. It reaches the PBX only if this handler itself would make
    /// it of one of this user's endpoints, in this organization.
    pub(super) fn interface_of<'s>(
        &self,
        organization: &OrganizationId,
        extension: &Extension,
        session: &'s proto::Session,
    ) -> Option<&'s str> {
        let Config { interface, endpoints, .. } = &self.config;
        let (_, own) = interface.whose(organization, &session.device, endpoints)?;
        (own == *extension).then_some(session.device.as_str())
    }
}

/// What is known of the PBX's queues. It outlives the connection to the PBX.
#[derive(Debug, Default)]
pub(super) struct PbxQueues(Mutex<KnownQueues>);

#[derive(Debug, Default)]
struct KnownQueues {
    /// Queues that queuegate knows, or once knew. Asterisk doesn't tell upper case from lower.
    names: BTreeSet<String>,
    /// Of which of them it was said that the PBX lacks them.
    told: BTreeSet<String>,
    /// Of which interfaces it was said that the PBX lacks them.
    invalid: BTreeSet<String>,
    /// How members stood when they were last seen.
    members: HashMap<Key, Standing>,
}

impl PbxQueues {
    /// Notes that this is a queue of queuegate's.
    pub(super) fn know(&self, pbx_queue: &str) {
        let mut known = self.known();
        if known.names.len() >= MOST_KNOWN {
            known.names.clear();
        }
        known.names.insert(pbx_queue.to_ascii_lowercase());
    }

    /// Whether queuegate knows this queue, or once knew it.
    pub(super) fn is_known(&self, pbx_queue: &str) -> bool {
        self.known().names.contains(&pbx_queue.to_ascii_lowercase())
    }

    /// The known queues that the PBX doesn't have, each told once.
    pub(super) fn missing(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let KnownQueues { names, told, .. } = &mut *self.known();
        told.retain(|queue| !is_there(queue));
        let missing: Vec<String> = names.iter().filter(|queue| !is_there(queue)).cloned().collect();
        missing.into_iter().filter(|queue| told.insert(queue.clone())).collect()
    }

    /// Whether it is to be said that the PBX lacks a phone: once for each.
    pub(super) fn tell_invalid(&self, interface: &str) -> bool {
        let mut known = self.known();
        known.invalid.len() < MOST_KNOWN && known.invalid.insert(interface.to_owned())
    }

    /// Notes how members stand, so that a member that is added again stands as before.
    pub(super) fn seen(&self, pbx_queue: &str, members: &[Member]) {
        let mut known = self.known();
        for member in members {
            known.members.insert(Key::new(pbx_queue, &member.interface), member.standing.clone());
        }
    }

    /// How a member stood when it was last seen.
    pub(super) fn standing(&self, key: &Key) -> Standing {
        self.known().members.get(key).cloned().unwrap_or_default()
    }

    /// Forgets how members of a queue stood who are not wanted: they signed out, and begin anew.
    pub(super) fn forget_members(&self, pbx_queue: &str, is_wanted: impl Fn(&Key) -> bool) {
        let queue = pbx_queue.to_ascii_lowercase();
        self.known().members.retain(|key, _| key.queue != queue || is_wanted(key));
    }

    fn known(&self) -> MutexGuard<'_, KnownQueues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Doubts {
    pub(super) fn about(&self, pbx_queue: &str) {
        self.mark(|marked| marked.queues.extend([pbx_queue.to_owned()]));
    }

    pub(super) fn about_all(&self) {
        self.mark(|marked| marked.all = true);
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
