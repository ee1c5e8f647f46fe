//! The kinds of objects that the operator makes, and how a live object is compared with what it shall be.

use std::collections::BTreeMap;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use crate::quantity;

/// A kind that the operator makes: group, version, kind, plural.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    /// As in `kind:`.
    pub kind: &'static str,
    plural: &'static str,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural }
}

/// `PodMonitor`, where Prometheus' operator is installed.
pub const POD_MONITOR: Kind = kind("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors");
/// `ScaledObject`, where KEDA is installed.
pub const SCALED_OBJECT: Kind = kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");

/// How KEDA signs in at Kafka.
pub const TRIGGER_AUTHENTICATION: Kind =
    kind("keda.sh", "v1alpha1", "TriggerAuthentication", "triggerauthentications");

/// What search pods have their disks by. Made by their StatefulSet, and only grown here.
pub const CLAIM: Kind = kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");

/// Made by others; they are only read here.
pub const POD: Kind = kind("", "v1", "Pod", "pods");

/// All kinds, those that others may lack last.
pub const KINDS: [Kind; 14] = [
    kind("", "v1", "ServiceAccount", "serviceaccounts"),
    kind("", "v1", "ConfigMap", "configmaps"),
    kind("", "v1", "Service", "services"),
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    kind("apps", "v1", "Deployment", "deployments"),
    kind("apps", "v1", "StatefulSet", "statefulsets"),
    kind("batch", "v1", "Job", "jobs"),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses"),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    POD,
    POD_MONITOR,
    SCALED_OBJECT,
    TRIGGER_AUTHENTICATION,
];

impl Kind {
    /// How the API server is asked for it.
    pub fn resource(&self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// The objects of it in a namespace.
    pub fn objects(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }

    /// Whether the operator makes objects of it; pods are made by others.
    pub fn is_made(&self) -> bool {
        *self != POD
    }

    /// Whether the type belongs to somebody else's operator, which need not be installed.
    pub fn may_be_missing(&self) -> bool {
        [POD_MONITOR, SCALED_OBJECT, TRIGGER_AUTHENTICATION].contains(self)
    }

    /// The kind of an object as JSON.
    pub fn of(object: &Value) -> Option<Self> {
        KINDS.into_iter().find(|kind| {
            object["kind"] == kind.kind && object["apiVersion"] == kind.resource().api_version.as_str()
        })
    }
}

/// An object as it is in the cluster.
#[derive(Debug, Clone)]
pub struct Live {
    /// Its kind.
    pub kind: Kind,
    /// The object.
    pub object: DynamicObject,
}

impl Live {
    /// Its name.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether it is the object that `object` describes: of its kind and name.
    pub fn is(&self, object: &Value) -> bool {
        Kind::of(object) == Some(self.kind) && object["metadata"]["name"] == self.name()
    }

    /// Whether it has all of these labels.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = self.object.metadata.labels.as_ref();
        labels.iter().all(|(key, value)| found.is_some_and(|found| found.get(key) == Some(value)))
    }

    /// The whole object as JSON, for comparison.
    pub fn json(&self) -> Value {
        let mut json = self.object.data.clone();
        if let Ok(metadata) = serde_json::to_value(&self.object.metadata) {
            json["metadata"] = metadata;
        }
        json
    }
}

/// Whether everything of `desired` is in `live`: then applying it would change nothing.
pub fn holds(live: &Value, desired: &Value) -> bool {
    differences(live, desired).is_empty()
}

/// Where `live` lacks something of `desired`, as `spec.replicas`. The API server adds defaults, and writes quantities in a form of its own.
pub fn differences(live: &Value, desired: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(live, desired, "", &mut found);
    found
}

fn compare(live: &Value, desired: &Value, path: &str, found: &mut Vec<String>) {
    let inner = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            for (field, value) in desired {
                match live.get(field) {
                    Some(known) => compare(known, value, &inner(field), found),
                    // An object knows its type by where it was asked for.
                    None if matches!(field.as_str(), "apiVersion" | "kind") || is_empty(value) => {}
                    None => found.push(inner(field)),
                }
            }
        }
        (Value::Array(live), Value::Array(desired)) if live.len() == desired.len() => {
            for (place, (live, desired)) in live.iter().zip(desired).enumerate() {
                compare(live, desired, &format!("{path}[{place}]"), found);
            }
        }
        (live, desired) if is_same(live, desired) => {}
        _ => found.push(path.to_owned()),
    }
}

fn is_same(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::String(live), Value::String(desired)) => {
            live == desired
                || quantity::parse(desired).is_some_and(|value| quantity::parse(live) == Some(value))
        }
        (live, desired) => live == desired,
    }
}

/// The API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Bool(value) => !value,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_server_are_no_difference_and_changed_fields_are() {
        let desired = json!({"apiVersion": "v1", "kind": "Service", "spec": {
            "ports": [{"port": 80}], "limits": {"cpu": "1000m"}, "empty": {}, "suspend": false,
        }});
        let live = json!({"spec": {
            "ports": [{"port": 80, "protocol": "TCP"}], "limits": {"cpu": "1"}, "clusterIP": "10.0.0.1",
        }});
        assert!(holds(&live, &desired));
        for (pointer, value) in [
            ("/spec/ports", json!([{"port": 81}])),
            ("/spec/ports", json!([{"port": 80}, {"port": 81}])),
            ("/spec/limits/cpu", json!("2")),
            ("/spec/suspend", json!(true)),
        ] {
            let mut other = desired.clone();
            *other.pointer_mut(pointer).unwrap() = value;
            assert!(!holds(&live, &other), "{other}");
        }
        let mut other = desired;
        *other.pointer_mut("/spec/ports/0/port").unwrap() = json!(81);
        *other.pointer_mut("/spec/limits/cpu").unwrap() = json!("2");
        assert_eq!(differences(&live, &other), ["spec.limits.cpu", "spec.ports[0].port"]);
    }

    #[test]
    fn every_kind_is_found_by_its_objects() {
        for known in KINDS {
            let object = json!({"apiVersion": known.resource().api_version, "kind": known.kind});
            assert_eq!(Kind::of(&object), Some(known));
        }
        assert_eq!(Kind::of(&json!({"apiVersion": "v1", "kind": "Secret"})), None);
    }
}
