//! A client with the addresses of several servers goes on with another one when the present one fails.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use queuegate::{
    client::{Client, Credentials},
    rpc::proto::*,
};
use tonic::Request;

use crate::{
    cluster::postgres::Postgres,
    support::{ACME, ManualClock, Shell, TestServer, program, shared_database, sign_in},
    wire::{Passing, Wire},
};

/// A deadline that a busy machine meets.
const LONG: Duration = Duration::from_secs(60);

/// An address at which nothing listens.
fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn events(server: &mut TestServer, action: AuditAction) -> usize {
    let request = ListAuditEventsRequest { organization_id: ACME.into(), action: action.into(), ..Default::default() };
    server.client.audit.list_audit_events(request).await.unwrap().into_inner().events.len()
}

/// Sign in through a server that is killed after it has signed the user in and before it answers. `other` is another
/// address of the same state.
async fn sign_in_while_killed(server: &mut TestServer, other: SocketAddr) {
    let wire = Wire::to(server.address).await;
    let servers = format!("{},{other}", wire.address);
    let mut client = Client::connect_as(&servers, Credentials::default()).await.unwrap();
    wire.set(Passing::Requests);
    let mut request = Request::new(sign_in("anna", "sales"));
    request.set_timeout(LONG);
    let killed = async {
        while server.sessions().await.is_empty() {}
        wire.set(Passing::Broken);
    };
    let (answer, ()) = tokio::join!(client.queue_access.sign_in(request), killed);
    // The answer is that of the first attempt, and not that the user was signed in already.
    assert!(answer.unwrap().into_inner().created);
    assert_eq!((server.sessions().await.len(), events(server, AuditAction::SignIn).await), (1, 1));

    // The client stays with the other server.
    let sign_out = SignOutRequest {
        organization_id: ACME.into(),
        user: Some(sign_out_request::User::UserId("anna".into())),
        all_queues: true,
        ..Default::default()
    };
    assert_eq!(client.queue_access.sign_out(sign_out).await.unwrap().into_inner().ended_sessions.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_under_way_when_its_server_is_killed_has_one_outcome() {
    let mut server = TestServer::acme().await;
    let address = server.address;
    sign_in_while_killed(&mut server, address).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_under_way_when_its_node_is_killed_has_one_outcome() {
    let Some(postgres) = Postgres::start() else { return };
    let database = shared_database(&postgres.database());
    let clock = Arc::new(ManualClock::default());
    let node = async || {
        let folder = tempfile::tempdir().unwrap();
        TestServer::start_as(folder, Arc::clone(&clock), |config| config.database = database.clone()).await
    };
    let (mut first, second) = (node().await, node().await);
    first.import(include_str!("../../examples/acme.yaml")).await.unwrap();
    sign_in_while_killed(&mut first, second.address).await;
}

/// The second server is asked after half of the deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_leaves_time_for_another() {
    let server = TestServer::acme().await;
    let wire = Wire::to(server.address).await;
    wire.set(Passing::Nothing);
    let servers = format!("{},{}", wire.address, server.address);
    let mut client = Client::prepare_as(&servers, Credentials::default()).unwrap();
    let mut request = Request::new(sign_in("anna", "sales"));
    request.set_timeout(Duration::from_secs(5));
    assert!(client.queue_access.sign_in(request).await.unwrap().into_inner().created);
}

/// A refusal by the second server doesn't tell whether the first will still carry out the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_after_an_unknown_outcome_settles_nothing() {
    let server = TestServer::acme().await;
    let without_organization = TestServer::start().await;
    let wire = Wire::to(server.address).await;
    wire.set(Passing::Nothing);
    let servers = format!("{},{}", wire.address, without_organization.address);
    let mut client = Client::prepare_as(&servers, Credentials::default()).unwrap();
    let mut request = Request::new(sign_in("anna", "sales"));
    request.set_timeout(Duration::from_secs(5));
    let error = client.queue_access.sign_in(request).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::DeadlineExceeded, "{error:?}");
    assert!(error.message().contains("the change may have been made"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_uses_a_server_that_answers() {
    let server = TestServer::acme().await;
    let shell = Shell { address: format!("{},{}", nowhere(), server.address) };
    let (out, err, code) = shell.run("sign-in anna sales").await;
    assert_eq!((code, out.contains("anna on sales")), (0, true), "{err}");
    let (_, err, code) = shell.run("import examples/acme.yaml").await;
    assert_eq!(code, 0, "{err}");

    let shell = Shell { address: format!("{},{}", nowhere(), nowhere()) };
    let (_, err, code) = shell.run("check anna sales").await;
    assert_eq!((code, err.contains("can't reach any queuegate server of")), (3, true), "{err}");
}

/// A watch of the command line whose server is killed goes on with the next change on another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_with_another_server() {
    for command in [&["watch"][..], &["audit", "watch"]] {
        let mut server = TestServer::acme().await;
        let wire = Wire::to(server.address).await;
        let servers = format!("{},{}", wire.address, server.address);
        let mut watch = program()
            .args(command)
            .args(["--json", "--organization", ACME, "--server", &servers])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let begun = tokio::task::block_in_place(|| lines.next().unwrap().unwrap());
        assert!(begun.contains("revision"), "{begun}");
        // Checkpoints name no user.
        let mut next = || lines.find_map(|line| line.ok().filter(|line| line.contains("user_id"))).unwrap();
        server.sign_in("anna", "sales").await;
        let first = tokio::task::block_in_place(&mut next);
        wire.set(Passing::Broken);
        server.sign_out("anna", "sales").await;
        server.sign_in("bo", "support").await;
        let rest = [(); 2].map(|()| tokio::task::block_in_place(&mut next));
        watch.kill().unwrap();
        watch.wait().unwrap();
        let found: Vec<bool> = [&first, &rest[0]].iter().map(|line| line.contains("anna")).collect();
        assert_eq!((found, rest[1].contains("bo")), (vec![true, true], true), "{first} {rest:?}");
        assert_ne!(first, rest[0]);
    }
}
