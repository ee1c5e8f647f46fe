//! Pods that do not begin: which condition says so, of what, and what a person has to do.

use http::StatusCode;
use medindex_operator::names::index_labels;
use serde_json::{Value, json};

use crate::{GATEWAY, World};

/// Puts a pod of a component as the controllers of a cluster do.
pub(crate) fn put_pod(world: &World, component: &str, name: &str, spec: &Value, status: &Value) {
    let mut labels = index_labels("radiology");
    labels.insert("app.kubernetes.io/component".to_owned(), component.to_owned());
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "imaging", "labels": labels},
        "spec": spec, "status": status,
    });
    world.cluster.put(&format!("/api/v1/namespaces/imaging/pods/{name}"), pod);
}

/// How a pod is whose container has run for long and is not ready; its probe is at 10.0.0.7:9600.
pub(crate) fn unready() -> Value {
    json!({
        "podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"image": "a", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
    })
}

fn unscheduled(message: &str) -> Value {
    json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]})
}

fn waiting(reason: &str, message: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    json!({"containerStatuses": [{"image": "registry.example/medindex:1", "state": state}]})
}

/// A pod that has had its node since then and is not created.
fn creating(since: &str) -> Value {
    let mut status = waiting("ContainerCreating", "");
    status["conditions"] = json!([
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
        {"type": "PodReadyToStartContainers", "status": "False"},
    ]);
    status
}

fn assert_told(world: &World, condition: &str, reason: &str, words: &[&str]) {
    let (status, told, message) = world.condition(condition);
    assert_eq!((status.as_str(), told.as_str()), ("False", reason), "{message}");
    for word in words {
        assert!(message.contains(word), "{word} is not in: {message}");
    }
}

/// A wrong password of the catalog, say: Kubernetes knows no more than that the pod is not ready.
#[tokio::test]
async fn a_program_that_waits_is_told_in_its_own_words() {
    let world = World::new();
    world.settle().await;
    put_pod(&world, "gateway", "radiology-gateway-x", &json!({}), &unready());
    world.settle().await;
    assert_told(&world, "GatewayReady", "PodsMissing", &["0 of 2 pods are ready"]);
    let says = "waiting for the catalog: Access denied for user 'me'".to_owned();
    world.backends.unready().insert("10.0.0.7:9600".to_owned(), says);
    world.settle().await;
    let words = ["0 of 2 pods are ready", "pod radiology-gateway-x runs", "Access denied for user 'me'"];
    assert_told(&world, "GatewayReady", "PodsWaiting", &words);
    world.backends.unready().clear();
    world.settle().await;
    assert_told(&world, "GatewayReady", "PodsMissing", &[]);
}

#[tokio::test]
async fn a_component_whose_pod_does_not_begin_says_why_and_what_to_do() {
    let gpu = json!({"nodeSelector": {"pool": "gpu"}});
    let no_node =
        unscheduled("0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.");
    let no_claim = unscheduled("0/3 nodes are available: persistentvolumeclaim \"model-vgg16\" not found.");
    let no_image = waiting("ImagePullBackOff", "not found");
    let no_settings = waiting("CreateContainerConfigError", "configmap \"radiology-settings\" not found");
    let mut crashes = waiting("CrashLoopBackOff", "back-off");
    crashes["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 2}});
    let (embedder, search, gateway) = ("EmbedderReady", "SearchReady", "GatewayReady");
    let cases: [(&str, &Value, &str, [&str; 3]); 5] = [
        (
            search,
            &no_node,
            "Unschedulable",
            ["spec.search.nodePool (pool=gpu)", "didn't match", "tries again"],
        ),
        (embedder, &no_claim, "MountsMissing", ["\"model-vgg16\" not found", "create that", "tries again"]),
        (
            gateway,
            &no_image,
            "ImageUnavailable",
            ["image registry.example/medindex:1: not found", "mend spec.gateway.image", "tries again"],
        ),
        (
            gateway,
            &no_settings,
            "MountsMissing",
            ["\"radiology-settings\" not found", "mend that", "tries again"],
        ),
        (search, &crashes, "Crashing", ["status 2", "kubectl logs radiology-search-x", "tries again"]),
    ];
    for (condition, status, reason, words) in cases {
        let world = World::new();
        world.settle().await;
        world.bring_pods_up();
        let component = condition.trim_end_matches("Ready").to_lowercase();
        let kind = if component == "search" { "statefulsets" } else { "deployments" };
        let workload = format!("/apis/apps/v1/namespaces/imaging/{kind}/radiology-{component}");
        world.cluster.edit(
            &workload,
            "/status",
            json!({"replicas": 1, "readyReplicas": 0, "updatedReplicas": 1}),
        );
        let name = format!("radiology-{component}-x");
        put_pod(&world, &component, &name, &gpu, status);
        world.settle().await;
        assert_told(&world, condition, reason, &words);
        assert_told(&world, condition, reason, &[&format!("pod {name}")]);
        assert_eq!(world.condition("Ready").1, reason);
        assert!(world.condition("Ready").2.starts_with(condition), "{:?}", world.condition("Ready"));
    }
}

#[tokio::test]
async fn a_successor_that_does_not_begin_is_told_although_the_only_pod_before_it_answers() {
    let world = World::new();
    world.edit("/spec/gateway/replicas", json!(1));
    world.settle().await;
    world.bring_pods_up();
    world.settle().await;
    assert_eq!(world.condition("Ready").0, "True");
    world.cluster.edit(GATEWAY, "/status", json!({"replicas": 2, "readyReplicas": 1, "updatedReplicas": 1}));
    put_pod(&world, "gateway", "radiology-gateway-b", &json!({}), &waiting("ErrImagePull", "no such host"));
    world.settle().await;
    let words = ["1 of older settings still there", "pod radiology-gateway-b cannot get image"];
    assert_told(&world, "GatewayReady", "ImageUnavailable", &words);
}

#[tokio::test]
async fn what_a_pod_mounts_and_is_not_there_is_named_until_it_is() {
    let world = World::new();
    world.settle().await;
    let items = json!([{"key": "a.yaml", "path": "a.yaml"}]);
    let spec = json!({"volumes": [
        {"name": "extra", "secret": {"secretName": "extra"}},
        {"name": "rules", "configMap": {"name": "rules", "items": items}},
        {"name": "perhaps", "secret": {"secretName": "perhaps", "optional": true}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-radiology-search-0"}},
    ]});
    let pod = |status: Value| put_pod(&world, "search", "radiology-search-0", &spec, &status);
    // A minute is not over.
    pod(creating("2999-01-01T00:00:00Z"));
    world.settle().await;
    assert_told(&world, "SearchReady", "PodsMissing", &[]);
    assert!(!world.condition("SearchReady").2.contains("radiology-search-0"));
    pod(creating("2025-01-01T00:00:00Z"));
    world.settle().await;
    let words = [
        "pod radiology-search-0 cannot start",
        "the Secret \"extra\" is not in namespace imaging: create it there",
        "the ConfigMap \"rules\" is not in namespace imaging: create it there",
        "the node tries again by itself",
    ];
    assert_told(&world, "SearchReady", "MountsMissing", &words);
    assert!(!world.condition("SearchReady").2.contains("perhaps"));
    let object = |kind: &str, name: &str| {
        let metadata = json!({"name": name, "namespace": "imaging"});
        json!({"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {}})
    };
    world.cluster.put("/api/v1/namespaces/imaging/secrets/extra", object("Secret", "extra"));
    world.cluster.put("/api/v1/namespaces/imaging/configmaps/rules", object("ConfigMap", "rules"));
    world.reconcile().await.unwrap();
    let words = ["the ConfigMap \"rules\" has no entry a.yaml: add it"];
    assert_told(&world, "SearchReady", "MountsMissing", &words);
    world.cluster.edit("/api/v1/namespaces/imaging/configmaps/rules", "/data", json!({"a.yaml": "b"}));
    world.reconcile().await.unwrap();
    let words =
        ["(PersistentVolumeClaim data-radiology-search-0)", "kubectl describe pod radiology-search-0"];
    assert_told(&world, "SearchReady", "PodsMissing", &words);
}

#[tokio::test]
async fn what_cannot_be_looked_for_holds_up_nothing() {
    let world = World::new();
    world.settle().await;
    let spec = json!({"volumes": [{"name": "extra", "secret": {"secretName": "extra"}}]});
    put_pod(&world, "search", "radiology-search-0", &spec, &creating("2025-01-01T00:00:00Z"));
    world.cluster.fail(Some(("secrets/extra", StatusCode::FORBIDDEN)));
    world.edit("/spec/gateway/replicas", json!(3));
    world.settle().await;
    assert_told(&world, "SearchReady", "PodsMissing", &["kubectl describe pod radiology-search-0"]);
    assert_eq!(world.cluster.get(GATEWAY).unwrap()["spec"]["replicas"], 3);
}

#[tokio::test]
async fn an_import_or_training_that_does_not_begin_degrades_and_stops_nothing() {
    let world = World::new();
    world.edit("/spec/imports", json!([{"name": "trauma", "source": {"claim": "scans"}}]));
    world.settle().await;
    world.bring_pods_up();
    world.settle().await;
    assert_eq!(world.condition("Degraded").1, "AsAskedFor");
    let no_claim = unscheduled("0/3 nodes are available: persistentvolumeclaim \"scans\" not found.");
    put_pod(&world, "importer", "radiology-import-trauma-x", &json!({}), &no_claim);
    put_pod(&world, "trainer", "radiology-train-1-x", &json!({}), &waiting("ErrImagePull", "no such host"));
    world.settle().await;
    let (status, _, message) = world.condition("Degraded");
    assert_eq!(status, "True");
    for words in [
        "MountsMissing: pod radiology-import-trauma-x finds no disk",
        "\"scans\" not found; create that PersistentVolumeClaim",
        "ImageUnavailable: pod radiology-train-1-x cannot get image registry.example/medindex:1",
        "mend spec.trainer.image",
    ] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert_eq!(world.condition("Ready").0, "True");
}
