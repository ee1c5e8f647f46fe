//! Pods that have a node and do not begin: what they mount and is not there.
//!
//! The kubelet tells that in events alone, which the operator has no right to read; the status of the container says no more than
//! `ContainerCreating`. So every Secret and ConfigMap that the volumes of such a pod name is looked for, by name. A claim that is missing is
//! no matter of this: without it a pod gets no node ([`super::pod_state`]).
//!
//! Failure mode: what cannot be looked for, for lack of rights say, is taken to be there, and the log says so; nothing else waits for it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use super::call::bounded;
use super::objects::{Live, POD};
use super::pod_state::{condition, containers};

/// So many seconds a pod may take until its containers begin.
const PATIENCE: i64 = 60;

/// What holds up a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// It does not begin for lack of these; of nothing, where all that can be looked for is there.
    Lacks(Vec<String>),
    /// Its program runs and says why it is not ready ([`super::waiting`]).
    Says(String),
}

/// Pods that take long, by name, each with what holds it up.
pub type Stuck = BTreeMap<String, Held>;

/// The kind of an object that fills a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Secret,
    ConfigMap,
}

/// An object that a volume cannot be mounted without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mounted {
    source: Source,
    name: String,
    /// Entries that have to be in it.
    entries: Vec<String>,
}

/// The pods that take too long, and what they lack.
pub async fn stuck(client: &Client, namespace: &str, live: &[Live], now: &Time) -> Stuck {
    let pods = live.iter().filter(|live| live.kind == POD && is_late(&live.object.data, now));
    let late: Vec<(&str, Vec<Mounted>)> = pods.map(|pod| (pod.name(), mounted(&pod.object.data))).collect();
    // Pods of a component mount the same.
    let distinct: BTreeSet<&Mounted> = late.iter().flat_map(|(_, objects)| objects).collect();
    let mut lacking = BTreeMap::new();
    for object in distinct {
        if let Some(lacks) = object.lacks(client, namespace).await {
            lacking.insert(object, lacks);
        }
    }
    let mut stuck = Stuck::new();
    for (name, objects) in &late {
        let lacks = objects.iter().filter_map(|object| lacking.get(object).cloned()).collect();
        stuck.insert((*name).to_owned(), Held::Lacks(lacks));
    }
    stuck
}

/// Whether a pod has had a node for long and a container of it waits to be created.
fn is_late(pod: &Value, now: &Time) -> bool {
    let is_creating = |container: &Value| {
        let reason = container["state"]["waiting"]["reason"].as_str();
        matches!(reason, Some("ContainerCreating" | "PodInitializing"))
    };
    let seconds = has_node_since(pod).map_or(0, |since| now.0.as_second() - since.0.as_second());
    seconds >= PATIENCE && containers(pod).any(is_creating)
}

fn has_node_since(pod: &Value) -> Option<Time> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled["status"] == "True")?;
    serde_json::from_value(scheduled["lastTransitionTime"].clone()).ok()
}

/// What the volumes of a pod are filled from.
fn mounted(pod: &Value) -> Vec<Mounted> {
    let mut found = Vec::new();
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let projected = volume["projected"]["sources"].as_array().into_iter().flatten();
        for part in std::iter::once(volume).chain(projected) {
            found.extend(Mounted::of(Source::Secret, &part["secret"]));
            found.extend(Mounted::of(Source::ConfigMap, &part["configMap"]));
        }
    }
    found
}

impl Mounted {
    /// What a volume says of its object; nothing where there is none, or it may be missing.
    fn of(source: Source, volume: &Value) -> Option<Self> {
        // A volume of a Secret calls its name `secretName`, every other one `name`.
        let name = volume["secretName"].as_str().or_else(|| volume["name"].as_str())?.to_owned();
        if volume["optional"].as_bool().unwrap_or(false) {
            return None;
        }
        let items = volume["items"].as_array().into_iter().flatten();
        let entries = items.filter_map(|item| item["key"].as_str().map(str::to_owned)).collect();
        Some(Self { source, name, entries })
    }

    /// What is missing, and what to do.
    async fn lacks(&self, client: &Client, namespace: &str) -> Option<String> {
        let Self { source, name, entries } = self;
        let resource = match source {
            Source::Secret => ApiResource::erase::<Secret>(&()),
            Source::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        match bounded(api.get_opt(name)).await {
            Ok(None) => {
                Some(format!("the {source:?} {name:?} is not in namespace {namespace}: create it there"))
            }
            Ok(Some(object)) => {
                let absent: Vec<&str> = entries
                    .iter()
                    .map(String::as_str)
                    .filter(|entry| !has_entry(&object.data, entry))
                    .collect();
                let names = absent.join(", ");
                (!absent.is_empty()).then(|| format!("the {source:?} {name:?} has no entry {names}: add it"))
            }
            Err(error) => {
                tracing::warn!(
                    object = name.as_str(),
                    namespace,
                    %error,
                    "whether what a pod mounts is there cannot be found out"
                );
                None
            }
        }
    }
}

/// Whether a Secret or ConfigMap has an entry.
fn has_entry(object: &Value, entry: &str) -> bool {
    [&object["data"], &object["binaryData"]].into_iter().any(|entries| entries.get(entry).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(time: &str) -> Time {
        serde_json::from_value(json!(time)).unwrap()
    }

    #[test]
    fn a_pod_is_late_a_minute_after_it_got_its_node_and_only_while_it_is_created() {
        let pod = |scheduled: &str, reason: &str| {
            json!({"status": {
                "conditions": [
                    {"type": "PodScheduled", "status": scheduled, "lastTransitionTime": "2026-01-01T00:00:00Z"},
                ],
                "containerStatuses": [{"state": {"waiting": {"reason": reason}}}],
            }})
        };
        let creating = pod("True", "ContainerCreating");
        assert!(!is_late(&creating, &at("2026-01-01T00:00:59Z")));
        assert!(is_late(&creating, &at("2026-01-01T00:01:00Z")));
        assert!(is_late(&pod("True", "PodInitializing"), &at("2026-01-01T00:01:00Z")));
        assert!(!is_late(&pod("False", "ContainerCreating"), &at("2026-01-01T01:00:00Z")));
        assert!(!is_late(&pod("True", "ErrImagePull"), &at("2026-01-01T01:00:00Z")));
        assert!(!is_late(&json!({}), &at("2026-01-01T01:00:00Z")));
    }

    #[test]
    fn volumes_name_their_objects_and_entries_but_for_those_that_may_be_missing() {
        let pod = json!({"spec": {"volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "login", "secret": {"secretName": "kafka", "items": [{"key": "user", "path": "user"}]}},
            {"name": "rules", "configMap": {"name": "rules"}},
            {"name": "perhaps", "secret": {"secretName": "perhaps", "optional": true}},
            {"name": "all", "projected": {"sources": [
                {"secret": {"name": "hbase", "items": [{"key": "tls.crt", "path": "tls.crt"}]}},
                {"configMap": {"name": "perhaps", "optional": true}},
            ]}},
        ]}});
        let wanted = |source, name: &str, entries: &[&str]| Mounted {
            source,
            name: name.to_owned(),
            entries: entries.iter().map(|entry| (*entry).to_owned()).collect(),
        };
        let expected = [
            wanted(Source::Secret, "kafka", &["user"]),
            wanted(Source::ConfigMap, "rules", &[]),
            wanted(Source::Secret, "hbase", &["tls.crt"]),
        ];
        assert_eq!(mounted(&pod), expected);
    }
}
