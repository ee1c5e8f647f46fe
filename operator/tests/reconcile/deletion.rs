//! Deletion: what is kept, what holds a resource back, what lets it go.

use std::sync::atomic::Ordering;

use http::StatusCode;
use k8s_openapi::jiff::Timestamp;
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::names::index_labels;
use medindex_operator::reconcile::unreadable::reconcile_unreadable;
use serde_json::{Value, json};

use crate::cluster::FakeCluster;
use crate::{RESOURCE, World};

const POD: &str = "/api/v1/namespaces/imaging/pods/radiology-search-0";

/// What makes pods.
fn workloads(world: &World) -> Vec<String> {
    world.cluster.paths().into_iter().filter(|path| path.contains("/apis/apps/v1/")).collect()
}

fn finalizers(world: &World) -> Value {
    world.cluster.get(RESOURCE).unwrap()["metadata"]["finalizers"].clone()
}

#[tokio::test]
async fn deleting_under_retain_asks_no_backend_and_wants_no_operator() {
    let world = World::new();
    world.settle().await;
    assert_eq!(finalizers(&world), Value::Null, "nothing holds it back");
    world.backends.kafka_is_away.store(true, Ordering::Relaxed);
    world.backends.hbase_is_away.store(true, Ordering::Relaxed);
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    world.reconcile().await.unwrap();
    assert_eq!(world.cluster.take_writes(), Vec::<String>::new());
    assert_eq!(world.backends.topics().len(), 4);
}

#[tokio::test]
async fn only_a_resource_under_delete_is_held_back() {
    let world = World::new();
    world.edit("/metadata/finalizers", json!(["example.com/audit"]));
    for (policy, held) in [
        ("Delete", json!(["example.com/audit", "medindex.dev/backends"])),
        ("Retain", json!(["example.com/audit"])),
        ("Delete", json!(["example.com/audit", "medindex.dev/backends"])),
    ] {
        world.edit("/spec/deletionPolicy", json!(policy));
        world.settle().await;
        assert_eq!(finalizers(&world), held, "{policy}");
    }
    // The policy is changed when it is being deleted already.
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    world.edit("/spec/deletionPolicy", json!("Retain"));
    world.reconcile().await.unwrap();
    assert_eq!(finalizers(&world), json!(["example.com/audit"]));
    assert_eq!(world.backends.topics().len(), 4);
}

/// Deletes the resource as a user does, so long ago.
fn delete(world: &World, seconds_ago: i64) {
    let since = Timestamp::from_second(Timestamp::now().as_second() - seconds_ago).unwrap();
    world.edit("/metadata/deletionTimestamp", json!(since.to_string()));
}

/// A pod that was to have ended so long ago, where it was told to.
fn put_pod(world: &World, index: &str, phase: &str, late: Option<i64>) {
    let labels = index_labels(index);
    let end =
        late.map(|late| Timestamp::from_second(Timestamp::now().as_second() - late).unwrap().to_string());
    let metadata = json!({"name": "radiology-search-0", "labels": labels, "deletionTimestamp": end});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}});
    world.cluster.put(POD, pod);
}

#[tokio::test]
async fn topics_and_tables_go_after_the_pods() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    put_pod(&world, "radiology", "Running", None);
    delete(&world, 0);
    world.settle().await;
    assert_eq!(workloads(&world), Vec::<String>::new());
    assert_eq!(
        (world.backends.topics().len(), world.backends.tables().len()),
        (4, 2),
        "the pod may write still"
    );
    let (status, reason, message) = world.condition("Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "Deleting"), "{message}");
    assert!(message.contains("its programs are ended"), "{message}");
    assert_eq!(world.condition("Reconciling").0, "True");
    world.cluster.remove(POD);
    world.reconcile().await.unwrap();
    assert!(world.backends.topics().is_empty() && world.backends.tables().is_empty());
    assert_eq!(finalizers(&world), json!([]));
}

/// On a node that is lost, say.
#[tokio::test]
async fn pods_that_never_end_are_not_waited_for_for_ever_and_those_of_others_not_at_all() {
    for (index, phase, passed_over) in
        [("radiology", "Running", true), ("radiology", "Succeeded", false), ("cardiology", "Running", false)]
    {
        let late = passed_over.then_some(20);
        let world = World::new();
        world.edit("/spec/deletionPolicy", json!("Delete"));
        world.settle().await;
        put_pod(&world, index, phase, late);
        delete(&world, 0);
        world.reconcile().await.unwrap();
        // The first look tells the programs to end, whatever their pods are.
        assert_eq!(world.backends.topics().is_empty(), !passed_over, "{index} {phase}");
        world.reconcile().await.unwrap();
        assert!(world.backends.topics().is_empty() && world.backends.tables().is_empty(), "{index} {phase}");
        let events = world.cluster.take_events();
        assert_eq!(events.iter().any(|(reason, _)| reason == "PodsPassedOver"), passed_over, "{events:?}");
    }
}

#[tokio::test]
async fn programs_that_cannot_be_ended_hold_the_resource_back_and_it_says_so() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    delete(&world, 0);
    world.cluster.fail(Some(("namespaces/imaging/deployments/", StatusCode::FORBIDDEN)));
    let error = world.reconcile().await.unwrap_err().to_string();
    assert!(error.contains("deleting Deployment") && error.contains("force-deletion"), "{error}");
    assert_eq!(world.condition("Stalled").1, "CleanupBlocked");
    assert_eq!(world.backends.topics().len(), 4);
}

/// What its topics and tables are called does not depend on what is wrong.
#[tokio::test]
async fn a_resource_that_cannot_be_built_is_cleaned_up_all_the_same() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    world.edit("/spec/search/disk", json!("much"));
    world.edit("/spec/gateway/limits", json!({"cpu": "1m"}));
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    world.reconcile().await.unwrap();
    assert_eq!(finalizers(&world), json!([]));
    assert!(world.backends.topics().is_empty() && world.backends.tables().is_empty());
}

/// Kept from an index before it, say.
#[tokio::test]
async fn topics_and_tables_of_an_index_that_never_was_valid_are_not_its_own() {
    let first = World::new();
    first.settle().await;
    let world = World { backends: first.backends.clone(), ..World::new() };
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.edit("/spec/search/disk", json!("much"));
    world.settle().await;
    assert_eq!(world.condition("Stalled").1, "InvalidSpec");
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    world.reconcile().await.unwrap();
    assert_eq!(finalizers(&world), json!([]));
    assert_eq!((world.backends.topics().len(), world.backends.tables().len()), (4, 2));
    let events = world.cluster.take_events();
    let told = events.iter().any(|(reason, _)| reason == "NothingMade");
    assert!(told, "{events:?}");
}

#[tokio::test]
async fn a_deletion_that_lacks_a_secret_of_a_backend_says_so_and_waits() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    world.edit("/spec/kafka/loginSecret", json!("gone"));
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    let error = world.reconcile().await.unwrap_err().to_string();
    assert!(error.contains("backends cannot be reached without it"), "{error}");
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "CleanupBlocked");
    assert!(message.contains("\"gone\"") && message.contains("force-deletion"), "{message}");
}

/// Written by a newer release, say.
#[tokio::test]
async fn a_resource_that_cannot_be_read_says_so_and_can_be_deleted() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    world.edit("/spec/kafka/teleport", json!(true));
    let unreadable = async || {
        let context = world.context(Vec::new());
        let error = serde_json::from_value::<MedicalImageIndex>(world.cluster.get(RESOURCE).unwrap());
        let error = error.map(drop).unwrap_err().to_string();
        reconcile_unreadable("imaging", "radiology", &error, &context).await
    };
    unreadable().await.unwrap();
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "InvalidSpec");
    assert!(message.contains("teleport") && message.contains("kubectl edit"), "{message}");
    world.cluster.take_writes();
    unreadable().await.unwrap();
    assert_eq!(world.cluster.take_writes(), Vec::<String>::new(), "it is told once");
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    unreadable().await.unwrap();
    assert_eq!(world.condition("Stalled").1, "CleanupBlocked");
    world.edit("/spec/deletionPolicy", json!("Retain"));
    unreadable().await.unwrap();
    assert_eq!(finalizers(&world), json!([]));
}

#[tokio::test]
async fn deleting_under_delete_waits_for_the_backend_and_can_be_forced() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    world.backends.hbase_is_away.store(true, Ordering::Relaxed);
    let error = world.reconcile().await.unwrap_err().to_string();
    assert!(error.contains("medindex.dev/force-deletion"), "{error}");
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "CleanupBlocked");
    assert!(message.contains("tried again, within three minutes"), "{message}");
    assert_eq!(world.condition("TopicsReady").1, "Deleting");
    assert_eq!(finalizers(&world), json!(["medindex.dev/backends"]));
    let forced = World { cluster: FakeCluster::default(), ..World::new() };
    let mut resource = world.cluster.get(RESOURCE).unwrap();
    resource["metadata"]["annotations"] = json!({"medindex.dev/force-deletion": "true"});
    forced.cluster.put(RESOURCE, resource);
    forced.reconcile().await.unwrap();
    world.backends.hbase_is_away.store(false, Ordering::Relaxed);
    world.reconcile().await.unwrap();
    assert!(world.backends.topics().is_empty() && world.backends.tables().is_empty());
}
