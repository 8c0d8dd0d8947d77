//! A server under measurement: a process of its own, of which the system tells what it costs.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    process::{Pid, Signal},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{floor, setup::Setup};

/// How long a server may take to be ready.
const LONGEST_START: Duration = Duration::from_secs(120);

/// A running server. It is ended when this is dropped.
pub struct Process {
    pub name: &'static str,
    child: Child,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    /// From the start of the process until it answered.
    pub start_to_ready: Duration,
}

impl Process {
    /// Starts the program with tokens and metrics, and everything else as it is by default.
    pub fn queuegate(setup: &Setup, database: &Path) -> anyhow::Result<Self> {
        let metrics = free_address()?;
        let mut command = Command::new(&setup.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--metrics-listen"]);
        command.arg(metrics.to_string()).arg("--database").arg(database).arg("--tokens").arg(setup.tokens());
        if let Some(tls) = &setup.tls {
            command.arg("--tls-certificate").arg(&tls.certificate).arg("--tls-key").arg(&tls.key);
        }
        command.args(&setup.flags).stderr(Stdio::piped());
        let began = Instant::now();
        let mut child = spawn(command, setup.pin)?;
        let stderr = child.stderr.take().context("no standard error")?;
        let mut started =
            Self { name: "queuegate", child, address: metrics, metrics: Some(metrics), start_to_ready: Duration::ZERO };
        let mut lines = BufReader::new(stderr).lines();
        started.address = loop {
            let line = lines.next().context("the server ended")??;
            let line: serde_json::Value = serde_json::from_str(&line).with_context(|| line.clone())?;
            if line.get("message").is_some_and(|message| message == "listening") {
                break line.get("address").and_then(|address| address.as_str()).context("no address")?.parse()?;
            }
        };
        // Whoever stops reading would stop the server from logging.
        std::thread::spawn(move || lines.for_each(drop));
        while !started.is_ready() {
            if began.elapsed() > LONGEST_START || started.child.try_wait()?.is_some() {
                bail!("the server did not become ready");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        started.start_to_ready = began.elapsed();
        Ok(started)
    }

    /// What Cerbos is called.
    pub const CERBOS: &str = "cerbos";

    /// Starts Cerbos with policies in a folder, and everything else as it is by default but its reports about itself.
    pub fn cerbos(setup: &Setup, program: &Path, policies: &Path) -> anyhow::Result<Self> {
        let (address, http) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command.args(["server", "--log-level=error"]).arg(format!("--set=server.grpcListenAddr={address}"));
        command.arg(format!("--set=server.httpListenAddr={http}")).arg("--set=telemetry.disabled=true");
        command.arg("--set=storage.driver=disk").arg(format!("--set=storage.disk.directory={}", policies.display()));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(command, setup.pin)?;
        Ok(Self { name: Self::CERBOS, child, address, metrics: None, start_to_ready: Duration::ZERO })
    }

    /// Starts a server that does nothing: this program again.
    pub fn floor(setup: &Setup, layout: floor::Layout, answers: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(floor::COMMAND).arg(layout.as_str()).arg(answers);
        if let Some(tls) = &setup.tls {
            command.arg(&tls.certificate).arg(&tls.key);
        }
        // It ends when its standard input does, however this program ends.
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let began = Instant::now();
        let mut child = spawn(command, setup.pin)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the floor said `{line}`"))?;
        Ok(Self { name: layout.as_str(), child, address, metrics: None, start_to_ready: began.elapsed() })
    }

    /// Has the server end in its own way, and waits for it.
    pub fn stop(mut self) -> anyhow::Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let ended = self.child.wait()?;
        anyhow::ensure!(ended.success(), "{} ended with {ended}", self.name);
        Ok(())
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processor time that its threads have had, from `/proc/PID/task/*/schedstat`, which counts nanoseconds.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may have ended since.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let on_processor = text.split(' ').next().context("an empty schedstat")?;
            sum += Duration::from_nanos(on_processor.parse()?);
        }
        Ok(sum)
    }

    /// The most memory that it has had at once (VmHWM), in bytes.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    /// The memory that it has now (VmRSS), in bytes.
    pub fn memory(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// A metric without labels, by its whole name.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = self.get("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no metric {name}"))?.trim().parse()?)
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Asks the listener for metrics and probes.
    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.metrics.context("it serves no metrics")?)?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a process, on the first processor if the load has the second.
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
    // A child begins where its parent is.
    sched_setaffinity(None, &only(0))?;
    let spawned = command.spawn();
    let load = if before.is_set(1) { only(1) } else { before };
    sched_setaffinity(None, &load)?;
    Ok(spawned?)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
