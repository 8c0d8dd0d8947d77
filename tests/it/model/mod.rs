//! Long random sequences of writes against the real server and a naive model of the specification; then everything that
//! can be asked is asked of both. `QUEUEGATE_MODEL_SEQUENCES=500` makes a campaign of it.

mod audit;
mod document;
mod permissions;
mod world;

use std::{collections::BTreeSet, time::Duration};

use queuegate::{
    domain::{ids::Sequence, snapshot::Snapshot},
    rpc::proto::*,
    store::{Logged, Store},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tonic::{Code, Status};

use self::{
    document::Document,
    world::{EXTENSIONS, KINDS, Model, Name, QUEUES, QueueM, ROLES, SessionM, USERS, UserM},
};
use crate::support::{ACME, TestServer};

const STEPS: usize = 150;

macro_rules! one_of {
    ($name:expr, $module:ident::$one_of:ident, $id:ident, $extension:ident) => {
        match $name.clone() {
            Name::Id(id) => $module::$one_of::$id(id),
            Name::Extension(extension) => $module::$one_of::$extension(extension),
        }
    };
}

macro_rules! named {
    ($($one_of:tt)+) => {
        Some(one_of!($($one_of)+))
    };
}

fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

fn keys(sessions: &[Session]) -> Vec<(String, String)> {
    sessions.iter().map(|session| (session.user_id.clone(), session.queue_id.clone())).collect()
}

/// One random write on both; panics where they differ.
async fn step(server: &mut TestServer, model: &mut Model, rng: &mut StdRng, log: &mut Vec<String>) {
    let user = Name::random(rng, &USERS);
    let queue = Name::random(rng, &QUEUES);
    let id = (*USERS[..4].choose(rng).unwrap()).to_owned();
    let queue_id = (*QUEUES[..3].choose(rng).unwrap()).to_owned();
    let extension = (*EXTENSIONS.choose(rng).unwrap()).to_owned();
    let organization_id = ACME.to_owned();
    model.actor = if rng.random_bool(0.75) {
        String::new()
    } else if rng.random_bool(0.5) {
        "u3".to_owned()
    } else {
        (*USERS.choose(rng).unwrap()).to_owned()
    };
    let actor_user_id = model.actor.clone();
    if !actor_user_id.is_empty() {
        log.push(format!("on behalf of {actor_user_id}:"));
    }
    match rng.random_range(0..100) {
        0..8 => {
            let (license, disabled) = (rng.random_bool(0.8), rng.random_bool(0.1));
            log.push(format!("create user {id} {extension} {license} {disabled}"));
            let taken = model.users.values().any(|user| !extension.is_empty() && user.extension == extension);
            let expected = match model.users.contains_key(&id) {
                _ if model.refuses("CREATE_USER", None, &id, "") => Code::PermissionDenied,
                there if there || taken => Code::AlreadyExists,
                _ => Code::Ok,
            };
            let wanted = User {
                user_id: id.clone(),
                extension: Some(extension.clone()),
                contact_center_license: Some(license),
                disabled: Some(disabled),
                ..Default::default()
            };
            let request =
                CreateUserRequest { organization_id, user: Some(wanted), actor_user_id, ..Default::default() };
            assert_eq!(code(&server.client.directory.create_user(request).await), expected);
            if expected == Code::Ok {
                model.users.insert(id, UserM { extension, license, disabled });
            }
        }
        8..16 => {
            let license = rng.random_bool(0.4).then(|| rng.random_bool(0.7));
            let disabled = rng.random_bool(0.4).then(|| rng.random_bool(0.2));
            let extension = rng.random_bool(0.4).then_some(extension);
            log.push(format!("update user {id} {extension:?} {license:?} {disabled:?}"));
            let others = model.users.iter().filter(|(other, _)| **other != id).map(|(_, user)| &user.extension);
            let taken = extension.as_ref().is_some_and(|new| !new.is_empty() && others.clone().any(|old| old == new));
            let holds = ROLES.iter().any(|role| model.holds(&id, *role));
            let only_license = license.is_some() && disabled.is_none() && extension.is_none();
            let permission = only_license.then_some("ASSIGN_LICENSES");
            let refused = model.refuses("UPDATE_USER", permission, &id, "");
            let expected = match model.users.get(&id) {
                _ if refused => Code::PermissionDenied,
                None => Code::NotFound,
                Some(_) if taken => Code::AlreadyExists,
                Some(user) if !license.unwrap_or(user.license) && holds => Code::FailedPrecondition,
                Some(_) => Code::Ok,
            };
            let wanted = User {
                user_id: id.clone(),
                extension: extension.clone(),
                contact_center_license: license,
                disabled,
                ..Default::default()
            };
            let request =
                UpdateUserRequest { organization_id, user: Some(wanted), actor_user_id, ..Default::default() };
            assert_eq!(code(&server.client.directory.update_user(request).await), expected);
            if expected == Code::Ok {
                let user = model.users.get_mut(&id).unwrap();
                user.extension = extension.unwrap_or(user.extension.clone());
                user.license = license.unwrap_or(user.license);
                user.disabled = disabled.unwrap_or(user.disabled);
                if user.disabled {
                    model.end(|u, _| u == id, EndReason::UserDisabled);
                }
            }
        }
        16..17 => {
            let allow_missing = rng.random_bool(0.5);
            log.push(format!("delete user {id}"));
            let request = DeleteUserRequest {
                organization_id,
                user_id: id.clone(),
                allow_missing,
                actor_user_id,
                ..Default::default()
            };
            let expected = match model.users.contains_key(&id) {
                _ if model.refuses("DELETE_USER", None, &id, "") => Code::PermissionDenied,
                there if there || allow_missing => Code::Ok,
                _ => Code::NotFound,
            };
            assert_eq!(code(&server.client.directory.delete_user(request).await), expected);
            if expected == Code::Ok {
                model.users.remove(&id);
                model.roles.retain(|(user, ..)| *user != id);
                model.end(|u, _| u == id, EndReason::UserRemoved);
            }
        }
        17..25 => {
            let kind = *KINDS.choose(rng).unwrap();
            log.push(format!("create queue {queue_id} {extension} {kind:?}"));
            let taken = model.queues.values().any(|queue| !extension.is_empty() && queue.extension == extension);
            let expected = match model.queues.contains_key(&queue_id) {
                _ if model.refuses("CREATE_QUEUE", Some("CONFIGURE_QUEUES"), "", &queue_id) => Code::PermissionDenied,
                there if there || taken => Code::AlreadyExists,
                _ => Code::Ok,
            };
            let wanted = Queue {
                queue_id: queue_id.clone(),
                extension: Some(extension.clone()),
                kind: kind.into(),
                ..Default::default()
            };
            let request =
                CreateQueueRequest { organization_id, queue: Some(wanted), actor_user_id, ..Default::default() };
            assert_eq!(code(&server.client.directory.create_queue(request).await), expected);
            if expected == Code::Ok {
                model.queues.insert(queue_id, QueueM { extension, kind });
            }
        }
        25..28 => {
            let kind = *[KINDS[0], KINDS[0], KINDS[1], KINDS[3]].choose(rng).unwrap();
            log.push(format!("update queue {queue_id} {kind:?}"));
            let wanted = Queue { queue_id: queue_id.clone(), kind: kind.into(), ..Default::default() };
            let request =
                UpdateQueueRequest { organization_id, queue: Some(wanted), actor_user_id, ..Default::default() };
            let expected = match model.queues.contains_key(&queue_id) {
                _ if model.refuses("UPDATE_QUEUE", Some("CONFIGURE_QUEUES"), "", &queue_id) => Code::PermissionDenied,
                true => Code::Ok,
                false => Code::NotFound,
            };
            assert_eq!(code(&server.client.directory.update_queue(request).await), expected);
            if let (Code::Ok, Some(queue)) = (expected, model.queues.get_mut(&queue_id)) {
                queue.kind = kind;
            }
        }
        28..29 => {
            log.push(format!("delete queue {queue_id}"));
            let request =
                DeleteQueueRequest { organization_id, queue_id: queue_id.clone(), actor_user_id, ..Default::default() };
            let expected = match model.queues.contains_key(&queue_id) {
                _ if model.refuses("DELETE_QUEUE", Some("CONFIGURE_QUEUES"), "", &queue_id) => Code::PermissionDenied,
                true => Code::Ok,
                false => Code::NotFound,
            };
            assert_eq!(code(&server.client.directory.delete_queue(request).await), expected);
            if expected == Code::Ok {
                model.queues.remove(&queue_id);
                model.roles.retain(|(_, queue, _)| *queue != queue_id);
                model.end(|_, q| q == queue_id, EndReason::QueueRemoved);
            }
        }
        29..43 => {
            let role = *ROLES.choose(rng).unwrap();
            let queue = rng.random_bool(0.7).then_some(queue);
            log.push(format!("assign {user:?} {role:?} {queue:?}"));
            let request = AssignRoleRequest {
                organization_id,
                user: named!(user, assign_role_request::User, UserId, UserExtension),
                role: role.into(),
                queue: queue.as_ref().map(|q| one_of!(q, assign_role_request::Queue, QueueId, QueueExtension)),
                actor_user_id,
                ..Default::default()
            };
            let answer = server.client.directory.assign_role(request).await;
            let found = queue.as_ref().map(|queue| model.queue(queue));
            let keys = (model.user_key(&user), queue.as_ref().map_or(String::new(), |queue| model.queue_key(queue)));
            let refused = model.refuses("ASSIGN_ROLE", Some("ASSIGN_ROLES"), &keys.0, &keys.1);
            let user = model.user(&user);
            let expected = match (&user, &found) {
                _ if refused => Code::PermissionDenied,
                (_, Some(_)) if role == Role::ContactAdmin => Code::InvalidArgument,
                (None, _) | (_, Some(None)) => Code::NotFound,
                (Some(user), _) if !model.users[user].license => Code::FailedPrecondition,
                (Some(_), _) => Code::Ok,
            };
            assert_eq!(code(&answer), expected);
            if let (Code::Ok, Some(user)) = (expected, user) {
                let created = model.roles.insert((user, found.flatten().unwrap_or_default(), role.into()));
                assert_eq!(answer.unwrap().into_inner().created, created);
            }
        }
        43..51 => {
            let role = *[Role::Agent, Role::Agent, Role::Supervisor, Role::ContactAdmin].choose(rng).unwrap();
            let queue = rng.random_bool(0.8).then_some(queue);
            let end_sessions = role == Role::Agent && rng.random_bool(0.6) || rng.random_bool(0.1);
            log.push(format!("unassign {user:?} {role:?} {queue:?} {end_sessions}"));
            let request = UnassignRoleRequest {
                organization_id,
                user: named!(user, unassign_role_request::User, UserId, UserExtension),
                role: role.into(),
                queue: queue.as_ref().map(|q| one_of!(q, unassign_role_request::Queue, QueueId, QueueExtension)),
                end_sessions,
                actor_user_id,
                ..Default::default()
            };
            let answer = server.client.directory.unassign_role(request).await;
            let found = queue.as_ref().map(|queue| model.queue(queue));
            let names = (model.user_key(&user), queue.as_ref().map_or(String::new(), |queue| model.queue_key(queue)));
            let refused = model.refuses("UNASSIGN_ROLE", Some("ASSIGN_ROLES"), &names.0, &names.1);
            let user = model.user(&user);
            let key = match (&user, &found) {
                (Some(user), None) => Some((user.clone(), String::new(), i32::from(role))),
                (Some(user), Some(Some(queue))) => Some((user.clone(), queue.clone(), i32::from(role))),
                _ => None,
            };
            let expected = if refused {
                Code::PermissionDenied
            } else if end_sessions && (role != Role::Agent || queue.is_none())
                || role == Role::ContactAdmin && queue.is_some()
            {
                Code::InvalidArgument
            } else if key.as_ref().is_some_and(|key| model.roles.contains(key)) {
                Code::Ok
            } else {
                Code::NotFound
            };
            assert_eq!(code(&answer), expected);
            if let (Code::Ok, Some(key)) = (expected, key) {
                model.roles.remove(&key);
                let wanted = |u: &str, q: &str| end_sessions && u == key.0 && q == key.1;
                let ended = model.end(wanted, EndReason::AssignmentRemoved);
                assert_eq!(keys(&answer.unwrap().into_inner().ended_sessions), ended);
            }
        }
        51..56 => {
            permissions::change_settings(server, model, rng, log).await;
        }
        56..74 => {
            let channel = *[Channel::FeatureCode, Channel::AgentDashboard].choose(rng).unwrap();
            log.push(format!("sign in {user:?} {queue:?} {channel:?}"));
            let request = SignInRequest {
                organization_id,
                user: named!(user, sign_in_request::User, UserId, UserExtension),
                queue: named!(queue, sign_in_request::Queue, QueueId, QueueExtension),
                channel: channel.into(),
                ..Default::default()
            };
            let answer = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
            let expected = model.decide(&user, &queue, channel, true);
            model.reasons.insert(expected);
            assert_eq!(answer.decision.unwrap().reason(), expected);
            model.actor = model.user_key(&user);
            audit::attempt(model, "SIGN_IN", expected, &user, &queue);
            let basis = match expected {
                Reason::Assigned => Some(Basis::Assigned),
                Reason::UnassignedAllowed => Some(Basis::UnassignedAllowed),
                _ => None,
            };
            assert_eq!(answer.created, basis.is_some());
            assert_eq!(answer.session.is_some(), basis.is_some() || expected == Reason::AlreadySignedIn);
            if let Some(basis) = basis {
                let (user, queue) = (model.user(&user).unwrap(), model.queue(&queue).unwrap());
                let session = SessionM { channel, basis, by: user.clone(), expires: None };
                model.start(user, queue, session);
            }
        }
        74..79 => {
            let all_queues = rng.random_bool(0.3);
            log.push(format!("sign out {user:?} {queue:?} {all_queues}"));
            let request = SignOutRequest {
                organization_id,
                user: named!(user, sign_out_request::User, UserId, UserExtension),
                queue: if all_queues { None } else { named!(queue, sign_out_request::Queue, QueueId, QueueExtension) },
                all_queues,
                ..Default::default()
            };
            let answer = server.client.queue_access.sign_out(request).await.unwrap().into_inner();
            model.actor = model.user_key(&user);
            let (user, queue) = (model.user(&user), model.queue(&queue));
            let wanted = |u: &str, q: &str| user.as_deref() == Some(u) && (all_queues || queue.as_deref() == Some(q));
            assert_eq!(keys(&answer.ended_sessions), model.end(wanted, EndReason::SignedOut));
        }
        79..89 => {
            let supervisor = Name::random(rng, &USERS);
            let ttl_ms = rng.random_bool(0.6).then(|| rng.random_range(1..5_000));
            log.push(format!("supervisor sign in {supervisor:?} {user:?} {queue:?} {ttl_ms:?}"));
            let request = SupervisorSignInRequest {
                organization_id,
                supervisor: named!(
                    supervisor,
                    supervisor_sign_in_request::Supervisor,
                    SupervisorId,
                    SupervisorExtension
                ),
                user: named!(user, supervisor_sign_in_request::User, UserId, UserExtension),
                queue: named!(queue, supervisor_sign_in_request::Queue, QueueId, QueueExtension),
                ttl: ttl_ms.map(|ms: u64| Duration::from_millis(ms).try_into().unwrap()),
                ..Default::default()
            };
            let answer = server.client.queue_access.supervisor_sign_in(request).await.unwrap().into_inner();
            let expected = model.decide_supervisor(&supervisor, &user, &queue, true);
            model.reasons.insert(expected);
            assert_eq!(answer.decision.unwrap().reason(), expected);
            assert_eq!(answer.created, expected == Reason::SupervisorSignIn);
            model.actor = model.user_key(&supervisor);
            audit::attempt(model, "SUPERVISOR_SIGN_IN", expected, &user, &queue);
            if answer.created {
                let (user, queue) = (model.user(&user).unwrap(), model.queue(&queue).unwrap());
                let session = SessionM {
                    channel: Channel::Supervisor,
                    basis: Basis::Supervisor,
                    by: model.user(&supervisor).unwrap(),
                    expires: ttl_ms.map(|ms| model.now + i64::try_from(ms).unwrap()),
                };
                model.start(user, queue, session);
            }
        }
        89..95 => {
            let supervisor = Name::random(rng, &USERS);
            log.push(format!("supervisor sign out {supervisor:?} {user:?} {queue:?}"));
            let request = SupervisorSignOutRequest {
                organization_id,
                supervisor: named!(
                    supervisor,
                    supervisor_sign_out_request::Supervisor,
                    SupervisorId,
                    SupervisorExtension
                ),
                user: named!(user, supervisor_sign_out_request::User, UserId, UserExtension),
                queue: named!(queue, supervisor_sign_out_request::Queue, QueueId, QueueExtension),
                ..Default::default()
            };
            let answer = server.client.queue_access.supervisor_sign_out(request).await.unwrap().into_inner();
            let expected = model.decide_supervisor(&supervisor, &user, &queue, false);
            model.reasons.insert(expected);
            assert_eq!(answer.decision.unwrap().reason(), expected);
            model.actor = model.user_key(&supervisor);
            audit::attempt(model, "SUPERVISOR_SIGN_OUT", expected, &user, &queue);
            let (user, queue) = (model.user(&user), model.queue(&queue));
            let wanted = |u: &str, q: &str| {
                expected == Reason::SupervisorSignOut && user.as_deref() == Some(u) && queue.as_deref() == Some(q)
            };
            assert_eq!(keys(&answer.ended_sessions), model.end(wanted, EndReason::SignedOutBySupervisor));
        }
        95..97 => {
            let document = Document::random(rng);
            log.push(format!("import {document:?}"));
            let request = ImportDirectoryRequest {
                organization_id,
                document: document.text().into(),
                delete_missing: document.delete_missing,
                actor_user_id,
                ..Default::default()
            };
            let (answer, _) = server.import_with(request).await;
            let expected = match document.fits(model) {
                _ if model.refuses("IMPORT_DIRECTORY", None, "", "") => Code::PermissionDenied,
                true => Code::Ok,
                false => Code::InvalidArgument,
            };
            assert_eq!(code(&answer), expected, "{answer:?}");
            if expected == Code::Ok {
                model.imports += 1;
                document.apply(model);
            }
        }
        _ => {
            let ms = rng.random_range(1..3_000);
            log.push(format!("advance {ms}"));
            server.clock.advance(Duration::from_millis(ms));
            model.advance(i64::try_from(ms).unwrap());
        }
    }
}

/// Asks the server everything that the model can answer.
async fn compare(server: &mut TestServer, model: &Model) {
    let organization_id = ACME.to_owned();
    for channel in [Channel::FeatureCode, Channel::AgentDashboard] {
        let mut questions = Vec::new();
        for user in USERS.map(|user| Name::Id(user.into())) {
            for queue in QUEUES.map(|queue| Name::Id(queue.into())) {
                questions.push((user.clone(), queue));
            }
        }
        let items = questions.iter().map(|(user, queue)| CheckQueueAccessItem {
            user: named!(user, check_queue_access_item::User, UserId, UserExtension),
            queue: named!(queue, check_queue_access_item::Queue, QueueId, QueueExtension),
            channel: channel.into(),
            ..Default::default()
        });
        let request = BatchCheckQueueAccessRequest {
            organization_id: organization_id.clone(),
            items: items.collect(),
            ..Default::default()
        };
        let answer = server.client.queue_access.batch_check_queue_access(request).await.unwrap().into_inner();
        for ((user, queue), result) in questions.iter().zip(answer.results) {
            let Some(check_queue_access_result::Result::Decision(decision)) = result.result else { panic!() };
            let expected = model.decide(user, queue, channel, true);
            assert_eq!(decision.reason(), expected, "{user:?} {queue:?} {channel:?}");
            assert_eq!(decision.session.is_some(), expected == Reason::AlreadySignedIn);
        }

        let allowed = |user: &str, queue: &str| {
            let reason = model.decide(&Name::Id(user.into()), &Name::Id(queue.into()), channel, true);
            let allowed = matches!(reason, Reason::AlreadySignedIn | Reason::Assigned | Reason::UnassignedAllowed);
            allowed.then_some(reason)
        };
        for user in USERS {
            let mut found = Vec::new();
            let mut page_token = String::new();
            loop {
                let request = ListAccessibleQueuesRequest {
                    organization_id: organization_id.clone(),
                    user: Some(list_accessible_queues_request::User::UserId(user.into())),
                    channel: channel.into(),
                    page_size: 2,
                    page_token,
                    ..Default::default()
                };
                let page = server.client.queue_access.list_accessible_queues(request).await.unwrap().into_inner();
                found.extend(page.queues.iter().map(|queue| (queue.queue_id.clone(), queue.reason())));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let expected = model.queues.keys().filter_map(|queue| Some((queue.clone(), allowed(user, queue)?)));
            assert_eq!(found, expected.collect::<Vec<_>>(), "queues of {user}");
        }
        for queue in QUEUES {
            let request = ListEligibleAgentsRequest {
                organization_id: organization_id.clone(),
                queue: Some(list_eligible_agents_request::Queue::QueueId(queue.into())),
                channel: channel.into(),
                ..Default::default()
            };
            let page = server.client.queue_access.list_eligible_agents(request).await.unwrap().into_inner();
            let found: Vec<_> = page.agents.iter().map(|agent| (agent.user_id.clone(), agent.reason())).collect();
            let expected = model.users.keys().filter_map(|user| Some((user.clone(), allowed(user, queue)?)));
            assert_eq!(found, expected.collect::<Vec<_>>(), "agents of {queue}");
        }
    }
    let found: Vec<_> = server
        .sessions()
        .await
        .iter()
        .map(|session| {
            let key = (session.user_id.clone(), session.queue_id.clone());
            (key, session.channel(), session.basis(), session.signed_in_by.clone(), session.retained)
        })
        .collect();
    let expected = model.sessions.iter().map(|(key, session)| {
        (key.clone(), session.channel, session.basis, session.by.clone(), model.retained(key, session))
    });
    assert_eq!(found, expected.collect::<Vec<_>>());

    let mut found = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = ListRoleAssignmentsRequest {
            organization_id: organization_id.clone(),
            page_size: 3,
            page_token,
            ..Default::default()
        };
        let page = server.client.directory.list_role_assignments(request).await.unwrap().into_inner();
        for assignment in page.assignments {
            assert!(found.insert((assignment.user_id, assignment.queue_id, assignment.role)), "listed twice");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, model.roles);
    permissions::compare(server, model).await;
}

/// The messages of a watch that ends with the session of `marker`, which must be the last thing that happened.
async fn watched(watch: &mut tonic::Streaming<WatchSessionsResponse>, marker: &str) -> Vec<WatchSessionsResponse> {
    let mut messages = Vec::new();
    loop {
        let message = watch.message().await.unwrap().unwrap();
        let is_marker = message.session.as_ref().is_some_and(|session| session.user_id == marker);
        messages.push(message);
        if is_marker {
            return messages;
        }
    }
}

fn events(messages: &[WatchSessionsResponse]) -> Vec<(WatchSessionsType, String, String, EndReason)> {
    messages
        .iter()
        .filter_map(|message| {
            let session = message.session.clone()?;
            let (kind, reason) = (message.r#type(), session.end_reason());
            Some((kind, session.user_id, session.queue_id, reason))
        })
        .collect()
}

/// Something to begin with, so that not everything is refused for what isn't there; and the markers.
fn beginning(model: &mut Model, rng: &mut StdRng) -> String {
    let mut document = String::from("queues:\n");
    for (number, queue_id) in QUEUES[..3].iter().enumerate() {
        let kind = if number == 0 { QueueKind::CallQueue } else { *KINDS[..3].choose(rng).unwrap() };
        let name = kind.as_str_name().trim_start_matches("QUEUE_KIND_");
        document.push_str(&format!("  - {{ queue_id: {queue_id}, kind: {name} }}\n"));
        model.queues.insert((*queue_id).into(), QueueM { extension: String::new(), kind });
    }
    document.push_str("  - { queue_id: marker, kind: CALL_QUEUE }\nusers:\n");
    model.queues.insert("marker".into(), QueueM { extension: String::new(), kind: QueueKind::CallQueue });
    let licensed = UserM { license: true, ..UserM::default() };
    for (user_id, roles) in [
        ("u1", vec![("q1", Role::Agent), ("q2", Role::Agent)]),
        ("u2", vec![("q1", Role::Supervisor), ("q3", Role::Agent)]),
        ("u3", vec![("", Role::ContactAdmin)]),
        ("u4", vec![("", Role::Supervisor)]),
        ("marker", vec![]),
        ("marker2", vec![]),
    ] {
        let on = |wanted: Role| {
            let queues = roles.iter().filter(|(queue, role)| !queue.is_empty() && *role == wanted);
            queues.map(|(queue, _)| *queue).collect::<Vec<_>>().join(", ")
        };
        let held = roles.iter().filter(|(queue, _)| queue.is_empty());
        let held: Vec<&str> = held.map(|(_, role)| role.as_str_name().trim_start_matches("ROLE_")).collect();
        document.push_str(&format!(
            "  - {{ user_id: {user_id}, contact_center_license: true, roles: [{}], agent_of: [{}], supervisor_of: [{}] }}\n",
            held.join(", "),
            on(Role::Agent),
            on(Role::Supervisor)
        ));
        model.users.insert(user_id.into(), licensed.clone());
        model.roles.extend(roles.into_iter().map(|(queue, role)| (user_id.to_owned(), queue.to_owned(), role.into())));
    }
    document
}

async fn run_sequence(seed: u64) -> Model {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut server = TestServer::start().await;
    let mut model = Model::default();
    server.import(&beginning(&mut model, &mut rng)).await.unwrap();
    let mut watch = server.watch("").await;
    assert_eq!(watch.message().await.unwrap().unwrap().r#type(), WatchSessionsType::Checkpoint);
    let mut log = Log { seed, steps: Vec::new() };
    let mut trail = audit::Trail::begin(&mut server).await;
    for number in 0..STEPS {
        let before = model.clone();
        step(&mut server, &mut model, &mut rng, &mut log.steps).await;
        trail.expect(&before, &model);
        if number % 15 == 0 {
            compare(&mut server, &model).await;
            trail.compare(&mut server).await;
        }
    }
    compare(&mut server, &model).await;
    trail.compare(&mut server).await;

    // The marker is allowed in whatever the settings are now.
    server.set(UnassignedQueueSignIn::Allowed).await;
    model.restricted = false;
    assert!(server.sign_in("marker", "marker").await.created);
    let session =
        SessionM { channel: Channel::FeatureCode, basis: Basis::UnassignedAllowed, by: "marker".into(), expires: None };
    model.start("marker".into(), "marker".into(), session.clone());
    let messages = watched(&mut watch, "marker").await;
    assert_eq!(events(&messages), model.events, "the watch");

    let mut server = server.restart().await;
    compare(&mut server, &model).await;
    assert!(server.sign_in("marker2", "marker").await.created);
    model.start("marker2".into(), "marker".into(), SessionM { by: "marker2".into(), ..session });

    // Resumed from anywhere, before the restart too, a watch sends exactly what came after.
    for _ in 0..5 {
        let from = rng.random_range(0..messages.len());
        let mut watch = server.watch(&messages[from].revision).await;
        assert_eq!(events(&watched(&mut watch, "marker2").await), model.events[from + 1..], "resumed from {from}");
    }
    let database = server.database.clone();
    if seed.is_multiple_of(3) {
        delete_everything(&mut server, &mut model).await;
    }
    let (_folder, _) = server.stop().await;
    replays_to_the_same_state(&database);
    model
}

/// Deletes the organization, and sees every session end with it.
async fn delete_everything(server: &mut TestServer, model: &mut Model) {
    let mut watch = server.watch("").await;
    while watch.message().await.unwrap().unwrap().r#type() != WatchSessionsType::Checkpoint {}
    let request = DeleteOrganizationRequest { organization_id: ACME.into(), ..Default::default() };
    server.client.directory.delete_organization(request).await.unwrap();
    let ended = model.end(|_, _| true, EndReason::OrganizationRemoved);
    let mut found = Vec::new();
    let status = loop {
        match watch.message().await {
            Ok(message) => found.push(message.unwrap()),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), found.len()), (Code::NotFound, ended.len()));
    assert_eq!(events(&found), model.events[model.events.len() - ended.len()..]);
}

/// Replaying the log from the first change gives what the tables say.
fn replays_to_the_same_state(database: &std::path::Path) {
    let store = Store::open(database, 0).unwrap();
    let live = store.load().unwrap();
    let mut replayed = Snapshot::empty(live.revision().lineage);
    let changes = store.log_reader().unwrap();
    let changes = changes.records_since(Sequence(0), live.revision().sequence, None, u32::MAX).unwrap();
    for (number, Logged { record, hash: _ }) in (1..).zip(&changes) {
        assert_eq!(record.sequence, Sequence(number), "revisions are dense");
        replayed.apply(&record.change).unwrap();
    }
    assert!(replayed == live, "the log replays to another state");
}

/// What a sequence did, which is told if it fails.
struct Log {
    seed: u64,
    steps: Vec<String>,
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("sequence {} failed after:\n  {}", self.seed, self.steps.join("\n  "));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_does_what_a_naive_model_does() {
    let sequences: u64 =
        std::env::var("QUEUEGATE_MODEL_SEQUENCES").ok().map_or(12, |text| text.parse().expect("a number"));
    let mut refused = BTreeSet::new();
    let mut foretold = BTreeSet::new();
    let mut reasons = BTreeSet::new();
    let mut ends = BTreeSet::new();
    let mut imports = 0;
    for seed in 0..sequences {
        let model = run_sequence(seed).await;
        reasons.extend(model.reasons);
        foretold.extend(model.foretold);
        refused.extend(model.refusals.into_iter().map(|(action, ..)| action));
        imports += model.imports;
        ends.extend(model.events.into_iter().map(|(.., reason)| reason));
    }
    // A model that seldom gets anywhere proves little: every reason was met, and every end.
    let met: Vec<&str> = reasons.iter().map(|reason| reason.as_str_name()).collect();
    let missed: Vec<_> = queuegate::domain::decide::Reason::ALL
        .iter()
        .filter(|reason| !met.contains(&format!("REASON_{reason}").as_str()))
        .collect();
    assert!(missed.is_empty(), "never met: {missed:?}");
    assert_eq!(ends.len(), 9, "{ends:?}");
    assert_eq!(refused.len(), 13, "{refused:?}");
    assert_eq!(foretold.len(), 6, "{foretold:?}");
    assert!(imports > 0);
}
