//! What the figures were measured on.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// This machine, at the beginning of a measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    date: String,
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    /// Load average of the last minute at the start: what ran beside.
    load: f64,
    commit: String,
}

impl Machine {
    pub(crate) fn describe() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let first = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = first(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kibibytes: f64 =
            memory.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            processor: first(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: kibibytes / f64::from(1 << 20),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default(),
            commit: commit(),
        }
    }

    /// The description as one line of Markdown.
    pub(crate) fn sentence(&self) -> String {
        let Self { date, processor, cores, memory_gib, kernel, load, commit } = self;
        format!(
            "{processor}, {cores} cores, {memory_gib:.1} GiB, Linux {kernel}; {date}, load {load:.1} at the start, commit {commit}."
        )
    }
}

fn commit() -> String {
    let asked = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let text = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
