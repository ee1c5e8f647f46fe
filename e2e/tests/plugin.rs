//! `kubectl medindex` against the sample index. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use medindex_e2e::backends::{set_topic_setting, topic_setting};
use medindex_e2e::cluster::is_ours;
use medindex_e2e::index::{self, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{get, try_kubectl, wait_until};
use medindex_e2e::plugin::plugin;
use serde_json::{Value, json};

/// Every resource is looked at again within 48 s.
const A_ROUND: Duration = Duration::from_mins(2);
/// What a plan says of a part that is as it shall be.
const NOTHING: [&str; 1] = ["  nothing to change"];

#[test]
#[ignore = "wants a cluster: make e2e"]
fn the_plugin_shows_a_real_index_and_its_logs() {
    let _turn = index::turn();
    let tree = plugin(&["status", NAME]);
    println!("{tree}");
    for words in ["✓ Kafka", "✓ search", &format!("{NAME}-search-0"), "images"] {
        assert!(tree.contains(words), "{words} is not in\n{tree}");
    }
    let logs = plugin(&["logs", NAME, "-c", "gateway", "--tail", "5"]);
    assert!(logs.contains(&format!("{NAME}-gateway")), "{logs}");
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_paused_index_is_looked_at_and_left_alone_until_it_is_resumed() {
    let _turn = index::turn();
    let _resumed = Resumed;
    plugin(&["pause", NAME]);
    wait_until("the operator to say that it is paused", PATIENCE, || says("Reconciling", "False", "Paused"));
    assert!(plugin(&["status", NAME]).contains("paused"));

    let topic = format!("{NAME}.imageupload.dlq");
    let retention = || topic_setting(&topic, "retention.ms");
    let wanted = retention();
    set_topic_setting(&topic, "retention.ms", "61000");
    wait_until("the operator to say what it would do", A_ROUND, || {
        let told = index::condition(&index::resource(), "TopicsReady");
        let told = told.is_some_and(|(_, message)| message.contains(&format!("alter topic {topic}")));
        told && says("TopicsReady", "False", "Paused")
    });
    assert_eq!(retention().as_deref(), Some("61000"), "a paused index was changed");

    plugin(&["resume", NAME]);
    wait_until("the topic to be put right", A_ROUND, || retention() == wanted);
    wait_until("the index to be ready again", PATIENCE, || index::is_ready(&index::resource()));
}

/// Whatever becomes of the test, the index is not left paused to the next one.
struct Resumed;

impl Drop for Resumed {
    fn drop(&mut self) {
        let resume = r#"{"spec":{"paused":false}}"#;
        let patch = ["patch", "mii", NAME, "--namespace", NAMESPACE, "--type=merge", "--patch", resume];
        try_kubectl(&patch).ok();
    }
}

/// Whether the operator says so of the resource as it is now.
fn says(condition: &str, status: &str, reason: &str) -> bool {
    let resource = index::resource();
    index::condition(&resource, condition).is_some_and(|(found, _)| found == status)
        && index::reason(&resource, condition).is_some_and(|found| found == reason)
}

/// The images that the operator gives to workloads, as the plugin is told: without that they would all count as changed.
fn images() -> [String; 2] {
    let operator = get("medindex-system", &["deployment", "medindex-operator"]);
    let variables = operator["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name);
        found.and_then(|variable| variable["value"].as_str()).unwrap_or_default().to_owned()
    };
    let (prefix, tag) = (value("MEDINDEX_IMAGE_PREFIX"), value("MEDINDEX_IMAGE_TAG"));
    assert!(!tag.is_empty(), "the operator's Deployment names no MEDINDEX_IMAGE_TAG");
    [format!("--image-prefix={prefix}"), format!("--image-tag={tag}")]
}

fn plan(resource: &Value) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), resource.to_string()).unwrap();
    let [prefix, tag] = images();
    plugin(&["plan", "-f", &file.path().display().to_string(), &prefix, &tag])
}

/// The lines of a plan below a heading.
fn part<'a>(plan: &'a str, heading: &str) -> Vec<&'a str> {
    let below = plan.lines().skip_while(|line| *line != heading).skip(1);
    below.take_while(|line| line.starts_with("  ")).collect()
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_plan_of_what_is_there_changes_nothing() {
    let _turn = index::turn();
    let plan = plan(&index::resource());
    println!("{plan}");
    assert!(plan.starts_with("Kubernetes:\n"), "{plan}");
    assert_eq!(part(&plan, "Kubernetes:"), NOTHING, "{plan}");
    // The plugin asks the backends itself; behind a forwarded port it cannot.
    if is_ours() {
        assert_eq!(part(&plan, "Kafka:"), NOTHING, "{plan}");
        assert_eq!(part(&plan, "HBase:"), NOTHING, "{plan}");
    }
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_plan_of_other_things_says_what_is_made_changed_and_deleted_and_does_none_of_it() {
    let _turn = index::turn();
    let (before, topic) = (index::resource(), format!("{NAME}.imageupload"));
    let retention = topic_setting(&topic, "retention.ms");
    let mut other = before.clone();
    other["spec"]["gateway"]["ingress"] = json!({"host": "search.example"});
    // Of a single pod no budget is kept.
    other["spec"]["gateway"]["replicas"] = json!(1);
    other["spec"]["kafka"]["retentionHours"] = json!(100);
    other["spec"]["hbase"]["ttlDays"] = json!(100);
    let plan = plan(&other);
    println!("{plan}");
    let kubernetes = part(&plan, "Kubernetes:");
    for what in ["+ Ingress", "~ Deployment", "- PodDisruptionBudget"] {
        let begins = format!("  {what} {NAME}-gateway");
        assert!(kubernetes.iter().any(|line| line.starts_with(&begins)), "no {begins:?} in\n{plan}");
    }
    assert!(!kubernetes.iter().any(|line| line.contains(&format!("{NAME}-search"))), "{plan}");
    if is_ours() {
        let (kafka, hbase) = (part(&plan, "Kafka:"), part(&plan, "HBase:"));
        let (topics, table) =
            (format!("  ~ alter topic {NAME}."), format!("  ~ alter table {NAME}:image_info: "));
        assert!(kafka.iter().any(|line| line.contains(&format!("{topic}: retention.ms: "))), "{plan}");
        assert!(kafka.iter().all(|line| line.starts_with(&topics)), "{plan}");
        assert!(!hbase.is_empty() && hbase.iter().all(|line| line.starts_with(&table)), "{plan}");
    }
    assert_eq!(index::resource()["spec"], before["spec"], "a plan changes nothing");
    assert_eq!(topic_setting(&topic, "retention.ms"), retention, "a plan changes nothing");
    assert!(get(NAMESPACE, &["ingress", &format!("{NAME}-gateway")]).is_null(), "a plan changes nothing");
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn the_support_bundle_tells_of_everything_and_of_no_password() {
    let _turn = index::turn();
    let secret = get(NAMESPACE, &["secret", "radiology-catalog"]);
    let encoded = secret["data"]["password"].as_str().unwrap().to_owned();
    let decoded = Command::new("base64").arg("-d").stdin(piped(&encoded)).output().unwrap().stdout;
    let password = String::from_utf8(decoded).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.tar.gz");
    plugin(&["support-bundle", NAME, "-o", &bundle.display().to_string()]);
    let unpacked =
        Command::new("tar").args(["--extract", "--gzip", "--to-stdout", "--file"]).arg(&bundle).output();
    let text = String::from_utf8_lossy(&unpacked.unwrap().stdout).into_owned();
    assert!(text.contains("MedicalImageIndex") && text.contains(&format!("{NAME}-search-0")));
    assert!(password.len() >= 16 && !text.contains(&password) && !text.contains(&encoded));
    println!("support bundle: {} KiB of text, without the password", text.len() / 1024);
}

fn piped(text: &str) -> Stdio {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file.into()
}
