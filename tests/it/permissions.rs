//! Permission checks over the wire, and the documentation of the catalogue. The rules themselves are in
//! `decision_tables`.

use queuegate::{
    domain::{
        model::Role as Held,
        vocabulary::{Grant, Permission as Known, Subject},
    },
    rpc::proto::*,
};

use crate::support::{ACME, TestServer};

fn item(user: &str, permission: Permission, queue: &str) -> CheckPermissionItem {
    CheckPermissionItem {
        correlation_id: format!("{user} {queue}"),
        user: Some(check_permission_item::User::UserId(user.into())),
        permission: permission.into(),
        queue: (!queue.is_empty()).then(|| check_permission_item::Queue::QueueId(queue.into())),
    }
}

#[tokio::test]
async fn a_batch_answers_each_question_and_spoils_none() {
    let mut server = TestServer::acme().await;
    let request = BatchCheckPermissionsRequest {
        organization_id: ACME.into(),
        items: vec![
            item("sam", Permission::SignInAgents, "sales"),
            item("sam", Permission::SignInAgents, "support"),
            item("sam", Permission::SignInAgents, ""),
            item("petra", Permission::ManagePermissions, ""),
            item("anna", Permission::ManagePermissions, ""),
            item("anna", Permission::CreateCustomTags, ""),
            item("anna", Permission::Unspecified, ""),
        ],
        ..Default::default()
    };
    let answer = server.client.permission.batch_check_permissions(request).await.unwrap().into_inner();
    let found: Vec<String> = answer
        .results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            check_permission_result::Result::Decision(decision) => {
                format!("{} {}", decision.reason().as_str_name(), decision.role().as_str_name())
            }
            check_permission_result::Result::Error(error) => error.message.clone(),
        })
        .collect();
    assert_eq!(
        found,
        [
            "PERMISSION_REASON_GRANTED ROLE_SUPERVISOR",
            "PERMISSION_REASON_QUEUE_NOT_ASSIGNED ROLE_SUPERVISOR",
            "queue_id: is required, because SIGN_IN_AGENTS is about one queue",
            "PERMISSION_REASON_GRANTED ROLE_CONTACT_ADMIN",
            "PERMISSION_REASON_ROLE_REQUIRED ROLE_UNSPECIFIED",
            "PERMISSION_REASON_SETTING_DISABLED ROLE_AGENT",
            "permission: is required: a permission that ListPermissions lists, such as PERMISSION_SIGN_IN_AGENTS",
        ]
    );
    assert_eq!(answer.results[1].correlation_id, "sam support");
}

/// A supervisor can't open the Permissions tab, and the explanation names the required role.
#[tokio::test]
async fn the_permissions_tab_is_hidden_from_supervisors() {
    let mut server = TestServer::acme().await;
    let request = CheckPermissionRequest {
        organization_id: ACME.into(),
        user: Some(check_permission_request::User::UserExtension("201".into())),
        permission: Permission::ManagePermissions.into(),
        ..Default::default()
    };
    let answer = server.client.permission.check_permission(request).await.unwrap().into_inner();
    let decision = answer.decision.unwrap();
    assert_eq!((decision.allowed, decision.reason()), (Some(false), PermissionReason::RoleRequired));
    assert_eq!(
        decision.explanation,
        "Sam Okafor (201) may not change the permissions of roles: that requires the contact admin role."
    );
}

/// The table of `docs/permissions.md`, generated from the catalogue.
#[test]
fn the_documented_table_is_the_catalogue() {
    let documented = include_str!("../../docs/permissions.md");
    for permission in Known::ALL {
        let entry = permission.entry();
        let held = |role: Held| {
            let grant = entry.grants.iter().find(|(held, _)| *held == role);
            let which = match (grant, entry.subject) {
                (None, _) | (_, Subject::Organization) => "",
                (Some((Held::ContactAdmin, _)), Subject::Queue) => ", all queues",
                (Some((Held::Supervisor, _)), Subject::Queue) => ", queues in reach",
                (Some((Held::Agent, _)), Subject::Queue) => ", queues assigned or signed in to",
            };
            match grant {
                None => "no".to_owned(),
                Some((_, Grant::While(switch))) if switch.is_removable() => format!("setting{which}"),
                Some((_, Grant::Always | Grant::While(_))) => format!("yes{which}"),
            }
        };
        let setting = entry.governed().map_or_else(
            || "–".to_owned(),
            |(_, switch)| {
                let default = if switch.default_on() { "on" } else { "off" };
                let removable = if switch.is_removable() { "" } else { ", can't be removed" };
                format!("`{switch}` ({default}{removable})")
            },
        );
        let [admin, supervisor, agent] = [Held::ContactAdmin, Held::Supervisor, Held::Agent].map(held);
        let row = format!("| `{permission}` | {} | {admin} | {supervisor} | {agent} | {setting} |", entry.description);
        assert!(documented.contains(&row), "{row}");
    }
    let rows = documented.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 7);
    assert_eq!(rows.count(), Known::ALL.len());
}
