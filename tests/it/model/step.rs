//! A random write, on the server and on the model.

use std::time::Duration;

use queuegate::rpc::proto::*;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use tonic::Code;

use super::{
    audit, code,
    document::Document,
    keys, permissions,
    world::{EXTENSIONS, KINDS, Model, Name, QUEUES, QueueM, ROLES, SessionM, USERS, UserM},
};
use crate::support::{ACME, TestServer};

/// Makes one random write on both; panics if the outcomes differ.
pub async fn step(server: &mut TestServer, model: &mut Model, rng: &mut StdRng, log: &mut Vec<String>) {
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
            let penalty = rng.random_bool(0.4).then(|| *[0, 1, 7, 999, 1_000, -1].choose(rng).unwrap());
            log.push(format!("assign {user:?} {role:?} {queue:?} {penalty:?}"));
            let request = AssignRoleRequest {
                organization_id,
                user: named!(user, assign_role_request::User, UserId, UserExtension),
                role: role.into(),
                queue: queue.as_ref().map(|q| one_of!(q, assign_role_request::Queue, QueueId, QueueExtension)),
                actor_user_id,
                penalty,
                ..Default::default()
            };
            let answer = server.client.directory.assign_role(request).await;
            let found = queue.as_ref().map(|queue| model.queue(queue));
            let keys = (model.user_key(&user), queue.as_ref().map_or(String::new(), |queue| model.queue_key(queue)));
            let is_valid = penalty.is_none_or(|penalty| (0..=999).contains(&penalty));
            let refused = is_valid && model.refuses("ASSIGN_ROLE", Some("ASSIGN_ROLES"), &keys.0, &keys.1);
            let user = model.user(&user);
            let expected = match (&user, &found) {
                _ if refused => Code::PermissionDenied,
                _ if !is_valid => Code::InvalidArgument,
                _ if penalty.is_some() && (role != Role::Agent || queue.is_none()) => Code::InvalidArgument,
                (_, Some(_)) if role == Role::ContactAdmin => Code::InvalidArgument,
                (None, _) | (_, Some(None)) => Code::NotFound,
                (Some(user), _) if !model.users[user].license => Code::FailedPrecondition,
                (Some(_), _) => Code::Ok,
            };
            assert_eq!(code(&answer), expected);
            if let (Code::Ok, Some(user)) = (expected, user) {
                let queue = found.flatten().unwrap_or_default();
                let created = model.roles.insert((user.clone(), queue.clone(), role.into()));
                if let Some(penalty) = penalty {
                    model.set_penalty(&user, &queue, penalty);
                }
                let answer = answer.unwrap().into_inner();
                let penalty = model.penalties.get(&(user, queue)).filter(|_| role == Role::Agent).copied();
                assert_eq!((answer.created, answer.assignment.unwrap().penalty), (created, penalty.unwrap_or(0)));
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
        56..60 => {
            let channel = *[Channel::FeatureCode, Channel::AgentDashboard].choose(rng).unwrap();
            log.push(format!("sign in {user:?} to all assigned queues, {channel:?}"));
            let request = SignInRequest {
                organization_id,
                user: named!(user, sign_in_request::User, UserId, UserExtension),
                channel: channel.into(),
                all_assigned_queues: true,
                ..Default::default()
            };
            let answer = server.client.queue_access.sign_in(request).await.unwrap().into_inner();
            model.actor = model.user_key(&user);
            let denied = match model.user(&user) {
                None => Some(Reason::UnknownUser),
                Some(id) if model.users[&id].disabled => Some(Reason::UserDisabled),
                Some(id) if channel == Channel::AgentDashboard && !model.holds(&id, Role::Agent) => {
                    Some(Reason::AgentRoleRequired)
                }
                Some(_) => None,
            };
            assert_eq!(answer.decision.map(|decision| decision.reason()), denied);
            let mut found = answer.queue_sign_ins.into_iter();
            if let Some(reason) = denied {
                audit::attempt(model, "SIGN_IN", reason, &user, &Name::Id(String::new()));
            } else {
                let id = model.user(&user).unwrap();
                for queue in model.queues.keys().cloned().collect::<Vec<_>>() {
                    if !model.has(&id, &queue, Role::Agent) {
                        continue;
                    }
                    let expected = model.decide(&user, &Name::Id(queue.clone()), channel, true);
                    let found = found.next().unwrap();
                    assert_eq!((&found.queue_id, found.decision.unwrap().reason()), (&queue, expected));
                    audit::attempt(model, "SIGN_IN", expected, &user, &Name::Id(queue.clone()));
                    assert_eq!(found.created, expected == Reason::Assigned);
                    assert_eq!(found.session.is_some(), found.created || expected == Reason::AlreadySignedIn);
                    if found.created {
                        let basis = Basis::Assigned;
                        let session = SessionM { channel, basis, by: id.clone(), expires: None };
                        model.start(id.clone(), queue, session);
                    }
                }
            }
            assert!(found.next().is_none());
        }
        60..74 => {
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
