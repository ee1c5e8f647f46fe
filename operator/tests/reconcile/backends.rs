//! Backends that cannot be reached or are not as they shall be: what is told, when it is tried again, and that other indexes go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use kube::runtime::controller::Action;
use medindex_hbase_admin::{HbaseAdminError, TableDescription, TableName, TableState};
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::external::simulated::SimulatedBackends;
use medindex_operator::external::tables::TableChange;
use medindex_operator::external::told::Told;
use medindex_operator::external::topics::{ObservedTopic, TopicChange};
use medindex_operator::external::{Access, Backends, ExternalError, IndexStatus};
use medindex_operator::reconcile::{Context, ReconcileError, reconcile};
use serde_json::json;

use crate::cut::FailsAt;
use crate::{CATALOG, GATEWAY, RESOURCE, SEARCH, World, sample};

/// Another index, in a namespace and with backends of its own.
const NEIGHBOUR: &str = "/apis/medindex.dev/v1alpha1/namespaces/wards/medicalimageindexes/cardiology";
const KAFKA: &str = "kafka.kafka:9092";
const HBASE: &str = "hbase-thrift2.hbase:9090";

/// Backends of which those at some addresses cannot be reached.
#[derive(Default)]
struct PartlyAway {
    reached: SimulatedBackends,
    away: Mutex<BTreeSet<&'static str>>,
}

impl PartlyAway {
    fn is_away(&self, address: &str) -> bool {
        self.away.lock().unwrap().contains(address)
    }

    /// A Kafka that does not answer.
    fn kafka(&self, access: &Access) -> Result<&dyn Backends, ExternalError> {
        if self.is_away(&access.kafka.servers) {
            let (action, servers) = ("listing topics".to_owned(), access.kafka.servers.clone());
            return Err(ExternalError::TimeOut { action, servers, within: Duration::from_secs(30) });
        }
        Ok(&self.reached)
    }

    /// An HBase that refuses connections.
    fn hbase(&self, access: &Access) -> Result<&dyn Backends, ExternalError> {
        let address = access.hbase.join(",");
        if self.is_away(&address) {
            let source = io::Error::from(io::ErrorKind::ConnectionRefused);
            return Err(HbaseAdminError::Connect { address, source }.into());
        }
        Ok(&self.reached)
    }
}

#[async_trait]
impl Backends for PartlyAway {
    async fn topics(
        &self,
        access: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        self.kafka(access)?.topics(access, names).await
    }

    async fn change_topic(&self, access: &Access, change: &TopicChange) -> Result<(), ExternalError> {
        self.kafka(access)?.change_topic(access, change).await
    }

    async fn delete_topics(&self, access: &Access, names: &[String]) -> Result<(), ExternalError> {
        self.kafka(access)?.delete_topics(access, names).await
    }

    async fn tables(
        &self,
        access: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError> {
        self.hbase(access)?.tables(access, tables).await
    }

    async fn change_table(&self, access: &Access, change: &TableChange) -> Result<(), ExternalError> {
        self.hbase(access)?.change_table(access, change).await
    }

    async fn delete_tables(&self, access: &Access, names: &[TableName]) -> Result<(), ExternalError> {
        self.hbase(access)?.delete_tables(access, names).await
    }

    async fn index_status(&self, access: &Access) -> Result<IndexStatus, ExternalError> {
        self.reached.index_status(access).await
    }

    async fn unreadiness(&self, pod: &str) -> Result<Option<String>, ExternalError> {
        self.reached.unreadiness(pod).await
    }

    async fn roll_back(&self, access: &Access, to: i64) -> Result<i64, ExternalError> {
        self.reached.roll_back(access, to).await
    }
}

fn with_neighbour() -> World {
    let world = World::new();
    let mut neighbour = sample::with(&[
        ("/spec/kafka/bootstrapServers", json!(["kafka-2:9092"])),
        ("/spec/hbase/thrift2Servers", json!(["hbase-2:9090"])),
    ]);
    neighbour["metadata"] = json!({
        "name": "cardiology", "namespace": "wards", "uid": "22222222-2222-3333-4444-555555555555", "generation": 1,
        "resourceVersion": "1", "creationTimestamp": "2026-01-03T00:00:00Z",
    });
    world.cluster.put(NEIGHBOUR, neighbour);
    let secret = world.cluster.get(CATALOG).unwrap();
    world.cluster.put("/api/v1/namespaces/wards/secrets/radiology-catalog", secret);
    world
}

/// One operator reconciles both again and again, while their pods come up; what came of the sample at last. The neighbour's turn always comes.
async fn live(world: &World, backends: &Arc<PartlyAway>) -> Result<Action, ReconcileError> {
    let read = |path: &str| -> MedicalImageIndex {
        serde_json::from_value(world.cluster.get(path).unwrap()).unwrap()
    };
    let mut last = Ok(Action::await_change());
    for round in 0..6 {
        if round == 3 {
            world.bring_pods_up();
        }
        let context = world.context(vec![read(RESOURCE), read(NEIGHBOUR)]);
        let context = Arc::new(Context { backends: backends.clone(), ..context });
        last = reconcile(Arc::new(read(RESOURCE)), Arc::clone(&context)).await;
        reconcile(Arc::new(read(NEIGHBOUR)), context).await.unwrap();
    }
    last
}

fn assert_neighbour_is_ready(world: &World) {
    let (status, reason, message) = world.condition_of(NEIGHBOUR, "Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Ready"), "{message}");
    assert_eq!(world.condition_of(NEIGHBOUR, "TopicsReady").1, "TopicsAsWanted");
    assert_eq!(world.condition_of(NEIGHBOUR, "TableReady").1, "TablesAsWanted");
    assert_eq!(world.condition_of(NEIGHBOUR, "Reconciling").1, "UpToDate");
}

#[tokio::test]
async fn a_backend_that_is_away_is_named_and_tried_again_and_the_neighbour_becomes_ready() {
    for (address, condition, reason) in
        [(KAFKA, "TopicsReady", "KafkaUnavailable"), (HBASE, "TableReady", "HbaseUnavailable")]
    {
        let (world, backends) = (with_neighbour(), Arc::new(PartlyAway::default()));
        backends.away.lock().unwrap().insert(address);
        let next = live(&world, &backends).await.unwrap();
        assert_ne!(next, Action::await_change(), "{reason}: it is looked at again");
        let (status, told, message) = world.condition(condition);
        assert_eq!((status.as_str(), told.as_str()), ("False", reason), "{message}");
        assert!(message.contains(address) && message.contains("tried again within a minute"), "{message}");
        let (status, told, message) = world.condition("Ready");
        assert_eq!((status.as_str(), told.as_str()), ("False", reason), "{message}");
        assert!(message.starts_with(&format!("{condition}: ")), "{message}");
        assert_neighbour_is_ready(&world);
        backends.away.lock().unwrap().clear();
        live(&world, &backends).await.unwrap();
        assert_eq!(world.condition("Ready").0, "True", "{:?}", world.condition("Ready"));
    }
}

/// What is done to an index so that it is not well.
type Trouble = fn(&World);

#[tokio::test]
async fn whatever_is_wrong_with_an_index_its_neighbour_becomes_ready() {
    let cases: [(Trouble, &str, &str); 4] = [
        (|world| world.cluster.remove(CATALOG), "Stalled", "SecretMissing"),
        (|world| world.edit("/spec/search/disk", json!("much")), "Stalled", "InvalidSpec"),
        (
            |world| world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z")),
            "Stalled",
            "CleanupBlocked",
        ),
        (
            |world| world.cluster.fail(Some(("namespaces/imaging/statefulsets", StatusCode::FORBIDDEN))),
            "Reconciling",
            "ReconcileFailed",
        ),
    ];
    for (spoil, condition, reason) in cases {
        let (world, backends) = (with_neighbour(), Arc::new(PartlyAway::default()));
        if reason == "CleanupBlocked" {
            backends.away.lock().unwrap().insert(HBASE);
            world.edit("/spec/deletionPolicy", json!("Delete"));
            world.edit("/metadata/finalizers", json!(["medindex.dev/backends"]));
        }
        spoil(&world);
        let outcome = live(&world, &backends).await;
        assert_eq!(outcome.is_err(), ["CleanupBlocked", "ReconcileFailed"].contains(&reason), "{outcome:?}");
        assert_eq!(world.condition(condition).1, reason);
        assert_neighbour_is_ready(&world);
    }
}

/// A wrong password, say. What runs goes on, and can be changed.
#[tokio::test]
async fn a_kafka_that_refuses_is_told_with_the_field_and_holds_up_nothing_else() {
    let world = World::new();
    world.settle().await;
    world.backends.kafka_refuses.store(true, Ordering::Relaxed);
    world.edit("/spec/gateway/replicas", json!(7));
    world.settle().await;
    for condition in ["TopicsReady", "Ready"] {
        let (_, reason, message) = world.condition(condition);
        assert_eq!(reason, "KafkaRefuses", "{condition}");
        for words in ["invalid credentials", "mend spec.kafka.loginSecret", "tried again within a minute"] {
            assert!(message.contains(words), "{message}");
        }
    }
    assert_eq!(world.condition("Stalled").0, "False");
    assert_eq!(world.cluster.get(GATEWAY).unwrap()["spec"]["replicas"], 7);
    let told = world.cluster.take_events();
    assert_eq!(told.iter().filter(|(reason, _)| reason == "KafkaRefuses").count(), 1, "{told:?}");
    world.backends.kafka_refuses.store(false, Ordering::Relaxed);
    world.settle().await;
    assert_eq!(world.condition("TopicsReady").0, "True");
}

fn invalid_setting() -> ExternalError {
    let (action, servers) = ("create topic radiology.imageupload".to_owned(), KAFKA.to_owned());
    let (reason, remedy) = ("Broker: Configuration is invalid".to_owned(), "mend spec.kafka.topicSettings");
    ExternalError::KafkaRefusal { action, servers, reason, remedy }
}

#[tokio::test]
async fn a_topic_that_is_refused_keeps_no_other_from_being_made() {
    let world = World::new();
    let context = world.context(vec![world.resource()]);
    let backends =
        Arc::new(Told { backends: world.backends.clone(), observer: FailsAt::change(0, invalid_setting) });
    let context = Context { backends, ..context };
    reconcile(Arc::new(world.resource()), Arc::new(context)).await.unwrap();
    assert_eq!(world.backends.topics().len(), 3);
    let (status, reason, message) = world.condition("TopicsReady");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "KafkaRefuses"), "{message}");
    world.settle().await;
    assert_eq!(world.condition("TopicsReady").0, "True");
}

#[tokio::test]
async fn an_hbase_that_does_not_answer_is_named_and_the_rest_goes_on() {
    let world = World::new();
    world.backends.hbase_is_away.store(true, Ordering::Relaxed);
    world.settle().await;
    let (status, reason, message) = world.condition("TableReady");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "HbaseUnavailable"));
    assert!(message.contains(HBASE) && message.contains("tried again within a minute"), "{message}");
    assert_eq!(world.condition("TopicsReady").0, "True");
    assert_eq!(world.condition("Stalled").0, "False");
    assert!(world.cluster.get(SEARCH).is_some());
    world.backends.hbase_is_away.store(false, Ordering::Relaxed);
    world.settle().await;
    assert_eq!(world.condition("TableReady").0, "True");
}

#[tokio::test]
async fn a_table_that_cannot_be_put_right_stalls_and_stops_the_workloads_from_changing() {
    let world = World::new();
    world.settle().await;
    world.backends.tables().get_mut("radiology:image_info").unwrap().regions.remove(4);
    world.edit("/spec/gateway/replicas", json!(7));
    world.settle().await;
    for condition in ["Stalled", "TableReady", "Ready"] {
        let (_, reason, message) = world.condition(condition);
        assert_eq!(reason, "TableIrreparable", "{condition}");
        assert!(message.contains("split 'radiology:image_info'"), "{message}");
    }
    assert_eq!(world.cluster.get(GATEWAY).unwrap()["spec"]["replicas"], 2);
}

#[tokio::test]
async fn fewer_copies_than_were_asked_for_degrade_and_stop_nothing() {
    let world = World::new();
    world.settle().await;
    world.bring_pods_up();
    world.backends.topics().get_mut("radiology.imageupload").unwrap().replication = 1;
    world.settle().await;
    let (status, reason, message) = world.condition("Degraded");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Degraded"));
    assert!(
        message.contains("topic radiology.imageupload has 1 copies, not 3")
            && message.contains("kafka-reassign-partitions.sh"),
        "{message}"
    );
    assert_eq!(world.condition("Ready").0, "True");
}
