//! Concurrent writers. Some order of the writes explains all responses.

use std::collections::BTreeSet;

use queuegate::rpc::proto::*;

use crate::support::{ACME, TestServer, sign_in};

const ROUNDS: usize = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sign_ins_of_one_user_to_one_queue_make_one_session() {
    let mut server = TestServer::acme().await;
    for _ in 0..ROUNDS {
        let racers: Vec<_> = (0..4)
            .map(|_| {
                let mut client = server.client.queue_access.clone();
                tokio::spawn(async move { client.sign_in(sign_in("bo", "sales")).await.unwrap().into_inner() })
            })
            .collect();
        let mut created = 0;
        let mut ids = BTreeSet::new();
        for racer in racers {
            let answer = racer.await.unwrap();
            created += usize::from(answer.created);
            ids.insert(answer.session.unwrap().session_id);
            let expected = if answer.created { Reason::UnassignedAllowed } else { Reason::AlreadySignedIn };
            assert_eq!(answer.decision.unwrap().reason(), expected);
        }
        assert_eq!((created, ids.len()), (1, 1));
        assert_eq!(server.sign_out("bo", "sales").await.ended_sessions.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_racing_the_setting_is_before_it_or_after_it() {
    let mut server = TestServer::acme().await;
    let (mut before, mut after) = (0, 0);
    for round in 0..ROUNDS {
        server.set(UnassignedQueueSignIn::Allowed).await;
        let mut client = server.client.queue_access.clone();
        let signing = tokio::spawn(async move { client.sign_in(sign_in("bo", "sales")).await.unwrap().into_inner() });
        // Half of the rounds give the sign-in a head start.
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let set = server.set(UnassignedQueueSignIn::Restricted).await;
        let signed = signing.await.unwrap();
        let reason = signed.decision.as_ref().unwrap().reason();
        if signed.revision < set.revision {
            before += 1;
            assert_eq!((reason, signed.created), (Reason::UnassignedAllowed, true));
            assert!(server.check("bo", "sales").await.session.unwrap().retained);
        } else {
            after += 1;
            assert_eq!((reason, signed.created), (Reason::UnassignedRestricted, false));
        }
        let live = server.sign_out("bo", "sales").await.ended_sessions.len();
        assert_eq!(live, usize::from(signed.created));
    }
    println!("{before} sign-ins came before the setting, {after} after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_updates_with_one_etag_one_wins() {
    let mut server = TestServer::acme().await;
    for round in 0..50 {
        let get = GetPermissionSettingsRequest { organization_id: ACME.into(), ..Default::default() };
        let now = server.client.permission.get_permission_settings(get).await.unwrap().into_inner().settings.unwrap();
        let on = Some(round % 2 == 0);
        let racers: Vec<_> = (0..2)
            .map(|racer| {
                let mut client = server.client.permission.clone();
                let supervisor = match racer {
                    0 => SupervisorSettings { view_skills: on, ..Default::default() },
                    _ => SupervisorSettings { view_pause_reasons: on, ..Default::default() },
                };
                let settings =
                    PermissionSettings { etag: now.etag.clone(), supervisor: Some(supervisor), ..Default::default() };
                let request = UpdatePermissionSettingsRequest {
                    organization_id: ACME.into(),
                    settings: Some(settings),
                    ..Default::default()
                };
                tokio::spawn(async move { client.update_permission_settings(request).await })
            })
            .collect();
        let mut codes = Vec::new();
        for racer in racers {
            codes.push(racer.await.unwrap().map_or_else(|status| status.code(), |_| tonic::Code::Ok));
        }
        codes.sort_by_key(|code| *code as i32);
        assert_eq!(codes, [tonic::Code::Ok, tonic::Code::Aborted]);
        // Restore both for the next round.
        server
            .client
            .permission
            .update_permission_settings(UpdatePermissionSettingsRequest {
                organization_id: ACME.into(),
                settings: Some(PermissionSettings {
                    supervisor: Some(SupervisorSettings {
                        view_skills: on,
                        view_pause_reasons: on,
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            })
            .await
            .unwrap();
    }
}
