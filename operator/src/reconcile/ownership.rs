//! Which fields of an object the operator set and no longer wants. Pure.
//!
//! Server-side apply removes a field that its manager leaves out, so an object has to be applied when there is one; comparing values alone
//! does not see it, because what others add and the API server fills in is no difference. Who set what stands in `metadata.managedFields`
//! (Kubernetes documentation, "Server-Side Apply", section "Field management"; form `FieldsV1`).

use serde_json::{Map, Value};

use crate::names::MANAGER;

/// Kinds whose selectors and node selectors are atomic: one manager has the whole map, and what another adds there is taken away with it.
const WITH_ATOMIC_MAPS: [&str; 4] = ["Service", "NetworkPolicy", "Deployment", "StatefulSet"];

/// Where `live` has what the operator set before and `desired` no longer names, as `spec.template.spec.nodeSelector`.
pub fn abandoned(live: &Value, desired: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for fields in
        entries(live).filter(|entry| is_ours(entry)).filter_map(|entry| entry["fieldsV1"].as_object())
    {
        walk(fields, desired, "", &mut found);
    }
    found
}

/// Whether somebody else, an autoscaler say, has set the field at this path of `FieldsV1`, as `/f:spec/f:replicas`.
pub fn is_set_by_others(live: &Value, path: &str) -> bool {
    entries(live).any(|entry| !is_ours(entry) && entry["fieldsV1"].pointer(path).is_some())
}

fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live["metadata"]["managedFields"].as_array().into_iter().flatten()
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == MANAGER && entry["operation"] == "Apply" && entry.get("subresource").is_none()
}

fn walk(fields: &Map<String, Value>, desired: &Value, path: &str, found: &mut Vec<String>) {
    for (key, inner) in fields {
        let Some((kind, rest)) = key.split_once(':') else { continue };
        let (wanted, place) = match kind {
            "f" => {
                (desired.get(rest), if path.is_empty() { rest.to_owned() } else { format!("{path}.{rest}") })
            }
            "k" => (element(desired, rest), format!("{path}[{rest}]")),
            "v" => (value(desired, rest), format!("{path}[{rest}]")),
            _ => continue,
        };
        match (wanted, inner.as_object()) {
            (None, _) => found.push(place),
            (Some(wanted), Some(inner)) => walk(inner, wanted, &place, found),
            (Some(_), None) => {}
        }
    }
}

/// The element of a list whose keys are these. What it leaves to the server's defaults, a port's protocol say, is taken for the same.
fn element<'a>(list: &'a Value, keys: &str) -> Option<&'a Value> {
    let keys: Map<String, Value> = serde_json::from_str(keys).ok()?;
    let is_it = |element: &&Value| {
        keys.iter().all(|(key, value)| element.get(key).is_none_or(|known| known == value))
    };
    list.as_array()?.iter().find(is_it)
}

fn value<'a>(list: &'a Value, value: &str) -> Option<&'a Value> {
    let value: Value = serde_json::from_str(value).ok()?;
    list.as_array()?.iter().find(|element| **element == value)
}

/// Where somebody added to a selector of `live`: pods that belong to it would be missed, or find no node.
pub fn added_to_selectors(live: &Value, desired: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if desired["kind"].as_str().is_some_and(|kind| WITH_ATOMIC_MAPS.contains(&kind)) {
        compare_selectors(live, desired, "", &mut found);
    }
    found
}

fn compare_selectors(live: &Value, desired: &Value, path: &str, found: &mut Vec<String>) {
    let Some(fields) = desired.as_object() else { return };
    for (field, wanted) in fields {
        let (Some(live), Some(wanted_fields)) = (live.get(field), wanted.as_object()) else { continue };
        let place = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
        let is_selector = matches!(field.as_str(), "selector" | "matchLabels" | "nodeSelector");
        if is_selector && wanted_fields.values().all(Value::is_string) {
            let added =
                live.as_object().into_iter().flatten().find(|(key, _)| !wanted_fields.contains_key(*key));
            found.extend(added.map(|(key, _)| format!("{place}.{key}")));
        } else {
            compare_selectors(live, wanted, &place, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn live(fields: &Value) -> Value {
        json!({"metadata": {"managedFields": [
            {"manager": MANAGER, "operation": "Apply", "fieldsV1": fields},
            {"manager": MANAGER, "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {"f:replicas": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
        ]}})
    }

    #[test]
    fn what_is_wanted_still_is_not_abandoned_and_what_is_not_is_named() {
        let live = live(&json!({
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:template": {"f:spec": {
                    "f:nodeSelector": {},
                    "f:containers": {"k:{\"name\":\"gateway\"}": {
                        ".": {}, "f:name": {}, "f:resources": {"f:limits": {"f:cpu": {}, "f:memory": {}}},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    }},
                }},
                "f:finalizers": {"v:\"a\"": {}},
            },
        }));
        let mut desired = json!({
            "metadata": {"name": "gateway", "labels": {"app": "medindex"}},
            "spec": {
                "template": {"spec": {
                    "nodeSelector": {"pool": "cpu"},
                    "containers": [{"name": "gateway", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "ports": [{"containerPort": 80}]}],
                }},
                "finalizers": ["a"],
            },
        });
        assert_eq!(abandoned(&live, &desired), Vec::<String>::new());
        let pod = desired["spec"]["template"]["spec"].as_object_mut().unwrap();
        pod.remove("nodeSelector");
        pod["containers"][0]["resources"]["limits"].as_object_mut().unwrap().remove("cpu");
        pod["containers"][0]["ports"] = json!([]);
        desired["spec"]["finalizers"] = json!([]);
        let mut found = abandoned(&live, &desired);
        found.sort_unstable();
        let container = "spec.template.spec.containers[{\"name\":\"gateway\"}]";
        assert_eq!(
            found,
            [
                "spec.finalizers[\"a\"]".to_owned(),
                format!("{container}.ports[{{\"containerPort\":80,\"protocol\":\"TCP\"}}]"),
                format!("{container}.resources.limits.cpu"),
                "spec.template.spec.nodeSelector".to_owned(),
            ]
        );
    }

    #[test]
    fn fields_of_others_are_theirs() {
        let live = live(&json!({"f:spec": {"f:replicas": {}}}));
        assert!(is_set_by_others(&live, "/f:spec/f:replicas"));
        assert!(!is_set_by_others(&live, "/f:spec/f:selector"));
        assert_eq!(abandoned(&live, &json!({"spec": {"replicas": 1}})), Vec::<String>::new());
    }

    #[test]
    fn additions_to_selectors_are_found_and_other_additions_are_not() {
        let desired =
            json!({"kind": "Service", "metadata": {"labels": {"a": "b"}}, "spec": {"selector": {"a": "b"}}});
        let mut live = json!({"metadata": {"labels": {"a": "b", "c": "d"}}, "spec": {"selector": {"a": "b"}, "more": {}}});
        assert_eq!(added_to_selectors(&live, &desired), Vec::<String>::new());
        live["spec"]["selector"]["c"] = json!("d");
        assert_eq!(added_to_selectors(&live, &desired), ["spec.selector.c"]);
        let mut monitor = desired.clone();
        monitor["kind"] = json!("PodMonitor");
        assert_eq!(added_to_selectors(&live, &monitor), Vec::<String>::new());
    }
}
