//! Access of callers (`docs/semantics.md` section 5): tokens, scopes, organizations, and the answers to
//! unknown callers.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    sync::Arc,
};

use queuegate::{
    auth::{Entry, Fingerprint, Scope, TokenFile},
    client::{Client, Credentials},
    rpc::{methods::METHODS, proto::*},
    server::{Config, Reflection},
};
use tonic::Code;

use crate::{
    bad_input::Caller,
    support::{ManualClock, TestServer, described, program},
};

/// An entry of a token file: the caller's token is the caller's name.
pub fn entry(name: &str, scopes: &[Scope], organizations: &[&str]) -> Entry {
    let organizations: BTreeSet<_> = organizations.iter().map(|id| id.parse().unwrap()).collect();
    Entry {
        name: name.parse().unwrap(),
        sha256: Some(Fingerprint::of(name.as_bytes())),
        certificate: None,
        scopes: scopes.iter().copied().collect(),
        organizations: Some(organizations).filter(|organizations| !organizations.is_empty()),
        expires: None,
    }
}

pub struct Guarded {
    pub server: TestServer,
    tokens: TokenFile,
}

/// A server with the organizations `acme` and `other`, and these callers besides `root`, which has all rights.
pub async fn guarded(callers: &[Entry]) -> Guarded {
    let folder = tempfile::tempdir().unwrap();
    let tokens = TokenFile::new(folder.path().join("tokens.toml"));
    tokens.add(&entry("root", &[Scope::Admin], &[])).unwrap();
    for caller in callers {
        tokens.add(caller).unwrap();
    }
    let file = tokens.clone();
    let change = |config: &mut Config| config.tokens = Some(file);
    let mut server = TestServer::start_as(folder, Arc::new(ManualClock::default()), change).await;
    server.client = client(&server, "root").await;
    server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    let organization = Organization { organization_id: "other".into(), display_name: Some("Other".into()) };
    let request = CreateOrganizationRequest { organization: Some(organization), ..Default::default() };
    server.client.directory.create_organization(request).await.unwrap();
    Guarded { server, tokens }
}

async fn client(server: &TestServer, token: &str) -> Client {
    let credentials = Credentials { token: Some(token.to_owned()), ..Credentials::default() };
    Client::connect_as(&server.address.to_string(), credentials).await.unwrap()
}

/// The minimal request that names an organization; empty if it has no such field.
fn naming(caller: &Caller, rpc: &str, organization_id: &str) -> Option<String> {
    let input = caller.input(rpc);
    if input.get_field_by_name("organization_id").is_some() {
        Some(format!(r#"{{"organization_id":"{organization_id}"}}"#))
    } else if input.get_field_by_name("organization").is_some() {
        Some(format!(r#"{{"organization":{{"organization_id":"{organization_id}"}}}}"#))
    } else {
        None
    }
}

/// The scope of an rpc, written a second time from the specification.
fn scope(rpc: &str) -> Scope {
    let (service, method) = rpc.split_once('/').unwrap();
    match (service, method) {
        (_, "CutAuditLog") | ("ConsoleService", _) => Scope::Admin,
        ("AuditService", _) => Scope::Audit,
        ("DirectoryService", _) => Scope::Directory,
        ("PermissionService", _) if method.ends_with("PermissionSettings") => Scope::Settings,
        ("QueueAccessService", "SignIn" | "SignOut" | "VerifyPin") => Scope::SignIn,
        ("QueueAccessService", "SupervisorSignIn" | "SupervisorSignOut") => Scope::Supervise,
        _ => Scope::Check,
    }
}

#[tokio::test]
async fn every_method_needs_credentials_with_its_scope() {
    let callers: Vec<Entry> = Scope::ALL.iter().map(|&scope| entry(scope.as_str(), &[scope], &[])).collect();
    let Guarded { server, .. } = guarded(&callers).await;
    let nobody = Caller::new(&server).await;
    let rpcs = nobody.rpcs();
    assert_eq!(rpcs.len(), METHODS.iter().filter(|method| method.path.starts_with("/queuegate.")).count());
    for rpc in &rpcs {
        let message = naming(&nobody, rpc, "nowhere").unwrap_or_else(|| "{}".to_owned());
        let message = nobody.encoded(rpc, &message);
        for (authorization, reason) in [
            (None, "CREDENTIALS_MISSING"),
            (Some("Basic cm9vdDpyb290"), "CREDENTIALS_MALFORMED"),
            (Some("Bearer nobody"), "CREDENTIALS_UNKNOWN"),
        ] {
            let mut caller = authorization.map_or_else(|| nobody.with("-"), |authorization| nobody.with(authorization));
            if authorization.is_none() {
                caller = Caller::new(&server).await;
            }
            let status = caller.call(rpc, message.clone()).await.unwrap_err();
            let (code, found, _) = described(&status);
            assert_eq!((code, found.as_str()), (Code::Unauthenticated, reason), "{rpc}");
        }
        for &held in Scope::ALL {
            let called = nobody.with(&format!("Bearer {held}")).call(rpc, message.clone()).await;
            let refused =
                called.err().map(|status| described(&status)).is_some_and(|(_, reason, _)| reason == "SCOPE_REQUIRED");
            assert_eq!(!refused, held == scope(rpc) || held == Scope::Admin, "{rpc} with {held}");
        }
    }
}

#[tokio::test]
async fn what_is_not_yours_looks_like_what_is_not_there() {
    let Guarded { server, .. } = guarded(&[entry("pbx", &[Scope::Admin], &["acme"])]).await;
    let mut pbx = Caller::new(&server).await.with("Bearer pbx");
    let mut seen = 0;
    for rpc in pbx.rpcs() {
        let Some(theirs) = naming(&pbx, &rpc, "other") else { continue };
        let mut answers = Vec::new();
        for organization_id in ["other", "nowhere"] {
            let message = pbx.encoded(&rpc, &theirs.replace("other", organization_id));
            let status = pbx.call(&rpc, message).await.unwrap_err();
            let (code, reason, named) = described(&status);
            assert_eq!((code, reason.as_str()), (Code::PermissionDenied, "ORGANIZATION_NOT_PERMITTED"), "{rpc}");
            answers.push((status.message().replace(organization_id, "it"), named));
        }
        assert_eq!(answers[0], answers[1], "{rpc}");
        seen += 1;
    }
    assert!(seen > 35, "{seen}");
    let mut pbx = client(&server, "pbx").await;
    let listed = pbx.directory.list_organizations(ListOrganizationsRequest::default()).await.unwrap().into_inner();
    let listed: Vec<String> =
        listed.organizations.into_iter().map(|organization| organization.organization_id).collect();
    assert_eq!(listed, ["acme"]);
}

#[tokio::test]
async fn without_an_acting_user_settings_and_directory_are_for_administrators() {
    let callers = [entry("portal", &[Scope::Settings, Scope::Directory], &["acme"])];
    let Guarded { server, .. } = guarded(&callers).await;
    let (mut portal, mut root) = (client(&server, "portal").await, client(&server, "root").await);
    let update = |actor: &str, validate_only| UpdatePermissionSettingsRequest {
        organization_id: "acme".into(),
        settings: Some(PermissionSettings {
            agent: Some(AgentSettings { create_custom_tags: Some(true), ..Default::default() }),
            ..Default::default()
        }),
        actor_user_id: actor.into(),
        validate_only,
        ..Default::default()
    };
    for validate_only in [true, false] {
        let status = portal.permission.update_permission_settings(update("", validate_only)).await.unwrap_err();
        assert_eq!((status.code(), described(&status).1.as_str()), (Code::PermissionDenied, "ACTOR_REQUIRED"));
        let status = portal.permission.update_permission_settings(update("anna", validate_only)).await.unwrap_err();
        assert_eq!(described(&status).1, "ACTOR_NOT_PERMITTED");
        assert!(portal.permission.update_permission_settings(update("petra", validate_only)).await.is_ok());
        assert!(root.permission.update_permission_settings(update("", validate_only)).await.is_ok());
    }
    let delete = DeleteUserRequest { organization_id: "acme".into(), user_id: "cleo".into(), ..Default::default() };
    let status = portal.directory.delete_user(delete.clone()).await.unwrap_err();
    assert_eq!(described(&status).1, "ACTOR_REQUIRED");
    assert!(root.directory.delete_user(delete).await.is_ok());
    let request = ImportDirectoryRequest { organization_id: "acme".into(), ..Default::default() };
    let answers = portal.directory.import_directory(tokio_stream::once(request)).await.unwrap();
    let status = answers.into_inner().message().await.unwrap_err();
    assert_eq!(described(&status).1, "ACTOR_REQUIRED");
}

#[tokio::test]
async fn the_audit_log_names_the_caller() {
    let Guarded { server, .. } = guarded(&[entry("pbx", &[Scope::SignIn], &["acme"])]).await;
    let mut pbx = client(&server, "pbx").await;
    pbx.queue_access.sign_in(crate::support::sign_in("anna", "sales")).await.unwrap();
    let mut root = client(&server, "root").await;
    let request = ListAuditEventsRequest { organization_id: "acme".into(), page_size: 1, ..Default::default() };
    let event = root.audit.list_audit_events(request).await.unwrap().into_inner().events.remove(0);
    assert_eq!(event.caller, "token:pbx");
}

#[tokio::test]
async fn whoever_is_revoked_is_out_and_their_watches_end() {
    let Guarded { server, tokens } = guarded(&[entry("board", &[Scope::Check, Scope::Audit], &["acme"])]).await;
    let mut board = client(&server, "board").await;
    let request = WatchSessionsRequest { organization_id: "acme".into(), ..Default::default() };
    let mut sessions = board.queue_access.watch_sessions(request).await.unwrap().into_inner();
    let request = WatchAuditEventsRequest { organization_id: "acme".into(), ..Default::default() };
    let mut events = board.audit.watch_audit_events(request).await.unwrap().into_inner();
    assert!(sessions.message().await.unwrap().is_some() && events.message().await.unwrap().is_some());
    tokens.remove(&"board".parse().unwrap()).unwrap();
    for status in [sessions.message().await.unwrap_err(), events.message().await.unwrap_err()] {
        assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unauthenticated, "CREDENTIALS_ENDED"));
    }
    let status = board.permission.list_permissions(ListPermissionsRequest {}).await.unwrap_err();
    assert_eq!(described(&status).1, "CREDENTIALS_UNKNOWN");
    assert!(client(&server, "root").await.permission.list_permissions(ListPermissionsRequest {}).await.is_ok());
}

/// Not only watches end, but also waiting calls and changes that the writer hasn't begun.
#[tokio::test]
async fn calls_in_flight_end_with_their_credentials_and_an_import_is_not_applied() {
    let Guarded { server, tokens } = guarded(&[entry("board", &[Scope::Admin], &["acme"])]).await;
    let mut board = client(&server, "board").await;
    let head = GetAuditLogHeadRequest { organization_id: "acme".into(), ..Default::default() };
    let revision = board.audit.get_audit_log_head(head).await.unwrap().into_inner().revision;
    let (base, last) = revision.rsplit_once('-').unwrap();
    let later = format!("{base}-{:016x}", u64::from_str_radix(last, 16).unwrap() + 1_000);

    let (pieces, document) = tokio::sync::mpsc::channel(1);
    let first = ImportDirectoryRequest {
        organization_id: "acme".into(),
        document: "queues: []\nusers: [{ user_id: late }]\n".into(),
        ..Default::default()
    };
    pieces.send(first).await.unwrap();
    let document = tokio_stream::wrappers::ReceiverStream::new(document);
    let mut import = board.directory.import_directory(document).await.unwrap().into_inner();

    let mut directory = board.directory.clone();
    let waiting = GetOrganizationRequest { organization_id: "acme".into(), at_least_revision: later };
    let waiting = tokio::spawn(async move { directory.get_organization(waiting).await.unwrap_err() });

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut reflection = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
        channel.connect().await.unwrap(),
    );
    let mut request = tonic::Request::new(tokio_stream::pending());
    request.metadata_mut().insert("authorization", "Bearer board".parse().unwrap());
    let mut services = reflection.server_reflection_info(request).await.unwrap().into_inner();

    tokens.remove(&"board".parse().unwrap()).unwrap();
    let ended = [waiting.await.unwrap(), services.message().await.unwrap_err(), import.message().await.unwrap_err()];
    for status in ended {
        assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unauthenticated, "CREDENTIALS_ENDED"));
    }
    drop(pieces);
    let mut root = client(&server, "root").await;
    let request = GetUserRequest {
        organization_id: "acme".into(),
        user: Some(get_user_request::User::UserId("late".into())),
        ..Default::default()
    };
    assert_eq!(root.directory.get_user(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn health_is_for_everybody_and_reflection_for_nobody_where_it_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = TokenFile::new(folder.path().join("tokens.toml"));
    tokens.add(&entry("root", &[Scope::Admin], &[])).unwrap();
    let change = |config: &mut Config| (config.tokens, config.reflection) = (Some(tokens), Reflection::Off);
    // Checks the server's health without credentials.
    let server = TestServer::start_as(folder, Arc::new(ManualClock::default()), change).await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let channel = channel.connect().await.unwrap();
    for (token, expected) in [("", Code::Unauthenticated), ("Bearer root", Code::Unimplemented)] {
        let mut reflection =
            tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let mut request = tonic::Request::new(tokio_stream::empty());
        if !token.is_empty() {
            request.metadata_mut().insert("authorization", token.parse().unwrap());
        }
        assert_eq!(reflection.server_reflection_info(request).await.unwrap_err().code(), expected);
    }
}

/// The whole flow by the command line, with the most verbose log: the token appears only where it was printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_shown_once_and_found_nowhere() {
    let telling = tokio::task::spawn_blocking(|| {
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str], token: &str| {
            let mut command = program();
            command.current_dir(folder.path()).args(arguments);
            if !token.is_empty() {
                command.env("QUEUEGATE_TOKEN", token);
            }
            let output = command.output().unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (text(output.stdout).trim().to_owned(), text(output.stderr), output.status.code().unwrap())
        };
        let (token, told, code) = run(&["token", "new", "ops", "--scope", "admin"], "");
        assert!(code == 0 && token.starts_with("qgt_") && !token.contains('\n') && !told.contains(&token), "{told}");
        assert_eq!(run(&["token", "new", "pbx", "--scope", "check", "-o", "acme", "--expires-in", "90d"], "").2, 0);
        let (_, err, code) = run(&["token", "new", "pbx", "--scope", "check"], "");
        assert!(code == 2 && err.contains("has a token `pbx` already"), "{err}");
        let (listed, _, _) = run(&["token", "list"], "");
        assert!(listed.contains("ops") && listed.contains("acme") && !listed.contains(&token), "{listed}");

        let mut serving = program()
            .current_dir(folder.path())
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--tokens",
                "tokens.toml",
                "--log",
                "trace",
                "--log-format",
                "json",
            ])
            .args(["--metrics-listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = std::io::BufReader::new(serving.stderr.take().unwrap());
        let (mut said, mut address) = (String::new(), None);
        while address.is_none() || !said.contains("database loaded") {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut log, &mut line).unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "listening" {
                address = Some(format!("http://{}", event["address"].as_str().unwrap()));
            }
            said.push_str(&line);
        }
        let address = address.unwrap();
        let rest = std::thread::spawn(move || {
            std::io::Read::read_to_string(&mut log, &mut said).unwrap();
            said
        });
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/acme.yaml");
        let (out, err, code) = run(&["import", example, "-o", "acme", "--server", &address], &token);
        assert_eq!(code, 0, "{out}{err}");
        let pin = "7309518462";
        let mut typed = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut typed, pin.as_bytes()).unwrap();
        std::io::Seek::rewind(&mut typed).unwrap();
        let mut set = program();
        set.args(["pin", "set", "anna", "-o", "acme", "--server", &address]).env("QUEUEGATE_TOKEN", &token);
        let (out, err, code) = crate::support::told(set.stdin(typed).output().unwrap());
        assert!(code == 0 && !out.contains(pin) && !err.contains(pin), "{out}{err}");
        let (_, err, code) = run(&["sessions", "-o", "acme", "--server", &address], "");
        assert!(code == 2 && err.contains("UNAUTHENTICATED / CREDENTIALS_MISSING"), "{err}");
        let wrong = format!("{token}x");
        let (_, err, code) = run(&["sessions", "-o", "acme", "--server", &address], &wrong);
        assert!(code == 2 && err.contains("CREDENTIALS_UNKNOWN") && !err.contains(&token), "{err}");
        let (_, err, code) = run(&["check", "anna", "sales", "-o", "acme", "--server", "http://192.0.2.1:1"], &token);
        assert!(
            code == 2 && err.contains("not sent to another machine in plain text") && !err.contains(&token),
            "{err}"
        );
        let (events, _, code) = run(&["audit", "list", "-o", "acme", "--json", "--server", &address], &token);
        assert!(code == 0 && events.contains("token:ops") && !events.contains(&token));
        let stopped = Command::new("kill").arg(serving.id().to_string()).status().unwrap();
        assert!(stopped.success() && serving.wait().unwrap().success());
        let said = rest.join().unwrap();
        let random = token.strip_prefix("qgt_").unwrap();
        assert!(said.contains("\"message\":\"stopped\"") && !said.contains(random), "the log has the token");
        assert!(!said.contains(pin), "the log has the PIN");
        for file in fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(random.len()).any(|part| part == random.as_bytes()), "{}", path.display());
        }
        assert_eq!(run(&["token", "revoke", "pbx"], "").2, 0);
        assert_eq!(run(&["token", "revoke", "pbx"], "").2, 2);
    });
    telling.await.unwrap();
}
