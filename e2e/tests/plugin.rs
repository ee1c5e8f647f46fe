//! `kubectl medindex` against the sample index. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::PathBuf;
use std::process::Command;

use medindex_e2e::index::{self, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::wait_until;
use medindex_system_tests::cluster::program;

/// Runs the plugin as kubectl does; what it printed.
fn plugin(arguments: &[&str]) -> String {
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

#[test]
#[ignore = "wants a cluster: make e2e"]
fn the_plugin_shows_plans_pauses_and_bundles_a_real_index() {
    let _turn = index::turn();
    let tree = plugin(&["status", NAME]);
    println!("{tree}");
    for words in ["✓ Kafka", "✓ search", &format!("{NAME}-search-0"), "images"] {
        assert!(tree.contains(words), "{words} is not in\n{tree}");
    }

    plugin(&["pause", NAME]);
    wait_until("the index to be paused", PATIENCE, || {
        index::condition(&index::resource(), "Reconciling")
            .is_some_and(|(_, message)| message.contains("paused"))
            || index::resource()["spec"]["paused"] == true
    });
    assert!(plugin(&["status", NAME]).contains("paused"));
    plugin(&["resume", NAME]);
    wait_until("the index to be ready again", PATIENCE, || index::is_ready(&index::resource()));

    let logs = plugin(&["logs", NAME, "-c", "gateway", "--tail", "5"]);
    assert!(logs.contains(&format!("{NAME}-gateway")), "{logs}");
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_plan_of_what_is_there_changes_nothing_and_one_of_more_says_what() {
    let _turn = index::turn();
    let resource = index::resource();
    let file = Scratch::new("plan.json");
    std::fs::write(&file.0, resource.to_string()).unwrap();
    let path = file.0.display().to_string();
    let unchanged = plugin(&["plan", "-f", &path]);
    println!("{unchanged}");
    assert!(!unchanged.contains("create") && !unchanged.contains("delete"), "{unchanged}");
    let mut more = resource;
    more["spec"]["gateway"]["ingress"] = serde_json::json!({"host": "search.example"});
    std::fs::write(&file.0, more.to_string()).unwrap();
    let changed = plugin(&["plan", "-f", &path]);
    assert!(changed.contains("Ingress"), "{changed}");
    assert!(index::resource()["spec"]["gateway"]["ingress"].is_null(), "a plan changes nothing");
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn the_support_bundle_tells_of_everything_and_of_no_password() {
    let _turn = index::turn();
    let secret = medindex_e2e::kubectl::get(NAMESPACE, &["secret", "radiology-catalog"]);
    let encoded = secret["data"]["password"].as_str().unwrap().to_owned();
    let decoded = Command::new("base64").arg("-d").stdin(piped(&encoded)).output().unwrap().stdout;
    let password = String::from_utf8(decoded).unwrap();
    let file = Scratch::new("bundle.tar.gz");
    plugin(&["support-bundle", NAME, "-o", &file.0.display().to_string()]);
    let unpacked =
        Command::new("tar").args(["--extract", "--gzip", "--to-stdout", "--file"]).arg(&file.0).output();
    let text = String::from_utf8_lossy(&unpacked.unwrap().stdout).into_owned();
    assert!(text.contains("MedicalImageIndex") && text.contains(&format!("{NAME}-search-0")));
    assert!(password.len() >= 16 && !text.contains(&password) && !text.contains(&encoded));
    println!("support bundle: {} KiB of text, without the password", text.len() / 1024);
}

fn piped(text: &str) -> std::process::Stdio {
    let file = Scratch::new("piped");
    std::fs::write(&file.0, text).unwrap();
    std::fs::File::open(&file.0).unwrap().into()
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("medindex-e2e-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}
