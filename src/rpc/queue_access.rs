//! QueueAccessService.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    batch,
    error::Error,
    from_proto::{self, all},
    language::received,
    page::{Page, Paging},
    pins,
    proto::{self, queue_access_service_server::QueueAccessService},
    services::{CallerServices, Rpc, unexpected},
    to_proto, watch,
};
use crate::domain::{
    command::{Action, Outcome, QueueSelection, QueueSignIn, Rejection, Resource},
    decide::{AccessRequest, decide, is_retained},
    explain::AccessExplanation,
    ids::{OrganizationId, QueueRef, UserRef},
    language::Language,
    list::{accessible_queues, denied_everywhere, denied_to_everybody, eligible_agents, sessions},
    model::Session,
    plan::found_organization,
    snapshot::{OrganizationState, Snapshot},
    time::Timestamp,
};

#[tonic::async_trait]
impl QueueAccessService for CallerServices {
    async fn check_queue_access(
        &self,
        request: Request<proto::CheckQueueAccessRequest>,
    ) -> Result<Response<proto::CheckQueueAccessResponse>, Status> {
        let (language, request) = received(request);
        let proto::CheckQueueAccessRequest { organization_id, user, queue, channel, explain, at_least_revision } =
            request;
        let (organization_id, user, queue, channel, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::user(user),
            from_proto::queue(queue),
            from_proto::channel(channel),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.borrow_snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        let detail = if explain { Detail::Facts } else { Detail::Reason };
        let request = AccessRequest { user: &user, queue: &queue, channel };
        let decision = self.check(organization, request, detail, language, self.state()?.now());
        Ok(Response::new(proto::CheckQueueAccessResponse {
            decision: Some(decision),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn batch_check_queue_access(
        &self,
        request: Request<proto::BatchCheckQueueAccessRequest>,
    ) -> Result<Response<proto::BatchCheckQueueAccessResponse>, Status> {
        let (language, request) = received(request);
        let proto::BatchCheckQueueAccessRequest { organization_id, items, at_least_revision } = request;
        let (organization_id, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::at_least(&at_least_revision),
        ))?;
        batch::check_size(items.len())?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let (rpc, owner, small) = (self.rpc.clone(), organization_id.to_string(), items.len() <= batch::SMALL);
        let answer = move || rpc.check_all(&snapshot, &organization_id, items, language);
        Ok(Response::new(if small { answer()? } else { self.scan(&owner, answer).await?? }))
    }

    async fn list_accessible_queues(
        &self,
        request: Request<proto::ListAccessibleQueuesRequest>,
    ) -> Result<Response<proto::ListAccessibleQueuesResponse>, Status> {
        let proto::ListAccessibleQueuesRequest {
            organization_id,
            user,
            channel,
            page_size,
            page_token,
            at_least_revision,
        } = request.into_inner();
        let (organization_id, user, channel, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::user(user),
            from_proto::channel(channel),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let query = ("ListAccessibleQueues", &user, channel);
        let page = Page::begin(self, &organization_id, &query, paging).await?;
        let (now, owner) = (self.state()?.now(), page.owner.clone());
        let list = move || {
            let organization = found_organization(&page.snapshot, &organization_id)?;
            let found = accessible_queues(organization, &user, channel, now, page.after());
            let (found, next_page_token) = page.take(found, |(queue, _)| vec![queue.queue_id.to_string()]);
            let queues = found.into_iter().map(|(queue, reason)| proto::AccessibleQueue {
                queue_id: queue.queue_id.to_string(),
                queue_extension: queue.extension.as_ref().map(ToString::to_string).unwrap_or_default(),
                display_name: queue.display_name.clone(),
                reason: to_proto::reason(reason).into(),
            });
            let denied = denied_everywhere(organization, &user, channel);
            Ok::<_, Error>(proto::ListAccessibleQueuesResponse {
                queues: queues.collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
                denied_reason: denied.map_or(proto::Reason::Unspecified, to_proto::reason).into(),
            })
        };
        Ok(Response::new(self.scan(&owner, list).await??))
    }

    async fn list_eligible_agents(
        &self,
        request: Request<proto::ListEligibleAgentsRequest>,
    ) -> Result<Response<proto::ListEligibleAgentsResponse>, Status> {
        let proto::ListEligibleAgentsRequest {
            organization_id,
            queue,
            channel,
            page_size,
            page_token,
            at_least_revision,
        } = request.into_inner();
        let (organization_id, queue, channel, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::queue(queue),
            from_proto::channel(channel),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let query = ("ListEligibleAgents", &queue, channel);
        let page = Page::begin(self, &organization_id, &query, paging).await?;
        let (now, owner) = (self.state()?.now(), page.owner.clone());
        let list = move || {
            let organization = found_organization(&page.snapshot, &organization_id)?;
            let found = eligible_agents(organization, &queue, channel, now, page.after());
            let (found, next_page_token) = page.take(found, |(user, _)| vec![user.user_id.to_string()]);
            let agents = found.into_iter().map(|(user, reason)| proto::EligibleAgent {
                user_id: user.user_id.to_string(),
                user_extension: user.extension.as_ref().map(ToString::to_string).unwrap_or_default(),
                display_name: user.display_name.to_string(),
                reason: to_proto::reason(reason).into(),
            });
            let denied = denied_to_everybody(organization, &queue, channel);
            Ok::<_, Error>(proto::ListEligibleAgentsResponse {
                agents: agents.collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
                denied_reason: denied.map_or(proto::Reason::Unspecified, to_proto::reason).into(),
            })
        };
        Ok(Response::new(self.scan(&owner, list).await??))
    }

    async fn sign_in(&self, request: Request<proto::SignInRequest>) -> Result<Response<proto::SignInResponse>, Status> {
        let (language, request) = received(request);
        let proto::SignInRequest { organization_id, user, queue, channel, device, request_id, all_assigned_queues } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let fields = all((
            from_proto::user(user),
            from_proto::queue_selection(queue, "all_assigned_queues", all_assigned_queues),
            from_proto::channel(channel),
            from_proto::device(&device),
        ));
        let action = fields.map(|(user, queues, channel, device)| match queues {
            QueueSelection::One(queue) => Action::SignIn { user, queue, channel, device },
            QueueSelection::All => Action::SignInToAssignedQueues { user, channel, device },
        });
        let (organization_id, done) = self.execute(language, organization, action, "", &request_id).await?;
        let revision = done.revision.to_string();
        let answer = match &done.outcome {
            Outcome::SignIn { decision, session, created } => proto::SignInResponse {
                decision: Some(self.decision(&organization_id, decision, language)?),
                session: self.sessions(&organization_id, session)?.pop(),
                created: *created,
                revision,
                queue_sign_ins: Vec::new(),
            },
            Outcome::AssignedSignIns { denied, sign_ins } => {
                let denied = denied.as_ref().map(|denied| self.decision(&organization_id, denied, language));
                let sign_ins = sign_ins.iter().map(|sign_in| self.queue_sign_in(&organization_id, sign_in, language));
                proto::SignInResponse {
                    decision: denied.transpose()?,
                    session: None,
                    created: false,
                    revision,
                    queue_sign_ins: sign_ins.collect::<Result<_, Error>>()?,
                }
            }
            outcome => return Err(unexpected(outcome).into()),
        };
        Ok(Response::new(answer))
    }

    async fn sign_out(
        &self,
        request: Request<proto::SignOutRequest>,
    ) -> Result<Response<proto::SignOutResponse>, Status> {
        let (language, request) = received(request);
        let proto::SignOutRequest { organization_id, user, queue, all_queues, request_id } = request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let queues = from_proto::queue_selection(queue, "all_queues", all_queues);
        let action = all((from_proto::user(user), queues)).map(|(user, queues)| Action::SignOut { user, queues });
        let (organization_id, done) = self.execute(language, organization, action, "", &request_id).await?;
        let Outcome::SessionsEnded { ended } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::SignOutResponse {
            ended_sessions: self.sessions(&organization_id, ended)?,
            revision: done.revision.to_string(),
        }))
    }

    async fn supervisor_sign_in(
        &self,
        request: Request<proto::SupervisorSignInRequest>,
    ) -> Result<Response<proto::SupervisorSignInResponse>, Status> {
        let (language, request) = received(request);
        let proto::SupervisorSignInRequest { organization_id, supervisor, user, queue, ttl, justification, request_id } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let fields = all((
            from_proto::supervisor(supervisor),
            from_proto::user(user),
            from_proto::queue(queue),
            from_proto::ttl(ttl),
            from_proto::justification(&justification),
        ));
        let action = fields.map(|(supervisor, user, queue, ttl, justification)| Action::SupervisorSignIn {
            supervisor,
            user,
            queue,
            ttl,
            justification,
        });
        let (organization_id, done) = self.execute(language, organization, action, "", &request_id).await?;
        let Outcome::SignIn { decision, session, created } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        let sessions = self.sessions(&organization_id, session)?;
        Ok(Response::new(proto::SupervisorSignInResponse {
            decision: Some(self.decision(&organization_id, decision, language)?),
            session: sessions.into_iter().next(),
            created: *created,
            revision: done.revision.to_string(),
        }))
    }

    async fn supervisor_sign_out(
        &self,
        request: Request<proto::SupervisorSignOutRequest>,
    ) -> Result<Response<proto::SupervisorSignOutResponse>, Status> {
        let (language, request) = received(request);
        let proto::SupervisorSignOutRequest { organization_id, supervisor, user, queue, justification, request_id } =
            request;
        let organization = from_proto::organization_id(&self.caller, &organization_id);
        let fields = all((
            from_proto::supervisor(supervisor),
            from_proto::user(user),
            from_proto::queue(queue),
            from_proto::justification(&justification),
        ));
        let action = fields.map(|(supervisor, user, queue, justification)| Action::SupervisorSignOut {
            supervisor,
            user,
            queue,
            justification,
        });
        let (organization_id, done) = self.execute(language, organization, action, "", &request_id).await?;
        let Outcome::SupervisorSignOut { decision, ended } = &done.outcome else {
            return Err(unexpected(&done.outcome).into());
        };
        Ok(Response::new(proto::SupervisorSignOutResponse {
            decision: Some(self.decision(&organization_id, decision, language)?),
            ended_sessions: self.sessions(&organization_id, ended)?,
            revision: done.revision.to_string(),
        }))
    }

    async fn verify_pin(
        &self,
        request: Request<proto::VerifyPinRequest>,
    ) -> Result<Response<proto::VerifyPinResponse>, Status> {
        pins::verify(self, request).await
    }

    async fn get_session(
        &self,
        request: Request<proto::GetSessionRequest>,
    ) -> Result<Response<proto::GetSessionResponse>, Status> {
        let proto::GetSessionRequest { organization_id, user, queue, at_least_revision } = request.into_inner();
        let (organization_id, user, queue, ()) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::user(user),
            from_proto::queue(queue),
            from_proto::at_least(&at_least_revision),
        ))?;
        let snapshot = self.snapshot(&at_least_revision).await?;
        let organization = found_organization(&snapshot, &organization_id)?;
        let now = self.state()?.now();
        let found = live_session(organization, &user, &queue, now).ok_or_else(|| Rejection::NotFound {
            resource: Resource::Session,
            name: format!("{} {}", user.name(), queue.name()),
            description: format!("user {user} is not signed in to queue {queue}"),
        })?;
        Ok(Response::new(proto::GetSessionResponse {
            session: Some(to_proto::session(&organization_id, Some(organization), found, now)),
            revision: snapshot.revision().to_string(),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<proto::ListSessionsRequest>,
    ) -> Result<Response<proto::ListSessionsResponse>, Status> {
        let proto::ListSessionsRequest {
            organization_id,
            user,
            queue,
            retained_only,
            page_size,
            page_token,
            at_least_revision,
        } = request.into_inner();
        let (organization_id, user, queue, paging) = all((
            from_proto::organization_id(&self.caller, &organization_id),
            from_proto::optional_user(user),
            from_proto::optional_queue(queue),
            Paging::read(page_size, &page_token, &at_least_revision),
        ))?;
        let query = ("ListSessions", &user, &queue, retained_only);
        let page = Page::begin(self, &organization_id, &query, paging).await?;
        let (now, owner) = (self.state()?.now(), page.owner.clone());
        let list = move || {
            let organization = found_organization(&page.snapshot, &organization_id)?;
            let after = page.after.first().zip(page.after.get(1));
            let after = after.map(|(user_id, queue_id)| (user_id.as_str(), queue_id.as_str()));
            let found = sessions(organization, user.as_ref(), queue.as_ref(), after);
            let found = found.filter(|session| session.is_live(now));
            let found = found.filter(|session| !retained_only || is_retained(organization, session, now));
            let key = |session: &&Arc<Session>| vec![session.user_id.to_string(), session.queue_id.to_string()];
            let (found, next_page_token) = page.take(found, key);
            let live =
                found.into_iter().map(|session| to_proto::session(&organization_id, Some(organization), session, now));
            Ok::<_, Error>(proto::ListSessionsResponse {
                sessions: live.collect(),
                next_page_token,
                revision: page.snapshot.revision().to_string(),
            })
        };
        Ok(Response::new(self.scan(&owner, list).await??))
    }

    type WatchSessionsStream = watch::Decoded;

    /// Watch sessions from this process. Over the network, [`watch::serve`] answers: it encodes each change once for all
    /// watches.
    async fn watch_sessions(
        &self,
        request: Request<proto::WatchSessionsRequest>,
    ) -> Result<Response<watch::Decoded>, Status> {
        Ok(Response::new(watch::Decoded(watch::begin(self, request.into_inner())?)))
    }
}

/// The level of detail of a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Reason,
    Facts,
}

impl Rpc {
    fn queue_sign_in(
        &self,
        organization_id: &OrganizationId,
        sign_in: &QueueSignIn,
        language: Language,
    ) -> Result<proto::QueueSignIn, Error> {
        let QueueSignIn { queue_id, decision, session, created } = sign_in;
        Ok(proto::QueueSignIn {
            queue_id: queue_id.to_string(),
            decision: Some(self.decision(organization_id, decision, language)?),
            session: self.sessions(organization_id, session)?.pop(),
            created: *created,
        })
    }

    /// Answer each item of a batch.
    fn check_all(
        &self,
        snapshot: &Snapshot,
        organization_id: &OrganizationId,
        items: Vec<proto::CheckQueueAccessItem>,
        language: Language,
    ) -> Result<proto::BatchCheckQueueAccessResponse, Error> {
        let organization = found_organization(snapshot, organization_id)?;
        let now = self.state()?.now();
        let results = items.into_iter().map(|item| {
            use proto::check_queue_access_result::Result as Answer;
            let proto::CheckQueueAccessItem { correlation_id, user, queue, channel } = item;
            let (correlation_id, result) = batch::answer(correlation_id, || {
                let (user, queue, channel) =
                    all((from_proto::user(user), from_proto::queue(queue), from_proto::channel(channel)))?;
                let request = AccessRequest { user: &user, queue: &queue, channel };
                Ok(self.check(organization, request, Detail::Reason, language, now))
            });
            let result = Some(result.map_or_else(Answer::Error, Answer::Decision));
            proto::CheckQueueAccessResult { correlation_id, result }
        });
        let (results, revision) = (results.collect(), snapshot.revision().to_string());
        Ok(proto::BatchCheckQueueAccessResponse { results, revision })
    }

    fn check(
        &self,
        organization: &OrganizationState,
        request: AccessRequest<'_>,
        detail: Detail,
        language: Language,
        now: Timestamp,
    ) -> proto::Decision {
        let decision = decide(organization, request, now);
        self.metrics.decided(decision.reason as usize);
        let facts = (detail == Detail::Facts).then(|| to_proto::facts(organization, &decision, now));
        let explanation = AccessExplanation::new(&decision, request).in_language(language);
        to_proto::decision(organization, &decision, (explanation, language), facts, now)
    }
}

fn live_session<'s>(
    organization: &'s OrganizationState,
    user: &UserRef,
    queue: &QueueRef,
    now: Timestamp,
) -> Option<&'s Arc<Session>> {
    let user_id = &organization.user(user)?.user_id;
    let queue_id = &organization.queue(queue)?.queue_id;
    organization.live_session(user_id.as_str(), queue_id.as_str(), now)
}
