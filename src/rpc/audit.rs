//! AuditService. Its watch is in [`audit_watch`](super::audit_watch).

use std::{cell::RefCell, ops::ControlFlow, sync::Arc};

use tonic::{Request, Response, Status};

use super::{
    audit_watch,
    background::blocking,
    error::Error,
    from_proto::{self, all},
    page::{LogPage, Names, Paging},
    proto::{self, audit_service_server::AuditService},
    revisions::{own_revision, revision_of_history},
    services::{CallerServices, Rpc, unexpected},
    stream::{BlockingSender, Messages, Unsent},
    to_proto,
};
use crate::{
    domain::{
        chain::{Digest, Link},
        command::{Action, Outcome},
        ids::{Lineage, OrganizationId, QueueRef, RequestId, Revision, Sequence, UserRef},
        language::Language,
        plan::no_organization,
        snapshot::{OrganizationState, Snapshot},
        summary::Verdict,
        time::Timestamp,
    },
    store::{self, EventFilter, Fault, LogReader, Newest, Verification},
};

/// The approximate size of a page's events, in bytes: clients take messages of up to 4 MiB.
const PAGE_BYTES: usize = 1024 * 1024;

/// The approximate size of a piece of an export, in bytes.
const PIECE: usize = 256 * 1024;

/// The number of events in one read.
const CHUNK: u32 = 1_000;

#[tonic::async_trait]
impl AuditService for CallerServices {
    async fn list_audit_events(
        &self,
        request: Request<proto::ListAuditEventsRequest>,
    ) -> Result<Response<proto::ListAuditEventsResponse>, Status> {
        let proto::ListAuditEventsRequest {
            organization_id,
            user,
            queue,
            actor_user_id,
            action,
            allowed,
            start_time,
            end_time,
            page_size,
            page_token,
            at_least_revision,
        } = request.into_inner();
        let filters = all((
            from_proto::optional("actor_user_id", &actor_user_id),
            from_proto::audit_action(action),
            from_proto::time("start_time", start_time),
            from_proto::time("end_time", end_time),
        ));
        let (organization_id, user, queue, (actor, action, start, end), paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::optional_user(user),
            from_proto::optional_queue(queue),
            filters,
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let mut filter = EventFilter {
            actor: actor.map(UserRef::Id),
            action,
            verdict: allowed.map(|allowed| if allowed { Verdict::Allowed } else { Verdict::Denied }),
            start,
            end,
            ..EventFilter::default()
        };
        let query = ("ListAuditEvents", &organization_id, &user, &queue, &filter);
        let names = |organization: Option<&OrganizationState>| names(organization, user.as_ref(), queue.as_ref());
        let page = LogPage::begin(self, &query, &organization_id, paging, names).await?;
        filter.users = page.names.users.clone();
        filter.queues = page.names.queues.clone();
        let (state, owner) = (self.state()?.clone(), organization_id.to_string());
        let list = move || {
            state.with_log(|log| {
                known(log, &page.snapshot, &organization_id)?;
                let (range, most) = ((page.cut, page.before), page.size);
                let Newest { events, rest } = log.newest_events(&organization_id, range, &filter, most, PAGE_BYTES)?;
                Ok::<_, Error>(proto::ListAuditEventsResponse {
                    next_page_token: rest.map(|rest| page.token(rest)).unwrap_or_default(),
                    events: events.iter().map(|logged| to_proto::audit_event(page.revision.lineage, logged)).collect(),
                    revision: page.revision.to_string(),
                })
            })
        };
        Ok(Response::new(self.scan(&owner, list).await?.map_err(Error::from)??))
    }

    type WatchAuditEventsStream = audit_watch::Messages;

    async fn watch_audit_events(
        &self,
        request: Request<proto::WatchAuditEventsRequest>,
    ) -> Result<Response<Self::WatchAuditEventsStream>, Status> {
        Ok(Response::new(audit_watch::begin(self, request.into_inner()).await?))
    }

    type VerifyAuditLogStream = Messages<proto::VerifyAuditLogResponse>;

    async fn verify_audit_log(
        &self,
        request: Request<proto::VerifyAuditLogRequest>,
    ) -> Result<Response<Self::VerifyAuditLogStream>, Status> {
        let proto::VerifyAuditLogRequest { organization_id, expected_revision, expected_hash } = request.into_inner();
        let organization_id = from_proto::organization_id(&self.caller, &organization_id)?;
        let snapshot = self.snapshot("").await?;
        let expected = expected_link(&expected_revision, &expected_hash, &snapshot)?;
        let is_of_earlier_epoch = expected.is_some() && own_revision("", &expected_revision, &snapshot).is_err();
        if expected.is_some_and(|link| link.sequence < snapshot.audit_cut(organization_id.as_str())) {
            return Err(Error::Compacted.into());
        }
        let log = self.known_log(&snapshot, &organization_id).await?;
        let revision = snapshot.revision();
        Ok(Response::new(self.read_long(16, move |answers| {
            let mut answer = verify(&log, &organization_id, expected, revision, answers)?;
            let fault = answer.verification.as_mut().and_then(|verification| verification.fault.as_mut());
            if let (Some(fault), true) = (fault, is_of_earlier_epoch) {
                fault.description.push_str(RESTORED_SINCE);
            }
            answers.send(answer)
        })?))
    }

    async fn get_audit_log_head(
        &self,
        request: Request<proto::GetAuditLogHeadRequest>,
    ) -> Result<Response<proto::GetAuditLogHeadResponse>, Status> {
        let proto::GetAuditLogHeadRequest { organization_id, at_least_revision } = request.into_inner();
        let (organization_id, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let revision = snapshot.revision();
        let (state, owner) = (self.state()?.clone(), organization_id.to_string());
        let ends = move || {
            state.with_log(|log| {
                known(log, &snapshot, &organization_id)?;
                let chain = log.chain(&organization_id)?;
                log.settle()?;
                Ok::<_, Error>(chain)
            })
        };
        let chain = self.scan(&owner, ends).await?.map_err(Error::from)??;
        let (cut, head) = chain.unwrap_or((Link::GENESIS, Link::GENESIS));
        Ok(Response::new(proto::GetAuditLogHeadResponse {
            head: Some(to_proto::audit_log_position(revision.lineage, head)),
            cut_through: Some(to_proto::audit_log_position(revision.lineage, cut)),
            revision: revision.to_string(),
        }))
    }

    type ExportAuditLogStream = Messages<proto::ExportAuditLogResponse>;

    async fn export_audit_log(
        &self,
        request: Request<proto::ExportAuditLogRequest>,
    ) -> Result<Response<Self::ExportAuditLogStream>, Status> {
        let proto::ExportAuditLogRequest { organization_id, before_time } = request.into_inner();
        let (organization_id, before_time) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::time("before_time", before_time),
        ))?;
        let snapshot = self.snapshot("").await?;
        let log = self.known_log(&snapshot, &organization_id).await?;
        let revision = snapshot.revision();
        Ok(Response::new(
            self.read_long(4, move |answers| export(&log, &organization_id, before_time, revision, answers))?,
        ))
    }

    async fn cut_audit_log(
        &self,
        request: Request<proto::CutAuditLogRequest>,
    ) -> Result<Response<proto::CutAuditLogResponse>, Status> {
        let proto::CutAuditLogRequest { organization_id, through_revision, through_hash, request_id } =
            request.into_inner();
        let (organization_id, _, hash, _): (_, Revision, Digest, Option<RequestId>) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::required("through_revision", &through_revision),
            from_proto::required("through_hash", &through_hash),
            from_proto::optional("request_id", &request_id),
        ))?;
        let snapshot = self.snapshot("").await?;
        let through = revision_of_history("through_revision", &through_revision, &snapshot)?.sequence;
        if through == Sequence(0) || through > snapshot.revision().sequence {
            let problem = "is no event of this organization's audit log";
            return Err(Error::invalid("through_revision", &problem).into());
        }
        let is_cut = through <= snapshot.audit_cut(organization_id.as_str());
        let (state, cut_id) = (self.state()?.clone(), organization_id.clone());
        let reading = move || {
            state.with_log(|log| {
                known(log, &snapshot, &cut_id)?;
                log.hash_at(&cut_id, through).map_err(Error::from)
            })
        };
        let found = blocking(reading).await?.map_err(Error::from)??;
        // The writer handles events that are already cut, because it knows repeated requests.
        if !is_cut {
            match found {
                None => {
                    let problem = "is no event of this organization's audit log";
                    return Err(Error::invalid("through_revision", &problem).into());
                }
                Some(found) if found != hash => {
                    let problem = "is not the hash of that event; export the log again, and verify it";
                    return Err(Error::invalid("through_hash", &problem).into());
                }
                Some(_) => {}
            }
        }
        let action = Action::CutAuditLog { through, hash };
        // No acting user can be refused here.
        let language = Language::English;
        let (_, done) = self.execute(language, Ok(organization_id), Ok(action), "", &request_id).await?;
        match &done.outcome {
            Outcome::AuditLogCut => {
                Ok(Response::new(proto::CutAuditLogResponse { revision: done.revision.to_string() }))
            }
            outcome => Err(unexpected(outcome).into()),
        }
    }
}

/// Why an event noted in an earlier epoch may be missing.
const RESTORED_SINCE: &str =
    "; a backup was restored since the event was noted, and events recorded after the backup are lost";

impl Rpc {
    /// Open a log reader for work that takes a while, if the organization exists or ever existed.
    pub(super) async fn known_log(
        &self,
        snapshot: &Arc<Snapshot>,
        organization_id: &OrganizationId,
    ) -> Result<LogReader, Error> {
        let (state, snapshot) = (self.state()?.clone(), Arc::clone(snapshot));
        let organization_id = organization_id.clone();
        let found = blocking(move || {
            let log = state.log_reader()?;
            known(&log, &snapshot, &organization_id)?;
            Ok(log)
        });
        found.await?
    }
}

/// Fail if the organization doesn't exist and never existed.
fn known(log: &LogReader, snapshot: &Snapshot, organization_id: &OrganizationId) -> Result<(), Error> {
    if snapshot.organization(organization_id.as_str()).is_some() || log.chain(organization_id)?.is_some() {
        return Ok(());
    }
    Err(no_organization(organization_id).into())
}

/// Return all names under which the log may have the request's user and queue. An event has the id if it existed when
/// the event was written. Otherwise it has the name in the request, such as an extension that a user got only later.
fn names(organization: Option<&OrganizationState>, user: Option<&UserRef>, queue: Option<&QueueRef>) -> Names {
    let mut names = Names { users: user.cloned().into_iter().collect(), queues: queue.cloned().into_iter().collect() };
    if let Some(user) = organization.zip(user).and_then(|(organization, user)| organization.user(user)) {
        names.users.push(UserRef::Id(user.user_id.clone()));
        names.users.extend(user.extension.map(UserRef::Extension));
    }
    if let Some(queue) = organization.zip(queue).and_then(|(organization, queue)| organization.queue(queue)) {
        names.queues.push(QueueRef::Id(queue.queue_id.clone()));
        names.queues.extend(queue.extension.map(QueueRef::Extension));
    }
    names
}

/// Return the noted head in the request, or `None` if it names none.
fn expected_link(revision: &str, hash: &str, snapshot: &Snapshot) -> Result<Option<Link>, Error> {
    if revision.is_empty() && hash.is_empty() {
        return Ok(None);
    }
    if revision.is_empty() {
        return Err(Error::invalid("expected_revision", &"is required with expected_hash"));
    }
    let sequence = revision_of_history("expected_revision", revision, snapshot)?.sequence;
    Ok(Some(Link { sequence, hash: from_proto::required("expected_hash", hash)? }))
}

fn verify(
    log: &LogReader,
    organization_id: &OrganizationId,
    expected: Option<Link>,
    revision: Revision,
    answers: &BlockingSender<proto::VerifyAuditLogResponse>,
) -> Result<proto::VerifyAuditLogResponse, Unsent> {
    // The total is only for progress: a log that can't be counted can still be verified up to its fault.
    let total_events = to_proto::count(log.count_events(organization_id).unwrap_or_default());
    let answer = |verified_events, verification| proto::VerifyAuditLogResponse {
        verified_events,
        total_events,
        verification,
        revision: revision.to_string(),
    };
    let unsent = RefCell::new(None);
    // The verification holds a read transaction, which keeps the write-ahead log from shrinking. So it never waits for
    // the client.
    let report = |events| match answers.try_send(answer(to_proto::count(events), None)) {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => {
            unsent.replace(Some(why));
            ControlFlow::Break(())
        }
    };
    let verification = log.verify(organization_id, expected, report).map_err(|error| Some(error.into()))?;
    if let Some(why) = unsent.take() {
        return Err(why);
    }
    let verification = verification.unwrap_or_else(|| Verification {
        events: 0,
        cut: Link::GENESIS,
        head: Link::GENESIS,
        fault: Some(Fault { sequence: Sequence(0), description: "the organization has no audit log".to_owned() }),
    });
    let Verification { events, cut, head, fault } = verification;
    let position = |link| Some(to_proto::audit_log_position(revision.lineage, link));
    let verification = proto::AuditLogVerification {
        valid: Some(fault.is_none()),
        cut_through: position(cut),
        head: position(head),
        fault: fault.map(|Fault { sequence, description }| proto::AuditLogFault {
            revision: to_proto::revision(revision.lineage, sequence),
            description,
        }),
    };
    Ok(answer(to_proto::count(events), Some(verification)))
}

/// Send the log in pieces of whole lines.
fn export(
    log: &LogReader,
    organization_id: &OrganizationId,
    before_time: Option<Timestamp>,
    revision: Revision,
    answers: &BlockingSender<proto::ExportAuditLogResponse>,
) -> Result<(), Unsent> {
    let failed = |error: store::Error| Some(Error::from(error));
    let mut last = log.chain(organization_id).map_err(failed)?.map_or(Link::GENESIS, |(cut, _)| cut);
    let mut piece = Piece { lineage: revision.lineage, revision, lines: Vec::new(), events: 0, through: None };
    loop {
        let entries = log.entries_since(organization_id, last.sequence, revision.sequence, CHUNK).map_err(failed)?;
        // Check the cut after the read: the read may lack events that were cut meanwhile.
        let chain = log.chain(organization_id).map_err(failed)?;
        if chain.is_some_and(|(cut, _)| cut.sequence > last.sequence) {
            return Err(Some(Error::Compacted));
        }
        if entries.is_empty() {
            break;
        }
        for (link, time, entry) in entries {
            if before_time.is_some_and(|before_time| time >= before_time) {
                return piece.send(answers);
            }
            piece.add(last, link, &entry);
            last = link;
            if piece.lines.len() >= PIECE {
                piece.send(answers)?;
            }
        }
    }
    piece.send(answers)
}

/// A piece of an export, while lines are added.
struct Piece {
    lineage: Lineage,
    revision: Revision,
    lines: Vec<u8>,
    events: u64,
    through: Option<Link>,
}

impl Piece {
    fn add(&mut self, previous: Link, link: Link, entry: &str) {
        let body = entry.strip_suffix('}').unwrap_or(entry);
        let line = format!("{body},\"previous_hash\":\"{}\",\"hash\":\"{}\"}}\n", previous.hash, link.hash);
        self.lines.extend_from_slice(line.as_bytes());
        self.events += 1;
        self.through = Some(link);
    }

    fn send(&mut self, answers: &BlockingSender<proto::ExportAuditLogResponse>) -> Result<(), Unsent> {
        answers.send(proto::ExportAuditLogResponse {
            lines: std::mem::take(&mut self.lines),
            events: to_proto::count(self.events),
            through: self.through.map(|link| to_proto::audit_log_position(self.lineage, link)),
            revision: self.revision.to_string(),
        })
    }
}
