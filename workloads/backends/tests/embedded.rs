//! What the embedded adapters promise beyond their ports.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::embedded::{EmbeddedStore, MemoryCache, STORE_FILE};
use medindex_backends::{Cache, Columns, Fault, ImageRow, ImageStore, Positions, Queue, QueueError};
use medindex_proto::{ImageId, RowKey};

fn row() -> RowKey {
    RowKey::new(&ImageId::new(), 9)
}

#[tokio::test(flavor = "multi_thread")]
async fn ct_slices_take_hardly_more_space_than_their_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    // 512 x 512 x 2 bytes and a header: stored whole, such a value would take 1 MiB.
    let slice = ImageRow { bytes: Some(vec![7; 528_000].into()), information: None };
    for _ in 0..40 {
        store.put_many((0..10).map(|_| (row(), slice.clone())).collect()).await.unwrap();
    }
    store.close().await;
    // The file grows in large steps ahead of its content; what counts is what it takes on the disk.
    let file = std::fs::metadata(folder.path().join(STORE_FILE)).unwrap();
    let overhead = (file.blocks() * 512) as f64 / (400.0 * 528_000.0);
    println!("{overhead:.3} bytes of disk a byte of image");
    assert!(overhead < 1.1, "{overhead}");
}

#[tokio::test(flavor = "multi_thread")]
async fn space_of_deleted_rows_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    let large = ImageRow { bytes: Some(vec![7; 4 << 20].into()), information: None };
    let mut lengths = Vec::new();
    for _ in 0..12 {
        let row = row();
        store.put(row.clone(), large.clone()).await.unwrap();
        store.delete(&row).await.unwrap();
        lengths.push(std::fs::metadata(folder.path().join(STORE_FILE)).unwrap().len());
    }
    assert!(lengths[11] <= lengths[3], "the file grows for ever: {lengths:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_went_away_is_done_and_wakes_consumers() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    store.create_topic("work", 1).await.unwrap();
    let mut consumer = store.consumer("work", "group").await.unwrap();
    consumer.poll(1, Duration::from_millis(1)).await.unwrap();
    let mut publish = Box::pin(store.publish("work", 0, "key", "payload".into()));
    // Polled once, the write is handed over; then the caller goes.
    assert!(futures::poll!(&mut publish).is_pending());
    drop(publish);
    let received = consumer.poll(1, Duration::from_secs(30)).await.unwrap();
    assert_eq!(received[0].payload, Bytes::from_static(b"payload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_past_the_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    store.create_topic("work", 2).await.unwrap();
    store.publish("work", 1, "", "x".into()).await.unwrap();
    let mut consumer = store.consumer("work", "group").await.unwrap();
    consumer.poll(1, Duration::from_secs(1)).await.unwrap();
    let error = consumer.commit(&Positions::from([(0, 0), (1, 2)])).await.unwrap_err();
    assert!(matches!(error, QueueError::OutOfRange { partition: 1, offset: 2, end: 1, .. }), "{error}");
    assert_eq!(store.committed("work", "group").await.unwrap(), Positions::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_folder_is_open_once_even_in_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    let fault = EmbeddedStore::open(folder.path()).await.err().unwrap();
    assert!(matches!(fault, Fault::InUse { .. }), "{fault}");
    let row = row();
    let values = ImageRow { bytes: Some("x".into()), information: None };
    store.put(row.clone(), values.clone()).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(values));
}

#[tokio::test]
async fn the_cache_keeps_within_its_bytes() {
    let cache = MemoryCache::new(1 << 20);
    for number in 0..1000 {
        cache.set(&format!("key {number}"), vec![1; 10_000].into(), Duration::from_mins(10)).await.unwrap();
    }
    let bytes = cache.bytes().await;
    assert!(bytes <= 1 << 20 && bytes > 1 << 18, "{bytes} bytes are held");
    cache.set("larger than all", vec![1; 2 << 20].into(), Duration::from_mins(10)).await.unwrap();
    assert!(cache.bytes().await <= 1 << 20);
    assert_eq!(cache.get("larger than all").await.unwrap(), None);
}
