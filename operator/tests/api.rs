//! The rules of the resource type, evaluated as the API server does, without one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod sample;

use kube::CustomResourceExt as _;
use medindex_operator::api::{MedicalImageIndex, condition_types};
use medindex_operator::definition::{definition, definition_yaml};
use serde_json::{Value, json};

fn sample() -> Value {
    sample::with(&[])
}

fn with(pointer: &str, value: Value) -> Value {
    sample::with(&[(pointer, value)])
}

fn read(index: Value) -> MedicalImageIndex {
    serde_json::from_value(index).unwrap()
}

#[test]
fn the_sample_is_accepted_with_defaults() {
    let index = read(sample());
    index.validate_cel().unwrap();
    assert_eq!((index.spec.kafka.partitions, index.spec.kafka.min_insync_replicas), (9, 2));
    assert_eq!(index.index_name(), "radiology");
    assert!(!index.spec.paused && !index.spec.suspend);
}

#[test]
fn what_does_not_fit_together_is_refused_with_what_to_do() {
    let cases = [
        ("/spec/search/shards", json!(10), "must not exceed spec.kafka.partitions"),
        ("/spec/kafka/minInsyncReplicas", json!(4), "no upload could ever be acknowledged"),
        ("/spec/kafka/topicSettings", json!({"cleanup.policy": "delete"}), "must leave out cleanup.policy"),
        ("/spec/embedding/model", json!({}), "exactly one of image"),
        ("/spec/embedding/model", json!({"claim": "a", "image": "b"}), "exactly one of image"),
        ("/spec/quantizer", json!({"bits": 6}), "is 4 or 8"),
        ("/spec/quantizer", json!({"subQuantizers": 63}), "must be even with 4 bits"),
        ("/spec/quantizer", json!({"lists": 20_000}), "nor retrain.firstAtImages"),
        ("/spec/cache/servers", json!(["redis-0:6379", "redis-1:6379"]), "names one server"),
        ("/spec/cache/loginHasUser", json!(true), "wants spec.cache.loginSecret"),
        ("/spec/gateway/service", json!({"type": "LoadBalancer"}), "spec.gateway.service.hosts must name"),
        ("/spec/cache/sentinelLogin", json!({"secret": "sentinels"}), "set spec.cache.mode to Sentinel"),
        (
            "/spec/embedder/autoscaling",
            json!({"minReplicas": 5, "maxReplicas": 2}),
            "minReplicas must not exceed",
        ),
        ("/spec/embedder/autoscaling", json!({"maxReplicas": 20}), "would get no partition"),
        (
            "/spec/gateway/rollout",
            json!({"maxSurge": 0, "maxUnavailable": 0}),
            "no pod could ever be replaced",
        ),
        (
            "/spec/search/nodePool",
            json!({"gpu": {"migProfile": "1g.10gb", "resourceName": "amd.com/gpu"}}),
            "give migProfile or resourceName",
        ),
        ("/spec/imports", json!([{"name": "a", "source": {"claim": "c", "path": "../x"}}]), "stays in it"),
        ("/metadata/name", json!("9lives"), "a letter first"),
    ];
    for (pointer, value, words) in cases {
        let refused = read(with(pointer, value)).validate_cel().err();
        let refused = refused.unwrap_or_else(|| panic!("{pointer} was taken")).to_string();
        assert!(refused.contains(words), "{pointer}: {refused}");
    }
}

#[test]
fn what_fits_together_is_accepted() {
    let sentinels = json!({"servers": ["redis-0:26379", "redis-1:26379"], "mode": "Sentinel", "loginSecret": "redis", "loginHasUser": true});
    for (pointer, value) in [
        ("/spec/cache", sentinels),
        ("/spec/quantizer", json!({"subQuantizers": 63, "bits": 8})),
        ("/spec/quantizer", json!({"subQuantizers": 32})),
        ("/spec/quantizer", json!({"lists": 10_000})),
        ("/spec/gateway/service", json!({"type": "LoadBalancer", "hosts": ["10.0.0.9"]})),
        ("/spec/gateway/service", json!({"annotations": {"a": "b"}})),
    ] {
        read(with(pointer, value)).validate_cel().unwrap();
    }
}

#[test]
fn what_rows_and_vectors_depend_on_cannot_change() {
    let named = with("/spec/embedding/digest", json!("0".repeat(64)));
    let other = with("/spec/embedding/digest", json!("1".repeat(64)));
    let cases = [
        (sample(), with("/spec/kafka/partitions", json!(12)), "spec.kafka.partitions cannot change"),
        (sample(), with("/spec/kafka/prefix", json!("other")), "spec.kafka.prefix cannot change"),
        (sample(), with("/spec/hbase/namespace", json!("other")), "spec.hbase.namespace cannot change"),
        (sample(), with("/spec/search/disk", json!("1Gi")), "spec.search.disk can grow and never shrink"),
        (
            sample(),
            with("/spec/search/storageClass", json!("fast")),
            "spec.search.storageClass cannot change",
        ),
        (named, other, "spec.embedding.digest cannot change"),
    ];
    for (before, after, words) in cases {
        let refused = read(after).validate_cel_update(&read(before)).err();
        let refused = refused.unwrap_or_else(|| panic!("a change was taken: {words}")).to_string();
        assert!(refused.contains(words), "{refused}");
    }
    for (pointer, value) in [
        ("/spec/search/replicas", json!(5)),
        ("/spec/search/disk", json!("1Ti")),
        // The same size, written otherwise.
        ("/spec/search/disk", json!("20480Mi")),
    ] {
        read(with(pointer, value)).validate_cel_update(&read(sample())).unwrap();
    }
}

#[test]
fn fields_that_do_not_exist_are_refused() {
    for pointer in ["/spec/shards", "/spec/kafka/topics", "/spec/hbase/tables", "/spec/embedding/gpu"] {
        let refused = serde_json::from_value::<MedicalImageIndex>(with(pointer, json!(1)));
        assert!(refused.is_err(), "{pointer} was taken");
    }
}

/// Paths of the nulls in a value.
fn nulls(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(path.to_owned()),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| nulls(value, &format!("{path}.{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|value| nulls(value, path, found)),
        _ => {}
    }
}

#[test]
fn what_is_not_set_is_not_written() {
    let written = serde_json::to_value(read(sample())).unwrap();
    let mut found = Vec::new();
    nulls(&written["spec"], "spec", &mut found);
    assert_eq!(found, Vec::<String>::new(), "server-side apply would claim these fields");
}

/// Every schema below `schema`, with its path.
fn schemas<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    found.push((path.to_owned(), schema));
    if let Some(properties) = schema["properties"].as_object() {
        properties.iter().for_each(|(name, schema)| schemas(schema, &format!("{path}.{name}"), found));
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            schemas(&schema[inner], &format!("{path}[]"), found);
        }
    }
}

#[test]
fn the_schema_has_bounds_and_no_unsigned_formats() {
    let definition = serde_json::to_value(definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut all = Vec::new();
    schemas(schema, "spec", &mut all);
    for (path, schema) in all {
        let format = schema["format"].as_str().unwrap_or_default();
        assert!(!format.starts_with("uint"), "{path} has the format {format}");
        let foreign = path.contains("tolerations");
        match schema["type"].as_str() {
            _ if foreign || schema.get("enum").is_some() => {}
            Some("integer") => {
                let rules = schema.get("x-kubernetes-validations").is_some();
                assert!(rules || schema.get("minimum").is_some(), "{path} has no lower bound");
            }
            Some("array") => assert!(schema.get("maxItems").is_some(), "{path} has no bound on its length"),
            Some("string") => {
                let is_bounded = schema.get("maxLength").is_some() || schema.get("pattern").is_some();
                assert!(is_bounded, "{path} has no bound on its length");
            }
            Some("object") if schema["additionalProperties"].is_object() => {
                assert!(schema.get("maxProperties").is_some(), "{path} has no bound on its entries");
            }
            _ => {}
        }
    }
}

#[test]
fn nothing_is_required_that_has_a_default() {
    let definition = serde_json::to_value(definition()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut all = Vec::new();
    schemas(schema, "spec", &mut all);
    for (path, schema) in all {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(name != "podOverrides", "{path}.{name} is required");
            assert!(
                schema["properties"][name].get("default").is_none(),
                "{path}.{name} is required and has a default"
            );
            assert!(
                schema["default"].is_null() || schema["default"].get(name).is_some(),
                "the default of {path} lacks {name}"
            );
        }
    }
}

#[test]
fn conditions_are_a_map_by_type() {
    let definition = serde_json::to_value(definition()).unwrap();
    let status = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
    let conditions = &status["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    assert_eq!(condition_types::ALL.len(), 10);
}

#[test]
fn chart_and_manifests_bring_the_definition_of_the_repository() {
    let read =
        |name: &str| std::fs::read_to_string(format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let kept = read("crds/medicalimageindexes.yaml");
    for copy in ["helm/medindex/files/medicalimageindexes.yaml", "manifests/base/medicalimageindexes.yaml"] {
        assert!(read(copy) == kept, "{copy} is behind: run tools/chart.sh copy");
    }
}

#[test]
fn the_definition_in_the_repository_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/medicalimageindexes.yaml");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let made = definition_yaml().unwrap();
    assert!(
        kept == made,
        "crds/medicalimageindexes.yaml is behind: run medindex-operator crd > crds/medicalimageindexes.yaml"
    );
    assert!(
        made.len() < 256 << 10,
        "{} bytes: kubectl apply could not keep it in its annotation",
        made.len()
    );
    assert_eq!(MedicalImageIndex::crd_name(), "medicalimageindexes.medindex.dev");
}
