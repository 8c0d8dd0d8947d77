//! Signing in and out, by the specification.

use std::time::Duration;

use queuegate::rpc::proto::*;
use tonic::Code;

use crate::support::{ACME, TestServer, described, sign_in};

#[tokio::test]
async fn session_survives_restriction_until_sign_out() {
    let mut server = TestServer::acme().await;
    let first = server.sign_in("bo", "sales").await;
    assert_eq!(first.decision.unwrap().reason(), Reason::UnassignedAllowed);
    let session = first.session.unwrap();
    assert!(first.created && !session.retained);
    assert_eq!((session.basis(), session.signed_in_by.as_str()), (Basis::UnassignedAllowed, "bo"));

    server.set(UnassignedQueueSignIn::Restricted).await;
    let kept = server.check("bo", "sales").await;
    assert_eq!(kept.reason(), Reason::AlreadySignedIn);
    let shown = kept.session.unwrap();
    assert!(shown.retained);
    assert_eq!(shown.session_id, session.session_id);

    let again = server.sign_in("bo", "sales").await;
    assert!(!again.created);
    assert_eq!(again.session.unwrap().session_id, session.session_id);

    let ended = server.sign_out("bo", "sales").await.ended_sessions;
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].end_reason(), EndReason::SignedOut);
    assert_eq!(server.check("bo", "sales").await.reason(), Reason::UnassignedRestricted);
    assert!(server.sign_out("bo", "sales").await.ended_sessions.is_empty());
}

#[tokio::test]
async fn a_denied_sign_in_records_nothing() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let before = server.check("cleo", "sales").await;
    let denied = server.sign_in("cleo", "sales").await;
    assert!(!denied.decision.unwrap().allowed() && denied.session.is_none() && !denied.created);
    assert!(!before.allowed() && server.sessions().await.is_empty());
}

#[tokio::test]
async fn losing_the_assignment_keeps_the_session_unless_asked_otherwise() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    for end_sessions in [false, true] {
        let assign = AssignRoleRequest {
            organization_id: ACME.into(),
            user: Some(assign_role_request::User::UserId("anna".into())),
            role: Role::Agent.into(),
            queue: Some(assign_role_request::Queue::QueueExtension("801".into())),
            ..Default::default()
        };
        server.client.directory.assign_role(assign).await.unwrap();
        server.sign_in("anna", "sales").await;
        let unassign = UnassignRoleRequest {
            organization_id: ACME.into(),
            user: Some(unassign_role_request::User::UserId("anna".into())),
            role: Role::Agent.into(),
            queue: Some(unassign_role_request::Queue::QueueId("sales".into())),
            end_sessions,
            ..Default::default()
        };
        let ended = server.client.directory.unassign_role(unassign).await.unwrap().into_inner().ended_sessions;
        if end_sessions {
            assert_eq!(ended[0].end_reason(), EndReason::AssignmentRemoved);
            assert_eq!(server.check("anna", "sales").await.reason(), Reason::UnassignedRestricted);
        } else {
            assert!(ended.is_empty());
            assert!(server.check("anna", "sales").await.session.unwrap().retained);
        }
    }
}

#[tokio::test]
async fn a_supervisor_signs_in_whom_the_rules_refuse_and_changes_no_role() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let answer = server.supervisor_sign_in("cleo", "sales", Some(Duration::from_secs(60))).await;
    assert_eq!(answer.decision.unwrap().reason(), Reason::SupervisorSignIn);
    let session = answer.session.unwrap();
    assert_eq!(session.channel(), Channel::Supervisor);
    assert_eq!((session.basis(), session.signed_in_by.as_str()), (Basis::Supervisor, "sam"));
    assert!(!session.retained && session.expire_time.is_some());

    let again = server.supervisor_sign_in("cleo", "sales", None).await;
    assert_eq!(again.decision.unwrap().reason(), Reason::AlreadySignedIn);
    assert_eq!(again.session.unwrap(), session);

    let other = server.supervisor_sign_in("cleo", "support", None).await;
    assert_eq!(other.decision.unwrap().reason(), Reason::SupervisorQueueNotAssigned);
    assert!(other.session.is_none());
    assert!(server.sign_out("cleo", "sales").await.ended_sessions.len() == 1);
    assert_eq!(server.check("cleo", "sales").await.reason(), Reason::UnassignedRestricted);
}

fn sign_in_everywhere(user: &str, channel: Channel) -> SignInRequest {
    SignInRequest { queue: None, all_assigned_queues: true, channel: channel.into(), ..sign_in(user, "") }
}

#[tokio::test]
async fn a_sign_in_to_all_assigned_queues_has_a_decision_for_each() {
    let mut server = TestServer::acme().await;
    let before = server.sign_in("anna", "sales").await;
    let dashboard = SignInRequest {
        request_id: "morning".into(),
        device: "browser".into(),
        ..sign_in_everywhere("anna", Channel::AgentDashboard)
    };
    let first = server.client.queue_access.sign_in(dashboard.clone()).await.unwrap().into_inner();
    let on = |answer: &SignInResponse| {
        let sign_ins = answer.queue_sign_ins.iter();
        let decided = sign_ins.map(|on| (on.queue_id.clone(), on.decision.as_ref().unwrap().reason(), on.created));
        decided.collect::<Vec<_>>()
    };
    let expected = [("chat".into(), Reason::Assigned, true), ("sales".into(), Reason::AlreadySignedIn, false)];
    assert_eq!((on(&first), first.decision.clone()), (expected.to_vec(), None));
    let sessions: Vec<_> = first.queue_sign_ins.iter().map(|on| on.session.clone().unwrap()).collect();
    assert_eq!(sessions, server.sessions().await);
    assert_eq!((sessions[0].device.as_str(), &sessions[1]), ("browser", before.session.as_ref().unwrap()));
    // A repeated request changes nothing, although she has signed out.
    server.sign_out("anna", "chat").await;
    let again = server.client.queue_access.sign_in(dashboard).await.unwrap().into_inner();
    assert_eq!((again, server.sessions().await.len()), (first, 1));
    // The feature code doesn't reach the inbox.
    let request = sign_in_everywhere("anna", Channel::FeatureCode);
    let dialed = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
    let expected =
        [("chat".into(), Reason::QueueKindNotSupported, false), ("sales".into(), Reason::AlreadySignedIn, false)];
    assert_eq!(on(&dialed), expected);
    let list = ListAuditEventsRequest { organization_id: ACME.into(), page_size: 1, ..Default::default() };
    let refused = server.client.audit.list_audit_events(list).await.unwrap().into_inner().events.remove(0);
    assert_eq!((refused.user_id.as_str(), refused.queue_id.as_str()), ("anna", "chat"));
    assert_eq!((refused.allowed(), refused.reason()), (false, Reason::QueueKindNotSupported));
}

#[tokio::test]
async fn a_user_who_can_sign_in_nowhere_gets_one_decision_and_one_record() {
    let mut server = TestServer::acme().await;
    for (user, channel, reason) in [
        ("nobody", Channel::FeatureCode, Some(Reason::UnknownUser)),
        ("dan", Channel::FeatureCode, Some(Reason::UserDisabled)),
        ("cleo", Channel::AgentDashboard, Some(Reason::AgentRoleRequired)),
        ("cleo", Channel::FeatureCode, None),
    ] {
        let request = sign_in_everywhere(user, channel);
        let answer = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
        assert!(answer.queue_sign_ins.is_empty());
        assert_eq!(answer.decision.as_ref().map(|decision| decision.reason()), reason, "{user}");
        let list = ListAuditEventsRequest { organization_id: ACME.into(), page_size: 1, ..Default::default() };
        let last = server.client.audit.list_audit_events(list).await.unwrap().into_inner().events.remove(0);
        if let Some(decision) = answer.decision {
            assert!(decision.explanation.starts_with(match user {
                "nobody" => "There is no user `nobody`",
                "dan" => "Dan Wolf (104) is disabled",
                _ => "Cleo Martin (103) doesn't hold the agent role",
            }));
            assert_eq!((last.user_id.as_str(), last.queue_id.as_str(), last.reason()), (user, "", reason.unwrap()));
            assert_eq!((last.revision, last.explanation), (answer.revision, decision.explanation));
        } else {
            assert_eq!(last.reason(), Reason::AgentRoleRequired, "no new record");
        }
    }
}

#[tokio::test]
async fn a_repeated_request_gives_the_first_outcome_for_24_hours_and_across_a_restart() {
    let mut server = TestServer::acme().await;
    let request = SignInRequest { request_id: "dial-1".into(), ..sign_in("bo", "sales") };
    let first = server.client.queue_access.sign_in(request.clone()).await.unwrap().into_inner();
    assert!(first.created);
    server.sign_out("bo", "sales").await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let again = server.client.queue_access.sign_in(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first, "the first outcome, and nothing changed");
    server.set(UnassignedQueueSignIn::Allowed).await;
    assert!(server.sessions().await.is_empty());

    let mut server = server.restart().await;
    let again = server.client.queue_access.sign_in(request.clone()).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = SignInRequest { request_id: "dial-1".into(), ..sign_in("anna", "sales") };
    let refused = server.client.queue_access.sign_in(other).await.unwrap_err();
    let (code, reason, _) = described(&refused);
    assert_eq!((code, reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));

    server.clock.advance(Duration::from_secs(24 * 60 * 60 + 1));
    let anew = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
    assert!(anew.created && anew.session.unwrap().session_id != first.session.unwrap().session_id);
}

#[tokio::test]
async fn a_denial_is_an_outcome_that_is_repeated_too() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let request = SignInRequest { request_id: "dial-2".into(), ..sign_in("cleo", "sales") };
    let first = server.client.queue_access.sign_in(request.clone()).await.unwrap().into_inner();
    server.set(UnassignedQueueSignIn::Allowed).await;
    let again = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
    assert_eq!(again, first);
    assert!(server.sessions().await.is_empty());
}

#[tokio::test]
async fn disabling_or_deleting_a_user_ends_their_sessions_and_signing_out_is_always_allowed() {
    let mut server = TestServer::acme().await;
    let mut watch = server.watch("").await;
    watch.message().await.unwrap();
    server.sign_in("anna", "sales").await;
    server.sign_in("bo", "sales").await;
    let disabled = User { user_id: "anna".into(), disabled: Some(true), ..Default::default() };
    let update = UpdateUserRequest { organization_id: ACME.into(), user: Some(disabled), ..Default::default() };
    server.client.directory.update_user(update).await.unwrap();
    assert!(server.sign_out("anna", "sales").await.ended_sessions.is_empty());
    let delete = DeleteUserRequest { organization_id: ACME.into(), user_id: "bo".into(), ..Default::default() };
    server.client.directory.delete_user(delete).await.unwrap();
    assert_eq!(server.check("bo", "sales").await.reason(), Reason::UnknownUser);
    let mut reasons = Vec::new();
    for _ in 0..4 {
        reasons.push(watch.message().await.unwrap().unwrap().session.unwrap().end_reason());
    }
    let none = EndReason::Unspecified;
    assert_eq!(reasons, [none, none, EndReason::UserDisabled, EndReason::UserRemoved]);
}

#[tokio::test]
async fn explain_tells_the_facts() {
    let mut server = TestServer::acme().await;
    let request = CheckQueueAccessRequest {
        organization_id: ACME.into(),
        user: Some(check_queue_access_request::User::UserExtension("101".into())),
        queue: Some(check_queue_access_request::Queue::QueueExtension("801".into())),
        channel: Channel::AgentDashboard.into(),
        explain: true,
        ..Default::default()
    };
    let answer = server.client.queue_access.check_queue_access(request).await.unwrap().into_inner();
    let facts = answer.decision.unwrap().facts.unwrap();
    assert_eq!((facts.user_id.as_str(), facts.queue_id.as_str()), ("anna", "sales"));
    assert_eq!((facts.user_display_name.as_str(), facts.queue_kind()), ("Anna Berg", QueueKind::CallQueue));
    assert!(facts.assigned && facts.contact_center_license && !facts.user_disabled && facts.session.is_none());
    assert_eq!(facts.roles().collect::<Vec<_>>(), [Role::Agent]);
    assert_eq!(facts.unassigned_queue_sign_in(), UnassignedQueueSignIn::Allowed);
}

#[tokio::test]
async fn a_read_waits_for_the_revision_it_is_given() {
    let mut server = TestServer::acme().await;
    let revision = server.sign_in("bo", "sales").await.revision;
    let (base, last) = revision.rsplit_once('-').unwrap();
    let next = format!("{base}-{:016x}", u64::from_str_radix(last, 16).unwrap() + 1);
    let request = GetSessionRequest {
        organization_id: ACME.into(),
        user: Some(get_session_request::User::UserId("anna".into())),
        queue: Some(get_session_request::Queue::QueueId("sales".into())),
        at_least_revision: next.clone(),
    };
    let mut client = server.client.queue_access.clone();
    let waiting = tokio::spawn(async move { client.get_session(request).await });
    assert_eq!(server.sign_in("anna", "sales").await.revision, next);
    let answer = waiting.await.unwrap().unwrap().into_inner();
    assert!(answer.revision >= next && answer.session.unwrap().user_id == "anna");
}
