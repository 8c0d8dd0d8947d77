//! The directory, by single calls and by documents.

use queuegate::rpc::proto::*;
use tonic::Code;

use crate::support::{ACME, TestServer, described};

async fn exported(server: &mut TestServer, format: DocumentFormat) -> String {
    let request = ExportDirectoryRequest { organization_id: ACME.into(), format: format.into(), ..Default::default() };
    let mut pieces = server.client.directory.export_directory(request).await.unwrap().into_inner();
    let mut document = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        document.extend(piece.document);
    }
    String::from_utf8(document).unwrap()
}

fn import(document: &str) -> ImportDirectoryRequest {
    ImportDirectoryRequest { organization_id: ACME.into(), document: document.into(), ..Default::default() }
}

#[tokio::test]
async fn importing_the_same_document_again_changes_nothing() {
    let mut server = TestServer::acme().await;
    let first = server.sign_in("anna", "sales").await.revision;
    let again = server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    assert_eq!(again.report.unwrap(), ImportReport::default());
    assert_eq!(again.revision, first);
}

#[tokio::test]
async fn what_is_exported_imports_as_the_same_in_both_formats() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let yaml = exported(&mut server, DocumentFormat::Yaml).await;
    let json = exported(&mut server, DocumentFormat::Json).await;
    for document in [&yaml, &json] {
        let request = ImportDirectoryRequest { delete_missing: true, ..import(document) };
        let report = server.import_with(request).await.0.unwrap().report.unwrap();
        assert_eq!(report, ImportReport::default(), "{document}");
        let mut fresh = TestServer::start().await;
        fresh.import(document).await.unwrap();
        assert_eq!(exported(&mut fresh, DocumentFormat::Yaml).await, yaml);
    }
}

#[tokio::test]
async fn validate_only_says_what_the_import_then_does() {
    let mut server = TestServer::acme().await;
    server.sign_in("anna", "sales").await;
    let document = "
queues:
  - { queue_id: sales, display_name: Sales, extension: 802, kind: CALL_QUEUE }
  - { queue_id: support, display_name: Support, extension: 801, kind: CALL_QUEUE }
  - { queue_id: new, kind: INBOX }
users:
  - { user_id: anna, display_name: Anna Berg, extension: 101, contact_center_license: true, disabled: true, agent_of: [sales] }
  - { user_id: bo, display_name: Bo, extension: 102, contact_center_license: true, supervisor_of: [new] }
";
    let request = ImportDirectoryRequest { delete_missing: true, validate_only: true, ..import(document) };
    let foretold = server.import_with(request.clone()).await.0.unwrap().report.unwrap();
    assert!(server.check("anna", "sales").await.allowed(), "nothing changed");
    let done = server.import_with(ImportDirectoryRequest { validate_only: false, ..request }).await.0.unwrap();
    assert_eq!(done.report.unwrap(), foretold);
    assert_eq!((foretold.users_deleted, foretold.users_updated, foretold.queues_updated), (4, 2, 2));
    assert_eq!((foretold.queues_deleted, foretold.queues_created, foretold.sessions_ended), (3, 1, 1));
    // Extensions moved to other queues.
    let get = GetQueueRequest {
        organization_id: ACME.into(),
        queue: Some(get_queue_request::Queue::QueueExtension("801".into())),
        ..Default::default()
    };
    let queue = server.client.directory.get_queue(get).await.unwrap().into_inner().queue.unwrap();
    assert_eq!(queue.queue_id, "support");
}

#[tokio::test]
async fn of_a_faulty_document_every_problem_is_told_and_nothing_is_applied() {
    let mut server = TestServer::acme().await;
    let document = "
queues:
  - { queue_id: fine, kind: CALL_QUEUE }
  - { queue_id: fine, extension: 801, kind: INBOX }
  - { queue_id: Bad, kind: PHONE }
users:
  - { user_id: eve, extension: 101, agent_of: [nowhere], penalties: { nowhere: 1000, sales: 3, No: 1 } }
  - { user_id: eve, disabled: perhaps }
";
    let before = exported(&mut server, DocumentFormat::Yaml).await;
    for validate_only in [true, false] {
        let (result, problems) = server.import_with(ImportDirectoryRequest { validate_only, ..import(document) }).await;
        let (code, _, fields) = described(&result.unwrap_err());
        assert_eq!(code, Code::InvalidArgument);
        assert!(fields.len() > 5, "the status names as many as fit a header: {fields:?}");
        let places: Vec<_> = problems.iter().map(|problem| (problem.line, problem.path.as_str())).collect();
        let expected = [
            (4, "queues[1].queue_id"),
            (4, "queues[1].extension"),
            (5, "queues[2].queue_id"),
            (5, "queues[2].kind"),
            (7, "users[0].penalties.nowhere"),
            (7, "users[0].penalties.No"),
            (7, "users[0].extension"),
            (7, "users[0].contact_center_license"),
            (7, "users[0].agent_of[0]"),
            (7, "users[0].penalties.sales"),
            (8, "users[1].disabled"),
            (8, "users[1].user_id"),
        ];
        assert_eq!(places, expected, "{problems:#?}");
        assert_eq!(exported(&mut server, DocumentFormat::Yaml).await, before);
    }
}

#[tokio::test]
async fn a_login_is_stored_exported_and_unique() {
    let mut server = TestServer::acme().await;
    let anna = |login: Option<&str>, paths: &[&str]| UpdateUserRequest {
        organization_id: ACME.into(),
        user: Some(User { user_id: "anna".into(), login: login.map(str::to_owned), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        ..Default::default()
    };
    let directory = &mut server.client.directory;
    let updated = directory.update_user(anna(Some("anna@example.com"), &[])).await.unwrap().into_inner().user.unwrap();
    assert_eq!((updated.login(), updated.display_name()), ("anna@example.com", "Anna Berg"));
    let eva = User { user_id: "eva".into(), login: Some("anna@example.com".into()), ..Default::default() };
    let create = CreateUserRequest { organization_id: ACME.into(), user: Some(eva), ..Default::default() };
    let status = directory.create_user(create.clone()).await.unwrap_err();
    let expected = (Code::AlreadyExists, "ALREADY_EXISTS".into(), vec!["queuegate.v1.User anna".into()]);
    assert_eq!(described(&status), expected);
    let yaml = exported(&mut server, DocumentFormat::Yaml).await;
    assert!(yaml.contains("login: \"anna@example.com\""), "{yaml}");

    let mut server = server.restart().await;
    assert_eq!(exported(&mut server, DocumentFormat::Yaml).await, yaml);
    let again = server.import(&yaml).await.unwrap();
    assert_eq!(again.report.unwrap(), ImportReport::default());
    let directory = &mut server.client.directory;
    let cleared = directory.update_user(anna(None, &["login"])).await.unwrap().into_inner().user.unwrap();
    assert_eq!((&cleared.login, cleared.extension()), (&None, "101"));
    directory.create_user(create).await.expect("the login is free");
}

/// If a caller disconnects in the middle of a document, none of it is applied.
#[tokio::test]
async fn roles_that_a_document_does_not_name_stay_unless_missing_ones_are_deleted() {
    let mut server = TestServer::acme().await;
    let document = "users: [{ user_id: anna, display_name: Anna Berg, extension: 101, contact_center_license: true, \
                    roles: [AGENT], agent_of: [sales] }]";
    let kept = server.import(document).await.unwrap().report.unwrap();
    assert_eq!((kept.assignments_created, kept.assignments_deleted, kept.users_deleted), (1, 0, 0));
    let queues = include_str!("../../examples/acme.yaml").split("\nusers:").next().unwrap();
    let request = ImportDirectoryRequest { delete_missing: true, ..import(&format!("{queues}\n{document}\n")) };
    let exact = server.import_with(request).await.0.unwrap().report.unwrap();
    // Anna's on chat, and those of Petra, Sam and Bo, who were deleted.
    assert_eq!((exact.assignments_created, exact.assignments_deleted, exact.users_deleted), (0, 4, 5));
    // A missing section is not treated as an empty one.
    let request = ImportDirectoryRequest { delete_missing: true, ..import("settings: {}") };
    let (refused, problems) = server.import_with(request).await;
    assert_eq!(described(&refused.unwrap_err()).2, ["queues", "users"]);
    assert_eq!(problems.len(), 2);
    let list = ListRoleAssignmentsRequest { organization_id: ACME.into(), ..Default::default() };
    let left = server.client.directory.list_role_assignments(list).await.unwrap().into_inner().assignments;
    let left: Vec<_> = left.iter().map(|left| (left.role(), left.queue_id.as_str())).collect();
    assert_eq!(left, [(Role::Agent, ""), (Role::Agent, "sales")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_is_broken_off_is_not_applied() {
    let mut server = TestServer::acme().await;
    for round in 0..100 {
        let (sender, pieces) = tokio::sync::mpsc::channel(4);
        let first = ImportDirectoryRequest { delete_missing: true, ..import("users:\n  - { user_id: anna }\n") };
        sender.send(first).await.unwrap();
        let mut client = server.client.directory.clone();
        let pieces = tokio_stream::wrappers::ReceiverStream::new(pieces);
        let mut answers = client.import_directory(pieces).await.unwrap().into_inner();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        // Dropping the responses resets the stream before the last piece.
        let reading = tokio::time::timeout(std::time::Duration::from_millis(round % 5), answers.message()).await;
        // Or the interrupted uploads still count against the limit.
        assert!(!matches!(reading, Ok(Ok(_))), "no report before the document is complete");
        drop(answers);
        drop(sender);
    }
    let request = ListUsersRequest { organization_id: ACME.into(), ..Default::default() };
    let users = server.client.directory.list_users(request).await.unwrap().into_inner().users;
    assert_eq!(users.len(), 6);
}

#[tokio::test]
async fn a_role_needs_a_licence_and_the_licence_stays_while_there_is_a_role() {
    let mut server = TestServer::acme().await;
    let assign = AssignRoleRequest {
        organization_id: ACME.into(),
        user: Some(assign_role_request::User::UserId("cleo".into())),
        role: Role::Agent.into(),
        ..Default::default()
    };
    let status = server.client.directory.assign_role(assign).await.unwrap_err();
    let expected = (Code::FailedPrecondition, "LICENSE_REQUIRED".to_owned(), vec!["LICENSE_REQUIRED cleo".to_owned()]);
    assert_eq!(described(&status), expected);
    let unlicensed = User { user_id: "anna".into(), contact_center_license: Some(false), ..Default::default() };
    let update = UpdateUserRequest { organization_id: ACME.into(), user: Some(unlicensed), ..Default::default() };
    let status = server.client.directory.update_user(update).await.unwrap_err();
    assert_eq!(described(&status).2, ["LICENSE_REQUIRED anna"]);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names_and_without_one_what_it_carries() {
    let mut server = TestServer::acme().await;
    let mut update = async |user: User, paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let request = UpdateUserRequest {
            organization_id: ACME.into(),
            user: Some(User { user_id: "anna".into(), ..user }),
            update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        server.client.directory.update_user(request).await.unwrap().into_inner().user.unwrap()
    };
    let named = |name: &str| User { display_name: Some(name.into()), ..Default::default() };
    let user = update(named("Anna B."), &[]).await;
    assert_eq!((user.display_name(), user.extension()), ("Anna B.", "101"));
    let user = update(named("ignored"), &["extension"]).await;
    assert_eq!((user.display_name(), user.extension.as_deref()), ("Anna B.", None));
    let user =
        update(User { extension: Some("77".into()), contact_center_license: Some(true), ..named("All") }, &["*"]).await;
    assert_eq!((user.display_name(), user.extension()), ("All", "77"));
    let user = update(User { extension: Some(String::new()), ..Default::default() }, &[]).await;
    assert_eq!(
        (user.display_name(), user.extension.as_deref()),
        ("All", None),
        "an empty extension means no extension"
    );
}

#[tokio::test]
async fn settings_change_by_mask_group_or_what_is_carried() {
    let mut server = TestServer::acme().await;
    let mut update = async |settings: PermissionSettings, paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let request = UpdatePermissionSettingsRequest {
            organization_id: ACME.into(),
            settings: Some(settings),
            update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        server.client.permission.update_permission_settings(request).await.unwrap().into_inner().settings.unwrap()
    };
    let supervisor = |settings| PermissionSettings { supervisor: Some(settings), ..Default::default() };
    let carried = SupervisorSettings { limit_to_assigned_queues: Some(false), ..Default::default() };
    let after = update(supervisor(carried), &[]).await.supervisor.unwrap();
    assert_eq!((after.limit_to_assigned_queues, after.view_queue_settings), (Some(false), Some(true)));
    let carried = SupervisorSettings { view_skills: Some(true), ..Default::default() };
    let after = update(supervisor(carried), &["supervisor"]).await.supervisor.unwrap();
    assert_eq!((after.limit_to_assigned_queues, after.view_skills), (Some(true), Some(true)), "back to the default");
    let etag = update(PermissionSettings::default(), &[]).await.etag;
    let same = update(PermissionSettings::default(), &[]).await.etag;
    assert_eq!(etag, same, "an update that changes nothing keeps the etag");
}

#[tokio::test]
async fn an_organization_is_renamed_without_touching_what_is_in_it() {
    let mut server = TestServer::acme().await;
    let session = server.sign_in("anna", "sales").await.session;
    let mut rename = async |display_name: Option<&str>, paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
        let request = UpdateOrganizationRequest {
            organization: Some(Organization {
                organization_id: ACME.into(),
                display_name: display_name.map(str::to_owned),
            }),
            update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
            ..Default::default()
        };
        let answer = server.client.directory.update_organization(request).await.unwrap().into_inner();
        (answer.organization.unwrap().display_name.unwrap(), answer.revision)
    };
    let (name, renamed) = rename(Some("Acme & Sons"), &[]).await;
    assert_eq!(name, "Acme & Sons");
    assert_eq!(rename(None, &[]).await, (name, renamed.clone()), "nothing carried, nothing changed");
    let (name, cleared) = rename(None, &["display_name"]).await;
    assert!(name.is_empty() && cleared > renamed);
    assert_eq!(server.check("anna", "sales").await.session, session);
    let mut server = server.restart().await;
    let request = GetOrganizationRequest { organization_id: ACME.into(), ..Default::default() };
    let organization = server.client.directory.get_organization(request).await.unwrap().into_inner().organization;
    assert_eq!(organization.unwrap().display_name(), "");
}
