//! `kubectl medindex`, as a user types it.

use std::process::Command;

use medindex_system_tests::cluster::program;

use crate::index::NAMESPACE;

/// Runs the plugin as kubectl does, in the sample's namespace; what it printed.
pub fn plugin(arguments: &[&str]) -> String {
    let folder = program("kubectl-medindex").parent().unwrap().to_owned();
    let path = std::env::join_paths(
        std::iter::once(folder).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut command = Command::new("kubectl");
    command.arg("medindex").args(arguments).args(["--namespace", NAMESPACE]).env("PATH", path.unwrap());
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl medindex {}: {error}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}
