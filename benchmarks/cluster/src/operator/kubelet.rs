//! Stands in for controllers, scheduler and nodes: says of every Deployment and StatefulSet that its pods are ready.

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Statuses written at the same time.
const AT_ONCE: usize = 16;

/// Until the program ends.
pub(super) async fn run(client: Client) {
    let deployments = follow(&client, |deployment: &Deployment| {
        (deployment.spec.as_ref().and_then(|spec| spec.replicas), &deployment.status)
    });
    let stateful_sets =
        follow(&client, |set: &StatefulSet| (set.spec.as_ref().and_then(|spec| spec.replicas), &set.status));
    futures::join!(deployments, stateful_sets);
}

async fn follow<K, S>(client: &Client, look: impl Fn(&K) -> (Option<i32>, &Option<S>))
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
    S: serde::Serialize,
{
    let changed = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let wanted = changed.applied_objects().filter_map(|object| {
        let object = object.ok();
        let due = object.and_then(|object| {
            let (replicas, status) = look(&object);
            let wanted = status_of(replicas.unwrap_or(1), object.meta().generation);
            let known = serde_json::to_value(status).unwrap_or_default();
            (known["observedGeneration"] != wanted["observedGeneration"]).then_some((object, wanted))
        });
        std::future::ready(due)
    });
    wanted
        .for_each_concurrent(AT_ONCE, |(object, status)| async move {
            let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
            let patch = Patch::Merge(json!({"status": status}));
            if let Err(error) = api.patch_status(&object.name_any(), &PatchParams::default(), &patch).await {
                eprintln!("the status of {} is not written: {error}", object.name_any());
            }
        })
        .await;
}

fn status_of(replicas: i32, generation: Option<i64>) -> Value {
    json!({
        "replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas,
        "observedGeneration": generation,
    })
}
