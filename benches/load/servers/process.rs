//! A server under test, which is a process of its own.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    process::{Pid, Signal},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{
    harness::{connection::Target, process_usage::ProcessUsage},
    servers::{
        environment::Environment,
        floor::{self, Layout},
    },
};

/// The longest time from a start until the server is ready.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The name of Cerbos in reports.
pub const CERBOS: &str = "cerbos";

/// A running server. Drop kills it.
pub struct Process {
    /// The server's name in reports.
    pub name: &'static str,
    /// The time from the start of the process until it answered.
    pub start_to_ready: Duration,
    child: Child,
    address: SocketAddr,
    /// The metrics listener, or `None` for a server without one.
    metrics: Option<SocketAddr>,
}

impl Process {
    /// Start queuegate with tokens, metrics and the environment's flags. Every other setting has its default.
    pub fn queuegate(environment: &Environment, database: &Path) -> anyhow::Result<Self> {
        let metrics = free_address()?;
        let mut command = Command::new(&environment.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--metrics-listen"]);
        command.arg(metrics.to_string()).arg("--database").arg(database).arg("--tokens").arg(environment.tokens());
        if let Some(tls) = &environment.tls {
            command.arg("--tls-certificate").arg(&tls.certificate).arg("--tls-key").arg(&tls.key);
        }
        command.args(&environment.flags).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = spawn(command, environment.pin)?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut server =
            Self { name: "queuegate", child, address: metrics, metrics: Some(metrics), start_to_ready: Duration::ZERO };
        let mut lines = BufReader::new(stderr).lines();
        server.address = loop {
            let line = lines.next().context("the server ended")??;
            let line: serde_json::Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if line.get("message").is_some_and(|message| message == "listening") {
                break line.get("address").and_then(|address| address.as_str()).context("no address")?.parse()?;
            }
        };
        // If nobody read the log, a full pipe would block the server.
        std::thread::spawn(move || lines.for_each(drop));
        while !server.is_ready() {
            if start.elapsed() > START_LIMIT || server.child.try_wait()?.is_some() {
                bail!("the server did not become ready");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        server.start_to_ready = start.elapsed();
        Ok(server)
    }

    /// Start Cerbos with the policies in a folder, and without telemetry. Every other setting has its default.
    pub fn cerbos(environment: &Environment, program: &Path, policies: &Path) -> anyhow::Result<Self> {
        let (address, http) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command.args(["server", "--log-level=error"]).arg(format!("--set=server.grpcListenAddr={address}"));
        command.arg(format!("--set=server.httpListenAddr={http}")).arg("--set=telemetry.disabled=true");
        command.arg("--set=storage.driver=disk").arg(format!("--set=storage.disk.directory={}", policies.display()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(command, environment.pin)?;
        Ok(Self { name: CERBOS, child, address, metrics: None, start_to_ready: Duration::ZERO })
    }

    /// Start a floor, which is this program with other arguments.
    pub fn floor(environment: &Environment, layout: Layout, answers: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(floor::COMMAND).arg(layout.as_str()).arg(answers);
        if let Some(tls) = &environment.tls {
            command.arg(&tls.certificate).arg(&tls.key);
        }
        // The floor ends when its standard input does, even if this program is killed.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let start = Instant::now();
        let mut child = spawn(command, environment.pin)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the floor printed `{line}`"))?;
        Ok(Self { name: layout.as_str(), child, address, metrics: None, start_to_ready: start.elapsed() })
    }

    /// Stop the server with SIGTERM, and wait for its end.
    pub fn stop(mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Return the server as a target of calls with the environment's token.
    pub fn target(&self, environment: &Environment) -> Target {
        Target {
            address: self.address,
            token: environment.token.clone(),
            tls: environment.tls.as_ref().map(|tls| Arc::clone(&tls.client)),
            usage: self.usage(),
        }
    }

    /// Return the resource usage of the process.
    pub fn usage(&self) -> ProcessUsage {
        ProcessUsage::of(self.child.id())
    }

    /// Return the value of a metric without labels.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.get("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no metric {name}"))?.trim().parse()?)
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Send a GET request to the metrics listener.
    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.metrics.context("the server has no metrics listener")?)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Start a process. With `pin` it runs on the first processor, and the load on the second.
fn spawn(mut command: Command, pin: bool) -> anyhow::Result<Child> {
    if !pin {
        return Ok(command.spawn()?);
    }
    let before = sched_getaffinity(None)?;
    let only = |processor| {
        let mut set = CpuSet::new();
        set.set(processor);
        set
    };
    // A child inherits the processors of its parent.
    sched_setaffinity(None, &only(0))?;
    let child = command.spawn();
    let load = if before.is_set(1) { only(1) } else { before };
    sched_setaffinity(None, &load)?;
    Ok(child?)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
