//! Keeps the PBX's dynamic members in line with the sessions: a phone rings when and only when there is a session.
//!
//! Nothing is kept in step by counting events. Whatever happens on either side only raises a doubt about a queue, and for each
//! doubt both sides are read and compared. INVARIANT: members are read before sessions, and whoever dials has a session before
//! a member; so a member without a session is one that nobody will get a session for. Members that are written down in
//! `queues.conf` are left alone, and so are queues that queuegate never knew. A queue that it knew and doesn't any more (its
//! extension or its kind has changed, or it is gone) has no sessions, so the phones that this handler rings are taken out of it.
//!
//! INVARIANT: a phone is derived from the user's extension as it is now, never taken from a session as it was written.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use tracing::{debug, info, warn};

use super::{
    ask::Failure,
    config::{Config, Manager},
    debts::What,
    desk::{Desk, Marked},
    manager::{Connection, Error, Member},
    places::{Key, Moment},
};
use crate::{
    domain::ids::{Extension, OrganizationId, QueueRef},
    rpc::proto::{self, WatchSessionsType},
};

/// How long queuegate may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long is waited before the next try, and how long at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// For how many users it is remembered what their extension is, until everything is compared again.
const MOST_KNOWN: usize = 100_000;

/// Why a comparison broke off.
enum Broken {
    Pbx(Error),
    Queuegate(Failure),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Pbx(error)
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Queuegate(failure)
    }
}

/// Keeps members in line, for ever.
pub(super) async fn run(desk: Arc<Desk>, manager: Manager) {
    let mut watches = JoinSet::new();
    for organization in &manager.organizations {
        watches.spawn(watch(Arc::clone(&desk), organization.clone()));
    }
    let mut pause = PAUSES.0;
    loop {
        match Connection::open(&manager).await {
            Ok(pbx) => {
                info!(address = %manager.address, "members are kept in line with sessions");
                pause = PAUSES.0;
                let mut keeper =
                    Keeper { desk: &desk, manager: &manager, pbx, extensions: HashMap::new(), is_blind: false };
                let Err(error) = keeper.keep().await;
                warn!(%error, "the connection to the PBX's manager broke");
            }
            Err(error) => warn!(%error, address = %manager.address, "the PBX's manager can't be reached"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// Raises doubts as sessions begin and end.
async fn watch(desk: Arc<Desk>, organization: OrganizationId) {
    let mut pause = PAUSES.0;
    loop {
        let request = proto::WatchSessionsRequest { organization_id: organization.to_string(), ..Default::default() };
        let begun = desk.questions.0.clone().watch_sessions(request).await;
        let mut queues = BTreeSet::new();
        let ended = match begun {
            Err(status) => status,
            Ok(messages) => {
                let mut messages = messages.into_inner();
                loop {
                    match messages.message().await {
                        Ok(Some(message)) => {
                            pause = PAUSES.0;
                            heed(&desk, &organization, &mut queues, message).await;
                        }
                        Ok(None) => break tonic::Status::unavailable("the watch ended"),
                        Err(status) => break status,
                    }
                }
            }
        };
        if ended.code() == tonic::Code::NotFound {
            warn!(%organization, error = ended.message(), "nobody of this organization rings: queuegate has no such organization");
        } else {
            debug!(%organization, error = ended.message(), "the watch of sessions broke off");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn heed(
    desk: &Desk,
    organization: &OrganizationId,
    queues: &mut BTreeSet<String>,
    message: proto::WatchSessionsResponse,
) {
    let kind = message.r#type();
    let Some(session) = message.session else {
        if kind == WatchSessionsType::Checkpoint {
            desk.doubts.about_all();
        }
        return;
    };
    let Ok(queue) = session.queue_id.parse().map(QueueRef::Id) else { return };
    let is_new = queues.insert(session.queue_id.clone());
    if kind == WatchSessionsType::Initial && !is_new {
        return;
    }
    // Asked of each queue while it is there, so its name is known when it isn't any more.
    let Some(pbx_queue) = desk.pbx_queue(organization, &queue, Instant::now() + PATIENCE).await else { return };
    desk.queues.know(&pbx_queue);
    if kind != WatchSessionsType::Initial {
        desk.doubts.about(&pbx_queue);
    }
}

struct Keeper<'k> {
    desk: &'k Desk,
    manager: &'k Manager,
    pbx: Connection,
    /// The extensions of users, by organization and user id, as they were when everything was last compared.
    extensions: HashMap<(OrganizationId, String), Option<Extension>>,
    /// Whether queuegate could not be asked the last time.
    is_blind: bool,
}

impl Keeper<'_> {
    /// Compares whatever there is doubt about, until the PBX is gone.
    async fn keep(&mut self) -> Result<std::convert::Infallible, Error> {
        self.desk.doubts.about_all();
        let mut next = Instant::now() + self.manager.interval;
        loop {
            let Marked { all, queues } = self.desk.doubts.take();
            match self.compare(all, &queues).await {
                Ok(()) => {
                    if std::mem::take(&mut self.is_blind) {
                        info!("queuegate says again who is signed in; members are in line");
                    }
                }
                Err(Broken::Pbx(error)) => return Err(error),
                Err(Broken::Queuegate(failure)) => {
                    let why = failure.why();
                    if !std::mem::replace(&mut self.is_blind, true) {
                        warn!(
                            reason = why.reason,
                            error = why.text,
                            "queuegate can't be asked who is signed in; members stay as they are"
                        );
                    }
                    // Its watch comes back with a doubt about everything, but may not have noticed.
                    queues.iter().for_each(|queue| self.desk.doubts.about(queue));
                    if all {
                        self.desk.doubts.about_all();
                    }
                    tokio::time::sleep(PAUSES.0).await;
                    continue;
                }
            }
            tokio::select! {
                touched = self.pbx.touched() => touched?.iter().for_each(|queue| self.desk.doubts.about(queue)),
                () = self.desk.doubts.news() => {}
                () = tokio::time::sleep_until(next) => {
                    next = Instant::now() + self.manager.interval;
                    self.desk.doubts.about_all();
                }
            }
        }
    }

    async fn compare(&mut self, all: bool, queues: &BTreeSet<String>) -> Result<(), Broken> {
        if all {
            // The change that raised the doubt may be of a user's extension.
            self.extensions.clear();
            let moment = self.desk.places.now();
            let found = self.pbx.members(None).await?;
            for queue in self.desk.queues.missing(|queue| found.keys().any(|name| name.eq_ignore_ascii_case(queue))) {
                warn!(queue, "there are sessions of a queue that the PBX doesn't have; add it to queues.conf");
            }
            for (queue, members) in found {
                self.compare_queue(&queue, &members, moment).await?;
            }
            return Ok(());
        }
        for queue in queues {
            let moment = self.desk.places.now();
            for (queue, members) in self.pbx.members(Some(queue)).await? {
                self.compare_queue(&queue, &members, moment).await?;
            }
        }
        Ok(())
    }

    /// Compares the members of one queue, read after `moment`, with the sessions.
    async fn compare_queue(&mut self, pbx_queue: &str, members: &[Member], moment: Moment) -> Result<(), Broken> {
        for organization in &self.manager.organizations {
            let Some(queue) = self.desk.config.queue_name.queue(organization, pbx_queue) else { continue };
            let by = Instant::now() + PATIENCE;
            let facts = match self.desk.queue(organization, &queue, by).await {
                Ok(found) => found.filter(|facts| facts.kind == proto::QueueKind::CallQueue),
                Err(failure) if failure.is_final() => None,
                Err(failure) => return Err(failure.into()),
            };
            let Config { interface, endpoints, .. } = &self.desk.config;
            let members: Vec<Member> = match &facts {
                Some(_) => members.to_vec(),
                None if !self.desk.queues.is_known(pbx_queue) => continue,
                // Of a queue that isn't one any more only the phones that this handler rings.
                None => {
                    let is_own =
                        |member: &&Member| interface.whose(organization, &member.interface, endpoints).is_some();
                    members.iter().filter(is_own).cloned().collect()
                }
            };
            self.desk.queues.know(pbx_queue);
            self.desk.queues.seen(pbx_queue, &members);
            for member in members.iter().filter(|member| member.is_invalid) {
                if self.desk.queues.tell_invalid(&member.interface) {
                    warn!(
                        queue = pbx_queue,
                        interface = member.interface,
                        "a member can't ring: the PBX has no such phone"
                    );
                }
            }
            let mut wanted = BTreeMap::new();
            if let Some(facts) = facts {
                let Ok(queue) = facts.id.parse().map(QueueRef::Id) else { continue };
                for session in &self.desk.questions.sessions(organization, &queue, by).await? {
                    if let Some(interface) = self.phone(organization, session).await? {
                        wanted.insert(Key::new(pbx_queue, &interface), interface);
                    }
                }
            }
            let owed = |key: &Key| self.desk.debts.of(key).map(|debt| debt.what);
            for (change, key, interface) in differences(pbx_queue, &members, &wanted, owed) {
                self.change((organization, pbx_queue), &interface, &key, moment, change).await?;
            }
            self.desk.queues.forget_members(pbx_queue, |key| wanted.contains_key(key));
            return Ok(());
        }
        Ok(())
    }

    async fn change(
        &mut self,
        (organization, pbx_queue): (&OrganizationId, &str),
        interface: &str,
        key: &Key,
        moment: Moment,
        change: Change,
    ) -> Result<(), Broken> {
        let held = self.desk.places.hold(key).await;
        if held.is_changed_since(moment) {
            // What was read is older than what a caller has just done.
            held.unchanged();
            self.desk.doubts.about(pbx_queue);
            return Ok(());
        }
        let changed = match change {
            Change::Add => {
                let state = self.desk.config.state_of(organization, interface);
                let standing = self.desk.queues.standing(key);
                self.pbx.add(pbx_queue, interface, state.as_deref(), &standing).await
            }
            Change::Remove => self.pbx.remove(pbx_queue, interface).await,
        };
        held.unchanged();
        match changed {
            Ok(()) => info!(queue = pbx_queue, interface, ?change, "a member was brought in line"),
            Err(error @ Error::Refused { .. }) => {
                warn!(%error, queue = pbx_queue, interface, "a member is out of line")
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The phone that rings for a session: the one that the session names, if it is the user's, or else the user's first.
    async fn phone(
        &mut self,
        organization: &OrganizationId,
        session: &proto::Session,
    ) -> Result<Option<String>, Broken> {
        let Some(extension) = self.extension(organization, session).await? else {
            warn!(%organization, user = session.user_id, queue = session.queue_id, "there is a session, but no phone for it");
            return Ok(None);
        };
        if let Some(interface) = self.desk.interface_of(organization, &extension, session) {
            return Ok(Some(interface.to_owned()));
        }
        let Config { interface, endpoints, .. } = &self.desk.config;
        Ok(interface.of(organization, &endpoints.endpoint(organization, &extension), &extension))
    }

    async fn extension(
        &mut self,
        organization: &OrganizationId,
        session: &proto::Session,
    ) -> Result<Option<Extension>, Broken> {
        let user = (organization.clone(), session.user_id.clone());
        if let Some(extension) = self.extensions.get(&user) {
            return Ok(*extension);
        }
        let by = Instant::now() + PATIENCE;
        let asked = self.desk.questions.extension(organization, &session.user_id, &session.queue_id, by).await?;
        if self.extensions.len() >= MOST_KNOWN {
            self.extensions.clear();
        }
        self.extensions.insert(user, asked);
        Ok(asked)
    }
}

/// What is to be done so that those ring who are wanted, but for whom something is owed about. PURE.
fn differences(
    pbx_queue: &str,
    members: &[Member],
    wanted: &BTreeMap<Key, String>,
    owed: impl Fn(&Key) -> Option<What>,
) -> Vec<(Change, Key, String)> {
    let keyed = |member: &Member| (Key::new(pbx_queue, &member.interface), member.interface.clone());
    let there: BTreeSet<Key> = members.iter().map(|member| keyed(member).0).collect();
    let is_missing = |key: &Key| !there.contains(key) && owed(key).is_none();
    let missing = wanted.iter().filter(|(key, _)| is_missing(key));
    let missing = missing.map(|(key, interface)| (Change::Add, key.clone(), interface.clone()));
    let is_left_over = |key: &Key| match owed(key) {
        None => !wanted.contains_key(key),
        // The session is as good as ended.
        Some(What::SignOut) => true,
        // Whether there is to be a session is found out first.
        Some(What::Undo { .. }) => false,
    };
    let left_over = members.iter().filter(|member| member.is_dynamic).map(keyed).filter(|(key, _)| is_left_over(key));
    missing.chain(left_over.map(|(key, interface)| (Change::Remove, key, interface))).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of a session, a member and a debt.
    #[test]
    fn a_phone_rings_when_and_only_when_there_is_a_session_that_is_not_owed_an_end() {
        let undo = || Some(What::Undo { request_ids: vec!["r".to_owned()] });
        for (has_session, membership, owed, expected) in [
            (false, None, None, None),
            (true, None, None, Some(Change::Add)),
            (false, Some(true), None, Some(Change::Remove)),
            (true, Some(true), None, None),
            (false, Some(false), None, None),
            (true, Some(false), None, None),
            (false, None, Some(What::SignOut), None),
            (true, None, Some(What::SignOut), None),
            (false, Some(true), Some(What::SignOut), Some(Change::Remove)),
            (true, Some(true), Some(What::SignOut), Some(Change::Remove)),
            (true, Some(false), Some(What::SignOut), None),
            (true, None, undo(), None),
            (false, None, undo(), None),
            (true, Some(true), undo(), None),
            (false, Some(true), undo(), None),
        ] {
            let key = Key::new("801", "PJSIP/101");
            let wanted = has_session.then(|| (key.clone(), "PJSIP/101".to_owned())).into_iter().collect();
            // Asterisk tells no upper case from lower.
            let member = |is_dynamic| Member { interface: "pjsip/101".to_owned(), is_dynamic, ..Member::default() };
            let members: Vec<Member> = membership.map(member).into_iter().collect();
            let found = differences("801", &members, &wanted, |_| owed.clone());
            let found: Vec<Change> = found.into_iter().map(|(change, _, _)| change).collect();
            assert_eq!(found, Vec::from_iter(expected), "{has_session} {membership:?} {owed:?}");
        }
    }
}
