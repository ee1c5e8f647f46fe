//! The commands against an API server in memory: what they write, what they show, and what they leave out.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../operator/tests/reconcile/cluster.rs"]
#[allow(dead_code)]
mod cluster;
#[path = "../../operator/tests/reconcile/cut.rs"]
#[allow(dead_code)]
mod cut;
#[path = "../../operator/tests/reconcile/managed.rs"]
#[allow(dead_code)]
mod managed;
#[path = "../../operator/tests/sample/mod.rs"]
mod sample;

use std::collections::BTreeMap;
use std::io::Read as _;

use cluster::FakeCluster;
use flate2::read::GzDecoder;
use kubectl_medindex::access::Access;
use kubectl_medindex::{act, bundle, status};
use serde_json::{Value, json};

const INDEX: &str = "/apis/medindex.dev/v1alpha1/namespaces/imaging/medicalimageindexes/radiology";
const PODS: &str = "/api/v1/namespaces/imaging/pods";

fn status_of_the_index() -> Value {
    let condition = |name: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": name, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    json!({
        "observedGeneration": 1,
        "conditions": [
            condition("Ready", "False", "PodsMissing", "SearchReady: 1 of 2 pods are ready"),
            condition("TopicsReady", "True", "TopicsAsWanted", "4 topics are as wanted"),
            condition("SearchReady", "False", "Crashing", "1 of 2 pods are ready"),
            condition("Degraded", "True", "Degraded", "topics have 1 copy of 3"),
        ],
        "images": {"stored": 20134, "indexed": 20130, "lag": 4},
        "generation": {"number": 3, "recall": "0.9912", "previous": 2},
        "imports": {"archive": "Complete"},
    })
}

fn pod(name: &str, ready: &str, state: &Value, restarts: u32) -> Value {
    let variable = json!({"name": "PROXY_PASSWORD", "value": "hunter2"});
    json!({
        "metadata": {"name": name, "namespace": "imaging", "labels": {
            "app.kubernetes.io/name": "medindex", "app.kubernetes.io/instance": "radiology",
            "app.kubernetes.io/managed-by": "medindex-operator", "app.kubernetes.io/component": "search",
        }},
        "spec": {"nodeName": "node-a", "containers": [{"name": "search", "env": [variable]}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"restartCount": restarts, "state": state}],
        },
    })
}

/// A cluster with an index that has one search pod that is ready and one that is not.
fn cluster() -> (FakeCluster, Access) {
    let cluster = FakeCluster::default();
    for kind in ["podmonitors", "scaledobjects", "triggerauthentications"] {
        cluster.lacks(kind);
    }
    let index = sample::with(&[
        ("/metadata/name", json!("radiology")),
        ("/metadata/namespace", json!("imaging")),
        ("/metadata/generation", json!(1)),
        ("/status", status_of_the_index()),
    ]);
    cluster.put(INDEX, index);
    let crashing = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    cluster.put(&format!("{PODS}/radiology-search-0"), pod("radiology-search-0", "True", &json!({}), 0));
    cluster.put(&format!("{PODS}/radiology-search-1"), pod("radiology-search-1", "False", &crashing, 4));
    let log = json!("connected to redis://me:hunter2@cache:6379, then a line");
    cluster.put(&format!("{PODS}/radiology-search-0/log"), log);
    let access = Access { client: cluster.client(), namespace: "imaging".to_owned() };
    (cluster, access)
}

fn job(cluster: &FakeCluster, number: u32, state: &str) {
    let name = format!("radiology-train-{number}");
    let job =
        json!({"metadata": {"name": name}, "status": {"conditions": [{"type": state, "status": "True"}]}});
    cluster.put(&format!("/apis/batch/v1/namespaces/imaging/jobs/{name}"), job);
}

#[tokio::test]
async fn the_tree_shows_what_is_wrong_before_what_it_is_made_of() {
    let (_, access) = cluster();
    let lines = status::status(&access, Some("radiology"), false).await.unwrap();
    let expected = [
        "✗ MedicalImageIndex imaging/radiology: PodsMissing, SearchReady: 1 of 2 pods are ready",
        "├─ ! degraded: Degraded: topics have 1 copy of 3",
        "├─ images      20,134 stored, 20,130 searchable, lag 4",
        "├─ generation  3, recall@10 0.9912, back to 2 with spec.quantizer.rollbackTo",
        "├─ ✓ Kafka     TopicsAsWanted: 4 topics are as wanted",
        "├─ ? HBase",
        "├─ ? embedder",
        "├─ ✗ search    Crashing: 1 of 2 pods are ready",
        "│  ├─ ✓ radiology-search-0  Running on node-a",
        "│  └─ ✗ radiology-search-1  CrashLoopBackOff on node-a, 4 restarts",
        "├─ ? gateway",
        "├─ ? quantizer",
        "└─ imports",
        "   └─ archive  Complete",
    ];
    assert_eq!(lines, expected, "{}", lines.join("\n"));
}

#[tokio::test]
async fn pause_and_resume_change_one_field_and_only_if_they_must() {
    let (cluster, access) = cluster();
    for (paused, said) in [(true, "paused"), (false, "resumed")] {
        assert!(act::pause(&access, "radiology", paused).await.unwrap().contains(said));
        assert_eq!(cluster.take_writes(), ["PATCH medicalimageindexes/radiology"]);
        assert_eq!(cluster.get(INDEX).unwrap()["spec"]["paused"], json!(paused));
        act::pause(&access, "radiology", paused).await.unwrap();
        assert_eq!(cluster.take_writes(), Vec::<String>::new());
    }
    let error = act::pause(&access, "cardiology", true).await.unwrap_err().to_string();
    assert!(error.contains("no MedicalImageIndex cardiology in namespace imaging"), "{error}");
}

#[tokio::test]
async fn a_training_is_asked_for_by_its_number_and_refused_where_none_would_begin() {
    let (cluster, access) = cluster();
    let asked = || {
        let index = cluster.get(INDEX).unwrap();
        index["metadata"]["annotations"]["medindex.dev/train-generation"].clone()
    };
    // No Job is left of the generation that answers.
    assert!(act::train(&access, "radiology").await.unwrap().contains("training 4"));
    assert_eq!(asked(), "4");
    job(&cluster, 4, "Failed");
    act::train(&access, "radiology").await.unwrap();
    assert_eq!(asked(), "5");
    cluster.take_writes();
    job(&cluster, 5, "Suspended");
    let running = act::train(&access, "radiology").await.unwrap_err().to_string();
    assert!(running.contains("training 5 runs already"), "{running}");
    job(&cluster, 5, "Complete");
    cluster.edit(INDEX, "/status/images/indexed", json!(0));
    let empty = act::train(&access, "radiology").await.unwrap_err().to_string();
    assert!(empty.contains("no searchable image"), "{empty}");
    assert_eq!(cluster.take_writes(), Vec::<String>::new());
    act::pause(&access, "radiology", true).await.unwrap();
    let paused = act::train(&access, "radiology").await.unwrap_err().to_string();
    assert!(paused.contains("spec.paused is true"), "{paused}");
}

#[tokio::test]
async fn a_support_bundle_has_what_there_is_without_secrets_and_says_what_is_missing() {
    let (cluster, access) = cluster();
    let secret = json!({"metadata": {"name": "radiology-kafka"}, "data": {"password": "aHVudGVyMg=="}});
    cluster.put("/api/v1/namespaces/imaging/secrets/radiology-kafka", secret);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar.gz");
    let said = bundle::bundle(&access, "radiology", &path, 100).await.unwrap();
    assert!(said[0].contains("No Secret was read"), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("not in it: log of radiology-search-1")), "{said:?}");
    let mut archive = tar::Archive::new(GzDecoder::new(std::fs::File::open(&path).unwrap()));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name.replace("medindex-radiology/", ""), text);
    }
    for name in
        ["version.txt", "resource.yaml", "status.txt", "objects/pod-radiology-search-0.yaml", "missing.txt"]
    {
        assert!(files.contains_key(name), "{name}: {:?}", files.keys());
    }
    assert!(files["logs/radiology-search-0.log"].contains("redis://REDACTED@cache:6379, then a line"));
    for (name, text) in &files {
        assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{name} has a secret:\n{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing unfinished is left");
    assert_eq!(cluster.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bundle_that_cannot_be_written_says_where() {
    let (_, access) = cluster();
    let path = std::path::Path::new("/nowhere/bundle.tar.gz");
    let error = bundle::bundle(&access, "radiology", path, 100).await.unwrap_err().to_string();
    assert!(error.contains("writing /nowhere/bundle.tar.gz failed"), "{error}");
}
