//! Whole reconciles against an API server and backends in memory: what is written, what is told, and what happens when something fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod backends;
mod cluster;
mod conflicts;
mod cut;
mod deaths;
mod deletion;
mod disks;
mod fields;
mod generations;
mod managed;
mod news;
mod pods;
#[path = "../sample/mod.rs"]
mod sample;
mod secrets;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cluster::FakeCluster;
use cut::Cut;
use http::StatusCode;
use kube::core::DeserializeGuard;
use kube::runtime::events::Reporter;
use kube::runtime::reflector;
use kube::runtime::watcher;
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::external::IndexStatus;
use medindex_operator::external::simulated::SimulatedBackends;
use medindex_operator::external::told::Told;
use medindex_operator::reconcile::events::Events;
use medindex_operator::reconcile::ignored::Ignored;
use medindex_operator::reconcile::watched::Watched;
use medindex_operator::reconcile::{Context, ReconcileError, reconcile};
use medindex_operator::release::Release;
use serde_json::{Value, json};

const RESOURCE: &str = "/apis/medindex.dev/v1alpha1/namespaces/imaging/medicalimageindexes/radiology";
const GATEWAY: &str = "/apis/apps/v1/namespaces/imaging/deployments/radiology-gateway";
const SEARCH: &str = "/apis/apps/v1/namespaces/imaging/statefulsets/radiology-search";
/// The secret that the sample names.
const CATALOG: &str = "/api/v1/namespaces/imaging/secrets/radiology-catalog";

struct World {
    cluster: FakeCluster,
    backends: Arc<SimulatedBackends>,
    others: Vec<MedicalImageIndex>,
    cut: Arc<Cut>,
    /// What one operator remembers from one reconcile to the next.
    ignored: Arc<Ignored>,
}

impl World {
    /// The sample, with its secret, and a cluster without Prometheus and KEDA.
    fn new() -> Self {
        let world = Self::with_cut(Arc::default());
        world.cluster.lacks("podmonitors");
        world.cluster.lacks("scaledobjects");
        world.cluster.lacks("triggerauthentications");
        world
    }

    /// The sample, with its secret, where the operator can be cut off.
    fn with_cut(cut: Arc<Cut>) -> Self {
        let cluster = FakeCluster::with_cut(Arc::clone(&cut));
        let mut index = sample::with(&[]);
        index["metadata"] = json!({
            "name": "radiology", "namespace": "imaging", "uid": "11111111-2222-3333-4444-555555555555", "generation": 1,
            "resourceVersion": "1", "creationTimestamp": "2026-01-02T00:00:00Z",
        });
        cluster.put(RESOURCE, index);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "radiology-catalog", "namespace": "imaging"},
            "data": {"user": "bWU=", "password": "c2VjcmV0"},
        });
        cluster.put(CATALOG, secret);
        Self { cluster, backends: Arc::default(), others: Vec::new(), cut, ignored: Arc::default() }
    }

    fn resource(&self) -> MedicalImageIndex {
        serde_json::from_value(self.cluster.get(RESOURCE).unwrap()).unwrap()
    }

    async fn reconcile(&self) -> Result<(), ReconcileError> {
        let resources = self.others.iter().cloned().chain([self.resource()]).collect();
        let context = self.context(resources);
        tokio::select! {
            outcome = reconcile(Arc::new(self.resource()), Arc::new(context)) => outcome.map(drop),
            () = self.cut.died() => Ok(()),
        }
    }

    fn context(&self, watched: Vec<MedicalImageIndex>) -> Context {
        let client = self.cluster.client();
        let (resources, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Init);
        for resource in watched {
            writer.apply_watcher_event(&watcher::Event::InitApply(DeserializeGuard(Ok(resource))));
        }
        writer.apply_watcher_event(&watcher::Event::InitDone);
        Context {
            client: client.clone(),
            backends: Arc::new(Told { backends: self.backends.clone(), observer: Arc::clone(&self.cut) }),
            release: Release { image_prefix: String::new(), image_tag: "1".to_owned() },
            events: Events::new(client, Reporter { controller: "test".to_owned(), instance: None }),
            watched: Arc::new(Watched::new(vec![resources])),
            ignored: Arc::clone(&self.ignored),
            absent: Arc::default(),
        }
    }

    /// Until nothing more is written, as the controller does.
    async fn settle(&self) {
        let mut writes = Vec::new();
        for _ in 0..8 {
            self.reconcile().await.unwrap();
            writes = self.cluster.take_writes();
            if !self.cut.revive() && writes.is_empty() {
                return;
            }
        }
        panic!("it never settles: {writes:?}");
    }

    /// Writes since this was last asked, but for those of the resource itself.
    fn take_object_writes(&self) -> Vec<String> {
        let mut writes = self.cluster.take_writes();
        writes.retain(|write| !write.contains("medicalimageindexes"));
        writes
    }

    /// As the kubelets and controllers of a cluster do.
    fn bring_pods_up(&self) {
        for path in self.cluster.paths() {
            if path.contains("/deployments/") || path.contains("/statefulsets/") {
                let object = self.cluster.get(&path).unwrap();
                let pods = object["spec"].get("replicas").cloned().unwrap_or(json!(1));
                let mut up = object;
                up["status"] = json!({"replicas": pods, "readyReplicas": pods, "updatedReplicas": pods});
                self.cluster.put(&path, up);
            }
        }
    }

    fn condition(&self, name: &str) -> (String, String, String) {
        self.condition_of(RESOURCE, name)
    }

    /// Status, reason and message of a condition of the resource at a path.
    fn condition_of(&self, path: &str, name: &str) -> (String, String, String) {
        let status = self.cluster.get(path).unwrap()["status"].clone();
        let conditions = status["conditions"].as_array().unwrap().clone();
        let found = conditions.into_iter().find(|condition| condition["type"] == name).unwrap();
        let text = |field: &str| found[field].as_str().unwrap().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    fn edit(&self, pointer: &str, value: Value) {
        let mut resource = self.cluster.get(RESOURCE).unwrap();
        sample::put(&mut resource, pointer, value);
        self.cluster.put(RESOURCE, resource);
    }
}

#[tokio::test]
async fn a_new_resource_gets_topics_tables_and_objects_and_then_nothing_is_written() {
    let world = World::new();
    world.settle().await;
    assert_eq!((world.backends.topics().len(), world.backends.tables().len()), (4, 2));
    assert_eq!(world.condition("Ready").0, "False");
    world.bring_pods_up();
    world.settle().await;
    assert_eq!(world.condition("Ready").0, "True", "{:?}", world.condition("Ready"));
    assert_eq!(world.condition("Reconciling").1, "UpToDate");
    let reads = world.cluster.reads();
    world.backends.take_changes();
    world.reconcile().await.unwrap();
    assert_eq!(world.cluster.take_writes(), Vec::<String>::new());
    assert_eq!(world.backends.take_changes(), Vec::<String>::new());
    assert!(world.cluster.reads() - reads <= 16, "{} reads", world.cluster.reads() - reads);
}

#[tokio::test]
async fn what_somebody_edits_or_deletes_is_put_right_and_nothing_else_is_touched() {
    let world = World::new();
    world.settle().await;
    world.cluster.edit(GATEWAY, "/spec/template/spec/containers/0/image", json!("evil:1"));
    world.cluster.remove("/api/v1/namespaces/imaging/configmaps/radiology-settings");
    world.reconcile().await.unwrap();
    assert_eq!(
        world.take_object_writes(),
        ["PATCH configmaps/radiology-settings", "PATCH deployments/radiology-gateway"]
    );
}

#[tokio::test]
async fn drift_of_topics_and_tables_is_corrected() {
    let world = World::new();
    world.settle().await;
    world.backends.take_changes();
    world.backends.topics().remove("radiology.operationlog");
    world
        .backends
        .topics()
        .get_mut("radiology.imageupload")
        .unwrap()
        .settings
        .insert("retention.ms".into(), "1".into());
    world.backends.tables().get_mut("radiology:image_info").unwrap().families[0].versions = 9;
    world.reconcile().await.unwrap();
    let changes = world.backends.take_changes();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert!(changes[0].contains("retention.ms: 1 -> 604800000"), "{changes:?}");
    assert!(changes[1].starts_with("create topic radiology.operationlog"), "{changes:?}");
    assert!(changes[2].contains("versions of family MD is 9, not 1"), "{changes:?}");
}

#[tokio::test]
async fn what_cannot_be_put_right_stalls_and_stops_the_workloads_from_changing() {
    let world = World::new();
    world.settle().await;
    world.backends.topics().get_mut("radiology.imageindexed").unwrap().partitions = 12;
    world.edit("/spec/gateway/replicas", json!(7));
    world.reconcile().await.unwrap();
    assert_eq!(world.condition("Stalled").1, "TopicIrreparable");
    assert!(world.condition("Ready").2.contains("12 partitions, not 9"));
    assert_eq!(world.cluster.get(GATEWAY).unwrap()["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_backend_that_is_away_is_a_condition_and_the_rest_goes_on() {
    let world = World::new();
    world.backends.kafka_is_away.store(true, Ordering::Relaxed);
    world.settle().await;
    let (status, reason, message) = world.condition("TopicsReady");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "KafkaUnavailable"));
    assert!(message.contains("kafka:9092") && message.contains("tried again"), "{message}");
    assert_eq!(world.condition("TableReady").0, "True");
    assert!(world.cluster.get(SEARCH).is_some());
    world.backends.kafka_is_away.store(false, Ordering::Relaxed);
    world.settle().await;
    assert_eq!(world.condition("TopicsReady").0, "True");
}

#[tokio::test]
async fn errors_of_the_api_server_are_told_and_tried_again() {
    let world = World::new();
    world.settle().await;
    for (path, status, words) in [
        ("deployments", StatusCode::FORBIDDEN, "reading deployments failed"),
        ("statefulsets", StatusCode::INTERNAL_SERVER_ERROR, "reading statefulsets failed"),
        ("medicalimageindexes/radiology/status", StatusCode::CONFLICT, "writing the status failed"),
    ] {
        world.edit("/spec/gateway/replicas", json!(3));
        world.edit("/metadata/generation", json!(words.len()));
        world.cluster.fail(Some((path, status)));
        let error = world.reconcile().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        if !path.ends_with("/status") {
            let (status, reason, message) = world.condition("Reconciling");
            assert_eq!((status.as_str(), reason.as_str()), ("True", "ReconcileFailed"));
            assert!(message.contains(words), "{message}");
        }
        world.cluster.fail(None);
        world.settle().await;
    }
}

/// Takes the ten seconds that a call may take.
#[tokio::test]
async fn an_api_server_that_does_not_answer_is_given_up_and_told() {
    let world = World::new();
    world.settle().await;
    world.cluster.hang(Some("statefulsets"));
    let error = world.reconcile().await.unwrap_err().to_string();
    assert!(error.contains("reading statefulsets failed") && error.contains("longer than 10 s"), "{error}");
    assert_eq!(world.condition("Reconciling").1, "ReconcileFailed");
    world.cluster.hang(None);
    world.settle().await;
    assert_ne!(world.condition("Reconciling").1, "ReconcileFailed");
}

#[tokio::test]
async fn what_the_api_server_does_not_keep_is_told_and_not_applied_again_and_again() {
    let world = World::new();
    world.edit("/spec/embedding/model", json!({"image": "registry.example/models/vgg16:1"}));
    world.cluster.drops_from_volumes("image");
    world.settle().await;
    let (status, reason, message) = world.condition("Stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "FieldIgnored"));
    assert!(message.contains("].image of Deployment radiology-embedder"), "{message}");
    assert!(message.contains("spec.embedding.model.claim"), "{message}");
    world.cluster.edit(GATEWAY, "/spec/template/spec/containers/0/image", json!("evil:1"));
    world.reconcile().await.unwrap();
    let writes = world.cluster.take_writes();
    assert!(writes.contains(&"PATCH deployments/radiology-gateway".to_owned()), "{writes:?}");
    world.edit("/spec/embedding/model", json!({"claim": "model"}));
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False");
}

#[tokio::test]
async fn an_object_that_the_api_server_finds_wrong_stalls_with_its_reason_and_holds_up_no_other() {
    let world = World::new();
    world.settle().await;
    world.bring_pods_up();
    world.edit("/spec/gateway/nodePool", json!({"nodeSelector": {"no label": "cpu"}}));
    world.edit("/spec/search/nodePool", json!({"nodeSelector": {"pool": "memory"}}));
    world.cluster.fail(Some(("deployments/radiology-gateway", StatusCode::UNPROCESSABLE_ENTITY)));
    world.reconcile().await.unwrap();
    for condition in ["Stalled", "Ready"] {
        let (_, reason, message) = world.condition(condition);
        assert_eq!(reason, "ObjectRefused", "{condition}");
        for words in
            ["applying Deployment radiology-gateway failed", "nodePool", "tried again within a minute"]
        {
            assert!(message.contains(words), "{message}");
        }
    }
    assert_eq!(world.condition("Ready").0, "False");
    let search = world.cluster.get(SEARCH).unwrap();
    assert_eq!(search["spec"]["template"]["spec"]["nodeSelector"]["pool"], "memory");
    world.cluster.fail(None);
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken_over() {
    let world = World::new();
    let foreign = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "radiology-gateway", "namespace": "imaging"},
        "spec": {"replicas": 1},
    });
    world.cluster.put(GATEWAY, foreign.clone());
    world.reconcile().await.unwrap();
    let (status, reason, message) = world.condition("Stalled");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "NameTaken"));
    assert!(
        message.contains("Deployment radiology-gateway is there and does not belong to this resource"),
        "{message}"
    );
    assert_eq!(world.condition("Ready").0, "False");
    assert_eq!(world.cluster.get(GATEWAY).unwrap()["spec"], foreign["spec"]);
    assert!(world.cluster.get(SEARCH).is_some(), "the others are made");
}

#[tokio::test]
async fn a_paused_resource_is_looked_at_and_left_alone() {
    let world = World::new();
    world.edit("/spec/paused", json!(true));
    world.settle().await;
    assert!(world.backends.topics().is_empty() && world.cluster.get(GATEWAY).is_none());
    let (_, reason, message) = world.condition("TopicsReady");
    assert_eq!(reason, "Paused");
    assert!(message.contains("create topic radiology.imageupload"), "{message}");
}

#[tokio::test]
async fn what_is_no_longer_asked_for_is_deleted() {
    let world = World::new();
    world.edit("/spec/gateway/ingress", json!({"host": "search.example"}));
    world.settle().await;
    let ingress = "/apis/networking.k8s.io/v1/namespaces/imaging/ingresses/radiology-gateway";
    assert!(world.cluster.get(ingress).is_some());
    let mut resource = world.cluster.get(RESOURCE).unwrap();
    resource["spec"]["gateway"].as_object_mut().unwrap().remove("ingress");
    world.cluster.put(RESOURCE, resource);
    world.reconcile().await.unwrap();
    assert!(world.cluster.take_writes().contains(&"DELETE ingresses/radiology-gateway".to_owned()));
    assert!(world.cluster.get(ingress).is_none());
}

#[tokio::test]
async fn enough_images_begin_a_training_and_a_rollback_is_done_once() {
    let world = World::new();
    world.settle().await;
    world.bring_pods_up();
    let mut status = IndexStatus::default();
    status.images.indexed = 20_000;
    *world.backends.status() = status.clone();
    world.settle().await;
    let job = "/apis/batch/v1/namespaces/imaging/jobs/radiology-train-1";
    assert!(world.cluster.get(job).is_some());
    assert_eq!(world.condition("QuantizerReady").1, "Training");
    let mut done = world.cluster.get(job).unwrap();
    done["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    world.cluster.put(job, done);
    status.index.generation = 1;
    status.index.previous_generation = Some(0);
    status.training = serde_json::from_value(
        json!({"generation": 1, "accepted": true, "vectors": 20_000, "recall_at_10": 0.97}),
    )
    .unwrap();
    *world.backends.status() = status;
    world.settle().await;
    let told = world.cluster.get(RESOURCE).unwrap()["status"]["generation"].clone();
    assert_eq!(told, json!({"number": 1, "recall": "0.9700", "previous": 0}));
    world.edit("/spec/quantizer", json!({"rollbackTo": 0}));
    world.backends.take_changes();
    world.settle().await;
    assert_eq!(world.backends.take_changes(), ["roll back to 0"]);
}

#[tokio::test]
async fn a_person_has_a_generation_trained_once_whatever_the_policy_says() {
    let world = World::new();
    world.settle().await;
    world.bring_pods_up();
    let mut status = IndexStatus::default();
    status.images.indexed = 50;
    *world.backends.status() = status;
    world.settle().await;
    let job = |number: u32| format!("/apis/batch/v1/namespaces/imaging/jobs/radiology-train-{number}");
    assert!(world.cluster.get(&job(1)).is_none());
    let finish = |number: u32, how: &str| {
        let mut done = world.cluster.get(&job(number)).unwrap();
        done["status"] = json!({"conditions": [{"type": how, "status": "True"}]});
        world.cluster.put(&job(number), done);
    };
    let ask = |number: &str| {
        world.edit("/metadata/annotations", json!({"medindex.dev/train-generation": number}));
    };
    ask("1");
    world.settle().await;
    finish(1, "Failed");
    world.settle().await;
    assert_eq!(world.condition("QuantizerReady").1, "TrainingFailed");
    assert!(world.cluster.get(&job(2)).is_none());
    // Not while the one before runs, and again after a failure.
    ask("2");
    world.settle().await;
    assert!(world.cluster.get(&job(2)).is_some() && world.cluster.get(&job(1)).is_none());
    ask("3");
    world.settle().await;
    assert!(world.cluster.get(&job(3)).is_none());
    finish(2, "Complete");
    world.settle().await;
    assert!(world.cluster.get(&job(3)).is_some());
    finish(3, "Complete");
    world.settle().await;
    assert!(world.cluster.get(&job(4)).is_none());
    ask("soon");
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert!(reason == "InvalidSpec" && message.contains("\"soon\" is no number"), "{reason}: {message}");
}
