//! Larger disks: claims grown, the StatefulSet made anew around its pods.

use http::StatusCode;
use serde_json::json;

use crate::{SEARCH, World};

const CLAIM: &str = "/api/v1/namespaces/imaging/persistentvolumeclaims/data-radiology-search-0";
const TEMPLATE_SIZE: &str = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
const CLAIM_SIZE: &str = "/spec/resources/requests/storage";

/// Puts the claims of search pods as the controllers of a cluster do.
pub(crate) fn put_claims(world: &World, pods: usize) {
    let size = world.cluster.get(SEARCH).unwrap().pointer(TEMPLATE_SIZE).unwrap().clone();
    for number in 0..pods {
        let name = format!("data-radiology-search-{number}");
        let path = format!("/api/v1/namespaces/imaging/persistentvolumeclaims/{name}");
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "imaging"},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}},
        });
        world.cluster.put(&path, claim);
    }
}

/// A settled index of which two pods have claims, and larger disks were asked for.
async fn asked_for_more() -> World {
    let world = World::new();
    world.settle().await;
    put_claims(&world, 2);
    world.edit("/spec/search/disk", json!("40Gi"));
    world
}

#[tokio::test]
async fn disks_grow_claim_by_claim_and_the_stateful_set_is_made_anew() {
    let world = asked_for_more().await;
    // One was grown by hand, or by an operator that died on the way.
    world.cluster.edit(CLAIM, CLAIM_SIZE, json!("40Gi"));
    world.cluster.take_events();
    world.reconcile().await.unwrap();
    let grown = "PATCH persistentvolumeclaims/data-radiology-search-1";
    let (deleted, made) = ("DELETE statefulsets/radiology-search", "PATCH statefulsets/radiology-search");
    assert_eq!(world.take_object_writes(), [grown, deleted, made]);
    let told = world.cluster.take_events();
    for words in [
        "Grown PersistentVolumeClaim data-radiology-search-1 to 40Gi",
        "Deleted StatefulSet radiology-search without its pods, to make it anew with disks of 40Gi",
    ] {
        assert!(told.iter().any(|(_, note)| note.contains(words)), "{words} is not in {told:?}");
    }
    assert_eq!(world.cluster.get(SEARCH).unwrap().pointer(TEMPLATE_SIZE), Some(&json!("40Gi")));
    assert_eq!(world.cluster.get(CLAIM).unwrap()["spec"]["storageClassName"], "fast");
    world.bring_pods_up();
    world.settle().await;
    assert_eq!(world.condition("SearchReady").0, "True");
    world.reconcile().await.unwrap();
    assert_eq!(world.cluster.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stateful_set_that_is_going_already_is_waited_for() {
    let world = asked_for_more().await;
    let mut going = world.cluster.get(SEARCH).unwrap();
    going["metadata"]["deletionTimestamp"] = json!("2026-02-01T00:00:00Z");
    world.cluster.put(SEARCH, going);
    world.reconcile().await.unwrap();
    assert_eq!(world.take_object_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_class_that_cannot_grow_disks_is_told_and_the_pods_keep_their_stateful_set() {
    let world = asked_for_more().await;
    // A class says so with this, and a limit, and where the operator lacks the right.
    world.cluster.fail(Some(("persistentvolumeclaims/data-radiology-search-0", StatusCode::FORBIDDEN)));
    world.reconcile().await.unwrap();
    assert_eq!(world.take_object_writes(), ["PATCH persistentvolumeclaims/data-radiology-search-1"]);
    // What else is changed reaches the pods, with the disks that they have.
    world.edit("/spec/search/replicas", json!(3));
    world.reconcile().await.unwrap();
    assert_eq!(world.take_object_writes(), ["PATCH statefulsets/radiology-search"]);
    let known = world.cluster.get(SEARCH).unwrap();
    assert_eq!(known.pointer(TEMPLATE_SIZE), Some(&json!("20Gi")));
    assert_eq!(known["spec"]["replicas"], 9);
    let (status, reason, message) = world.condition("Stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "ObjectRefused"), "{message}");
    for words in ["growing PersistentVolumeClaim data-radiology-search-0 failed", "spec.search.disk"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    world.cluster.fail(None);
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False");
    assert_eq!(world.cluster.get(CLAIM).unwrap().pointer(CLAIM_SIZE), Some(&json!("40Gi")));
}
