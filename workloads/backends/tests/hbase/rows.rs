//! Files of several cells and requests.

use std::time::Duration;

use hbase_thrift::hbase::{Mutation, THbaseSyncClient as _};
use medindex_backends::hbase::HbaseImageStore;
use medindex_backends::{Columns, ImageStore, ImageStoreError};

use crate::support::{RawClient, file, image, information, row, shared};

/// Columns of a row as they lie in HBase.
fn columns(client: &mut RawClient, namespace: &str, row: &str) -> Vec<String> {
    let table = format!("{namespace}:image_info").into_bytes();
    let found = client.get_row(table, row.into(), [].into()).unwrap();
    let cells = found.into_iter().flat_map(|row| row.columns.unwrap_or_default());
    cells.map(|(name, _)| String::from_utf8(name).unwrap()).collect()
}

fn overwrite(client: &mut RawClient, namespace: &str, row: &str, column: &str, value: &[u8]) {
    let table = format!("{namespace}:image_info").into_bytes();
    let mutation = Mutation::new(false, column.as_bytes().to_vec(), value.to_vec(), true);
    client.mutate_row(table, row.into(), vec![mutation], [].into()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cell_of_a_longer_former_file_survives() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let (store, mut raw) = (server.open(&namespace).await, server.raw());
    let row = row();
    // In several requests, in one, in one cell, in none, and back again.
    for (length, cells) in [(13 << 20, 4), (5 << 20, 2), (100, 1), (0, 0), (9 << 20, 3), (7 << 20, 2)] {
        let values = image(length, length as u32);
        store.put(row.clone(), values.clone()).await.unwrap();
        assert!(store.get(&row, Columns::ALL).await.unwrap() == Some(values), "{length} bytes");
        let found = columns(&mut raw, &namespace, row.as_str());
        let data: Vec<&String> = found.iter().filter(|name| name.starts_with("MD:")).collect();
        assert_eq!(data.len(), cells + 2, "{length} bytes: {data:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_broke_off_is_finished_by_the_next_put_and_leaves_no_cells() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let (store, mut raw) = (server.open(&namespace).await, server.raw());
    let row = row();
    store.put(row.clone(), file(100, 1)).await.unwrap();
    // What a writer does first that replaces a file by one of three cells, and dies.
    overwrite(&mut raw, &namespace, row.as_str(), "MD:extent", &3_u64.to_be_bytes());
    overwrite(&mut raw, &namespace, row.as_str(), "MD:2", b"a cell of the new file");
    store.put(row.clone(), file(200, 2)).await.unwrap();
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(file(200, 2)));
    assert_eq!(columns(&mut raw, &namespace, row.as_str()), ["MD:0", "MD:checksums", "MD:length"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_an_impossible_key_keeps_nobody_from_the_others() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let (store, mut raw) = (server.open(&namespace).await, server.raw());
    let row = row();
    store.put(row.clone(), information(1)).await.unwrap();
    let (prefix, _) = row.as_str().split_once('|').unwrap();
    // Before it, behind it, and no text.
    for stray in [format!("{prefix}|!"), format!("{prefix}|~"), format!("{prefix}|\u{1}")] {
        overwrite(&mut raw, &namespace, &stray, "MI:generation", &1_u64.to_be_bytes());
        overwrite(&mut raw, &namespace, &stray, "MD:length", &1_u64.to_be_bytes());
    }
    for limit in [1, 10] {
        let found = store.scan(row.partition(), Columns::ALL, None, limit).await.unwrap();
        assert_eq!(found, [(row.clone(), information(1))], "{limit} at a time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_first_writer_died_is_not_there_yet() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let (store, mut raw) = (server.open(&namespace).await, server.raw());
    let (unfinished, informed) = (row(), row());
    store.put(informed.clone(), information(1)).await.unwrap();
    for row in [&unfinished, &informed] {
        overwrite(&mut raw, &namespace, row.as_str(), "MD:0", b"the first cell of several");
    }
    assert_eq!(store.get(&unfinished, Columns::ALL).await.unwrap(), None);
    assert_eq!(store.get(&informed, Columns::BYTES).await.unwrap(), None);
    assert_eq!(store.get(&informed, Columns::ALL).await.unwrap(), Some(information(1)));
    assert!(store.scan(unfinished.partition(), Columns::BYTES, None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cell_is_refused_and_its_row_named() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let namespace = server.namespace();
    let mut options = server.options(&namespace);
    options.patience = Duration::from_secs(2);
    let (store, mut raw) = (HbaseImageStore::open(&options).await.unwrap(), server.raw());
    let row = row();
    store.put(row.clone(), file(1000, 1)).await.unwrap();
    overwrite(&mut raw, &namespace, row.as_str(), "MD:0", &file(1000, 2).bytes.unwrap());
    let error = store.get(&row, Columns::BYTES).await.unwrap_err();
    assert!(matches!(&error, ImageStoreError::JoinCells { row: named, .. } if *named == row), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_a_file_of_several_requests_see_it_old_or_new() {
    if medindex_testbed::skipped("hbase") {
        return;
    }
    let server = shared();
    let store = server.open(&server.namespace()).await;
    let row = row();
    let versions = [file(18 << 20, 1), file(10 << 20, 2)];
    store.put(row.clone(), versions[0].clone()).await.unwrap();
    let writing = tokio::spawn({
        let (store, row, versions) = (store.clone(), row.clone(), versions.clone());
        async move {
            for turn in 1..=6 {
                store.put(row.clone(), versions[turn % 2].clone()).await.unwrap();
            }
        }
    });
    let mut reads = 0;
    while !writing.is_finished() || reads == 0 {
        let read = store.get(&row, Columns::BYTES).await.unwrap().unwrap();
        assert!(versions.contains(&read), "a mixed file was read");
        reads += 1;
    }
    writing.await.unwrap();
    assert!(store.get(&row, Columns::BYTES).await.unwrap().as_ref() == Some(&versions[0]));
}
