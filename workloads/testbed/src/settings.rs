//! Runs a program of the cluster with settings that end it at once.
#![allow(clippy::unwrap_used, reason = "only for tests, which stop where their ground gives way")]

use std::process::{Command, Output};

/// Settings that every program refuses, each with what the refusal has to name.
pub const REFUSED_BY_ALL: [(&[&str], &str); 4] = [
    (&["--partitions", "0"], "--partitions"),
    (&["--index", "Ärzte"], "--index"),
    (&["--log", "inof"], "--log"),
    (&["--redis-mode", "sharded"], "--redis-mode"),
];

/// A program of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its file.
    pub path: &'static str,
    /// The settings that it alone requires.
    pub required: &'static [&'static str],
}

impl Program {
    /// Runs it to its end with what it requires and `more`; nothing answers on the addresses.
    pub fn run(&self, more: &[&str]) -> Output {
        Command::new(self.path)
            .args(["--kafka-bootstrap", "127.0.0.1:9", "--hbase-thrift", "127.0.0.1:9"])
            .args(["--mysql-server", "127.0.0.1:9", "--mysql-user-file", "/nowhere/user"])
            .args(["--mysql-password-file", "/nowhere/password", "--redis-servers", "127.0.0.1:9"])
            .args(["--operation-listen", "127.0.0.1:0", "--log-format", "text"])
            .args(self.required)
            .args(more)
            .output()
            .unwrap()
    }

    /// Checks that each of these settings ends it with an error that names what it should.
    pub fn assert_refuses(&self, cases: &[(&[&str], &str)]) {
        for (more, named) in cases {
            let output = self.run(more);
            assert!(!output.status.success(), "{more:?} was taken");
            assert!(errors(&output).contains(named), "{more:?}: {}", errors(&output));
        }
    }

    /// Checks that `docs/settings.md` has its table.
    pub fn assert_documented(&self) {
        let output = Command::new(self.path).arg("--print-settings").output().unwrap();
        assert!(output.status.success());
        let table = String::from_utf8(output.stdout).unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
        let documented = std::fs::read_to_string(path).unwrap();
        assert!(documented.contains(table.trim()), "docs/settings.md is behind: run tools/settings.sh");
    }
}

/// What a program wrote on standard error.
pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
