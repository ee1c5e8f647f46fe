//! An operator that dies at any of its calls leaves a world that the next one brings to the same end: nothing doubled, nothing left behind.
//!
//! The life of an index (made, drifting, given larger disks, trained, rolled back, made smaller, deleted with its data) is lived once undisturbed, and then once for
//! each call of it and each of two moments: the operator dies before the call is made, or when it was done and not answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use medindex_operator::external::IndexStatus;
use medindex_operator::program::calls::{self, Moment};
use serde_json::{Value, json};

use crate::cut::Cut;
use crate::disks::put_claims;
use crate::pods::{put_pod, unready};
use crate::{GATEWAY, RESOURCE, World};

/// Images that are enough for a training.
const IMAGES: i64 = 20_000;

/// What is left at the end of a life, and what was done to the backends in it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Objects before the deletion, without what tells one run from another.
    objects: BTreeMap<String, Value>,
    /// Topics and tables before the deletion.
    backends: Vec<String>,
    /// How often each change was made at the backends.
    changes: BTreeMap<String, usize>,
    /// Topics and tables after the deletion.
    left: usize,
}

async fn live(cut: Arc<Cut>) -> Outcome {
    let world = World::with_cut(cut);
    world.edit("/spec/deletionPolicy", json!("Delete"));
    // KEDA signs in by it too.
    let login = json!({"data": {"user": "bWU=", "password": "c2VjcmV0"}});
    world.cluster.put("/api/v1/namespaces/imaging/secrets/kafka", login);
    world.edit("/spec/kafka/loginSecret", json!("kafka"));
    world.edit(
        "/spec/embedder/autoscaling",
        json!({"minReplicas": 1, "maxReplicas": 3, "lagPerReplica": 100}),
    );
    world.edit("/spec/gateway/autoscaling", json!({"minReplicas": 1, "maxReplicas": 3}));
    world.edit("/spec/gateway/ingress", json!({"host": "search.example"}));
    world.settle().await;
    wait_for_a_program(&world).await;
    world.bring_pods_up();
    world.settle().await;
    drift(&world);
    world.settle().await;
    put_claims(&world, 2);
    world.edit("/spec/search/disk", json!("40Gi"));
    world.settle().await;
    world.bring_pods_up();
    train_and_roll_back(&world).await;
    shrink(&world);
    world.settle().await;
    let objects = world.cluster.paths().into_iter().map(|path| {
        let object = scrubbed(&world.cluster.get(&path).unwrap());
        (path, object)
    });
    let objects = objects.collect();
    let backends = names_at_backends(&world);
    delete(&world).await;
    let mut changes = BTreeMap::new();
    for change in world.backends.take_changes() {
        *changes.entry(change).or_default() += 1;
    }
    // Deleting what is gone already changes nothing, and may be asked for again.
    changes.retain(|change, _| !change.starts_with("delete "));
    Outcome { objects, backends, changes, left: names_at_backends(&world).len() }
}

fn drift(world: &World) {
    world.cluster.edit(GATEWAY, "/spec/template/spec/containers/0/image", json!("evil:1"));
    for object in ["configmaps/radiology-settings", "services/radiology-gateway"] {
        world.cluster.remove(&format!("/api/v1/namespaces/imaging/{object}"));
    }
    let mut topics = world.backends.topics();
    topics.remove("radiology.operationlog");
    let settings = &mut topics.get_mut("radiology.imageupload").unwrap().settings;
    settings.insert("retention.ms".into(), "1".into());
    world.backends.tables().get_mut("radiology:image_info").unwrap().families[0].versions = 9;
}

/// A pod that has run for long and is not ready: its program is asked why.
async fn wait_for_a_program(world: &World) {
    put_pod(world, "search", "radiology-search-0", &json!({}), &unready());
    world.settle().await;
    world.cluster.remove("/api/v1/namespaces/imaging/pods/radiology-search-0");
}

async fn train_and_roll_back(world: &World) {
    let mut status = IndexStatus::default();
    status.images.indexed = IMAGES;
    *world.backends.status() = status.clone();
    world.settle().await;
    let job = "/apis/batch/v1/namespaces/imaging/jobs/radiology-train-1";
    let mut done = world.cluster.get(job).unwrap();
    done["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    world.cluster.put(job, done);
    status.index.generation = 1;
    status.index.previous_generation = Some(0);
    let report = json!({"generation": 1, "accepted": true, "vectors": IMAGES, "recall_at_10": 0.97});
    status.training = serde_json::from_value(report).unwrap();
    *world.backends.status() = status;
    world.settle().await;
    world.edit("/spec/quantizer", json!({"rollbackTo": 0}));
    world.settle().await;
}

/// Takes away what made an Ingress and autoscalers, and leaves an object of every kind that an earlier version may have made.
fn shrink(world: &World) {
    let mut resource = world.cluster.get(RESOURCE).unwrap();
    for (component, field) in
        [("gateway", "ingress"), ("gateway", "autoscaling"), ("embedder", "autoscaling")]
    {
        resource["spec"][component].as_object_mut().unwrap().remove(field);
    }
    world.cluster.put(RESOURCE, resource);
    let mut folders = BTreeSet::new();
    for path in world.cluster.paths() {
        let (folder, _) = path.rsplit_once('/').unwrap();
        let by_others = ["/secrets", "/medicalimageindexes", "/persistentvolumeclaims"];
        let is_made = !by_others.iter().any(|kind| folder.ends_with(kind));
        if is_made && folders.insert(folder.to_owned()) {
            let mut leftover = world.cluster.get(&path).unwrap();
            leftover["metadata"]["name"] = json!("radiology-leftover");
            world.cluster.put(&format!("{folder}/radiology-leftover"), leftover);
        }
    }
}

async fn delete(world: &World) {
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    for _ in 0..4 {
        if world.cluster.get(RESOURCE).unwrap()["metadata"]["finalizers"] == json!([]) {
            return;
        }
        world.reconcile().await.unwrap();
        world.cut.revive();
    }
    panic!("the finalizer stays");
}

fn names_at_backends(world: &World) -> Vec<String> {
    let topics = world.backends.topics();
    topics.keys().chain(world.backends.tables().keys()).cloned().collect()
}

/// Without what the API server gives anew to everything that is written.
fn scrubbed(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let passing = ["uid", "resourceVersion", "lastTransitionTime"];
            let kept = fields.iter().filter(|(name, _)| !passing.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name.clone(), scrubbed(value))).collect())
        }
        Value::Array(elements) => elements.iter().map(scrubbed).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn an_operator_that_dies_at_any_call_leaves_nothing_doubled_and_nothing_behind() {
    let whole = Arc::new(Cut::default());
    let wanted = live(Arc::clone(&whole)).await;
    assert_eq!((wanted.left, wanted.backends.len()), (0, 6), "{wanted:?}");
    assert_eq!(wanted.changes["roll back to 0"], 1, "{:?}", wanted.changes);
    assert!(!wanted.objects.keys().any(|path| path.ends_with("leftover")), "{:?}", wanted.objects.keys());
    for number in 0..whole.made() {
        for moment in [Moment::Before, Moment::After] {
            let outcome = live(Arc::new(Cut::at(number, moment))).await;
            assert_eq!(outcome, wanted, "the operator died {moment} call {number}");
        }
    }
    // What was gone through is all that there is, but for what the controller and the keeper of the lease ask for, a second event of a kind, and
    // a resource that cannot be read.
    let elsewhere = [
        "list medicalimageindexes",
        "get medicalimageindexes",
        "get leases",
        "create leases",
        "patch leases",
        "patch events",
    ];
    let known = calls::all();
    let made = whole.names();
    let missed: Vec<&String> = known
        .difference(&made)
        .filter(|call| !call.starts_with("watch ") && !elsewhere.contains(&call.as_str()))
        .collect();
    assert!(missed.is_empty(), "{missed:?} were not gone through");
    assert!(made.is_subset(known), "{:?}", made.difference(known));
}
