//! What a user wants otherwise in pods, merged over what the operator builds.
//!
//! The merge follows Kubernetes' strategic merge patch as far as pods need it: objects are merged field by field, a null removes, lists of
//! objects that have names (containers, volumes, variables, ports) are merged by name, volume mounts by path, and every other list is
//! replaced.

use serde_json::{Map, Value};

/// Merges `over` into `base`.
pub(super) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge_fields(base, over),
        (Value::Array(base), Value::Array(over)) => match merge_key(base, over) {
            Some(key) => merge_lists(base, over, key),
            None => base.clone_from(over),
        },
        (base, over) => base.clone_from(over),
    }
}

/// A container ends by one handler: one that the user names takes the place of the builders' sleep.
pub(super) fn keep_one_handler(template: &mut Value) {
    let containers = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let handlers = container.pointer_mut("/lifecycle/preStop").and_then(Value::as_object_mut);
        if let Some(handlers) = handlers.filter(|handlers| handlers.len() > 1) {
            handlers.remove("sleep");
        }
    }
}

fn merge_fields(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (field, value) in over {
        if value.is_null() {
            base.remove(field);
        } else {
            merge(base.entry(field).or_insert(Value::Null), value);
        }
    }
}

/// By which field the elements of two lists are told apart.
fn merge_key(base: &[Value], over: &[Value]) -> Option<&'static str> {
    ["mountPath", "name"]
        .into_iter()
        .find(|key| base.iter().chain(over).all(|element| element[*key].is_string()))
}

fn merge_lists(base: &mut Vec<Value>, over: &[Value], key: &str) {
    for element in over {
        match base.iter_mut().find(|known| known[key] == element[key]) {
            Some(known) => merge(known, element),
            None => base.push(element.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn containers_are_merged_by_name_and_other_lists_replaced() {
        let mut pod = json!({"spec": {
            "containers": [{"name": "search", "image": "a", "args": ["x"], "env": [{"name": "A", "value": "1"}]}],
            "nodeSelector": {"pool": "cpu"},
        }});
        merge(
            &mut pod,
            &json!({"spec": {
                "containers": [
                    {"name": "search", "args": ["y"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
                    {"name": "sidecar", "image": "b"},
                ],
                "nodeSelector": {"pool": null, "disk": "fast"},
                "priorityClassName": "high",
            }}),
        );
        assert_eq!(
            pod,
            json!({"spec": {
                "containers": [
                    {"name": "search", "image": "a", "args": ["y"], "env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]},
                    {"name": "sidecar", "image": "b"},
                ],
                "nodeSelector": {"disk": "fast"},
                "priorityClassName": "high",
            }})
        );
    }
}
