//! The document describes the routes, and the routes are those that were promised.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use crate::schema::operation;
use crate::support::House;

/// What issue and users count on.
const PROMISED: [(&str, &str); 17] = [
    ("POST", "/api/v1/images"),
    ("GET", "/api/v1/images"),
    ("GET", "/api/v1/images/{id}"),
    ("DELETE", "/api/v1/images/{id}"),
    ("GET", "/api/v1/images/{id}/file"),
    ("GET", "/api/v1/images/{id}/preview.png"),
    ("POST", "/api/v1/search"),
    ("POST", "/api/v1/recognise"),
    ("POST", "/api/v1/train"),
    ("POST", "/api/v1/index/rollback"),
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/operations"),
    ("GET", "/api/v1/alarms"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/api/openapi.json"),
];

#[tokio::test]
async fn the_document_has_exactly_the_promised_routes() {
    let document = House::empty().await.document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let promised: BTreeSet<_> =
        PROMISED.iter().map(|(method, path)| ((*method).into(), (*path).into())).collect();
    assert_eq!(described, promised);
}

#[tokio::test]
async fn the_router_and_the_document_know_the_same_methods() {
    let house = House::empty().await;
    let document = house.document().await;
    for (path, item) in document["paths"].as_object().unwrap() {
        // A method that no route has: the answer lists those there are.
        let answer = house.method("TRACE", &path.replace("{id}", "x")).await;
        answer.problem(405, "method-not-allowed");
        let mut allowed: BTreeSet<String> =
            answer.header("allow").split(',').map(|name| name.trim().into()).collect();
        allowed.remove("HEAD");
        let described: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
        assert_eq!(allowed, described, "{path}");
    }
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_is_described() {
    let document = House::empty().await.document().await;
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for (method, path) in PROMISED {
        let operation = operation(&document, &method.parse::<Method>().unwrap(), path).unwrap();
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{method} {path}");
        assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object());
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(schema["description"].is_string(), "{name}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
                references.push(reference.to_owned());
            }
            object.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
