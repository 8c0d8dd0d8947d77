//! The processor time and the memory of a process, as Linux counts them.

use std::{fs, time::Duration};

use anyhow::Context;

/// Reads the resource usage of one process from `/proc`.
#[derive(Debug, Clone, Copy)]
pub struct ProcessUsage {
    process_id: u32,
}

impl ProcessUsage {
    /// Read the usage of the process with this id.
    pub fn of(process_id: u32) -> Self {
        Self { process_id }
    }

    /// Sum the processor time of the process's threads, from `/proc/PID/task/*/schedstat`, which counts nanoseconds.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let mut sum = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{}/task", self.process_id))? {
            // A thread may have ended since the directory was read.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            let on_processor = text.split(' ').next().context("an empty schedstat")?;
            sum += Duration::from_nanos(on_processor.parse()?);
        }
        Ok(sum)
    }

    /// Return the peak resident memory (`VmHWM`), in bytes.
    pub fn peak_memory_bytes(self) -> anyhow::Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Return the resident memory (`VmRSS`), in bytes.
    pub fn memory_bytes(self) -> anyhow::Result<u64> {
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
    }
}
