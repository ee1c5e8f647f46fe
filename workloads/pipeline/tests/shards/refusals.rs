//! Published segments that are damaged or not this index's are refused, and the scan finds everything all the same.

use serde_json::json;

use medindex_pipeline::LoadSource;

use crate::index::{TestIndex, forge, publications};

/// Makes the publication unusable in one way.
async fn spoil(index: &TestIndex, how: &str) {
    let store = index.store();
    let (blob, whole) = publications(store).await.remove(0);
    let changed = |field: &str, value: serde_json::Value| {
        let mut body = whole.clone();
        body[field] = value;
        body
    };
    let parts = store.list_blobs("segments/").await.unwrap();
    let part = parts.into_iter().find(|part| part.name.contains(".rows/")).unwrap().name;
    match how {
        "a flipped bit in a file" => {
            let mut bytes = store.get_blob(&part).await.unwrap().unwrap().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            store.put_blob(&part, bytes.into()).await.unwrap();
        }
        "a file that is cut" => {
            let bytes = store.get_blob(&part).await.unwrap().unwrap();
            store.put_blob(&part, bytes.slice(..bytes.len() - 1)).await.unwrap();
        }
        "a file that is gone" => store.delete_blob(&part).await.unwrap(),
        "a damaged description" => store.put_blob(&blob, "no description".into()).await.unwrap(),
        "a newer format" => forge(store, &blob, 2, &json!({"unknown": true})).await,
        "another model" => forge(store, &blob, 1, &changed("model_digest", json!("sha256:0"))).await,
        "other partitions" => forge(store, &blob, 1, &changed("partitions", json!([0, 1]))).await,
        "an unknown generation" => forge(store, &blob, 1, &changed("generation", json!(7))).await,
        "a position beyond the log" => {
            forge(store, &blob, 1, &changed("positions", json!({"0": 1_000_000}))).await;
        }
        other => panic!("{other}"),
    }
}

const WAYS: [&str; 9] = [
    "a flipped bit in a file",
    "a file that is cut",
    "a file that is gone",
    "a damaged description",
    "a newer format",
    "another model",
    "other partitions",
    "an unknown generation",
    "a position beyond the log",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_foreign_is_refused_and_counted_and_the_scan_is_used() {
    let index = TestIndex::new().await;
    let all = [0, 1, 2, 3, 4, 5];
    let first = index.publishing_shard("first", &all).await;
    index.upload(&first.shard, 0..20).await;
    first.published().await;
    let expected = index.answers(&first.shard, &first.shard).await;
    let asked = std::sync::Arc::clone(&first.shard);
    first.core.end().await;
    let mut saved = Vec::new();
    for blob in index.store().list_blobs("segments/").await.unwrap() {
        let bytes = index.store().get_blob(&blob.name).await.unwrap().unwrap();
        saved.push((blob.name, bytes));
    }
    for (number, how) in WAYS.into_iter().enumerate() {
        spoil(&index, how).await;
        let fresh = index.whole_shard(&format!("fresh-{number}")).await;
        assert_eq!(fresh.source(), Some(LoadSource::Scan), "{how}");
        assert!(fresh.shard.loaded().refused_segments >= 1, "{how}");
        assert_eq!(index.answers(&fresh.shard, &asked).await, expected, "{how}");
        for (name, bytes) in &saved {
            index.store().put_blob(name, bytes.clone()).await.unwrap();
        }
    }
    // Whole again, they are taken; and what was damaged is replaced by the next publication.
    let fresh = index.whole_shard("whole-again").await;
    assert_eq!((fresh.source(), fresh.shard.loaded().refused_segments), (Some(LoadSource::Segments), 0));
    spoil(&index, "a damaged description").await;
    let publisher = index.publishing_shard("publisher", &all).await;
    publisher.published().await;
    let last = index.whole_shard("last").await;
    assert_eq!(last.source(), Some(LoadSource::Segments));
    assert_eq!(index.answers(&last.shard, &asked).await, expected);
}
