//! Explanations in the language of the caller, by `accept-language` metadata and on the command line.

use std::collections::BTreeSet;

use queuegate::{client::Client, domain::language::Language, rpc::proto::*};
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataValue},
};
use tonic_types::StatusExt;

use crate::support::{ACME, Shell, TestServer, sign_in};

/// A question about queue access, whose answer names these people and queues.
type Question = (Ask, Reason, &'static [&'static str]);

#[derive(Clone, Copy, Debug)]
enum Ask {
    Check(&'static str, &'static str, Channel),
    SupervisorSignIn(&'static str, &'static str, &'static str),
    SupervisorSignOut(&'static str, &'static str, &'static str),
}

const SARAH: &str = "שרה לוי (201)";
const ELODIE: &str = "Élodie d'Or-Klaus (101)";
const VENDAS: &str = "«Vendas» 100 % (801)";

/// Questions with every reason of queue access.
const QUESTIONS: &[Question] = &[
    (Ask::Check("nobody", "sales", Channel::FeatureCode), Reason::UnknownUser, &["nobody"]),
    (Ask::Check("dan", "sales", Channel::FeatureCode), Reason::UserDisabled, &["Dan Wolf (104)"]),
    (Ask::Check("anna", "nowhere", Channel::FeatureCode), Reason::UnknownQueue, &["nowhere"]),
    (Ask::Check("anna", "chat", Channel::FeatureCode), Reason::QueueKindNotSupported, &["Web chat (803)"]),
    (Ask::Check("anna", "renewals", Channel::FeatureCode), Reason::QueueKindNotSupported, &["Renewals (804)"]),
    (Ask::Check("anna", "front-desk", Channel::AgentDashboard), Reason::QueueKindNotSupported, &["Front desk (810)"]),
    (Ask::Check("cleo", "sales", Channel::AgentDashboard), Reason::AgentRoleRequired, &["Cleo Martin (103)"]),
    (
        Ask::Check("bo", "support", Channel::FeatureCode),
        Reason::AlreadySignedIn,
        &["Bo Lindqvist (102)", "Support (802)"],
    ),
    (Ask::Check("anna", "sales", Channel::FeatureCode), Reason::Assigned, &[ELODIE, VENDAS]),
    (Ask::Check("cleo", "sales", Channel::FeatureCode), Reason::UnassignedAllowed, &["Cleo Martin (103)", VENDAS]),
    (Ask::SupervisorSignOut("nobody", "cleo", "sales"), Reason::UnknownSupervisor, &["nobody"]),
    (Ask::SupervisorSignOut("dan", "cleo", "sales"), Reason::SupervisorDisabled, &["Dan Wolf (104)"]),
    (Ask::SupervisorSignOut("anna", "cleo", "sales"), Reason::SupervisorRoleRequired, &[ELODIE]),
    (Ask::SupervisorSignOut("sam", "cleo", "support"), Reason::SupervisorQueueNotAssigned, &[SARAH, "Support (802)"]),
    (Ask::SupervisorSignIn("sam", "anna", "sales"), Reason::SupervisorSignIn, &[SARAH, ELODIE, VENDAS]),
    (Ask::SupervisorSignOut("sam", "anna", "sales"), Reason::SupervisorSignOut, &[SARAH, ELODIE, VENDAS]),
];

/// The question whose reason needs another setting.
const RESTRICTED: &[Question] = &[(
    Ask::Check("cleo", "sales", Channel::FeatureCode),
    Reason::UnassignedRestricted,
    &["Cleo Martin (103)", VENDAS],
)];

/// A server with names that are hard for a grammar.
async fn server() -> TestServer {
    let mut server = TestServer::start().await;
    let odd = include_str!("../../examples/acme.yaml")
        .replace("Sam Okafor", "\"שרה לוי\"")
        .replace("Anna Berg", "\"Élodie d'Or-Klaus\"")
        .replace("display_name: Sales", "display_name: \"«Vendas» 100 %\"");
    server.import(&odd).await.unwrap();
    server
}

fn accepting(client: &Client, languages: &str) -> Client {
    client.clone().accepting(languages.parse().unwrap())
}

fn check(user: &str, queue: &str, channel: Channel) -> CheckQueueAccessRequest {
    CheckQueueAccessRequest {
        organization_id: ACME.into(),
        user: Some(check_queue_access_request::User::UserId(user.into())),
        queue: Some(check_queue_access_request::Queue::QueueId(queue.into())),
        channel: channel.into(),
        ..Default::default()
    }
}

async fn ask(client: &mut Client, question: Ask) -> Decision {
    let organization_id = ACME.to_owned();
    let decision = match question {
        Ask::Check(user, queue, channel) => {
            client.queue_access.check_queue_access(check(user, queue, channel)).await.unwrap().into_inner().decision
        }
        Ask::SupervisorSignIn(supervisor, user, queue) => {
            let request = SupervisorSignInRequest {
                organization_id,
                supervisor: Some(supervisor_sign_in_request::Supervisor::SupervisorId(supervisor.into())),
                user: Some(supervisor_sign_in_request::User::UserId(user.into())),
                queue: Some(supervisor_sign_in_request::Queue::QueueId(queue.into())),
                ..Default::default()
            };
            client.queue_access.supervisor_sign_in(request).await.unwrap().into_inner().decision
        }
        Ask::SupervisorSignOut(supervisor, user, queue) => {
            let request = SupervisorSignOutRequest {
                organization_id,
                supervisor: Some(supervisor_sign_out_request::Supervisor::SupervisorId(supervisor.into())),
                user: Some(supervisor_sign_out_request::User::UserId(user.into())),
                queue: Some(supervisor_sign_out_request::Queue::QueueId(queue.into())),
                ..Default::default()
            };
            client.queue_access.supervisor_sign_out(request).await.unwrap().into_inner().decision
        }
    };
    decision.unwrap()
}

#[tokio::test]
async fn every_reason_is_explained_in_every_language_with_its_names_whole() {
    let mut server = server().await;
    server.sign_in("bo", "support").await;
    let (mut reasons, mut sentences) = (BTreeSet::new(), BTreeSet::new());
    for questions in [QUESTIONS, RESTRICTED] {
        for &language in Language::ALL {
            let mut client = accepting(&server.client, language.code());
            for &(question, reason, names) in questions {
                let decision = ask(&mut client, question).await;
                assert_eq!(decision.reason(), reason, "{question:?}");
                assert_eq!(decision.explanation_language_code, language.code());
                let sentence = decision.explanation;
                assert!(names.iter().all(|name| sentence.contains(name)), "{language}: {sentence}");
                assert!(sentences.insert(sentence.clone()), "{language}: {sentence}");
                reasons.insert(reason);
            }
        }
        server.set(UnassignedQueueSignIn::Restricted).await;
    }
    assert_eq!(reasons.len(), queuegate::domain::vocabulary::Reason::ALL.len(), "{reasons:?}");
}

#[tokio::test]
async fn the_metadata_chooses_the_language_and_english_is_the_default() {
    let mut server = TestServer::acme().await;
    let german = "Anna Berg (101) ist der Warteschlange Sales (801) zugewiesen.";
    let english = "Anna Berg (101) is assigned to Sales (801).";
    let value = |text: &'static str| MetadataValue::from_static(text);
    let not_ascii: MetadataValue<Ascii> = b"de, \xe9".as_slice().try_into().unwrap();
    for (values, code, expected) in [
        (vec![], "en", english),
        (vec![value("de")], "de", german),
        (vec![value("de-CH, en;q=0.5")], "de", german),
        (vec![value("ja, en;q=0.5, DE-at;q=0.7")], "de", german),
        (vec![value("ja, en;q=0.5"), value("de;q=0.7")], "de", german),
        (vec![value("de;q=0, *;q=0.1")], "en", english),
        (vec![value("ja")], "en", english),
        (vec![value(";;q=,,,")], "en", english),
        (vec![not_ascii], "en", english),
    ] {
        let mut request = Request::new(check("anna", "sales", Channel::FeatureCode));
        for value in &values {
            request.metadata_mut().append("accept-language", value.clone());
        }
        let decision = server.client.queue_access.check_queue_access(request).await.unwrap().into_inner().decision;
        let Decision { explanation, explanation_language_code, .. } = decision.unwrap();
        assert_eq!((explanation_language_code.as_str(), explanation.as_str()), (code, expected), "{values:?}");
    }
}

#[tokio::test]
async fn a_repeated_request_in_another_language_is_the_same_request() {
    let mut server = TestServer::acme().await;
    server.set(UnassignedQueueSignIn::Restricted).await;
    let mut first = None;
    for (languages, code, says) in [
        ("de", "de", "Cleo Martin (103) ist der Warteschlange Sales (801) nicht zugewiesen"),
        ("fr", "fr", "L'utilisateur Cleo Martin (103) n'est pas affecté à la file d'attente Sales (801)"),
        ("en", "en", "Cleo Martin (103) isn't assigned to Sales (801)"),
    ] {
        let mut client = accepting(&server.client, languages);
        let request = SignInRequest { request_id: "once".into(), ..sign_in("cleo", "sales") };
        let answer = client.queue_access.sign_in(request).await.unwrap().into_inner();
        let decision = answer.decision.unwrap();
        assert_eq!(decision.explanation_language_code, code);
        assert!(decision.explanation.starts_with(says), "{}", decision.explanation);
        assert_eq!(first.get_or_insert(answer.revision.clone()), &answer.revision);
        // The outcome is remembered after a restart too.
        server = server.restart().await;
    }
    let request = ListAuditEventsRequest { organization_id: ACME.into(), allowed: Some(false), ..Default::default() };
    let events = server.client.audit.list_audit_events(request).await.unwrap().into_inner().events;
    let explanations: Vec<&str> = events.iter().map(|event| event.explanation.as_str()).collect();
    let english =
        "Cleo Martin (103) isn't assigned to Sales (801), and this organization restricts sign-in to assigned queues.";
    assert_eq!(explanations, [english], "the audit log has the sentence once, in English");
}

#[tokio::test]
async fn permissions_and_their_descriptions_are_in_the_language() {
    let server = server().await;
    let mut descriptions = BTreeSet::new();
    for &language in Language::ALL {
        let mut client = accepting(&server.client, language.code());
        let mut answers = Vec::new();
        for (user, queue) in [
            ("nobody", ""),
            ("dan", ""),
            ("petra", "nowhere"),
            ("sam", "sales"),
            ("sam", "support"),
            ("anna", "support"),
        ] {
            let request = ListUserPermissionsRequest {
                organization_id: ACME.into(),
                user: Some(list_user_permissions_request::User::UserId(user.into())),
                queue: Some(queue)
                    .filter(|queue| !queue.is_empty())
                    .map(|queue| list_user_permissions_request::Queue::QueueId(queue.into())),
                ..Default::default()
            };
            let listed = client.permission.list_user_permissions(request).await.unwrap().into_inner().permissions;
            answers.extend(listed.into_iter().filter_map(|permission| permission.decision));
        }
        let item = CheckPermissionItem {
            user: Some(check_permission_item::User::UserId("anna".into())),
            permission: Permission::AssignRoles.into(),
            ..Default::default()
        };
        let request =
            BatchCheckPermissionsRequest { organization_id: ACME.into(), items: vec![item], ..Default::default() };
        let batch = client.permission.batch_check_permissions(request).await.unwrap().into_inner().results;
        let Some(check_permission_result::Result::Decision(decision)) = batch[0].result.clone() else { panic!() };
        assert!(decision.explanation.contains(ELODIE), "{}", decision.explanation);
        answers.push(decision);
        let reasons: BTreeSet<PermissionReason> = answers.iter().map(PermissionDecision::reason).collect();
        assert_eq!(reasons.len(), queuegate::domain::vocabulary::PermissionReason::ALL.len(), "{reasons:?}");
        assert!(answers.iter().all(|decision| decision.explanation_language_code == language.code()));
        let listed = client.permission.list_permissions(ListPermissionsRequest {}).await.unwrap().into_inner();
        assert_eq!(listed.description_language_code, language.code());
        for described in listed.permissions {
            assert!(descriptions.insert(described.description.clone()), "{language}: {}", described.description);
        }
    }
}

#[tokio::test]
async fn a_batch_and_a_sign_in_to_all_assigned_queues_are_in_the_language() {
    let server = TestServer::acme().await;
    let mut client = accepting(&server.client, "nl");
    // A batch of more than 32 is answered on a background thread.
    for size in [1, 40] {
        let item = CheckQueueAccessItem {
            user: Some(check_queue_access_item::User::UserId("anna".into())),
            queue: Some(check_queue_access_item::Queue::QueueId("sales".into())),
            channel: Channel::FeatureCode.into(),
            ..Default::default()
        };
        let request = BatchCheckQueueAccessRequest {
            organization_id: ACME.into(),
            items: vec![item; size],
            ..Default::default()
        };
        let results = client.queue_access.batch_check_queue_access(request).await.unwrap().into_inner().results;
        for result in results {
            let Some(check_queue_access_result::Result::Decision(decision)) = result.result else { panic!() };
            assert_eq!(decision.explanation, "Anna Berg (101) is toegewezen aan de wachtrij Sales (801).");
        }
    }
    let request = SignInRequest {
        organization_id: ACME.into(),
        user: Some(sign_in_request::User::UserId("anna".into())),
        channel: Channel::FeatureCode.into(),
        all_assigned_queues: true,
        ..Default::default()
    };
    let answer = client.queue_access.sign_in(request.clone()).await.unwrap().into_inner();
    let decisions: Vec<Decision> = answer.queue_sign_ins.into_iter().filter_map(|sign_in| sign_in.decision).collect();
    assert_eq!(decisions.len(), 2);
    assert!(decisions.iter().all(|decision| decision.explanation_language_code == "nl"), "{decisions:?}");
    let request = SignInRequest { user: Some(sign_in_request::User::UserExtension("999".into())), ..request };
    let denied = client.queue_access.sign_in(request).await.unwrap().into_inner().decision.unwrap();
    assert_eq!(denied.explanation, "Er is geen gebruiker met het interne nummer 999.");
}

#[tokio::test]
async fn a_refused_acting_user_has_a_localized_message_and_an_english_status() {
    let server = TestServer::acme().await;
    let update = |validate_only| UpdatePermissionSettingsRequest {
        organization_id: ACME.into(),
        settings: Some(PermissionSettings::default()),
        actor_user_id: "sam".into(),
        validate_only,
        ..Default::default()
    };
    let in_english = "Sam Okafor (201) may not change the permissions of roles: that requires the contact admin role.";
    let mut sentences = BTreeSet::new();
    for &language in Language::ALL {
        let mut client = accepting(&server.client, language.code());
        for validate_only in [true, false] {
            let status = client.permission.update_permission_settings(update(validate_only)).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied);
            assert_eq!(status.message(), format!("actor_user_id `sam`: {in_english}"));
            let localized = status.get_details_localized_message().unwrap();
            assert_eq!(localized.locale, language.code());
            assert!(localized.message.contains("Sam Okafor (201)"), "{}", localized.message);
            assert_eq!(localized.message == in_english, language == Language::English);
            assert_eq!(sentences.insert(localized.message), validate_only, "one sentence of its own");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_follows_its_flag_and_then_the_locale() {
    let server = TestServer::acme().await;
    let shell = Shell::new(&server);
    let german = "Anna Berg (101) ist der Warteschlange Sales (801) zugewiesen.";
    let italian = "L'utente Anna Berg (101) è assegnato alla coda Sales (801).";
    let english = "Anna Berg (101) is assigned to Sales (801).";
    type Variables = &'static [(&'static str, &'static str)];
    let cases: [(&str, Variables, &str); 8] = [
        ("", &[], english),
        ("", &[("LANG", "de_CH.UTF-8")], german),
        ("", &[("LANG", "de_CH.UTF-8"), ("LC_MESSAGES", "it_IT.UTF-8")], italian),
        ("", &[("LANG", "de_CH.UTF-8"), ("LC_ALL", "C")], english),
        ("", &[("LANG", "de_CH.UTF-8"), ("LC_ALL", "")], german),
        ("", &[("LANG", "de_CH.UTF-8"), ("QUEUEGATE_LANGUAGE", "it")], italian),
        (" --language de-AT", &[("QUEUEGATE_LANGUAGE", "it")], german),
        ("", &[("LANG", "ja_JP.UTF-8")], english),
    ];
    for (flag, variables, expected) in cases {
        let change = |command: &mut std::process::Command| {
            command.envs(variables.iter().copied());
        };
        let (out, error, code) = shell.run_with(&format!("check anna sales{flag}"), change).await;
        assert_eq!((out.as_str(), code), (format!("allowed  ASSIGNED\n{expected}\n").as_str(), 0), "{error}");
    }
    for (line, code, says) in [
        (
            "why anna support --language de",
            0,
            "Anna Berg (101) ist der Warteschlange Support (802) nicht zugewiesen, aber",
        ),
        ("sign-in dan sales --language es", 1, "El usuario Dan Wolf (104) está deshabilitado"),
        ("supervisor-sign-in anna bo sales --language pt", 1, "O usuário Anna Berg (101) não tem a função"),
        ("supervisor-sign-out sam bo support --language nl", 1, "Sam Okafor (201) is geen supervisor van de wachtrij"),
        ("permissions check sam view-skills --language fr", 1, "a le rôle de superviseur, mais pas l'autorisation"),
        ("permissions of sam sales --language it", 0, "ascoltare le chiamate"),
    ] {
        let (out, error, found) = shell.run(line).await;
        assert!(found == code && out.contains(says), "{line}: {found}\n{out}{error}");
    }
    let list = crate::support::program()
        .args(["permissions", "list", "--server", &shell.address, "--language", "de"])
        .output()
        .unwrap();
    assert!(crate::support::told(list).0.contains("Gespräche mithören"));
    let (_, error, code) = shell.run("check anna sales --language ja").await;
    assert!(code == 2 && error.contains("one of the languages en, de, it, fr, es, pt and nl"), "{error}");
    let line = "settings set agent.create_custom_tags=true --actor sam --language de";
    let (_, error, code) = shell.run(line).await;
    let german = "Sam Okafor (201) hat die Berechtigung „Berechtigungen der Rollen ändern“ nicht: Dafür ist die Rolle \
                  Contact-Center-Administrator nötig.";
    assert!(code == 2 && error.contains("that requires the contact admin role") && error.contains(german), "{error}");
}
