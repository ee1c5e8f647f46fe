//! Who has which field, as an API server keeps it for server-side apply.

use medindex_operator::names::MANAGER;
use serde_json::{Map, Value, json};

use crate::cluster::merge;

/// Applies an object as the operator does, by force.
pub(crate) fn apply(object: &mut Value, body: &Value) {
    let mut entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = entries.iter().position(|entry| entry["manager"] == MANAGER);
    let before = own.map(|place| entries.remove(place)).unwrap_or_default();
    let mut fields = fields_of(body);
    fields.remove("f:apiVersion");
    fields.remove("f:kind");
    if let Some(metadata) = fields.get_mut("f:metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| field != "f:name" && field != "f:namespace");
    }
    if let Some(before) = before["fieldsV1"].as_object() {
        remove(object, before, &fields, &entries, "");
    }
    let fields = Value::Object(fields);
    // What is applied by force is nobody else's any more.
    entries.retain(|entry| fields.pointer("/f:spec/f:replicas").is_none() || entry["subresource"] != "scale");
    merge(object, body);
    let defaulted = matches!(body["kind"].as_str(), Some("Deployment" | "StatefulSet"));
    if defaulted && object["spec"]["replicas"].is_null() {
        object["spec"]["replicas"] = json!(1);
    }
    entries.push(json!({"manager": MANAGER, "operation": "Apply", "fieldsV1": fields}));
    object["metadata"]["managedFields"] = json!(entries);
}

/// Sets the replicas as an autoscaler does: they are its own then.
pub(crate) fn scale(object: &mut Value, replicas: i32) {
    object["spec"]["replicas"] = json!(replicas);
    for entry in object["metadata"]["managedFields"].as_array_mut().unwrap() {
        if let Some(spec) = entry.pointer_mut("/fieldsV1/f:spec").and_then(Value::as_object_mut) {
            spec.remove("f:replicas");
        }
    }
    let entry = json!({
        "manager": "kube-controller-manager", "operation": "Update", "subresource": "scale",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    });
    object["metadata"]["managedFields"].as_array_mut().unwrap().push(entry);
}

fn fields_of(value: &Value) -> Map<String, Value> {
    let named = |value: &Value| Value::Object(fields_of(value));
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(field, value)| (format!("f:{field}"), named(value))).collect()
        }
        Value::Array(elements) if elements.iter().all(|element| element["name"].is_string()) => elements
            .iter()
            .map(|element| (format!("k:{}", json!({"name": element["name"]})), named(element)))
            .collect(),
        _ => Map::new(),
    }
}

/// Removes what was applied before and is not now. Lists are replaced by the merge.
fn remove(
    object: &mut Value,
    before: &Map<String, Value>,
    now: &Map<String, Value>,
    others: &[Value],
    path: &str,
) {
    let Some(object) = object.as_object_mut() else { return };
    for (key, inner) in before {
        let Some(field) = key.strip_prefix("f:") else { continue };
        let path = format!("{path}/{key}");
        let is_shared = others.iter().any(|entry| entry["fieldsV1"].pointer(&path).is_some());
        match (now.get(key), object.get_mut(field)) {
            (None, Some(_)) if !is_shared => _ = object.remove(field),
            (Some(now), Some(value)) => {
                let (Some(inner), Some(now)) = (inner.as_object(), now.as_object()) else { continue };
                remove(value, inner, now, others, &path);
            }
            _ => {}
        }
    }
}
