//! A real server in this process, on port 0, with a clock under the tests' control; and helpers to call it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use queuegate::{
    client::Client,
    domain::time::Timestamp,
    rpc::proto::*,
    server::{self, Config, Database, Limits, Listen, SharedDatabase, WhenStale},
    state::clock::Clock,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tokio_postgres::NoTls;
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

pub const ACME: &str = "acme";

/// A clock that only tests advance.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_800_000_000_000))
    }
}

impl ManualClock {
    pub fn advance(&self, duration: Duration) {
        self.0.fetch_add(duration.as_millis().try_into().unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::SeqCst))
    }
}

pub struct TestServer {
    pub client: Client,
    pub clock: Arc<ManualClock>,
    pub address: SocketAddr,
    pub database: PathBuf,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), server::Error>>,
}

impl TestServer {
    pub async fn start() -> Self {
        let clock = Arc::new(ManualClock::default());
        Self::start_in(tempfile::tempdir().unwrap(), clock).await
    }

    pub async fn start_in(folder: TempDir, clock: Arc<ManualClock>) -> Self {
        Self::start_as(folder, clock, |_| {}).await
    }

    /// Starts a server with a changed configuration.
    pub async fn start_as(folder: TempDir, clock: Arc<ManualClock>, change: impl FnOnce(&mut Config)) -> Self {
        let database = folder.path().join("test.db");
        let clock_of_server = Arc::clone(&clock) as Arc<dyn Clock>;
        let mut config = Config {
            drain_deadline: Duration::from_secs(5),
            // The tests share few processors and delay each other, so calls must not be shed.
            limits: Limits { shed_delay: Duration::from_secs(3_600), ..Limits::default() },
            ..Config::new("127.0.0.1:0".parse().unwrap(), database_of(&folder).await, clock_of_server)
        };
        change(&mut config);
        let server = server::start(config).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        until_serving(address).await;
        let client = Client::connect(&address.to_string()).await.unwrap();
        Self { client, clock, address, database, folder, stop, running }
    }

    /// Stops the server and waits for it; the database stays.
    pub async fn stop(self) -> (TempDir, Arc<ManualClock>) {
        drop(self.client);
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        (self.folder, self.clock)
    }

    /// Stops the server and starts one on the same database.
    pub async fn restart(self) -> Self {
        let (folder, clock) = self.stop().await;
        Self::start_in(folder, clock).await
    }

    /// Signals the server to stop, without waiting.
    pub fn ask_to_stop(self) -> (JoinHandle<Result<(), server::Error>>, Client, TempDir) {
        self.stop.send(()).unwrap();
        (self.running, self.client, self.folder)
    }

    /// A server with the example contact center.
    pub async fn acme() -> Self {
        let mut server = Self::start().await;
        server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
        server
    }

    /// The same, with the address of its metrics.
    pub async fn measured() -> (Self, SocketAddr) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = listener.local_addr().unwrap();
        let change = |config: &mut Config| config.metrics = Some(Listen::Inherited(listener));
        let clock = Arc::new(ManualClock::default());
        let mut server = Self::start_as(tempfile::tempdir().unwrap(), clock, change).await;
        server.import(include_str!("../../examples/acme.yaml")).await.unwrap();
        (server, metrics)
    }

    pub async fn import(&mut self, document: &str) -> Result<ImportDirectoryResponse, Status> {
        self.import_with(ImportDirectoryRequest {
            organization_id: ACME.into(),
            document: document.into(),
            ..Default::default()
        })
        .await
        .0
    }

    /// The last response or the error, and the problems before it.
    pub async fn import_with(
        &mut self,
        request: ImportDirectoryRequest,
    ) -> (Result<ImportDirectoryResponse, Status>, Vec<ImportProblem>) {
        let answers = self.client.directory.import_directory(tokio_stream::once(request)).await;
        let mut answers = match answers {
            Ok(answers) => answers.into_inner(),
            Err(status) => return (Err(status), Vec::new()),
        };
        let mut last = None;
        let mut problems = Vec::new();
        loop {
            match answers.message().await {
                Ok(Some(mut answer)) => {
                    problems.append(&mut answer.problems);
                    last = Some(answer);
                }
                Ok(None) => return (Ok(last.unwrap()), problems),
                Err(status) => return (Err(status), problems),
            }
        }
    }

    pub async fn check(&mut self, user: &str, queue: &str) -> Decision {
        let request = CheckQueueAccessRequest {
            organization_id: ACME.into(),
            user: Some(check_queue_access_request::User::UserId(user.into())),
            queue: Some(check_queue_access_request::Queue::QueueId(queue.into())),
            channel: Channel::FeatureCode.into(),
            ..Default::default()
        };
        self.client.queue_access.check_queue_access(request).await.unwrap().into_inner().decision.unwrap()
    }

    pub async fn sign_in(&mut self, user: &str, queue: &str) -> SignInResponse {
        self.client.queue_access.sign_in(sign_in(user, queue)).await.unwrap().into_inner()
    }

    pub async fn sign_out(&mut self, user: &str, queue: &str) -> SignOutResponse {
        let request = SignOutRequest {
            organization_id: ACME.into(),
            user: Some(sign_out_request::User::UserId(user.into())),
            queue: Some(sign_out_request::Queue::QueueId(queue.into())),
            ..Default::default()
        };
        self.client.queue_access.sign_out(request).await.unwrap().into_inner()
    }

    pub async fn supervisor_sign_in(
        &mut self,
        user: &str,
        queue: &str,
        ttl: Option<Duration>,
    ) -> SupervisorSignInResponse {
        let request = SupervisorSignInRequest {
            organization_id: ACME.into(),
            supervisor: Some(supervisor_sign_in_request::Supervisor::SupervisorId("sam".into())),
            user: Some(supervisor_sign_in_request::User::UserId(user.into())),
            queue: Some(supervisor_sign_in_request::Queue::QueueId(queue.into())),
            ttl: ttl.map(|ttl| ttl.try_into().unwrap()),
            justification: "for a test".into(),
            ..Default::default()
        };
        self.client.queue_access.supervisor_sign_in(request).await.unwrap().into_inner()
    }

    pub async fn set(&mut self, value: UnassignedQueueSignIn) -> UpdatePermissionSettingsResponse {
        let organization = OrganizationSettings { unassigned_queue_sign_in: value.into() };
        let request = UpdatePermissionSettingsRequest {
            organization_id: ACME.into(),
            settings: Some(PermissionSettings { organization: Some(organization), ..Default::default() }),
            ..Default::default()
        };
        self.client.permission.update_permission_settings(request).await.unwrap().into_inner()
    }

    pub async fn sessions(&mut self) -> Vec<Session> {
        let request = ListSessionsRequest { organization_id: ACME.into(), page_size: 1_000, ..Default::default() };
        self.client.queue_access.list_sessions(request).await.unwrap().into_inner().sessions
    }

    pub async fn watch(&mut self, start_revision: &str) -> tonic::Streaming<WatchSessionsResponse> {
        let request = WatchSessionsRequest {
            organization_id: ACME.into(),
            start_revision: start_revision.into(),
            ..Default::default()
        };
        self.client.queue_access.watch_sessions(request).await.unwrap().into_inner()
    }
}

/// The folder of the PostgreSQL server that these tests use instead of files, if it is set.
pub const POSTGRES: &str = "QUEUEGATE_TEST_POSTGRES";

/// The database of a test: a file in its folder, or a PostgreSQL database named after the folder.
async fn database_of(folder: &TempDir) -> Database {
    let Ok(postgres) = std::env::var(POSTGRES) else { return folder.path().join("test.db").into() };
    let name = folder.path().file_name().unwrap().to_str().unwrap().replace('.', "t").to_lowercase();
    let (client, connection) =
        tokio_postgres::connect(&format!("host={postgres} user=queuegate dbname=postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    if client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&name]).await.unwrap().is_none() {
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    }
    shared_database(&format!("postgres:///{name}?host={postgres}&user=queuegate"))
}

/// The configuration of a node's database.
pub fn shared_database(address: &str) -> Database {
    Database::Shared(SharedDatabase {
        target: address.parse().unwrap(),
        node_address: None,
        stale_after: Duration::from_secs(10),
        when_stale: WhenStale::Decide,
    })
}

pub fn sign_in(user: &str, queue: &str) -> SignInRequest {
    SignInRequest {
        organization_id: ACME.into(),
        user: Some(sign_in_request::User::UserId(user.into())),
        queue: Some(sign_in_request::Queue::QueueId(queue.into())),
        channel: Channel::FeatureCode.into(),
        ..Default::default()
    }
}

/// Waits until the health check reports SERVING.
pub async fn until_serving(address: SocketAddr) {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut changes = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    while changes.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
}

/// The first line and the body of a plain HTTP response.
pub async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// The number of checks, writes and streams in flight, by the server's metrics.
async fn under_way(metrics: SocketAddr) -> [usize; 3] {
    let (_, text) = get(metrics, "/metrics").await;
    ["check", "write", "stream"].map(|work| {
        let series = format!("queuegate_grpc_calls_under_way{{work=\"{work}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    })
}

/// Waits until this many checks, writes and streams are in flight, up to a time limit.
pub async fn until_under_way(metrics: SocketAddr, calls: [usize; 3]) {
    let come = async { while under_way(metrics).await != calls {} };
    if tokio::time::timeout(Duration::from_secs(60), come).await.is_err() {
        panic!("{:?} are in flight instead of {calls:?}", under_way(metrics).await);
    }
}

/// The status's code, its ErrorInfo reason, and its fields or resource.
pub fn described(status: &Status) -> (Code, String, Vec<String>) {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "queuegate");
    let mut named = Vec::new();
    if let Some(bad) = details.bad_request() {
        named.extend(bad.field_violations.iter().map(|violation| violation.field.clone()));
        assert!(bad.field_violations.iter().all(|violation| !violation.description.is_empty()));
    }
    if let Some(resource) = details.resource_info() {
        named.push(format!("{} {}", resource.resource_type, resource.resource_name));
    }
    if let Some(failure) = details.precondition_failure() {
        named.extend(failure.violations.iter().map(|violation| format!("{} {}", violation.r#type, violation.subject)));
    }
    (status.code(), info.reason.clone(), named)
}

/// The command line against a server, and the organization `acme`.
pub struct Shell {
    pub address: String,
}

impl Shell {
    pub fn new(server: &TestServer) -> Self {
        Self { address: server.address.to_string() }
    }

    /// Runs a command, off the async threads. Returns both outputs and the exit code.
    pub async fn run(&self, line: &str) -> (String, String, i32) {
        self.run_with(line, |_| {}).await
    }

    /// Runs a command with changes to the process, such as another standard input.
    pub async fn run_with(
        &self,
        line: &str,
        change: impl FnOnce(&mut Command) + Send + 'static,
    ) -> (String, String, i32) {
        let mut command = program();
        command.args(line.split_whitespace()).args(["--server", &self.address]);
        // Commands on organizations name theirs.
        if !line.starts_with("organization ") {
            command.args(["--organization", ACME]);
        }
        let running = move || {
            change(&mut command);
            command.output().unwrap()
        };
        told(tokio::task::spawn_blocking(running).await.unwrap())
    }
}

/// Both outputs of a program, and its exit code.
pub fn told(output: Output) -> (String, String, i32) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// The path of the built program.
pub fn program_path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_queuegate"))
}

/// The built program, without settings and locale from the environment of the tests.
pub fn program() -> Command {
    without_settings(Command::new(program_path()))
}

/// The same, started by a command that runs the arguments after it.
pub fn program_by(mut command: Command) -> Command {
    command.arg(program_path());
    without_settings(command)
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("QUEUEGATE_") || ["LC_ALL", "LC_MESSAGES", "LANG"].contains(&&*text) {
            command.env_remove(name);
        }
    }
    command
}
