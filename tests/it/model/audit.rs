//! Compares the audit log with the model: no change without an event, and no event without a change.

use std::collections::BTreeMap;

use queuegate::rpc::proto::*;

use super::world::{Model, Name, Told};
use crate::support::{ACME, TestServer};

/// Records a refused attempt to sign in or out.
pub fn attempt(model: &mut Model, action: &str, reason: Reason, user: &Name, queue: &Name) {
    let allowed = matches!(
        reason,
        Reason::AlreadySignedIn
            | Reason::Assigned
            | Reason::UnassignedAllowed
            | Reason::SupervisorSignIn
            | Reason::SupervisorSignOut
    );
    if !allowed {
        let why = reason.as_str_name().trim_start_matches("REASON_").to_owned();
        let (user, queue) = (model.user_key(user), model.queue_key(queue));
        model.refusals.push((action.to_owned(), false, model.actor.clone(), user, queue, why));
    }
}

/// The expected events since the last comparison.
pub struct Trail {
    expected: Vec<Told>,
    /// An import may also remove an extension temporarily.
    imported: bool,
    last: String,
}

impl Trail {
    pub async fn begin(server: &mut TestServer) -> Self {
        let request = GetAuditLogHeadRequest { organization_id: ACME.into(), ..Default::default() };
        let head = server.client.audit.get_audit_log_head(request).await.unwrap().into_inner().head.unwrap();
        Self { expected: Vec::new(), imported: false, last: head.revision }
    }

    /// Records the differences of the model from its previous state.
    pub fn expect(&mut self, before: &Model, after: &Model) {
        let told = |action: &str, user: &str, queue: &str, why: &str| -> Told {
            (action.to_owned(), true, after.actor.clone(), user.to_owned(), queue.to_owned(), why.to_owned())
        };
        let new = &mut self.expected;
        let of = |map: &BTreeMap<String, _>, id: &String| map.get(id).cloned();
        for id in before.users.keys().chain(after.users.keys()).collect::<std::collections::BTreeSet<_>>() {
            match (of(&before.users, id), of(&after.users, id)) {
                (None, Some(_)) => new.push(told("CREATE_USER", id, "", "")),
                (Some(_), None) => new.push(told("DELETE_USER", id, "", "")),
                (old, now) if old != now => new.push(told("UPDATE_USER", id, "", "")),
                _ => {}
            }
        }
        for id in before.queues.keys().chain(after.queues.keys()).collect::<std::collections::BTreeSet<_>>() {
            match (before.queues.get(id), after.queues.get(id)) {
                (None, Some(_)) => new.push(told("CREATE_QUEUE", "", id, "")),
                (Some(_), None) => new.push(told("DELETE_QUEUE", "", id, "")),
                (old, now) if old != now => new.push(told("UPDATE_QUEUE", "", id, "")),
                _ => {}
            }
        }
        let role = |role: i32| Role::try_from(role).unwrap().as_str_name().trim_start_matches("ROLE_");
        new.extend(after.roles.difference(&before.roles).map(|(u, q, r)| told("ASSIGN_ROLE", u, q, role(*r))));
        new.extend(before.roles.difference(&after.roles).map(|(u, q, r)| told("UNASSIGN_ROLE", u, q, role(*r))));
        for (user, queue, agent) in after.roles.intersection(&before.roles) {
            let penalty = |model: &Model| model.penalties.get(&(user.clone(), queue.clone())).copied();
            if *agent == i32::from(Role::Agent) && penalty(before) != penalty(after) {
                new.push(told("ASSIGN_ROLE", user, queue, role(*agent)));
            }
        }
        if (before.restricted, &before.on) != (after.restricted, &after.on) {
            new.push(told("UPDATE_SETTINGS", "", "", ""));
        }
        for (kind, user, queue, end) in &after.events[before.events.len()..] {
            let why = end.as_str_name().trim_start_matches("END_REASON_");
            new.push(match (kind, end) {
                (WatchSessionsType::SignedIn, _) => {
                    let session = &after.sessions[&(user.clone(), queue.clone())];
                    let (action, why) = match session.basis {
                        Basis::Assigned => ("SIGN_IN", "ASSIGNED"),
                        Basis::UnassignedAllowed => ("SIGN_IN", "UNASSIGNED_ALLOWED"),
                        _ => ("SUPERVISOR_SIGN_IN", "SUPERVISOR_SIGN_IN"),
                    };
                    told(action, user, queue, why)
                }
                (_, EndReason::SignedOut) => told("SIGN_OUT", user, queue, why),
                (_, EndReason::SignedOutBySupervisor) => {
                    told("SUPERVISOR_SIGN_OUT", user, queue, "SUPERVISOR_SIGN_OUT")
                }
                (_, EndReason::Expired) => {
                    ("END_SESSION".into(), true, String::new(), user.clone(), queue.clone(), why.into())
                }
                _ => told("END_SESSION", user, queue, why),
            });
        }
        new.extend_from_slice(&after.refusals[before.refusals.len()..]);
        self.imported |= after.imports > before.imports;
    }

    /// Compares the expected events with the log, and clears them.
    pub async fn compare(&mut self, server: &mut TestServer) {
        // The next write sweeps all expired sessions.
        assert!(server.sign_out("nobody", "nowhere").await.ended_sessions.is_empty());
        let events = all_events(server).await;
        let new: Vec<&AuditEvent> = events.iter().take_while(|event| event.revision > self.last).collect();
        let mut found: Vec<Told> = new.iter().map(|event| told(event)).collect();
        let mut expected = std::mem::take(&mut self.expected);
        found.sort();
        expected.sort();
        if self.imported {
            let is_update = |told: &Told| told.0 == "UPDATE_USER" || told.0 == "UPDATE_QUEUE";
            for update in expected.iter().filter(|told| is_update(told)) {
                assert!(found.contains(update), "{update:?}");
            }
            found.retain(|told| !is_update(told));
            expected.retain(|told| !is_update(told));
        }
        assert_eq!(found, expected, "the audit log");
        // Every revision belongs to an event, and there is one organization.
        let number = |revision: &str| u64::from_str_radix(revision.rsplit('-').next().unwrap(), 16).unwrap();
        for (event, before) in events.iter().zip(&events[1..]) {
            assert_eq!(number(&event.revision), number(&before.revision) + 1);
            assert!(event.time.unwrap().seconds >= before.time.unwrap().seconds);
        }
        self.last = events[0].revision.clone();
        self.imported = false;
        let verification = verified(server).await;
        assert_eq!(verification.fault, None);
        assert_eq!(verification.head.unwrap().hash, events[0].hash);
    }
}

async fn all_events(server: &mut TestServer) -> Vec<AuditEvent> {
    let mut request = ListAuditEventsRequest { organization_id: ACME.into(), page_size: 1_000, ..Default::default() };
    let mut events = Vec::new();
    loop {
        let page = server.client.audit.list_audit_events(request.clone()).await.unwrap().into_inner();
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return events;
        }
        request.page_token = page.next_page_token;
    }
}

async fn verified(server: &mut TestServer) -> AuditLogVerification {
    let request = VerifyAuditLogRequest { organization_id: ACME.into(), ..Default::default() };
    let mut answers = server.client.audit.verify_audit_log(request).await.unwrap().into_inner();
    loop {
        if let Some(verification) = answers.message().await.unwrap().unwrap().verification {
            return verification;
        }
    }
}

fn told(event: &AuditEvent) -> Told {
    let either = |id: &str, extension: &str| {
        if extension.is_empty() { id.to_owned() } else { format!("ext:{extension}") }
    };
    let session = event.after.as_ref().and_then(|after| after.session.as_ref());
    let why = if event.reason() != Reason::Unspecified {
        event.reason().as_str_name().trim_start_matches("REASON_")
    } else if event.permission_reason() != PermissionReason::Unspecified {
        event.permission_reason().as_str_name().trim_start_matches("PERMISSION_REASON_")
    } else if !event.allowed() {
        ""
    } else if event.role() != Role::Unspecified {
        event.role().as_str_name().trim_start_matches("ROLE_")
    } else if let Some(session) = session {
        session.end_reason().as_str_name().trim_start_matches("END_REASON_")
    } else {
        ""
    };
    let caller = if why == "EXPIRED" { "queuegate" } else { "ip:127.0.0.1" };
    assert_eq!(event.caller, caller);
    (
        event.action().as_str_name().trim_start_matches("AUDIT_ACTION_").to_owned(),
        event.allowed(),
        either(&event.actor_user_id, &event.actor_extension),
        either(&event.user_id, &event.user_extension),
        either(&event.queue_id, &event.queue_extension),
        why.to_owned(),
    )
}
