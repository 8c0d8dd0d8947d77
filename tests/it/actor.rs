//! The acting user (`docs/semantics.md` section 5.2): the user on whose behalf a system writes.

use std::collections::BTreeMap;

use queuegate::{client::Client, rpc::proto::*};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::support::{ACME, TestServer};

/// Every write that may name an acting user, and the permission that it requires; `None`: no user may do it.
const WRITES: &[(&str, Option<&str>)] = &[
    ("UpdatePermissionSettings", Some("MANAGE_PERMISSIONS")),
    ("AssignRole", Some("ASSIGN_ROLES")),
    ("UnassignRole", Some("ASSIGN_ROLES")),
    ("SetPin", Some("ASSIGN_ROLES")),
    ("ClearPin", Some("ASSIGN_ROLES")),
    ("CreateQueue", Some("CONFIGURE_QUEUES")),
    ("UpdateQueue", Some("CONFIGURE_QUEUES")),
    ("DeleteQueue", Some("CONFIGURE_QUEUES")),
    ("UpdateUser: licence", Some("ASSIGN_LICENSES")),
    ("UpdateUser: name", None),
    ("UpdateUser: licence and name", None),
    ("UpdateUser: nothing", None),
    ("CreateUser", None),
    ("DeleteUser", None),
    ("CreateOrganization", None),
    ("UpdateOrganization", None),
    ("DeleteOrganization", None),
    ("ImportDirectory", None),
];

fn done<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
    answer.map(|_| ())
}

fn queue(queue_id: &str) -> Option<Queue> {
    Some(Queue { queue_id: queue_id.into(), kind: QueueKind::CallQueue.into(), ..Default::default() })
}

async fn update_user(client: &mut Client, user: User, actor_user_id: String) -> Result<(), Status> {
    let organization_id = ACME.into();
    let user = Some(User { user_id: "cleo".into(), ..user });
    let request = UpdateUserRequest { organization_id, user, actor_user_id, ..Default::default() };
    done(client.directory.update_user(request).await)
}

/// Does one of [`WRITES`] on behalf of `actor`.
async fn write(client: &mut Client, name: &str, actor: &str) -> Result<(), Status> {
    let (organization_id, actor_user_id) = (ACME.to_owned(), actor.to_owned());
    let organization = Some(Organization { organization_id: ACME.into(), display_name: Some(actor.into()) });
    let directory = &mut client.directory;
    match name {
        "UpdatePermissionSettings" => {
            let settings = Some(PermissionSettings::default());
            let request =
                UpdatePermissionSettingsRequest { organization_id, settings, actor_user_id, ..Default::default() };
            done(client.permission.update_permission_settings(request).await)
        }
        "AssignRole" => {
            let user = Some(assign_role_request::User::UserId("bo".into()));
            let role = Role::Supervisor.into();
            let request = AssignRoleRequest { organization_id, user, role, actor_user_id, ..Default::default() };
            done(directory.assign_role(request).await)
        }
        "UnassignRole" => {
            let user = Some(unassign_role_request::User::UserId("bo".into()));
            let role = Role::Supervisor.into();
            let request = UnassignRoleRequest { organization_id, user, role, actor_user_id, ..Default::default() };
            done(directory.unassign_role(request).await)
        }
        "SetPin" => {
            let user = Some(set_pin_request::User::UserId("bo".into()));
            let pin = "4711".into();
            let request = SetPinRequest { organization_id, user, pin, actor_user_id, ..Default::default() };
            done(directory.set_pin(request).await)
        }
        "ClearPin" => {
            let user = Some(clear_pin_request::User::UserId("bo".into()));
            let request = ClearPinRequest { organization_id, user, actor_user_id, ..Default::default() };
            done(directory.clear_pin(request).await)
        }
        "CreateQueue" => {
            let queue = queue("new");
            let request = CreateQueueRequest { organization_id, queue, actor_user_id, ..Default::default() };
            done(directory.create_queue(request).await)
        }
        "UpdateQueue" => {
            let queue = queue("new");
            let request = UpdateQueueRequest { organization_id, queue, actor_user_id, ..Default::default() };
            done(directory.update_queue(request).await)
        }
        "DeleteQueue" => {
            let queue_id = "new".into();
            let request = DeleteQueueRequest { organization_id, queue_id, actor_user_id, ..Default::default() };
            done(directory.delete_queue(request).await)
        }
        "UpdateUser: licence" => {
            let user = User { contact_center_license: Some(true), ..Default::default() };
            update_user(client, user, actor_user_id).await
        }
        "UpdateUser: name" => {
            let user = User { display_name: Some("Cleo".into()), ..Default::default() };
            update_user(client, user, actor_user_id).await
        }
        "UpdateUser: licence and name" => {
            let user =
                User { contact_center_license: Some(true), display_name: Some("Cleo".into()), ..Default::default() };
            update_user(client, user, actor_user_id).await
        }
        "UpdateUser: nothing" => update_user(client, User::default(), actor_user_id).await,
        "CreateUser" => {
            let user = Some(User { user_id: "new".into(), ..Default::default() });
            let request = CreateUserRequest { organization_id, user, actor_user_id, ..Default::default() };
            done(directory.create_user(request).await)
        }
        "DeleteUser" => {
            let user_id = "dan".into();
            let request = DeleteUserRequest { organization_id, user_id, actor_user_id, ..Default::default() };
            done(directory.delete_user(request).await)
        }
        "CreateOrganization" => {
            let organization = Some(Organization { organization_id: "new".into(), ..Default::default() });
            let request = CreateOrganizationRequest { organization, actor_user_id, ..Default::default() };
            done(directory.create_organization(request).await)
        }
        "UpdateOrganization" => {
            let request = UpdateOrganizationRequest { organization, actor_user_id, ..Default::default() };
            done(directory.update_organization(request).await)
        }
        "DeleteOrganization" => {
            let request = DeleteOrganizationRequest { organization_id, actor_user_id, ..Default::default() };
            done(directory.delete_organization(request).await)
        }
        "ImportDirectory" => {
            let document = b"users: []".to_vec();
            let request = ImportDirectoryRequest { organization_id, document, actor_user_id, ..Default::default() };
            let mut answers = directory.import_directory(tokio_stream::once(request)).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok(())
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_acting_user_needs_the_permission_for_each_write() {
    let mut server = TestServer::acme().await;
    let mut german = server.client.clone().accepting("de-CH".parse().unwrap());
    // petra is a contact admin, sam a supervisor, anna an agent, cleo has no role, dan is disabled.
    for (actor, why) in [
        ("petra", ""),
        ("sam", "ROLE_REQUIRED"),
        ("anna", "ROLE_REQUIRED"),
        ("cleo", "ROLE_REQUIRED"),
        ("dan", "USER_DISABLED"),
        ("nobody", "UNKNOWN_USER"),
    ] {
        for (name, permission) in WRITES {
            let before = server.check("anna", "sales").await.reason();
            let answer = write(&mut german, name, actor).await;
            if actor == "petra" && permission.is_some() {
                answer.unwrap_or_else(|status| panic!("{name}: {status:?}"));
                continue;
            }
            let status = answer.expect_err(&format!("{name} by {actor}"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((status.code(), info.reason.as_str()), (Code::PermissionDenied, "ACTOR_NOT_PERMITTED"));
            let mut metadata = BTreeMap::from([("actor_user_id", actor)]);
            if let Some(permission) = permission {
                metadata.extend([("permission", *permission), ("permission_reason", why)]);
            }
            let found: BTreeMap<&str, &str> = info.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(found, metadata, "{name} by {actor}");
            assert!(status.message().starts_with(&format!("actor_user_id `{actor}`: ")), "{}", status.message());
            let localized = status.get_details_localized_message().unwrap();
            assert_eq!(localized.locale, "de", "{name} by {actor}");
            let german = ["nicht: Dafür ist die Rolle", "Das darf kein Benutzer", "ist deaktiviert", "Es gibt keinen"];
            assert!(german.iter().any(|words| localized.message.contains(words)), "{}", localized.message);
            assert_eq!(server.check("anna", "sales").await.reason(), before);
        }
    }
}

/// Every directory and settings write has the field, so that a gateway that always sets it is never ignored.
#[test]
fn every_write_of_the_directory_and_the_settings_names_its_acting_user() {
    let pool = prost_reflect::DescriptorPool::decode(queuegate::rpc::FILE_DESCRIPTOR_SET).unwrap();
    let mut found: Vec<String> = Vec::new();
    for service in ["DirectoryService", "PermissionService"] {
        for method in pool.get_service_by_name(&format!("queuegate.v1.{service}")).unwrap().methods() {
            let has = |field| method.input().get_field_by_name(field).is_some();
            assert_eq!(has("request_id"), has("actor_user_id"), "{}", method.name());
            if has("actor_user_id") {
                found.push(method.name().to_owned());
            }
        }
    }
    for name in &found {
        assert!(WRITES.iter().any(|(write, _)| write.split(':').next() == Some(name)), "{name} has no case");
    }
}

#[tokio::test]
async fn a_refused_actor_changes_nothing_and_validate_only_refuses_too() {
    let mut server = TestServer::acme().await;
    let settings = PermissionSettings {
        supervisor: Some(SupervisorSettings { view_skills: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let request = UpdatePermissionSettingsRequest {
        organization_id: ACME.into(),
        settings: Some(settings),
        ..Default::default()
    };
    for validate_only in [true, false] {
        let request = UpdatePermissionSettingsRequest { actor_user_id: "sam".into(), validate_only, ..request.clone() };
        let status = server.client.permission.update_permission_settings(request).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    let get = GetPermissionSettingsRequest { organization_id: ACME.into(), ..Default::default() };
    let now = server.client.permission.get_permission_settings(get.clone()).await.unwrap().into_inner();
    assert_eq!(now.settings.as_ref().unwrap().supervisor.unwrap().view_skills, Some(false));

    let request = UpdatePermissionSettingsRequest { actor_user_id: "petra".into(), validate_only: true, ..request };
    let would = server.client.permission.update_permission_settings(request).await.unwrap().into_inner();
    let would = would.settings.unwrap();
    assert_eq!(would.supervisor.unwrap().view_skills, Some(true));
    assert_eq!(would.etag, now.settings.as_ref().unwrap().etag);
    assert_eq!(
        server.client.permission.get_permission_settings(get).await.unwrap().into_inner().settings,
        now.settings
    );
}

/// An administrator loses the role while changing the settings. In any order of the history, no change uses a lost
/// role, with an etag or without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_acts_on_a_role_that_they_have_just_lost() {
    let mut server = TestServer::acme().await;
    let (mut before, mut after) = (0, 0);
    for round in 0..100 {
        let request = |on| UpdatePermissionSettingsRequest {
            organization_id: ACME.into(),
            settings: Some(PermissionSettings {
                agent: Some(AgentSettings { create_custom_tags: Some(on), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let reset = server.client.permission.update_permission_settings(request(false)).await.unwrap().into_inner();
        let assign = AssignRoleRequest {
            organization_id: ACME.into(),
            user: Some(assign_role_request::User::UserId("petra".into())),
            role: Role::ContactAdmin.into(),
            ..Default::default()
        };
        server.client.directory.assign_role(assign).await.unwrap();

        let mut update = UpdatePermissionSettingsRequest { actor_user_id: "petra".into(), ..request(true) };
        if round % 2 == 0 {
            update.settings.as_mut().unwrap().etag = reset.settings.unwrap().etag;
        }
        let mut permission = server.client.permission.clone();
        let updating = tokio::spawn(async move { permission.update_permission_settings(update).await });
        if round % 4 < 2 {
            tokio::task::yield_now().await;
        }
        let unassign = UnassignRoleRequest {
            organization_id: ACME.into(),
            user: Some(unassign_role_request::User::UserId("petra".into())),
            role: Role::ContactAdmin.into(),
            ..Default::default()
        };
        let lost = server.client.directory.unassign_role(unassign).await.unwrap().into_inner();
        let get = GetPermissionSettingsRequest { organization_id: ACME.into(), ..Default::default() };
        let updated = updating.await.unwrap();
        let now = server.client.permission.get_permission_settings(get).await.unwrap().into_inner().settings.unwrap();
        match updated {
            Ok(updated) => {
                before += 1;
                assert!(updated.into_inner().revision < lost.revision);
                assert_eq!(now.agent.unwrap().create_custom_tags, Some(true));
            }
            Err(status) => {
                after += 1;
                assert_eq!(status.code(), Code::PermissionDenied);
                assert_eq!(now.agent.unwrap().create_custom_tags, Some(false));
            }
        }
    }
    println!("{before} updates came before the loss of the role, {after} after");
}

/// The attempt is recorded: the current state, and the state that it would have made.
#[tokio::test]
async fn a_refused_write_is_recorded_with_what_was_attempted() {
    let mut server = TestServer::acme().await;
    let settings = PermissionSettings {
        supervisor: Some(SupervisorSettings { manage_queue_settings: Some(true), ..Default::default() }),
        ..Default::default()
    };
    let request = UpdatePermissionSettingsRequest {
        organization_id: ACME.into(),
        settings: Some(settings),
        actor_user_id: "sam".into(),
        ..Default::default()
    };
    server.client.permission.update_permission_settings(request).await.unwrap_err();
    write(&mut server.client, "UpdateUser: name", "anna").await.unwrap_err();
    let request = ListAuditEventsRequest { organization_id: ACME.into(), page_size: 2, ..Default::default() };
    let events = server.client.audit.list_audit_events(request).await.unwrap().into_inner().events;
    let [user, settings] = events.as_slice() else { panic!("{events:?}") };
    let manages = |state: &Option<AuditState>| {
        let settings = state.as_ref().and_then(|state| state.settings.clone()).unwrap();
        settings.supervisor.unwrap().manage_queue_settings
    };
    assert_eq!((manages(&settings.before), manages(&settings.attempted)), (Some(false), Some(true)));
    let name = |state: &Option<AuditState>| state.as_ref().unwrap().user.clone().unwrap().display_name;
    assert_eq!((name(&user.before), name(&user.attempted)), (Some("Cleo Martin".into()), Some("Cleo".into())));
    assert!(settings.after.is_none() && user.after.is_none());
    assert_eq!((user.permission(), user.allowed), (Permission::Unspecified, Some(false)));
}

/// An import on behalf of a user without permission reveals nothing of the directory, and the attempt is recorded.
#[tokio::test]
async fn an_import_on_behalf_of_a_user_is_refused_whatever_the_document_says() {
    let mut server = TestServer::acme().await;
    for document in ["users: [{ user_id: spy, extension: 200 }]", "users: [{ user_id: spy, colour: red }]", "]"] {
        for validate_only in [true, false] {
            let request = ImportDirectoryRequest {
                organization_id: ACME.into(),
                document: document.into(),
                actor_user_id: "petra".into(),
                delete_missing: true,
                validate_only,
                ..Default::default()
            };
            let (answer, problems) = server.import_with(request).await;
            assert_eq!((answer.unwrap_err().code(), problems.len()), (Code::PermissionDenied, 0));
        }
    }
    let request = ListAuditEventsRequest {
        organization_id: ACME.into(),
        action: AuditAction::ImportDirectory.into(),
        ..Default::default()
    };
    let events = server.client.audit.list_audit_events(request).await.unwrap().into_inner().events;
    assert_eq!(events.len(), 3, "one for each that was not a validation");
}

/// Naming an organization that never existed creates no log.
#[tokio::test]
async fn a_refused_actor_leaves_no_trace_of_an_organization_that_is_not_there() {
    let mut server = TestServer::acme().await;
    let ghost = || "ghost".to_owned();
    let user = User { user_id: "x".into(), ..Default::default() };
    let request = CreateUserRequest {
        organization_id: ghost(),
        user: Some(user),
        actor_user_id: "petra".into(),
        ..Default::default()
    };
    let status = server.client.directory.create_user(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let request =
        DeleteOrganizationRequest { organization_id: ghost(), actor_user_id: "petra".into(), ..Default::default() };
    let status = server.client.directory.delete_organization(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let request = DeleteOrganizationRequest { allow_missing: true, ..request };
    let status = server.client.directory.delete_organization(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let organization = Organization { organization_id: ghost(), ..Default::default() };
    let request = CreateOrganizationRequest {
        organization: Some(organization),
        actor_user_id: "petra".into(),
        ..Default::default()
    };
    let status = server.client.directory.create_organization(request).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let request = ListAuditEventsRequest { organization_id: ghost(), ..Default::default() };
    assert_eq!(server.client.audit.list_audit_events(request).await.unwrap_err().code(), Code::NotFound);
}
