//! PostgreSQL servers of the tests: from the binaries of the system, on Unix sockets in a temporary folder.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The user and group `nobody`, because PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// Set where a test without PostgreSQL must fail instead of being skipped.
const REQUIRED: &str = "QUEUEGATE_REQUIRE_POSTGRES";

/// How long a server may take to start, to stop or to catch up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One PostgreSQL server, which ends when it is dropped.
pub struct Postgres {
    /// The folder of its data, its socket and its log.
    pub folder: PathBuf,
    binaries: PathBuf,
    port: u16,
    running: Option<Child>,
    _root: Option<TempDir>,
}

/// Return the folder of PostgreSQL's binaries. Without them, say once that a test is skipped.
fn binaries() -> Option<PathBuf> {
    let newest = || {
        let mut versions: Vec<PathBuf> =
            fs::read_dir("/usr/lib/postgresql").ok()?.map(|entry| entry.unwrap().path().join("bin")).collect();
        versions.sort();
        versions.into_iter().rev().find(|folder| folder.join("initdb").exists())
    };
    let found = newest();
    if found.is_none() {
        assert!(std::env::var_os(REQUIRED).is_none(), "PostgreSQL isn't installed, and {REQUIRED} is set");
        eprintln!("skipped: PostgreSQL isn't installed (on Debian: apt-get install postgresql)");
    }
    found
}

impl Postgres {
    /// Start a server of its own, or return `None` if PostgreSQL isn't installed.
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Start a server with additional settings.
    pub fn start_with(settings: &str) -> Option<Self> {
        let binaries = binaries()?;
        let root = tempfile::Builder::new().prefix("qg").tempdir_in("/tmp").unwrap();
        let folder = root.path().join("a");
        let mut server = Self { folder, binaries, port: 5_432, running: None, _root: None };
        open_to_nobody(root.path());
        server.make_folder();
        let initdb =
            ["-D", "data", "-U", "queuegate", "--auth=trust", "-E", "UTF8", "--locale=C", "-N", "--no-instructions"];
        server.run("initdb", &initdb);
        server.configure(&format!(
            "listen_addresses = ''\nmax_connections = 400\nshared_buffers = 16MB\nfsync = off\nwal_keep_size = 64MB\n\
             max_wal_senders = 4\nlog_min_messages = warning\nautovacuum = off\n{settings}"
        ));
        server.restart();
        server._root = Some(root);
        Some(server)
    }

    /// Start a standby of this server in the same temporary folder. Commits of this server wait for it.
    pub fn standby(&self) -> Self {
        let folder = self.folder.with_file_name("b");
        let mut standby = Self { folder, binaries: self.binaries.clone(), port: 5_432, running: None, _root: None };
        standby.make_folder();
        let source = format!("application_name=b host={} user=queuegate", self.folder.display());
        standby.run("pg_basebackup", &["-D", "data", "-R", "-c", "fast", "-d", &source]);
        standby.configure(&format!("unix_socket_directories = '{}'", standby.folder.display()));
        standby.restart();
        self.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (b)'");
        self.sql("SELECT pg_reload_conf()");
        let began = Instant::now();
        while self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'").trim() != "1" {
            assert!(began.elapsed() < PATIENCE, "the standby doesn't follow");
            std::thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// Note the port on which the server listens from its next start on.
    pub fn set_port(&mut self, port: u16) {
        self.port = port;
    }

    /// Create a database, and return its connection string.
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("q{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name}"));
        self.address(&name)
    }

    /// The connection string of a database.
    pub fn address(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&user=queuegate", self.folder.display())
    }

    /// The connection string of a database on this server or on another, whichever takes writes.
    pub fn address_with(&self, other: &Self, database: &str) -> String {
        format!("postgres:///{database}?host={},{}&user=queuegate", self.folder.display(), other.folder.display())
    }

    /// The path of the Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Run a statement in the database `postgres`, and return its output.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Run a statement in a database, and return its output.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        let folder = self.folder.display().to_string();
        self.run(
            "psql",
            &["-h", &folder, "-U", "queuegate", "-qAtX", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql],
        )
    }

    /// Start the server, after stopping it if it runs.
    pub fn restart(&mut self) {
        self.stop(Signal::INT);
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log")).unwrap();
        let mut command = self.command("postgres");
        command.args(["-D", "data"]).stdout(Stdio::null()).stderr(log);
        self.running = Some(command.spawn().unwrap());
        let began = Instant::now();
        let (folder, port) = (self.folder.display().to_string(), self.port.to_string());
        while !self.command("pg_isready").args(["-q", "-h", &folder, "-p", &port]).status().unwrap().success() {
            if began.elapsed() > PATIENCE || self.running.as_mut().unwrap().try_wait().unwrap().is_some() {
                panic!("PostgreSQL doesn't start:\n{}", fs::read_to_string(self.folder.join("log")).unwrap());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stop the server: cleanly by INT, as if it had crashed by QUIT or KILL.
    pub fn stop(&mut self, signal: Signal) {
        if let Some(mut running) = self.running.take() {
            kill_process(Pid::from_child(&running), signal).unwrap();
            running.wait().unwrap();
        }
    }

    /// Make a standby the primary.
    pub fn promote(&self) {
        self.run("pg_ctl", &["promote", "-w", "-D", "data"]);
    }

    /// Add lines to the configuration.
    pub fn configure(&self, lines: &str) {
        let path = self.folder.join("data/postgresql.conf");
        let old = fs::read_to_string(&path).unwrap();
        let sockets = format!("unix_socket_directories = '{}'", self.folder.display());
        fs::write(&path, format!("{old}\n{sockets}\n{lines}\n")).unwrap();
    }

    fn make_folder(&self) {
        fs::create_dir(&self.folder).unwrap();
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(&self.folder, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(&self.folder).env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(Signal::QUIT);
    }
}

fn open_to_nobody(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
