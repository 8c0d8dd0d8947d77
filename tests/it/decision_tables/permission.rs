//! The permission matrix: every permission by roles, settings, and the user's relation to the queue.

use queuegate::domain::{
    explain::PermissionExplanation,
    permission::{PermissionCheck, check},
    settings::{PermissionSettings, Switch},
    vocabulary::{Permission, PermissionReason, Subject},
};

use super::*;

const COLUMNS: [&str; 6] = ["permission", "user", "roles", "settings_on", "other_settings", "limit_to_assigned_queues"];

fn tables() -> [Vec<Row>; 2] {
    [rows(include_str!("../../tables/permission.txt")), rows(include_str!("../../tables/permission_on_queue.txt"))]
}

fn settings(row: &Row) -> PermissionSettings {
    let permission: Permission = row["permission"].parse().unwrap();
    let governing: Vec<Switch> = permission.entry().governed().map_or_else(Vec::new, |(_, switch)| {
        switch.included_in().into_iter().chain([switch]).filter(|switch| switch.is_removable()).collect()
    });
    let mut settings = PermissionSettings::default();
    for switch in Switch::ALL.iter().filter(|switch| switch.is_removable()) {
        let name = switch.as_str().split_once('.').unwrap().1;
        let on = match switch {
            Switch::LimitToAssignedQueues => row["limit_to_assigned_queues"] == "on",
            switch if governing.contains(switch) => row["settings_on"].split('+').any(|on| on == name),
            _ => row["other_settings"] == "on",
        };
        settings.set(*switch, on);
    }
    settings
}

/// The organization of one cell: the row's settings and roles, and the column's relation of the user to the queue.
fn scene(row: &Row, relation: &str) -> Scene {
    let mut scene = Scene::new(settings(row));
    scene.user("user", &row["user"]);
    if relation != "unknown_queue" {
        scene.queue("queue", QueueKind::CallQueue);
    }
    if row["user"] == "unknown" {
        return scene;
    }
    for role in row["roles"].split('+').filter(|role| *role != "none") {
        scene.role("user", role.parse().unwrap(), None);
    }
    match relation {
        "none" | "unknown_queue" => {}
        "AGENT_of" => scene.role("user", Role::Agent, Some("queue")),
        "SUPERVISOR_of" => scene.role("user", Role::Supervisor, Some("queue")),
        "AGENT_elsewhere" => scene.role("user", Role::Agent, Some("elsewhere")),
        "SUPERVISOR_elsewhere" => scene.role("user", Role::Supervisor, Some("elsewhere")),
        "signed_in" => scene.session("live_until_later"),
        "expired" => scene.session("expired"),
        other => panic!("{other}"),
    }
    scene
}

#[test]
fn permissions_are_decided_as_the_table_says() {
    let (user, queue) = (UserRef::Id("user".parse().unwrap()), QueueRef::Id("queue".parse().unwrap()));
    let mut cells = 0;
    for row in tables().iter().flatten() {
        let permission: Permission = row["permission"].parse().unwrap();
        let queue = (permission.entry().subject == Subject::Queue).then_some(&queue);
        for (relation, expected) in row.iter().filter(|(column, _)| !COLUMNS.contains(&column.as_str())) {
            let scene = scene(row, relation);
            let request = PermissionCheck::new(&user, permission, queue).unwrap();
            let decision = check(scene.0.organization("acme").unwrap(), request, Timestamp::from_unix_ms(NOW));
            let found = match (decision.is_allowed(), decision.role) {
                (true, Some(role)) => format!("by_{role}"),
                (true, None) => "by nobody".to_owned(),
                (false, _) => decision.reason.to_string(),
            };
            assert_eq!(found, *expected, "{relation} {row:?}");
            let explanation = PermissionExplanation::new(&decision, &request);
            assert_sentences(|language| explanation.in_language(language));
            cells += 1;
        }
    }
    assert_eq!(cells, 928 * 3 + 338 * 8);
}

/// A new permission, role, reason or setting must be added to the tables.
#[test]
fn the_permission_tables_cover_every_value_there_is() {
    let tables = tables();
    let all: Vec<Row> = tables.iter().flatten().cloned().collect();
    assert_eq!(column(&all, "permission"), names(Permission::ALL));
    let roles: BTreeSet<String> =
        column(&all, "roles").iter().flat_map(|roles| roles.split('+')).map(str::to_owned).collect();
    assert_eq!(roles, names(Role::ALL).into_iter().chain(["none".to_owned()]).collect());
    let reasons: BTreeSet<String> = all
        .iter()
        .flatten()
        .filter(|(column, _)| !COLUMNS.contains(&column.as_str()))
        .map(|(_, answer)| if answer.starts_with("by_") { "GRANTED".to_owned() } else { answer.clone() })
        .collect();
    assert_eq!(reasons, names(PermissionReason::ALL));
    // The tables have every setting that governs a permission, on and off.
    for permission in Permission::ALL {
        let of_it: Vec<Row> = all
            .iter()
            .filter(|row| row["permission"] == permission.as_str() && row["user"] == "enabled")
            .cloned()
            .collect();
        let switches = permission.entry().governed().map_or_else(Vec::new, |(_, switch)| {
            switch.included_in().into_iter().chain([switch]).filter(|switch| switch.is_removable()).collect()
        });
        let states = if *permission == Permission::ViewQueueSettings { 1 } else { 1 << switches.len() };
        assert_eq!(column(&of_it, "settings_on").len(), states, "{permission}");
        assert_eq!(of_it.len(), 8 * states * 2 * 2, "{permission}");
    }
}
