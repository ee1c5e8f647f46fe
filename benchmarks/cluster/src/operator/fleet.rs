//! The resources that the operator looks after in the benchmark.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, CustomResourceExt as _, ResourceExt as _};
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::definition::definition;
use medindex_operator::names::made_selector;
use medindex_operator::reconcile::objects::{KINDS, Kind};
use serde_json::{Value, json};

use crate::error::BenchError;

/// Requests to the API server that are open at the same time.
const AT_ONCE: usize = 16;
const MANAGER: &str = "medindex-bench";
const LOOK: Duration = Duration::from_millis(500);
/// All resources are ready within this.
const PATIENCE: Duration = Duration::from_mins(20);

/// Resources spread over namespaces.
pub(super) struct Fleet {
    client: Client,
    resources: usize,
    namespaces: usize,
}

impl Fleet {
    pub(super) fn new(client: Client, resources: usize, namespaces: usize) -> Self {
        Self { client, resources, namespaces: namespaces.max(1) }
    }

    /// The resource type, the namespaces, and the secret that each resource names.
    pub(super) async fn prepare(&self) -> Result<(), BenchError> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let (apply, wanted) = (PatchParams::apply(MANAGER).force(), definition());
        definitions.patch(MedicalImageIndex::crd_name(), &apply, &Patch::Apply(&wanted)).await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for number in 0..self.namespaces {
            let name = namespace(number);
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            namespaces.patch(&name, &apply, &Patch::Apply(object)).await?;
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &name);
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "catalog"},
                "stringData": {"user": "bench", "password": "bench"},
            });
            secrets.patch("catalog", &apply, &Patch::Apply(secret)).await?;
        }
        let deadline = Instant::now() + PATIENCE;
        while self.all().list(&ListParams::default().limit(1)).await.is_err() {
            if Instant::now() > deadline {
                return Err(BenchError::Wait("the resource type"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    pub(super) async fn create(&self) -> Result<(), BenchError> {
        self.each(|api, number| async move {
            let resource: MedicalImageIndex = serde_json::from_value(resource(number))?;
            api.create(&PostParams::default(), &resource).await?;
            Ok(())
        })
        .await
    }

    pub(super) async fn scale_gateways(&self, replicas: i32) -> Result<(), BenchError> {
        self.each(|api, number| async move {
            let change = Patch::Merge(json!({"spec": {"gateway": {"replicas": replicas}}}));
            api.patch(&name(number), &PatchParams::default(), &change).await?;
            Ok(())
        })
        .await
    }

    /// Until every resource is ready in this generation of its spec. Watched as a user's tools would: a look at all of them again and again would be
    /// most of what the API server does.
    pub(super) async fn wait_until_ready(&self, generation: i64) -> Result<(), BenchError> {
        let mut ready = BTreeSet::new();
        let watching = async {
            let changed = watcher(self.all(), watcher::Config::default()).default_backoff().applied_objects();
            let mut changed = pin!(changed);
            while ready.len() < self.resources {
                match changed.next().await {
                    Some(Ok(resource)) if is_ready(&resource, generation) => {
                        ready.insert(resource.name_any())
                    }
                    Some(Ok(resource)) => ready.remove(&resource.name_any()),
                    Some(Err(_)) => continue,
                    None => return Err(BenchError::Wait("the watch of the resources, which ended")),
                };
            }
            Ok(())
        };
        if let Ok(watched) = tokio::time::timeout(PATIENCE, watching).await {
            return watched;
        }
        let resources = self.all().list(&ListParams::default()).await?;
        let resource = resources.items.iter().find(|resource| !is_ready(resource, generation));
        let found = resource.map(|resource| format!("{:?}", resource.status));
        Err(BenchError::Check(format!("{} are ready; one that is not: {found:?}", ready.len())))
    }

    /// Objects that the operator made.
    pub(super) async fn count_objects(&self) -> Result<usize, BenchError> {
        let mut count = 0;
        for kind in KINDS.into_iter().filter(Kind::is_made) {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.resource());
            let of_operator = ListParams::default().labels(&made_selector());
            // A type of another operator need not be there.
            count += api.list_metadata(&of_operator).await.map_or(0, |found| found.items.len());
        }
        Ok(count)
    }

    fn all(&self) -> Api<MedicalImageIndex> {
        Api::all(self.client.clone())
    }

    async fn each<W>(&self, work: impl Fn(Api<MedicalImageIndex>, usize) -> W) -> Result<(), BenchError>
    where
        W: Future<Output = Result<(), BenchError>>,
    {
        let begin = |number| {
            let api = Api::namespaced(self.client.clone(), &namespace(number % self.namespaces));
            work(api, number)
        };
        stream::iter(0..self.resources).map(begin).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(())
    }
}

fn namespace(number: usize) -> String {
    format!("bench-{number}")
}

fn name(number: usize) -> String {
    format!("index-{number}")
}

/// What a hospital would write, with topics and tables of its own.
fn resource(number: usize) -> Value {
    json!({
        "apiVersion": "medindex.dev/v1alpha1",
        "kind": "MedicalImageIndex",
        "metadata": {"name": name(number)},
        "spec": {
            "kafka": {"bootstrapServers": ["kafka:9092"]},
            "hbase": {"thriftServers": ["hbase:9090"], "thrift2Servers": ["hbase:9091"]},
            "catalog": {"server": "mariadb:3306", "database": format!("index_{number}"), "loginSecret": "catalog"},
            "cache": {"servers": ["redis:6379"]},
            "embedding": {"model": {"claim": "model"}},
            "search": {"shards": 3, "replicas": 2},
            "gateway": {"replicas": 2},
        },
    })
}

fn is_ready(resource: &MedicalImageIndex, generation: i64) -> bool {
    let observed = resource.status.as_ref().and_then(|status| status.observed_generation);
    observed >= Some(generation)
        && resource.condition("Ready").is_some_and(|condition| condition.status == "True")
}
