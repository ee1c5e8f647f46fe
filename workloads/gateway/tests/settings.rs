//! Wrong settings end the program at once, with a line that names them.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

/// Runs the program with what it needs and `more`; nothing answers on the addresses.
fn run(more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medindex-gateway"))
        .args([
            "--search",
            "127.0.0.1:9",
            "--embedders",
            "127.0.0.1:9",
            "--listen",
            "127.0.0.1:0",
            "--kafka-bootstrap",
            "127.0.0.1:9",
            "--hbase-thrift",
            "127.0.0.1:9",
        ])
        .args(["--mysql-server", "127.0.0.1:9", "--mysql-user-file", "/nowhere/user"])
        .args(["--mysql-password-file", "/nowhere/password", "--redis-servers", "127.0.0.1:9"])
        .args(["--operation-listen", "127.0.0.1:0", "--log-format", "text"])
        .args(more)
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn values_out_of_range_are_named_with_what_is_allowed() {
    let cases: [(&[&str], &str); 6] = [
        (&["--partitions", "0"], "--partitions"),
        (&["--index", "Ärzte"], "--index"),
        (&["--log", "inof"], "--log"),
        (&["--otlp-endpoint", "collector:4317"], "--otlp-endpoint"),
        (&["--alarm-seconds", "0"], "--alarm-seconds"),
        (&["--redis-mode", "sharded"], "--redis-mode"),
    ];
    for (more, named) in cases {
        let output = run(more);
        assert!(!output.status.success(), "{more:?} was taken");
        assert!(errors(&output).contains(named), "{more:?}: {}", errors(&output));
    }
}

#[test]
fn every_setting_is_documented() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_medindex-gateway")).arg("--print-settings").output().unwrap();
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    let documented =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md")).unwrap();
    assert!(documented.contains(table.trim()), "docs/settings.md is behind: run tools/settings.sh");
}
