//! What a real API server lets in: samples and overlays as they are; what breaks a rule of the resource type is refused with the rule's message. `make e2e` runs these.
//!
//! By `--dry-run=server`, which does all of it but write. `operator/tests/api.rs` evaluates the same rules by a library, without an API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use medindex_e2e::index;
use medindex_e2e::kubectl::{apply, get, kubectl, try_apply, try_kubectl, wait_until};
use serde_json::{Value, json};

const NAMESPACE: &str = "medindex-admission";
const NAME: &str = "admission";
const PATIENCE: Duration = Duration::from_mins(1);

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("manifests")
}

/// What lies in a folder, in order.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut entries: Vec<PathBuf> = entries.collect();
    entries.sort();
    entries
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn every_sample_passes_the_api_server() {
    let _turn = index::alone();
    let mut passed = Vec::new();
    for path in entries(&manifests().join("samples")) {
        let text = fs::read_to_string(&path).unwrap();
        if text.contains("kind: MedicalImageIndex\n") {
            // In a namespace that has no index: some fields of one that is there cannot change.
            passes(&path, try_apply(&text, &["--dry-run=server", "--namespace", "default"]));
            passed.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    assert!(passed.len() >= 4, "samples: {passed:?}");
    println!("samples that the API server takes: {}", passed.join(", "));
}

/// Those of Argo CD and Flux are left out: they hold types that this cluster does not have.
#[test]
#[ignore = "wants a cluster: make e2e"]
fn every_overlay_passes_the_api_server() {
    let _turn = index::alone();
    let mut overlays = entries(&manifests().join("overlays"));
    assert!(overlays.len() >= 3, "overlays: {overlays:?}");
    overlays.push(manifests().join("samples"));
    for path in overlays {
        let text = kubectl(&["kustomize", &path.display().to_string()]);
        // Under another name, or it would be a change of the sample that may be there.
        let named = |name: &str| format!("kind: MedicalImageIndex\nmetadata:\n  name: {name}\n");
        let renamed = text.replacen(&named("radiology"), &named("overlay"), 1);
        assert_ne!(renamed, text, "{} has no index radiology", path.display());
        // As manifests/base says how; the operator that is there came by Helm, so its fields are another manager's.
        let how = ["--server-side", "--force-conflicts", "--field-manager=medindex-e2e", "--dry-run=server"];
        passes(&path, try_apply(&renamed, &how));
    }
}

fn passes(path: &Path, outcome: Result<String, String>) {
    let told = outcome.unwrap_or_else(|error| panic!("{} is refused: {error}", path.display()));
    assert!(told.contains("medicalimageindex.medindex.dev/"), "{}: {told}", path.display());
}

/// A resource that is let in, with a value put at a JSON pointer whose parent is there.
fn with(pointer: &str, value: &Value) -> Value {
    let mut index = json!({
        "apiVersion": "medindex.dev/v1alpha1",
        "kind": "MedicalImageIndex",
        "metadata": {"name": "refused"},
        "spec": {
            "kafka": {"bootstrapServers": ["kafka.nowhere:9092"], "partitions": 9},
            "hbase": {"thriftServers": ["hbase.nowhere:9090"], "thrift2Servers": ["hbase.nowhere:9091"]},
            "catalog": {"server": "mariadb.nowhere:3306", "loginSecret": "catalog"},
            "cache": {"servers": ["redis.nowhere:6379"]},
            "embedding": {"model": {"claim": "model"}},
            "embedder": {"replicas": 1},
            "search": {"shards": 1},
        },
    });
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    index.pointer_mut(parent).unwrap()[name] = value.clone();
    index
}

/// What is refused when it is made, and words of the message.
fn refused() -> Vec<(&'static str, Value, &'static str)> {
    let import = |name: &str, path: &str| json!({"name": name, "source": {"claim": "c", "path": path}});
    let slice_and_resource = json!({"gpu": {"migProfile": "1g.10gb", "resourceName": "amd.com/gpu"}});
    vec![
        // Rules across fields.
        ("/spec/search/shards", json!(10), "spec.search.shards must not exceed spec.kafka.partitions"),
        ("/spec/kafka/minInsyncReplicas", json!(4), "no upload could ever be acknowledged"),
        ("/spec/kafka/topicSettings", json!({"cleanup.policy": "delete"}), "must leave out cleanup.policy"),
        ("/spec/embedding/model", json!({}), "exactly one of image"),
        ("/spec/embedding/model", json!({"claim": "a", "image": "b"}), "exactly one of image"),
        ("/spec/quantizer", json!({"bits": 6}), "spec.quantizer.bits is 4 or 8"),
        ("/spec/quantizer", json!({"subQuantizers": 63}), "must be even with 4 bits"),
        ("/spec/quantizer", json!({"lists": 20_000}), "nor retrain.firstAtImages"),
        ("/spec/cache/servers", json!(["a.nowhere:6379", "b.nowhere:6379"]), "names one server"),
        ("/spec/cache/loginHasUser", json!(true), "wants spec.cache.loginSecret"),
        (
            "/spec/embedder/autoscaling",
            json!({"minReplicas": 5, "maxReplicas": 2}),
            "minReplicas must not exceed maxReplicas",
        ),
        ("/spec/embedder/autoscaling", json!({"maxReplicas": 20}), "would get no partition of imageupload"),
        ("/spec/embedder/autoscaling", json!({"maxReplicas": 5}), "ask for cpu in spec.embedder.requests"),
        ("/spec/search/nodePool", slice_and_resource, "give migProfile or resourceName"),
        ("/spec/imports", json!([import("a", "../x")]), "stays in it: leave out a leading / and every .."),
        ("/metadata/name", json!("9lives"), "a letter first"),
        // The schema itself.
        ("/spec/imports", json!([import("a", ""), import("a", "b")]), "Duplicate value"),
        ("/spec/kafka/bootstrapServers", json!(["kafka"]), "should match"),
        ("/spec/search/requests", json!({"memory": "much"}), "should match"),
        ("/spec/search/disk", json!("0Gi"), "should match"),
        ("/spec/search/storageClass", json!("Fast"), "should match"),
        ("/spec/catalog/loginSecret", json!("my_catalog"), "should match"),
        ("/spec/embedder/image", json!("no image"), "should match"),
        ("/spec/embedder/nodePool", json!({"nodeSelector": {"pool": "no value"}}), "should match"),
        ("/spec/quantizer", json!({"retrain": {"firstAtImages": 10}}), "greater than or equal to 1000"),
        ("/spec/shards", json!(1), "unknown field \"spec.shards\""),
    ]
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn what_breaks_a_rule_is_refused_with_its_message() {
    let _turn = index::alone();
    let make = |index: &Value| try_apply(&index.to_string(), &["--dry-run=server", "--namespace", "default"]);
    // The others are refused for what they have beside it.
    make(&with("/spec/paused", &json!(true))).unwrap();
    let refused = refused();
    for (pointer, value, words) in &refused {
        let error = make(&with(pointer, value)).err();
        let error = error.unwrap_or_else(|| panic!("{pointer}: {value} was taken"));
        assert!(error.contains(words), "{pointer}: {words:?} is not in {error}");
    }
    println!("{} resources refused, each with its rule's message", refused.len());
}

/// Changes that are refused, and words of the message.
fn refused_changes() -> [(Value, &'static str); 7] {
    [
        (json!({"kafka": {"partitions": 12}}), "spec.kafka.partitions cannot change"),
        (json!({"kafka": {"prefix": "other"}}), "spec.kafka.prefix cannot change"),
        (json!({"hbase": {"namespace": "other"}}), "spec.hbase.namespace cannot change"),
        (json!({"search": {"disk": "1Gi"}}), "spec.search.disk can grow and never shrink"),
        (json!({"search": {"storageClass": "fast"}}), "spec.search.storageClass cannot change"),
        (
            json!({"embedding": {"model": {"claim": "other"}, "digest": null}}),
            "spec.embedding.model can change only with",
        ),
        (json!({"embedding": {"digest": "1".repeat(64)}}), "spec.embedding.digest cannot change"),
    ]
}

fn patch(change: &Value, more: &[&str]) -> Result<String, String> {
    let change = change.to_string();
    let arguments: [&[&str]; 2] =
        [&["patch", "mii", NAME, "--namespace", NAMESPACE, "--type=merge", "--patch", &change], more];
    try_kubectl(&arguments.concat())
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn what_cannot_change_is_refused_and_what_no_schema_can_tell_is_a_condition() {
    let _turn = index::alone();
    apply(include_str!("admission.yaml"));
    let dry = ["--dry-run=server"];
    patch(&json!({"spec": {"search": {"replicas": 5}}}), &dry).unwrap();
    for (change, words) in refused_changes() {
        let error = patch(&json!({"spec": change}), &dry).err();
        let error = error.unwrap_or_else(|| panic!("{change} was taken"));
        assert!(error.contains(words), "{change}: {words:?} is not in {error}");
    }

    let wrong = json!({
        "metadata": {"annotations": {"medindex.dev/train-generation": "soon"}},
        "spec": {
            "embedder": {"nodePool": {"gpu": {"count": 1}}, "limits": {"nvidia.com/gpu": "1"}},
            "gateway": {"podOverrides": {"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}}},
        },
    });
    patch(&wrong, &[]).unwrap();
    let mut message = String::new();
    wait_until("the operator to refuse the spec", PATIENCE, || {
        let resource = get(NAMESPACE, &["mii", NAME]);
        message = index::condition(&resource, "Stalled").unwrap_or_default().1;
        index::reason(&resource, "Stalled").as_deref() == Some("InvalidSpec")
    });
    println!("{message}");
    index::tells(
        &message,
        &[
            "\"soon\" is no number of a generation",
            "nvidia.com/gpu is asked for here and under requests or limits",
            "is how the operator finds its pods: use another label",
        ],
    );
    // Under Retain nothing is asked of backends, and it goes although it is not valid.
    kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]);
}
