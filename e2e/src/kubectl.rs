//! `kubectl`, as a user types it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Runs kubectl; what it printed.
///
/// # Errors
/// What it said when it failed.
pub fn try_kubectl(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("kubectl").args(arguments).output().expect("kubectl has to be in PATH");
    outcome(&output)
}

/// Runs kubectl; what it printed.
pub fn kubectl(arguments: &[&str]) -> String {
    try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {}: {error}", arguments.join(" ")))
}

/// Tells of what could not be tidied when a test was over: it must not hide how the test ended.
pub fn tidied(outcome: Result<String, String>) {
    if let Err(error) = outcome {
        println!("not tidied: {error}");
    }
}

/// Applies a text of objects.
pub fn apply(objects: &str) {
    try_apply(objects, &[]).unwrap_or_else(|error| panic!("kubectl apply: {error}"));
}

/// Applies a text of objects, with further arguments; what kubectl printed.
///
/// # Errors
/// What it said when it failed.
pub fn try_apply(objects: &str, more: &[&str]) -> Result<String, String> {
    let mut command = Command::new("kubectl");
    let mut child = command
        .args(["apply", "--filename", "-"])
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl has to be in PATH");
    child.stdin.take().unwrap().write_all(objects.as_bytes()).unwrap();
    outcome(&child.wait_with_output().unwrap())
}

fn outcome(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// An object, or a list of them, as JSON; null where there is none.
pub fn get(namespace: &str, what: &[&str]) -> Value {
    let arguments =
        [&["get", "--namespace", namespace, "--ignore-not-found", "--output", "json"], what].concat();
    let text = kubectl(&arguments);
    if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
}

/// Waits for a condition; how long that took. When it takes too long, the panic tells how the cluster is.
pub fn wait_until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < patience, "waited {} s for {what}\n{}", patience.as_secs(), report());
        std::thread::park_timeout(Duration::from_millis(200));
    }
    begun.elapsed()
}

/// How the cluster is: what a person would look at.
pub fn report() -> String {
    let looks: [&[&str]; 4] = [
        &["get", "mii", "--all-namespaces", "--output", "yaml"],
        &["get", "pods", "--all-namespaces", "--output", "wide"],
        &["get", "events", "--all-namespaces", "--sort-by", ".metadata.creationTimestamp"],
        &[
            "logs",
            "--namespace",
            "medindex-system",
            "--selector",
            "app.kubernetes.io/name=medindex-operator",
            "--tail",
            "40",
        ],
    ];
    let told = looks.map(|look| {
        let told = try_kubectl(look).unwrap_or_else(|error| error);
        let lines: Vec<&str> = told.lines().collect();
        let last = lines[lines.len().saturating_sub(160)..].join("\n");
        format!("--- kubectl {}\n{last}", look.join(" "))
    });
    told.join("\n")
}
