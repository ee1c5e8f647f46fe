//! Blobs: replaced by several writers, left behind by dead ones.

use std::time::Duration;

use hbase_thrift::hbase::{Mutation, THbaseSyncClient as _, TScan};
use medindex_backends::ImageStore;

use crate::support::{RawClient, noise, shared};

fn data_rows(client: &mut RawClient, namespace: &str) -> usize {
    let scan = TScan {
        start_row: None,
        stop_row: Some(b"head|".to_vec()),
        timestamp: None,
        columns: Some(vec![b"MD:checksums".to_vec()]),
        caching: Some(100),
        filter_string: None,
        batch_size: None,
        sort_columns: None,
        reversed: None,
        cache_blocks: None,
    };
    let table = format!("{namespace}:index_segments").into_bytes();
    let scanner = client.scanner_open_with_scan(table, scan, [].into()).unwrap();
    let count = client.scanner_get_list(scanner, 10_000).unwrap().len();
    client.scanner_close(scanner).unwrap();
    count
}

/// A data row of a version that no head leads to, as a writer that died leaves it.
fn leave_behind(client: &mut RawClient, namespace: &str, name: &str, version: u64) {
    let sum = crc32fast::hash(name.as_bytes());
    let key = format!("{sum:08x}|{name}|{version:016x}{:016x}|00000000", 5);
    let mutations = [("MD:0", "content"), ("MD:checksums", "sums")].map(|(column, value)| {
        Mutation::new(false, column.as_bytes().to_vec(), value.as_bytes().to_vec(), true)
    });
    let table = format!("{namespace}:index_segments").into_bytes();
    client.mutate_row(table, key.into_bytes(), mutations.into(), [].into()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_at_once_one_wins_whole_and_nothing_of_the_others_stays() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let store = server.open(&namespace).await;
    let contents: Vec<_> = (0..4).map(|seed| noise(5 << 20, seed)).collect();
    let mut writers = Vec::new();
    for content in contents.clone() {
        let store = store.clone();
        writers.push(tokio::spawn(async move { store.put_blob("segments/0/a", content).await }));
    }
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        if let Some(read) = store.get_blob("segments/0/a").await.unwrap() {
            assert!(contents.contains(&read), "a mixed blob was read");
        }
    }
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let last = store.get_blob("segments/0/a").await.unwrap().unwrap();
    assert!(contents.contains(&last));
    store.put_blob("segments/0/a", contents[0].clone()).await.unwrap();
    assert_eq!(data_rows(&mut server.raw(), &namespace), 2, "5 MiB are two rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_dead_writers_left_is_swept() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let (store, mut raw) = (server.open(&namespace).await, server.raw());
    store.put_blob("kept", noise(100, 1)).await.unwrap();
    for name in ["kept", "never-finished", "a.prefix", "a.prefix.of"] {
        leave_behind(&mut raw, &namespace, name, 1);
    }
    // A put sweeps its own name, and no other that begins like it.
    store.put_blob("a.prefix", noise(100, 2)).await.unwrap();
    assert_eq!(data_rows(&mut raw, &namespace), 5);
    // One that may still be written stays.
    leave_behind(&mut raw, &namespace, "being-written", u64::MAX >> 1);
    assert_eq!(store.sweep_blobs(Duration::from_hours(1)).await.unwrap(), 3);
    assert_eq!(data_rows(&mut raw, &namespace), 3);
    assert_eq!(store.get_blob("kept").await.unwrap(), Some(noise(100, 1)));
    assert_eq!(store.get_blob("never-finished").await.unwrap(), None);
    assert_eq!(store.list_blobs("").await.unwrap().len(), 2);
}
