//! Compares settings, permissions and previews with the model.

use std::collections::{BTreeMap, BTreeSet};

use queuegate::rpc::proto::*;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use tonic::Code;

use super::{
    code,
    world::{Model, PERMISSIONS, QUEUES, SWITCHES, USERS},
};
use crate::support::{ACME, TestServer};

const UNASSIGNED: &str = "organization.unassigned_queue_sign_in";

/// The server's permissions of every user on every queue, and the retained sessions.
#[derive(PartialEq, Debug)]
struct Observed {
    granted: BTreeSet<(String, Permission, String)>,
    retained: BTreeSet<(String, String)>,
}

async fn observe(server: &mut TestServer) -> Observed {
    let mut granted = BTreeSet::new();
    for user in USERS {
        for queue in QUEUES.into_iter().chain(["marker"]) {
            for (permission, decision) in permissions_of(server, user, queue).await {
                if decision.allowed() {
                    granted.insert((user.to_owned(), permission, queue.to_owned()));
                }
            }
        }
    }
    let sessions = server.sessions().await.into_iter().filter(|session| session.retained);
    Observed { granted, retained: sessions.map(|session| (session.user_id, session.queue_id)).collect() }
}

async fn permissions_of(server: &mut TestServer, user: &str, queue: &str) -> Vec<(Permission, PermissionDecision)> {
    let request = ListUserPermissionsRequest {
        organization_id: ACME.into(),
        user: Some(list_user_permissions_request::User::UserId(user.into())),
        queue: Some(list_user_permissions_request::Queue::QueueId(queue.into())),
        ..Default::default()
    };
    let answer = server.client.permission.list_user_permissions(request).await.unwrap().into_inner();
    answer.permissions.into_iter().map(|listed| (listed.permission(), listed.decision.unwrap())).collect()
}

/// Every permission of every user on every queue, listed and checked.
pub async fn compare(server: &mut TestServer, model: &Model) {
    let mut items = Vec::new();
    let mut listed = Vec::new();
    for user in USERS {
        for queue in QUEUES {
            let permissions = permissions_of(server, user, queue).await;
            assert_eq!(permissions.len(), PERMISSIONS.len());
            for ((permission, decision), (name, about_queue, _)) in permissions.into_iter().zip(PERMISSIONS) {
                assert_eq!(permission.as_str_name(), format!("PERMISSION_{name}"));
                let expected = model.permission(user, name, queue);
                let found = decision.reason().as_str_name().trim_start_matches("PERMISSION_REASON_");
                assert_eq!(found, expected, "{name} {user} {queue}");
                items.push(CheckPermissionItem {
                    user: Some(check_permission_item::User::UserId(user.into())),
                    permission: permission.into(),
                    queue: about_queue.then(|| check_permission_item::Queue::QueueId(queue.into())),
                    ..Default::default()
                });
                listed.push(check_permission_result::Result::Decision(decision));
            }
        }
    }
    let request = BatchCheckPermissionsRequest { organization_id: ACME.into(), items, ..Default::default() };
    let answer = server.client.permission.batch_check_permissions(request).await.unwrap().into_inner();
    let checked: Vec<_> = answer.results.into_iter().map(|result| result.result.unwrap()).collect();
    assert_eq!(checked, listed, "list and check disagree");
}

/// Changes random settings, after a preview.
pub async fn change_settings(server: &mut TestServer, model: &mut Model, rng: &mut StdRng, log: &mut Vec<String>) {
    let mut settings = PermissionSettings::default();
    let mut paths: Vec<String> = Vec::new();
    let mut after = model.clone();
    if rng.random_bool(0.6) {
        after.restricted = rng.random_bool(0.6);
        let value = match after.restricted {
            true => UnassignedQueueSignIn::Restricted,
            false => UnassignedQueueSignIn::Allowed,
        };
        settings.organization = Some(OrganizationSettings { unassigned_queue_sign_in: value.into() });
        paths.push(UNASSIGNED.to_owned());
    }
    for _ in 0..rng.random_range(0..4) {
        // The setting that moves queues in and out of reach must change more often than one time in eleven.
        let path = if rng.random_bool(0.3) { SWITCHES[1] } else { *SWITCHES.choose(rng).unwrap() };
        let on = rng.random_bool(0.5) || path == "supervisor.view_queue_settings" && rng.random_bool(0.8);
        set(&mut settings, path, on);
        if on {
            after.on.insert(path);
        } else {
            after.on.remove(path);
        }
        paths.push(path.to_owned());
    }
    log.push(format!("settings {} {:?} by {paths:?}", after.restricted, after.on));
    let update_mask = Some(prost_types::FieldMask { paths: paths.clone() }).filter(|_| rng.random_bool(0.5));
    let update = UpdatePermissionSettingsRequest {
        organization_id: ACME.into(),
        settings: Some(settings.clone()),
        update_mask: update_mask.clone(),
        actor_user_id: model.actor.clone(),
        ..Default::default()
    };
    if !after.on.contains("supervisor.view_queue_settings") {
        assert_eq!(code(&server.client.permission.update_permission_settings(update).await), Code::InvalidArgument);
        return;
    }
    let preview = PreviewPermissionSettingsRequest {
        organization_id: ACME.into(),
        settings: Some(settings),
        update_mask,
        page_size: 2,
        ..Default::default()
    };
    let before = observe(server).await;
    let foretold = foretold(server, preview).await;
    let refused = model.refuses("UPDATE_SETTINGS", Some("MANAGE_PERMISSIONS"), "", "");
    let validate = UpdatePermissionSettingsRequest { validate_only: true, ..update.clone() };
    let would = server.client.permission.update_permission_settings(validate).await;
    let expected = if refused { Code::PermissionDenied } else { Code::Ok };
    assert_eq!(code(&would), expected);
    assert_eq!(observe(server).await, before, "validate_only changed something");
    let is = server.client.permission.update_permission_settings(update).await;
    assert_eq!(code(&is), expected);
    if let (Ok(would), Ok(is)) = (would, is) {
        let without_etag = |settings: Option<PermissionSettings>| {
            settings.map(|settings| PermissionSettings { etag: String::new(), ..settings })
        };
        assert_eq!(without_etag(would.into_inner().settings), without_etag(is.into_inner().settings));
        (model.restricted, model.on) = (after.restricted, after.on);
        let now = observe(server).await;
        happened_as(&foretold, &before, &now);
        let met = [
            ("users gain a permission", foretold.permissions.iter().any(|impact| impact.users_gaining > 0)),
            ("users lose a permission", foretold.permissions.iter().any(|impact| impact.users_losing > 0)),
            ("supervisors gain queues", foretold.supervisors_gaining_queues > 0),
            ("supervisors lose queues", foretold.supervisors_losing_queues > 0),
            ("sessions become retained", foretold.sessions_becoming_retained > 0),
            ("sessions cease to be retained", foretold.sessions_ceasing_to_be_retained > 0),
        ];
        model.foretold.extend(met.into_iter().filter(|(_, met)| *met).map(|(what, _)| what));
    }
}

/// All pages of a preview as one.
async fn foretold(server: &mut TestServer, mut request: PreviewPermissionSettingsRequest) -> PermissionSettingsImpact {
    let mut all: Option<PermissionSettingsImpact> = None;
    loop {
        let page = server.client.permission.preview_permission_settings(request.clone()).await.unwrap().into_inner();
        let impact = page.impact.unwrap();
        match &mut all {
            None => all = Some(impact),
            Some(all) => {
                assert_eq!(all.permissions, impact.permissions);
                all.users.extend(impact.users);
                all.sessions.extend(impact.sessions);
            }
        }
        if page.next_page_token.is_empty() {
            return all.unwrap();
        }
        request.page_token = page.next_page_token;
    }
}

/// The preview is exactly the difference between before and after.
fn happened_as(foretold: &PermissionSettingsImpact, before: &Observed, after: &Observed) {
    let difference = |some: &Observed, others: &Observed| -> BTreeSet<(String, Permission)> {
        let gone = some.granted.difference(&others.granted);
        gone.map(|(user, permission, _)| (user.clone(), *permission)).collect()
    };
    let (gained, lost) = (difference(after, before), difference(before, after));
    let told = |of: fn(&UserImpact) -> Vec<Permission>| -> BTreeSet<(String, Permission)> {
        let users = foretold.users.iter();
        users.flat_map(|user| of(user).into_iter().map(|permission| (user.user_id.clone(), permission))).collect()
    };
    assert_eq!(told(|user| user.gained_permissions().collect()), gained, "gained");
    assert_eq!(told(|user| user.lost_permissions().collect()), lost, "lost");
    let mut counts: BTreeMap<Permission, (i64, i64)> = BTreeMap::new();
    gained.iter().for_each(|(_, permission)| counts.entry(*permission).or_default().0 += 1);
    lost.iter().for_each(|(_, permission)| counts.entry(*permission).or_default().1 += 1);
    let told_counts = foretold.permissions.iter();
    let told_counts =
        told_counts.map(|impact| (impact.permission(), (impact.users_gaining, impact.users_losing))).collect();
    assert_eq!(counts, told_counts);

    // A supervisor's queues are the queues whose reports they may see.
    let queues = |observed: &Observed| -> BTreeMap<String, i64> {
        let mut queues = BTreeMap::new();
        for (user, permission, _) in &observed.granted {
            if *permission == Permission::ViewReports {
                *queues.entry(user.clone()).or_default() += 1;
            }
        }
        queues
    };
    let (was, is) = (queues(before), queues(after));
    for user in USERS {
        let found = foretold.users.iter().find(|impact| impact.user_id == user);
        let change = found.map_or(0, |impact| impact.gained_queues - impact.lost_queues);
        let happened = is.get(user).unwrap_or(&0) - was.get(user).unwrap_or(&0);
        assert_eq!(change, happened, "queues of {user}");
    }
    let gaining = foretold.users.iter().filter(|user| user.gained_queues > 0).count();
    let losing = foretold.users.iter().filter(|user| user.lost_queues > 0).count();
    let told = (foretold.supervisors_gaining_queues, foretold.supervisors_losing_queues);
    assert_eq!(told, (i64::try_from(gaining).unwrap(), i64::try_from(losing).unwrap()));

    let told = |retained: bool| -> BTreeSet<(String, String)> {
        let sessions = foretold.sessions.iter().filter(|impact| impact.retained == retained);
        let sessions = sessions.map(|impact| impact.session.as_ref().unwrap());
        sessions.map(|session| (session.user_id.clone(), session.queue_id.clone())).collect()
    };
    let (became, ceased) = (told(true), told(false));
    assert_eq!(became, after.retained.difference(&before.retained).cloned().collect());
    assert_eq!(ceased, before.retained.difference(&after.retained).cloned().collect());
    let counts = (foretold.sessions_becoming_retained, foretold.sessions_ceasing_to_be_retained);
    assert_eq!(counts, (i64::try_from(became.len()).unwrap(), i64::try_from(ceased.len()).unwrap()));
}

fn set(settings: &mut PermissionSettings, path: &str, on: bool) {
    let supervisor = settings.supervisor.get_or_insert_default();
    let agent = settings.agent.get_or_insert_default();
    let field = match path {
        "supervisor.access_configuration_portal" => &mut supervisor.access_configuration_portal,
        "supervisor.limit_to_assigned_queues" => &mut supervisor.limit_to_assigned_queues,
        "supervisor.view_queue_settings" => &mut supervisor.view_queue_settings,
        "supervisor.manage_queue_settings" => &mut supervisor.manage_queue_settings,
        "supervisor.view_pause_reasons" => &mut supervisor.view_pause_reasons,
        "supervisor.manage_pause_reasons" => &mut supervisor.manage_pause_reasons,
        "supervisor.view_skills" => &mut supervisor.view_skills,
        "supervisor.manage_skills" => &mut supervisor.manage_skills,
        "agent.manage_prerecorded_messages" => &mut agent.manage_prerecorded_messages,
        "agent.manage_public_canned_messages" => &mut agent.manage_public_canned_messages,
        "agent.create_custom_tags" => &mut agent.create_custom_tags,
        other => panic!("{other}"),
    };
    *field = Some(on);
}
