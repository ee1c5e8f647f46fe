//! Events of what was done: each is told when it is, and not in a reconcile that does nothing.

use std::sync::Arc;

use http::StatusCode;
use medindex_operator::external::ExternalError;
use medindex_operator::external::told::Told;
use medindex_operator::reconcile::{Context, reconcile};
use serde_json::{Value, json};

use crate::cut::FailsAt;
use crate::{GATEWAY, RESOURCE, World};

const NOTHING: [&str; 0] = [];

fn no_broker() -> ExternalError {
    ExternalError::Kafka {
        action: "creating a topic".to_owned(),
        servers: "kafka:9092".to_owned(),
        reason: "no broker answers".to_owned(),
    }
}

/// Notes of the events of a reason, since events were last asked for.
fn notes(world: &World, reason: &str) -> Vec<String> {
    let events = world.cluster.take_events();
    events.into_iter().filter(|(told, _)| told == reason).map(|(_, note)| note).collect()
}

#[tokio::test]
async fn what_is_corrected_at_the_backends_is_told_once_and_not_while_it_is_only_looked_at() {
    let world = World::new();
    world.settle().await;
    let told = notes(&world, "BackendCorrected");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("create topic radiology.imageupload with 9 partitions"), "{told:?}");
    assert!(told[1].contains("create table radiology:image_info"), "{told:?}");
    world.reconcile().await.unwrap();
    assert_eq!(notes(&world, "BackendCorrected"), NOTHING, "all was as wanted");

    world.backends.topics().remove("radiology.operationlog");
    world.backends.tables().get_mut("radiology:image_info").unwrap().families[0].versions = 9;
    world.edit("/spec/paused", json!(true));
    world.settle().await;
    assert_eq!(notes(&world, "BackendCorrected"), NOTHING, "a paused index is only looked at");
    world.edit("/spec/paused", json!(false));
    world.reconcile().await.unwrap();
    let told = notes(&world, "BackendCorrected");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("create topic radiology.operationlog"), "{told:?}");
    assert!(told[1].contains("versions of family MD is 9, not 1"), "{told:?}");
    world.settle().await;
    assert_eq!(notes(&world, "BackendCorrected"), NOTHING, "it is told once");
}

#[tokio::test]
async fn a_fault_is_told_when_it_is_met_first_and_not_while_it_lasts() {
    let world = World::new();
    let backends = Told { backends: world.backends.clone(), observer: FailsAt::change(1, no_broker) };
    let context = Context { backends: Arc::new(backends), ..world.context(vec![world.resource()]) };
    reconcile(Arc::new(world.resource()), Arc::new(context)).await.unwrap();
    let told = notes(&world, "KafkaUnavailable");
    assert_eq!(told.len(), 1, "a new index that Kafka is away for: {told:?}");
    assert!(told[0].contains("kafka:9092"), "{told:?}");
    world.settle().await;
    assert_eq!(notes(&world, "KafkaUnavailable"), NOTHING);
}

#[tokio::test]
async fn what_was_corrected_before_a_backend_failed_is_told_too() {
    let world = World::new();
    let backends = Told { backends: world.backends.clone(), observer: FailsAt::change(1, no_broker) };
    let context = Context { backends: Arc::new(backends), ..world.context(vec![world.resource()]) };
    reconcile(Arc::new(world.resource()), Arc::new(context)).await.unwrap();
    assert_eq!(world.condition("TopicsReady").1, "KafkaUnavailable");
    let told = notes(&world, "BackendCorrected");
    assert!(told[0].starts_with("create topic radiology.imageupload with"), "{told:?}");
    assert!(!told[0].contains("imageindexed"), "{told:?}");
}

#[tokio::test]
async fn every_object_that_is_written_is_told_once() {
    let world = World::new();
    world.edit("/spec/gateway/ingress", json!({"host": "search.example"}));
    world.settle().await;
    let told = notes(&world, "ObjectWritten");
    assert!(!told.is_empty() && told.iter().all(|note| note.starts_with("Created ")), "{told:?}");
    world.reconcile().await.unwrap();
    assert_eq!(notes(&world, "ObjectWritten"), NOTHING, "nothing was written");

    world.cluster.edit(GATEWAY, "/spec/template/spec/containers/0/image", json!("evil:1"));
    world.cluster.remove("/api/v1/namespaces/imaging/configmaps/radiology-settings");
    world.settle().await;
    let written = "Created ConfigMap radiology-settings; Corrected Deployment radiology-gateway";
    assert_eq!(notes(&world, "ObjectWritten"), [written]);

    let mut resource = world.cluster.get(RESOURCE).unwrap();
    resource["spec"]["gateway"].as_object_mut().unwrap().remove("ingress");
    world.cluster.put(RESOURCE, resource);
    world.settle().await;
    // The gateway answers to known hosts only.
    let written = "Corrected Deployment radiology-gateway; Deleted Ingress radiology-gateway";
    assert_eq!(notes(&world, "ObjectWritten"), [written]);
}

#[tokio::test]
async fn what_was_written_before_a_failure_is_told_too() {
    let world = World::new();
    world.settle().await;
    world.cluster.take_events();
    world.cluster.remove("/api/v1/namespaces/imaging/configmaps/radiology-settings");
    world.edit("/spec/gateway/replicas", json!(3));
    world.cluster.fail(Some(("deployments/radiology-gateway", StatusCode::INTERNAL_SERVER_ERROR)));
    world.reconcile().await.unwrap_err();
    assert_eq!(notes(&world, "ObjectWritten"), ["Created ConfigMap radiology-settings"]);
    world.cluster.fail(None);
    world.settle().await;
    assert_eq!(notes(&world, "ObjectWritten"), ["Corrected Deployment radiology-gateway"]);
}

#[tokio::test]
async fn a_forced_deletion_is_told_and_no_other() {
    for (policy, forced, times) in [("Retain", "true", 0), ("Delete", "false", 0), ("Delete", "true", 1)] {
        let world = World::new();
        world.edit("/spec/deletionPolicy", json!(policy));
        world.edit("/metadata/annotations", json!({"medindex.dev/force-deletion": forced}));
        world.settle().await;
        assert_eq!(notes(&world, "ForcedDeletion"), NOTHING, "{policy}, {forced}: nothing is deleted yet");
        world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
        world.reconcile().await.unwrap();
        let told = notes(&world, "ForcedDeletion");
        assert_eq!(told.len(), times, "{policy}, {forced}: {told:?}");
        for words in ["topics and tables are left behind", "medindex.dev/force-deletion"] {
            assert!(told.iter().all(|note| note.contains(words)), "{told:?}");
        }
        assert_eq!(
            world.backends.topics().is_empty(),
            policy == "Delete" && times == 0,
            "{policy}, {forced}"
        );
        let held = world.cluster.get(RESOURCE).unwrap()["metadata"]["finalizers"].clone();
        assert_eq!(held, if policy == "Retain" { Value::Null } else { json!([]) });
        world.reconcile().await.unwrap();
        assert_eq!(notes(&world, "ForcedDeletion"), NOTHING, "{policy}, {forced}: it was let go already");
    }
}
