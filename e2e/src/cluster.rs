//! The cluster of `e2e/cluster.sh`, where the tests run in it: faults on request, and what its API server wrote down.

use std::path::PathBuf;
use std::process::Command;
use std::sync::MutexGuard;

use serde_json::Value;

use crate::index;

/// Who the operator is for the API server.
const OPERATOR: &str = "system:serviceaccount:medindex-system:medindex-operator";

/// Whether the tests run in such a cluster; says so where not.
pub fn is_ours() -> bool {
    let ours = std::env::var_os("MEDINDEX_E2E_FORWARD").is_none();
    if !ours {
        println!("NOT CHECKED: it wants the cluster of e2e/cluster.sh");
    }
    ours
}

/// The turn of a test that wants such a cluster, and the sample index ready on it; `None`, and said, where the cluster is another.
pub fn turn() -> Option<MutexGuard<'static, ()>> {
    is_ours().then(index::turn)
}

/// Runs a word of `e2e/cluster.sh`.
pub fn cluster(words: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.sh");
    let output = Command::new(script).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the operator wrote into the API server since it began, but for its lease: `verb resource/name`.
pub fn writes_of_the_operator() -> Vec<String> {
    let state = std::env::var_os("MEDINDEX_E2E_STATE")
        .map_or_else(|| PathBuf::from("/var/tmp/medindex-e2e"), PathBuf::from);
    let log = std::fs::read_to_string(state.join("log/audit.log")).unwrap();
    // The last line may be half written.
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let written = entries
        .filter(|entry| entry["user"]["username"] == OPERATOR && entry["objectRef"]["resource"] != "leases");
    written
        .map(|entry| {
            let text = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
            format!("{} {}/{}", entry["verb"].as_str().unwrap_or_default(), text("resource"), text("name"))
        })
        .collect()
}
