//! Waiting for what programs say: in their log, their metrics and their probe.

use std::time::{Duration, Instant};

use crate::cluster::Process;
use crate::servers::Servers;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until the log of a program that runs has a line with all of these.
pub fn wait_for_line(process: &mut Process, parts: &[&str]) {
    let name = process.name.clone();
    let has_line = |log: &str| log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let begun = Instant::now();
    while !has_line(&process.log()) {
        assert!(process.is_running(), "{name} ended: {}", process.log());
        assert!(begun.elapsed() < PATIENCE, "{name} does not say {parts:?}: {}", process.log());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Waits until a program's metrics have a line.
pub fn wait_for_metric(process: &Process, line: &str) {
    Servers::wait_until(&format!("{line} of {}", process.name), PATIENCE, || {
        process.metrics().lines().any(|found| found == line)
    });
}

/// Waits until a program waits for something that is wrong: its log says so in a line with `parts`, and its probe and its metrics too.
pub fn wait_until_it_waits(process: &mut Process, what: &str, parts: &[&str]) {
    let line = [&["not there yet", what], parts].concat();
    wait_for_line(process, &line);
    assert!(!process.is_ready(), "{}", process.name);
    wait_for_metric(process, &format!("medindex_waiting{{for=\"{what}\"}} 1"));
    let readiness = process.readiness().unwrap();
    assert!(readiness.starts_with("waiting for"), "{}: {readiness}", process.name);
}
