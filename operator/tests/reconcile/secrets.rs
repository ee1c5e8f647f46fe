//! Secrets that a resource names: each that is missing is told by its field and name before any pod hangs for it.

use serde_json::{Value, json};

use crate::{CATALOG, RESOURCE, World};

#[tokio::test]
async fn a_missing_secret_is_named() {
    let world = World::new();
    world.cluster.remove(CATALOG);
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "SecretMissing");
    assert!(
        message.contains("spec.catalog.loginSecret") && message.contains("\"radiology-catalog\""),
        "{message}"
    );
}

#[tokio::test]
async fn certificates_for_hbase_are_read_and_a_missing_one_is_named() {
    let world = World::new();
    world.edit("/spec/hbase/tls", json!({"clientSecret": "radiology-hbase"}));
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "SecretMissing");
    assert!(
        message.contains("spec.hbase.tls.clientSecret names the Secret \"radiology-hbase\""),
        "{message}"
    );
    let secret =
        json!({"metadata": {"name": "radiology-hbase"}, "data": {"tls.crt": "YQ==", "tls.key": "Yg=="}});
    world.cluster.put("/api/v1/namespaces/imaging/secrets/radiology-hbase", secret);
    world.settle().await;
    assert_eq!(world.condition("TableReady").0, "True");
}

fn put_secret(world: &World, name: &str, entries: &[&str]) {
    let data: serde_json::Map<String, Value> =
        entries.iter().map(|entry| ((*entry).to_owned(), json!("YQ=="))).collect();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
    world.cluster.put(&format!("/api/v1/namespaces/imaging/secrets/{name}"), secret);
}

/// Pods mount all of them; the operator itself uses those of Kafka and HBase alone.
#[tokio::test]
async fn every_secret_that_pods_mount_is_looked_for_and_named_by_its_field() {
    let (authorities, client) =
        (json!({"authorities": {"name": "extra", "key": "ca.crt"}}), json!({"clientSecret": "extra"}));
    let tls: [(&Value, &str, &[&str]); 2] =
        [(&authorities, "authorities", &["ca.crt"]), (&client, "clientSecret", &["tls.crt", "tls.key"])];
    let mut cases: Vec<(String, Value, &[&str])> = Vec::new();
    for backend in ["kafka", "hbase", "catalog", "cache"] {
        for (value, field, entries) in tls {
            cases.push((format!("spec.{backend}.tls.{field}"), value.clone(), entries));
        }
    }
    for backend in ["kafka", "catalog"] {
        cases.push((format!("spec.{backend}.loginSecret"), json!("extra"), &["user", "password"]));
    }
    cases.push(("spec.cache.loginSecret".to_owned(), json!("extra"), &["password"]));
    for (path, value, entries) in cases {
        let world = World::new();
        let place = path.strip_suffix(".authorities").or_else(|| path.strip_suffix(".clientSecret"));
        world.edit(&format!("/{}", place.unwrap_or(&path).replace('.', "/")), value);
        world.settle().await;
        let (status, reason, message) = world.condition("Stalled");
        assert_eq!((status.as_str(), reason.as_str()), ("True", "SecretMissing"), "{path}: {message}");
        let told =
            format!("{path} names the Secret \"extra\", which is not in namespace imaging: create it there");
        assert!(message.contains(&told) && message.contains("looked for again within a minute"), "{message}");
        assert_eq!(world.condition("Ready").1, "SecretMissing", "{path}");
        // Without its last entry.
        put_secret(&world, "extra", &entries[..entries.len() - 1]);
        world.settle().await;
        let message = world.condition("Stalled").2;
        let told =
            format!("{path} names the Secret \"extra\", which has no entry {:?}", entries[entries.len() - 1]);
        assert!(message.contains(&told) && message.contains("add it"), "{message}");
        put_secret(&world, "extra", entries);
        world.settle().await;
        assert_eq!(world.condition("Stalled").0, "False", "{path}");
    }
}

#[tokio::test]
async fn a_user_for_the_cache_is_looked_for_only_where_one_is_asked_for() {
    let world = World::new();
    put_secret(&world, "extra", &["password"]);
    world.edit("/spec/cache/loginSecret", json!("extra"));
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False");
    world.edit("/spec/cache/loginHasUser", json!(true));
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("\"extra\", which has no entry \"user\" of text: add it"), "{message}");
}

#[tokio::test]
async fn a_missing_login_of_the_sentinels_is_named() {
    let world = World::new();
    world.edit("/spec/cache/mode", json!("Sentinel"));
    world.edit("/spec/cache/sentinelLogin", json!({"secret": "extra", "hasUser": true}));
    put_secret(&world, "extra", &["password"]);
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("spec.cache.sentinelLogin.secret") && message.contains("\"user\""), "{message}");
    put_secret(&world, "extra", &["user", "password"]);
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False");
}

#[tokio::test]
async fn a_certificate_that_the_ingress_lacks_degrades_and_stops_nothing() {
    let world = World::new();
    world.edit("/spec/gateway/ingress", json!({"host": "search.example", "tlsSecret": "extra"}));
    world.settle().await;
    world.bring_pods_up();
    world.settle().await;
    let (status, _, message) = world.condition("Degraded");
    assert_eq!(status, "True");
    assert!(
        message.contains("spec.gateway.ingress.tlsSecret names the Secret \"extra\"")
            && message.contains("create it there"),
        "{message}"
    );
    assert_eq!(world.condition("Ready").0, "True");
    put_secret(&world, "extra", &["tls.crt", "tls.key"]);
    world.settle().await;
    assert_eq!(world.condition("Degraded").1, "AsAskedFor");
}

#[tokio::test]
async fn a_secret_that_only_pods_need_does_not_hold_up_a_deletion() {
    let world = World::new();
    world.edit("/spec/deletionPolicy", json!("Delete"));
    world.settle().await;
    world.cluster.remove(CATALOG);
    world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
    world.reconcile().await.unwrap();
    assert_eq!(world.cluster.get(RESOURCE).unwrap()["metadata"]["finalizers"], json!([]));
    assert!(world.backends.topics().is_empty() && world.backends.tables().is_empty());
}
