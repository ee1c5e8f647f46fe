//! What is wrong around the programs, over real servers: messages that are none, and surroundings that do not fit.
//!
//! Each is a line in the log that says what to do, a metric and a condition; nothing is lost, and no program ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod messages;
mod surroundings;

use std::time::Duration;

use medindex_system_tests::Servers;
use medindex_system_tests::cluster::Process;

const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until the log of a program has a line with all of these.
fn wait_for_line(process: &mut Process, parts: &[&str]) {
    let name = process.name.clone();
    let has_line = |log: &str| log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let begun = std::time::Instant::now();
    while !has_line(&process.log()) {
        assert!(process.is_running(), "{name} ended: {}", process.log());
        assert!(begun.elapsed() < PATIENCE, "{name} does not say {parts:?}: {}", process.log());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Waits until a program's metrics have a line.
fn wait_for_metric(process: &Process, line: &str) {
    Servers::wait_until(&format!("{line} of {}", process.name), PATIENCE, || {
        process.metrics().lines().any(|found| found == line)
    });
}
