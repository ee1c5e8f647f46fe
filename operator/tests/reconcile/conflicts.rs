//! Resources that claim the same at the backends: the older one has it.

use medindex_operator::api::MedicalImageIndex;
use serde_json::json;

use crate::{RESOURCE, World};

/// A world in which an older resource has nothing in common with the sample but what `change` gives it.
fn beside(change: impl FnOnce(&mut MedicalImageIndex)) -> World {
    let mut world = World::new();
    let mut older = world.resource();
    older.metadata.name = Some("older".to_owned());
    older.metadata.uid = Some("0".to_owned());
    older.metadata.creation_timestamp = serde_json::from_value(json!("2025-01-01T00:00:00Z")).unwrap();
    change(&mut older);
    world.others.push(older);
    world
}

#[tokio::test]
async fn the_older_of_two_resources_that_claim_the_same_has_it() {
    let world = beside(|older| {
        older.spec.kafka.prefix = Some("radiology".to_owned());
        // Lists of brokers need not be complete.
        older.spec.kafka.bootstrap_servers.insert(0, "kafka-9:9092".to_owned());
    });
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "ResourceConflict");
    assert!(message.contains("the topics radiology.*") && message.contains("imaging/older"), "{message}");
    assert!(world.backends.topics().is_empty());
}

#[tokio::test]
async fn names_that_kubernetes_gives_one_service_are_one_server() {
    for server in
        ["kafka.kafka.svc:9092", "kafka.kafka.svc.cluster.local:9092", "kafka.kafka.svc.cluster.local.:9092"]
    {
        let world = beside(|older| {
            older.spec.kafka.prefix = Some("radiology".to_owned());
            older.spec.kafka.bootstrap_servers = vec![server.to_owned()];
        });
        world.settle().await;
        let (_, reason, message) = world.condition("Stalled");
        assert_eq!(reason, "ResourceConflict", "{server}: {message}");
    }
}

#[tokio::test]
async fn one_database_or_cache_for_two_resources_is_told_with_the_field_to_change() {
    let world = beside(|older| older.spec.catalog.database = Some("radiology".to_owned()));
    world.settle().await;
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "ResourceConflict");
    let told = "imaging/older, which is older, has the database radiology at mariadb.mariadb:3306 already";
    assert!(message.contains(told) && message.contains("choose another spec.catalog.database"), "{message}");

    let world = beside(|older| {
        older.metadata.name = Some("radiology".to_owned());
        older.metadata.namespace = Some("wards".to_owned());
        older.spec.kafka.bootstrap_servers = vec!["kafka-9:9092".to_owned()];
        older.spec.hbase.thrift2_servers = vec!["hbase-9:9090".to_owned()];
        older.spec.catalog.server = "mariadb-9:3306".to_owned();
    });
    world.settle().await;
    let message = world.condition("Stalled").2;
    assert!(message.contains("the cache keys radiology:* at redis.redis:6379"), "{message}");
    assert!(message.ends_with("choose another spec.cache.servers"), "{message}");
}

/// Two teams with servers of their own, that have the same names in both namespaces.
#[tokio::test]
async fn servers_of_the_same_name_in_two_namespaces_are_not_one() {
    let change = |world: &World| {
        world.edit("/spec/catalog/server", json!("mariadb:3306"));
        world.edit("/spec/cache", json!({"servers": ["redis:26379"], "mode": "Sentinel", "service": "team"}));
    };
    let twin = |namespace: &str, service: &str| {
        let world = beside(|_| ());
        change(&world);
        let mut older = world.resource();
        older.metadata = world.others[0].metadata.clone();
        older.metadata.namespace = Some(namespace.to_owned());
        older.spec.kafka.prefix = Some("radiology".to_owned());
        older.spec.kafka.bootstrap_servers = vec!["kafka-9:9092".to_owned()];
        older.spec.hbase.thrift2_servers = vec!["hbase-9:9090".to_owned()];
        older.spec.cache.service = service.to_owned();
        World { others: vec![older], ..world }
    };
    let world = twin("wards", "team");
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False", "{:?}", world.condition("Stalled"));
    let world = twin("imaging", "team");
    world.settle().await;
    let message = world.condition("Stalled").2;
    assert!(message.contains("the database radiology at mariadb.imaging:3306"), "{message}");
    // One Sentinel knows both primaries.
    let mut world = twin("imaging", "others");
    world.others[0].spec.catalog.database = Some("other".to_owned());
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False", "{:?}", world.condition("Stalled"));
}

#[tokio::test]
async fn resources_that_share_servers_alone_do_not_disturb_each_other() {
    let world = beside(|_| ());
    world.settle().await;
    assert_eq!(world.condition("Stalled").0, "False");
    assert_eq!(world.backends.topics().len(), 4);
}

#[tokio::test]
async fn a_deletion_leaves_what_an_older_resource_has_and_takes_what_is_its_own() {
    for (database, left) in [(None, 4), (Some("radiology".to_owned()), 0)] {
        let mut world = World::new();
        world.edit("/spec/deletionPolicy", json!("Delete"));
        world.settle().await;
        let shares_topics = database.is_none();
        let others = beside(|older| {
            older.spec.catalog.database = database;
            older.spec.kafka.prefix = shares_topics.then(|| "radiology".to_owned());
        });
        world.others = others.others;
        world.edit("/metadata/deletionTimestamp", json!("2026-02-01T00:00:00Z"));
        world.reconcile().await.unwrap();
        assert_eq!(world.backends.topics().len(), left);
        assert_eq!(world.cluster.get(RESOURCE).unwrap()["metadata"]["finalizers"], json!([]));
    }
}
