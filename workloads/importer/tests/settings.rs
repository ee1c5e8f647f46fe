//! Wrong settings end the program at once, with a line that names them and a status of its own.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

/// Runs the program with what it needs and `more`; nothing answers on the addresses.
fn run(more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_medindex-importer"))
        .args(["--kafka-bootstrap", "127.0.0.1:9", "--hbase-thrift", "127.0.0.1:9"])
        .args(["--mysql-server", "127.0.0.1:9", "--mysql-user-file", "/nowhere/user"])
        .args(["--mysql-password-file", "/nowhere/password", "--redis-servers", "127.0.0.1:9"])
        .args(["--model-folder", "/model", "--operation-listen", "127.0.0.1:0", "--log-format", "text"])
        .args(more)
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn values_out_of_range_are_named_with_what_is_allowed() {
    let cases: [(&[&str], &str); 7] = [
        (&["--partitions", "0"], "--partitions"),
        (&["--index", "Ärzte"], "--index"),
        (&["--log", "inof"], "--log"),
        (&["--redis-mode", "sharded"], "--redis-mode"),
        (&["--images-per-second", "0"], "--images-per-second"),
        (&["--lesion-window", "lungs"], "unknown window"),
        (&["--labels", "a.csv", "--label-from-folder"], "--label-from-folder"),
    ];
    for (more, named) in cases {
        let output = run(&[&["--source", "."], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{more:?}: {}", errors(&output));
    }
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("--source"), "{}", errors(&output));
}

#[test]
fn what_cannot_be_read_ends_it_before_it_connects() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("DL_info.csv");
    std::fs::write(&table, "File_name,Bounding_boxes\n").unwrap();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--source", "/nowhere/at/all"], 3, "cannot read /nowhere/at/all"),
        (&["--source", "/nowhere/*.dcm"], 3, "no file matches"),
        (&["--source", &folder.path().display().to_string()], 4, "Patient_index"),
        (&["--source", env!("CARGO_MANIFEST_DIR"), "--failures", "/nowhere/failures.csv"], 1, "--failures"),
    ];
    for (more, status, named) in cases {
        let output = run(more);
        assert_eq!(output.status.code(), Some(status), "{more:?}: {}", errors(&output));
        assert!(errors(&output).contains(named), "{more:?}: {}", errors(&output));
    }
}

#[test]
fn every_setting_is_documented() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_medindex-importer")).arg("--print-settings").output().unwrap();
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).unwrap();
    let documented =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md")).unwrap();
    assert!(documented.contains(table.trim()), "docs/settings.md is behind: run tools/settings.sh");
}
