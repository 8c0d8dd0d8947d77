//! A node's connection: TLS, passwords, poolers, the lock, and the clock.

use std::{
    fs,
    net::TcpListener,
    ops::ControlFlow,
    os::unix::fs::{PermissionsExt, chown},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use queuegate::{
    domain::{
        change::{Change, Event, Origin, Record},
        ids::{Caller, Sequence},
        model::Organization,
        settings::{Etag, PermissionSettings},
        time::Timestamp,
    },
    rpc::proto::*,
    server::{Database, SharedDatabase, WhenStale},
    state::clock::Clock,
    store::postgres::{Commit, Locking, LogReader, Store},
};
use rustix::process::Signal;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    Postgres,
    nodes::{import, node, node_as},
    proxy::{Next, Proxy},
};
use crate::support::{ACME, described, shared_database, sign_in};

fn name(database: &str) -> &str {
    database.split(['/', '?']).nth(3).unwrap()
}

#[tokio::test]
async fn tls_is_verified_and_the_password_comes_from_a_file() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(mut postgres) = Postgres::start() else { return };
    let certificate = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = [("server.crt", certificate.cert.pem()), ("server.key", certificate.signing_key.serialize_pem())];
    for (file, pem) in &files {
        let path = postgres.folder.join("data").join(file);
        fs::write(&path, pem).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if rustix::process::getuid().is_root() {
            chown(&path, Some(65_534), Some(65_534)).unwrap();
        }
    }
    let access = postgres.folder.join("data/pg_hba.conf");
    fs::write(&access, "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    postgres.configure(&format!("listen_addresses = '127.0.0.1'\nport = {port}\nssl = on"));
    postgres.sql("ALTER USER queuegate PASSWORD 'it''s: secret'");
    postgres.sql("CREATE DATABASE tls");
    postgres.set_port(port);
    postgres.restart();
    let folder = tempfile::tempdir().unwrap();
    let (root, password) = (folder.path().join("root.pem"), folder.path().join("password"));
    fs::write(&root, &files[0].1).unwrap();
    fs::write(&password, "it's: secret\n").unwrap();
    let url = move |host: &str| {
        format!("postgres://queuegate@{host}:{port}/tls?sslmode=verify-full&sslrootcert={}", root.display())
    };
    let store = move |host: &str, password: Option<&std::path::Path>| {
        let target = url(host).parse::<queuegate::store::postgres::Target>().unwrap();
        let mut store = Store::new(target.with_password_file(password.map(Into::into)), 1, String::new()).unwrap();
        store.connect(&mut |_| ControlFlow::Continue(())).map_err(|error| error.to_string())
    };
    let (good, bad) = (password.clone(), folder.path().join("wrong"));
    fs::write(&bad, "wrong").unwrap();
    tokio::task::spawn_blocking(move || {
        store("localhost", Some(&good)).unwrap();
        let refused = store("localhost", Some(&bad)).unwrap_err();
        assert!(refused.contains("password") && !refused.contains("wrong"), "{refused}");
        // The certificate is not for this name.
        let refused = store("127.0.0.1", Some(&good)).unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
    })
    .await
    .unwrap();
}

/// A pooler that ends when it is dropped.
struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_and_one_in_session_mode_is_not() {
    let Some(postgres) = Postgres::start() else { return };
    if !std::path::Path::new("/usr/sbin/pgbouncer").exists() {
        eprintln!("skipped: PgBouncer isn't installed (on Debian: apt-get install pgbouncer)");
        return;
    }
    let database = postgres.database();
    for (mode, is_refused) in [("transaction", true), ("session", false)] {
        let folder = postgres.folder.join(mode);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let settings = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port=5432 user=queuegate\n[pgbouncer]\nunix_socket_dir = {}\nlisten_port = 5432\n\
             auth_type = any\npool_mode = {mode}\n",
            postgres.folder.display(),
            folder.display(),
        );
        fs::write(&settings, text).unwrap();
        let mut command = Command::new("/usr/sbin/pgbouncer");
        command.arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::getuid().is_root() {
            std::os::unix::process::CommandExt::uid(&mut command, 65_534);
        }
        let mut pooler = Pooler(command.spawn().unwrap());
        while !folder.join(".s.PGSQL.5432").exists() {
            assert!(pooler.0.try_wait().unwrap().is_none(), "PgBouncer has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let target = format!("postgres:///{}?host={}&user=queuegate", name(&database), folder.display());
        let connected = tokio::task::spawn_blocking(move || {
            let mut store = Store::new(target.parse().unwrap(), 1, String::new()).unwrap();
            store.connect(&mut |_| ControlFlow::Continue(())).map_err(|error| error.to_string())
        });
        let connected = connected.await.unwrap();
        assert_eq!(connected.is_err(), is_refused, "{mode}: {connected:?}");
        assert!(!is_refused || connected.unwrap_err().contains("pool_mode"));
    }
}

/// The record of the store's first change: the creation of an organization.
fn creation(organization: &str) -> Record {
    Record {
        sequence: Sequence(1),
        time: Timestamp::from_unix_ms(1),
        origin: Origin { caller: Caller::server(), actor: None },
        change: Change {
            organization_id: organization.parse().unwrap(),
            event: Event::OrganizationCreated {
                organization: Organization {
                    organization_id: organization.parse().unwrap(),
                    display_name: organization.to_owned(),
                },
                settings: PermissionSettings::default(),
                etag: Etag(1),
            },
        },
    }
}

fn organizations(postgres: &Postgres, database: &str) -> String {
    postgres.sql_in(name(database), "SELECT organization_id FROM queuegate.organization").trim().to_owned()
}

/// Return a wait that ends after this time.
fn for_at_most(longest: Duration) -> impl FnMut(Duration) -> ControlFlow<()> {
    move |waited| if waited < longest { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn open(address: &str) -> Store {
    let mut store = Store::new(address.parse().unwrap(), 1, String::new()).unwrap();
    store.load(|_| {}, &mut |_| ControlFlow::Continue(())).unwrap();
    store
}

#[test]
fn a_node_that_stops_with_the_lock_loses_it_and_writes_nothing() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let (mut stopped, mut other) = (open(&database), open(&database));
    stopped.lock(&[], 0, &mut |_| ControlFlow::Continue(())).unwrap();
    // It waits for the lock, which PostgreSQL ends after a second.
    let (records, mut wait) = ([creation("other")], |_: Duration| ControlFlow::Continue(()));
    assert_eq!(other.commit((&records, &[]), Locking::None, |_| {}, &mut wait).unwrap(), Commit::Done);
    let records = [creation("stopped")];
    let late = stopped.commit((&records, &[]), Locking::Held, |_| {}, &mut wait);
    assert!(!matches!(late, Ok(Commit::Done)), "{late:?}");
    assert_eq!(organizations(&postgres, &database), "other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_statement_is_refused_once_its_outcome_was_decided() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let proxy = Proxy::start(postgres.socket()).await;
    let address = proxy.url(name(&database));
    let mut store = tokio::task::spawn_blocking(move || open(&address)).await.unwrap();
    proxy.next(Next::IsDelayed);
    let decided = tokio::task::spawn_blocking(move || {
        let (records, mut lost) = ([creation("delayed")], for_at_most(Duration::from_secs(1)));
        let committed = store.commit((&records, &[]), Locking::None, |_| {}, &mut lost).unwrap();
        assert_eq!(committed, Commit::Unknown);
        store.settle(&mut |_| ControlFlow::Continue(())).unwrap()
    });
    assert!(!decided.await.unwrap(), "it has not arrived");
    // The caller was told that nothing happened, so nothing may happen now.
    proxy.deliver().await;
    assert_eq!(organizations(&postgres, &database), "");
}

#[test]
fn commits_that_were_given_up_leave_no_sessions_behind() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut store = open(&database);
    let mut standby = postgres.standby();
    standby.stop(Signal::INT);
    let records = [creation("waiting")];
    for _ in 0..8 {
        // The first waits for the standby with the head locked, and the others wait for the lock.
        let mut soon = for_at_most(Duration::from_millis(200));
        let committed = store.commit((&records, &[]), Locking::None, |_| {}, &mut soon);
        assert!(matches!(committed, Ok(Commit::Unknown)), "{committed:?}");
        store.abandon();
        store.connect(&mut |_| ControlFlow::Continue(())).unwrap();
    }
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'queuegate writer'";
    let began = Instant::now();
    loop {
        let count: u32 = postgres.sql(count).trim().parse().unwrap();
        // The session that waits for the standby can't end, and the present one is idle.
        if count <= 2 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{count} sessions");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_node_without_postgresql_is_not_ready_and_may_refuse_to_decide() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    for when_stale in [WhenStale::Decide, WhenStale::Refuse] {
        let proxy = Proxy::start(postgres.socket()).await;
        let address = proxy.url(name(&database));
        let mut node = node_as(&address, |config| {
            config.database = Database::Shared(SharedDatabase {
                target: address.parse().unwrap(),
                node_address: None,
                stale_after: Duration::from_secs(1),
                when_stale,
            });
        })
        .await;
        import(&mut node).await;
        let channel = Endpoint::from_shared(format!("http://{}", node.address)).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        let mut statuses = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
        let mut until = async |wanted: ServingStatus| {
            while statuses.message().await.unwrap().unwrap().status() != wanted {}
        };
        until(ServingStatus::Serving).await;
        proxy.close();
        until(ServingStatus::NotServing).await;
        let check = CheckQueueAccessRequest {
            organization_id: ACME.into(),
            user: Some(check_queue_access_request::User::UserId("anna".into())),
            queue: Some(check_queue_access_request::Queue::QueueId("sales".into())),
            channel: Channel::FeatureCode.into(),
            ..Default::default()
        };
        let checked = node.client.queue_access.check_queue_access(check.clone()).await;
        match when_stale {
            WhenStale::Decide => assert!(checked.unwrap().into_inner().decision.unwrap().allowed()),
            WhenStale::Refuse => {
                let status = checked.unwrap_err();
                assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unavailable, "STALE"));
            }
        }
        proxy.open();
        until(ServingStatus::Serving).await;
        node.client.queue_access.check_queue_access(check).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_that_postgresql_refuses_now_goes_on_to_decide() {
    let Some(postgres) = Postgres::start() else { return };
    postgres.sql("CREATE ROLE app LOGIN SUPERUSER");
    let database = postgres.database().replace("user=queuegate", "user=app");
    let mut node = node(&database).await;
    import(&mut node).await;
    postgres.sql("ALTER ROLE app NOLOGIN");
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
    let status = node.client.queue_access.sign_in(sign_in("anna", "sales")).await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unavailable, "NOT_WRITABLE"));
    assert!(status.message().contains("refuses this server") && !status.message().contains("postgres:"), "{status}");
    assert!(node.check("anna", "sales").await.allowed());
    postgres.sql("ALTER ROLE app LOGIN");
    while node.client.queue_access.sign_in(sign_in("anna", "sales")).await.is_err() {}
}

#[tokio::test]
async fn a_verification_fails_if_its_connection_breaks() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut node = node(&database).await;
    let users: String = (0..1_500).map(|number| format!("  - {{ user_id: u{number} }}\n")).collect();
    node.import(&format!("organization: {{ organization_id: acme, display_name: Acme }}\nusers:\n{users}"))
        .await
        .unwrap();
    let verified = tokio::task::spawn_blocking(move || {
        let reader = LogReader::new(database.parse().unwrap());
        reader.verify(&ACME.parse().unwrap(), None, |_| {
            postgres.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'queuegate reader'",
            );
            ControlFlow::Continue(())
        })
    });
    // On another connection the rest would be read at another moment.
    assert!(verified.await.unwrap().is_err());
}

/// A clock that differs from the database's.
#[derive(Debug)]
struct WrongClock;

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }

    fn follow_reference(&self, _ahead_ms: i64) -> Duration {
        Duration::from_millis(5_001)
    }
}

#[tokio::test]
async fn a_node_whose_clock_differs_by_more_than_5_s_writes_nothing() {
    let Some(postgres) = Postgres::start() else { return };
    let database = postgres.database();
    let mut right = node(&database).await;
    import(&mut right).await;
    let mut wrong = node_as(&database, |config| {
        config.database = shared_database(&database);
        config.clock = Arc::new(WrongClock);
    })
    .await;
    let status = wrong.client.queue_access.sign_in(sign_in("anna", "sales")).await.unwrap_err();
    assert_eq!((status.code(), described(&status).1.as_str()), (Code::Unavailable, "NOT_WRITABLE"));
    assert!(status.message().contains("clocks"), "{status}");
    assert!(wrong.check("anna", "sales").await.allowed());
    assert_eq!(right.sign_in("anna", "sales").await.decision.unwrap().reason(), Reason::Assigned);
}
