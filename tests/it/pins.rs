//! PINs: they identify a person, lock after five wrong ones, survive a restart, and are in no log.

use std::{
    io::{Seek as _, Write as _},
    time::Duration,
};

use queuegate::rpc::proto::*;
use tonic::Code;

use crate::support::{ACME, Shell, TestServer, described};

fn set(user: &str, pin: &str, actor: &str) -> SetPinRequest {
    SetPinRequest {
        organization_id: ACME.to_owned(),
        user: Some(set_pin_request::User::UserId(user.to_owned())),
        pin: pin.to_owned(),
        actor_user_id: actor.to_owned(),
        ..Default::default()
    }
}

fn verify(extension: &str, pin: &str) -> VerifyPinRequest {
    VerifyPinRequest {
        organization_id: ACME.to_owned(),
        user: Some(verify_pin_request::User::UserExtension(extension.to_owned())),
        pin: pin.to_owned(),
    }
}

async fn reason(server: &mut TestServer, extension: &str, pin: &str) -> PinReason {
    let answer = server.client.queue_access.verify_pin(verify(extension, pin)).await.unwrap().into_inner();
    assert_eq!(answer.verified, answer.reason() == PinReason::Verified);
    assert_eq!(answer.locked_until.is_some(), answer.reason() == PinReason::Locked, "{answer:?}");
    answer.reason()
}

/// The events about PINs, oldest first: the action, whether it was allowed, the actor and the user.
async fn pin_events(server: &mut TestServer) -> Vec<(AuditAction, bool, String, String)> {
    let request = ListAuditEventsRequest { organization_id: ACME.to_owned(), page_size: 1_000, ..Default::default() };
    let page = server.client.audit.list_audit_events(request).await.unwrap().into_inner();
    let about_pins = [AuditAction::SetPin, AuditAction::ClearPin, AuditAction::VerifyPin];
    let events = page.events.into_iter().rev().filter(|event| about_pins.contains(&event.action()));
    events.map(|event| (event.action(), event.allowed(), event.actor_user_id, event.user_id)).collect()
}

#[tokio::test]
async fn five_wrong_pins_lock_a_pin_for_five_minutes_and_a_restart_does_not_unlock_it() {
    let mut server = TestServer::acme().await;
    assert_eq!(reason(&mut server, "101", "4711").await, PinReason::NotSet);
    assert_eq!(reason(&mut server, "999", "4711").await, PinReason::UnknownUser);
    server.client.directory.set_pin(set("anna", "4711", "")).await.unwrap();
    assert_eq!(reason(&mut server, "101", "4711").await, PinReason::Verified);
    for wrong in ["0000", "47110", "1111"] {
        assert_eq!(reason(&mut server, "101", wrong).await, PinReason::Wrong);
    }
    let mut server = server.restart().await;
    for wrong in ["2222", "3333"] {
        // The answer to the fifth wrong PIN says that it was wrong, and until when the PIN is locked now.
        let answer = server.client.queue_access.verify_pin(verify("101", wrong)).await.unwrap().into_inner();
        assert_eq!((answer.reason(), answer.locked_until.is_some()), (PinReason::Wrong, wrong == "3333"));
    }
    assert_eq!(reason(&mut server, "101", "4711").await, PinReason::Locked);
    let mut server = server.restart().await;
    assert_eq!(reason(&mut server, "101", "4711").await, PinReason::Locked);
    server.clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(reason(&mut server, "101", "4711").await, PinReason::Verified);
    let clear = ClearPinRequest {
        organization_id: ACME.to_owned(),
        user: Some(clear_pin_request::User::UserId("anna".to_owned())),
        ..Default::default()
    };
    server.client.directory.clear_pin(clear.clone()).await.unwrap();
    assert_eq!(server.client.directory.clear_pin(clear).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(reason(&mut server, "101", "4711").await, PinReason::NotSet);
    let anna = || "anna".to_owned();
    let mut expected = vec![(AuditAction::SetPin, true, String::new(), anna())];
    expected.extend(vec![(AuditAction::VerifyPin, false, anna(), anna()); 5]);
    expected.push((AuditAction::VerifyPin, true, anna(), anna()));
    expected.push((AuditAction::ClearPin, true, String::new(), anna()));
    assert_eq!(pin_events(&mut server).await, expected);
    assert_eq!(crate::audit::verify(&mut server, None).await.fault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_the_same_time_get_no_more_answers_than_guesses_in_turn() {
    let mut server = TestServer::acme().await;
    server.client.directory.set_pin(set("anna", "0039", "")).await.unwrap();
    let guesses = (0..40).map(|number| {
        let mut client = server.client.queue_access.clone();
        tokio::spawn(async move {
            let guess = verify("101", &format!("{number:04}"));
            client.verify_pin(guess).await.unwrap().into_inner().reason()
        })
    });
    let mut answers = Vec::new();
    for guess in guesses.collect::<Vec<_>>() {
        answers.push(guess.await.unwrap());
    }
    let count = |reason| answers.iter().filter(|answer| **answer == reason).count();
    assert!(count(PinReason::Wrong) + count(PinReason::Verified) <= 10, "{answers:?}");
    assert_eq!(count(PinReason::Wrong) + count(PinReason::Verified) + count(PinReason::Locked), 40, "{answers:?}");
    assert!(count(PinReason::Locked) >= 30, "{answers:?}");
}

#[tokio::test]
async fn a_person_sets_their_own_pin_and_a_contact_admin_everybodys() {
    let mut server = TestServer::acme().await;
    server.client.directory.set_pin(set("anna", "4711", "anna")).await.unwrap();
    server.client.directory.set_pin(set("anna", "4712", "petra")).await.unwrap();
    let refused = server.client.directory.set_pin(set("anna", "4713", "bo")).await.unwrap_err();
    assert_eq!(described(&refused).0, Code::PermissionDenied);
    assert!(described(&refused).1.contains("ACTOR_NOT_PERMITTED"), "{refused:?}");
    assert_eq!(reason(&mut server, "101", "4712").await, PinReason::Verified);
    let told = |allowed, actor: &str| (AuditAction::SetPin, allowed, actor.to_owned(), "anna".to_owned());
    assert_eq!(pin_events(&mut server).await, [told(true, "anna"), told(true, "petra"), told(false, "bo")]);
}

#[tokio::test]
async fn a_malformed_pin_is_refused_and_not_repeated() {
    let mut server = TestServer::acme().await;
    for pin in ["", "123", "12345678901", "47x1"] {
        let refused = server.client.directory.set_pin(set("anna", pin, "")).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("pin: must be 4 to 10 digits"), "{refused:?}");
        assert!(pin.is_empty() || !format!("{refused:?}").contains(pin), "{refused:?}");
    }
    // Every bad field is named.
    let refused = server.client.queue_access.verify_pin(VerifyPinRequest::default()).await.unwrap_err();
    for field in ["organization_id", "user", "pin"] {
        assert!(described(&refused).2.iter().any(|named| named.contains(field)), "{refused:?}");
    }
}

#[tokio::test]
async fn a_repeated_request_sets_a_pin_once() {
    let mut server = TestServer::acme().await;
    let with_id = |pin| SetPinRequest { request_id: "r1".to_owned(), ..set("anna", pin, "") };
    let first = server.client.directory.set_pin(with_id("4711")).await.unwrap().into_inner();
    let repeated = server.client.directory.set_pin(with_id("4711")).await.unwrap().into_inner();
    assert_eq!(first, repeated);
    assert_eq!(pin_events(&mut server).await.len(), 1);
}

#[tokio::test]
async fn neither_a_pin_nor_its_hash_is_in_the_log_or_in_an_export() {
    let mut server = TestServer::acme().await;
    server.client.directory.set_pin(set("anna", "8274619305", "")).await.unwrap();
    assert_eq!(reason(&mut server, "101", "8274619304").await, PinReason::Wrong);
    let shell = Shell::new(&server);
    for line in ["audit export", "audit list --json", "export", "user get anna --json"] {
        let (out, err, code) = shell.run(line).await;
        assert_eq!(code, 0, "{line}: {err}");
        for secret in ["827461930", "argon2", "$m="] {
            assert!(!out.contains(secret), "{line}: {out}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_is_set_cleared_and_verified_from_the_command_line() {
    let server = TestServer::acme().await;
    let shell = Shell::new(&server);
    for (arguments, input, code, says) in [
        ("pin set ext:101", "4711\n", 0, "the PIN of ext:101 is set"),
        ("pin verify anna", "4711\n", 0, "VERIFIED"),
        ("pin verify anna", "4712\n", 1, "WRONG"),
        ("pin verify bo", "4712\n", 1, "bo has no PIN"),
        ("pin set anna", "47\n", 2, "must be 4 to 10 digits"),
        ("pin set anan", "4711\n", 2, "did you mean `anna`?"),
        ("pin set anna --actor bo", "4711\n", 2, "ACTOR_NOT_PERMITTED"),
        ("audit list", "", 0, "WRONG"),
        ("pin clear anna", "", 0, "the PIN of anna is cleared"),
        ("pin clear anna", "", 2, "has no PIN"),
    ] {
        let mut typed = tempfile::tempfile().unwrap();
        typed.write_all(input.as_bytes()).unwrap();
        typed.rewind().unwrap();
        let (out, err, found) = shell.run_with(arguments, |command| _ = command.stdin(typed)).await;
        assert!(found == code && (out.contains(says) || err.contains(says)), "{arguments}: {found} {out}{err}");
    }
}
