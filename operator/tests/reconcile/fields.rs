//! Who has which field of an object: what the operator gives up, what others add, what an autoscaler decides.

use serde_json::json;

use crate::{GATEWAY, RESOURCE, World};

#[tokio::test]
async fn a_field_that_is_no_longer_asked_for_goes() {
    let world = World::new();
    let login = json!({"data": {"user": "bWU=", "password": "c2VjcmV0"}});
    world.cluster.put("/api/v1/namespaces/imaging/secrets/kafka", login);
    world.edit("/spec/kafka/loginSecret", json!("kafka"));
    world.edit("/spec/gateway/nodePool", json!({"nodeSelector": {"pool": "cpu"}}));
    world.edit("/spec/gateway/limits", json!({"cpu": "2", "memory": "1Gi"}));
    world.settle().await;
    let settings = "/api/v1/namespaces/imaging/configmaps/radiology-settings";
    let pod = |path: &str, pointer: &str| world.cluster.get(path).unwrap().pointer(pointer).cloned();
    let (selector, limits) =
        ("/spec/template/spec/nodeSelector", "/spec/template/spec/containers/0/resources/limits");
    assert_eq!(pod(GATEWAY, selector), Some(json!({"pool": "cpu"})));
    assert!(pod(settings, "/data/MEDINDEX_KAFKA_PASSWORD_FILE").is_some());
    let mut resource = world.cluster.get(RESOURCE).unwrap();
    resource["spec"]["kafka"].as_object_mut().unwrap().remove("loginSecret");
    resource["spec"]["gateway"].as_object_mut().unwrap().remove("nodePool");
    resource["spec"]["gateway"]["limits"] = json!({"memory": "1Gi"});
    world.cluster.put(RESOURCE, resource);
    world.settle().await;
    assert_eq!(pod(GATEWAY, selector), None);
    assert_eq!(pod(GATEWAY, limits), Some(json!({"memory": "1Gi"})));
    assert_eq!(pod(settings, "/data/MEDINDEX_KAFKA_PASSWORD_FILE"), None);
}

#[tokio::test]
async fn what_is_added_to_a_selector_by_hand_is_taken_away() {
    let world = World::new();
    world.settle().await;
    let service = "/api/v1/namespaces/imaging/services/radiology-gateway";
    let mut object = world.cluster.get(service).unwrap();
    object["spec"]["selector"]["also"] = json!("this");
    world.cluster.put(service, object);
    world.reconcile().await.unwrap();
    assert!(world.cluster.take_writes().contains(&"PATCH services/radiology-gateway".to_owned()));
}

#[tokio::test]
async fn an_autoscaler_has_the_replicas_through_changes_and_a_suspension_ends() {
    let world = World::new();
    world.edit("/spec/gateway/replicas", json!(4));
    world.settle().await;
    let replicas = || world.cluster.get(GATEWAY).unwrap()["spec"]["replicas"].clone();
    world.edit("/spec/gateway/autoscaling", json!({"minReplicas": 2, "maxReplicas": 9}));
    world.settle().await;
    assert_eq!(replicas(), 4, "what is there stays until the autoscaler decides");
    world.cluster.scale(GATEWAY, 6);
    world.settle().await;
    world.edit("/spec/gateway/requests", json!({"cpu": "250m"}));
    world.settle().await;
    assert_eq!(replicas(), 6, "a change of the pods leaves it what it decided");
    world.edit("/spec/suspend", json!(true));
    world.settle().await;
    assert_eq!(replicas(), 0);
    world.edit("/spec/suspend", json!(false));
    world.settle().await;
    assert_eq!(replicas(), 2, "an autoscaler would leave it at none");
}
