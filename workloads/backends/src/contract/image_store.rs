//! What an image store promises.

use std::collections::BTreeSet;
use std::sync::Arc;

use half::f16;
use medindex_proto::names::CELL_BYTES;
use medindex_proto::{ImageId, RowKey};

use super::{Place, pattern, restart};
use crate::image_store::{
    Columns, FrameVector, ImageFacts, ImageInformation, ImageRow, ImageStore, ImageStoreError,
};

type Store = dyn ImageStore;
type Stores = Arc<dyn Place<Store>>;

super::checks![Store:
    a_row_that_was_put_is_read_back_whole,
    values_of_every_size_come_back,
    what_is_not_there_is_none,
    a_put_replaces_the_parts_that_it_carries_and_leaves_the_others,
    facts_that_are_no_longer_known_are_gone,
    a_shorter_file_replaces_a_longer_one,
    the_same_put_again_changes_nothing,
    columns_not_asked_for_are_left_out,
    information_that_contradicts_itself_is_refused,
    many_rows_are_read_in_the_order_asked_for,
    deleted_rows_are_gone_and_deleting_again_succeeds,
    empty_batches_succeed,
    a_scan_pages_through_one_partition_in_key_order,
    a_scan_finds_rows_that_have_any_of_the_columns,
    rows_put_during_a_scan_hide_none_that_were_there,
    concurrent_puts_all_arrive,
    readers_see_a_row_old_or_new_and_never_mixed,
    rows_and_blobs_survive_a_restart,
    blobs_are_replaced_listed_and_deleted,
    ranges_of_blobs_are_cut_at_the_end,
    names_that_are_no_blob_names_are_refused,
];

const PARTITIONS: u32 = 9;

fn row() -> RowKey {
    RowKey::new(&ImageId::new(), PARTITIONS)
}

fn information(seed: u32) -> ImageInformation {
    let frame = |number| FrameVector {
        frame: number * 2,
        vector: (0..64).map(|index| f16::from_f32((index * (number + 1) + seed) as f32 / 100.0)).collect(),
        code: pattern(32, u64::from(seed + number)).to_vec(),
    };
    ImageInformation {
        generation: u64::from(seed) + 1,
        frames: (0..3).map(frame).collect(),
        meta_json: format!(r#"{{"seed":{seed},"name":"Thorax – 胸部 🩻 \u0000"}}"#),
        facts: facts(seed),
    }
}

/// Facts of which every text but one depends on `seed`, and one is not known.
fn facts(seed: u32) -> ImageFacts {
    ImageFacts {
        image_type: format!("CT {seed}"),
        modality: "CT".to_owned(),
        body_part: format!("胸部 {seed}"),
        label: String::new(),
        organisation: format!("clinic {seed}"),
        name: format!("Röntgen {seed}.dcm"),
        format: "dicom".to_owned(),
        received_ms: 1_700_000_000_000 + u64::from(seed),
    }
}

fn whole(length: usize, seed: u32) -> ImageRow {
    ImageRow { bytes: Some(pattern(length, u64::from(seed))), information: Some(information(seed)) }
}

async fn a_row_that_was_put_is_read_back_whole(place: Stores) {
    let store = place.open().await;
    let (row, values) = (row(), whole(40_000, 1));
    store.put(row.clone(), values.clone()).await.unwrap();
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(values));
}

async fn values_of_every_size_come_back(place: Stores) {
    let store = place.open().await;
    for length in
        [0, 1, 1000, (64 << 10) - 256, 64 << 10, 1 << 20, CELL_BYTES - 1, CELL_BYTES, CELL_BYTES + 1, 9 << 20]
    {
        let (row, values) = (row(), ImageRow { bytes: Some(pattern(length, 7)), information: None });
        store.put(row.clone(), values.clone()).await.unwrap();
        let read = store.get(&row, Columns::BYTES).await.unwrap();
        assert!(read == Some(values), "a file of {length} bytes came back changed");
    }
    for frames in [0, 1, 700] {
        let frame = |frame| FrameVector { frame, vector: vec![f16::ONE; 512], code: vec![frame as u8; 32] };
        let frames = (0..frames).map(frame).collect();
        let information =
            ImageInformation { generation: u64::MAX >> 1, frames, ..ImageInformation::default() };
        let (row, values) = (row(), ImageRow { bytes: None, information: Some(information) });
        store.put(row.clone(), values.clone()).await.unwrap();
        assert!(store.get(&row, Columns::ALL).await.unwrap() == Some(values));
    }
}

async fn what_is_not_there_is_none(place: Stores) {
    let store = place.open().await;
    let (row, other) = (row(), row());
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), None);
    let bytes_only = ImageRow { bytes: Some(pattern(10, 1)), information: None };
    store.put(row.clone(), bytes_only.clone()).await.unwrap();
    assert_eq!(store.get(&row, Columns::INFORMATION).await.unwrap(), None);
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(bytes_only));
    assert_eq!(store.get(&other, Columns::ALL).await.unwrap(), None);
    assert_eq!(store.get_blob("none").await.unwrap(), None);
    assert_eq!(store.get_blob_range("none", 0, 10).await.unwrap(), None);
    assert!(store.scan(0, Columns::VECTORS, None, 10).await.unwrap().is_empty());
}

async fn a_put_replaces_the_parts_that_it_carries_and_leaves_the_others(place: Stores) {
    let store = place.open().await;
    let row = row();
    store.put(row.clone(), whole(5000, 1)).await.unwrap();
    let newer = ImageRow { bytes: None, information: Some(information(2)) };
    store.put(row.clone(), newer.clone()).await.unwrap();
    let expected = ImageRow { bytes: whole(5000, 1).bytes, information: newer.information };
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(expected.clone()));
    store.put(row.clone(), ImageRow::default()).await.unwrap();
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(expected));
}

async fn facts_that_are_no_longer_known_are_gone(place: Stores) {
    let store = place.open().await;
    let row = row();
    let mut values = whole(10, 1);
    let read = async || store.get(&row, Columns::META).await.unwrap().unwrap().information.unwrap().facts;
    store.put(row.clone(), values.clone()).await.unwrap();
    assert_eq!(read().await, facts(1));
    let labelled = ImageFacts { label: "liver".to_owned(), body_part: String::new(), ..facts(1) };
    values.information.as_mut().unwrap().facts = labelled.clone();
    store.put(row.clone(), values.clone()).await.unwrap();
    assert_eq!(read().await, labelled);
    values.information.as_mut().unwrap().facts = ImageFacts::default();
    store.put(row.clone(), values).await.unwrap();
    assert_eq!(read().await, ImageFacts::default());
}

async fn a_shorter_file_replaces_a_longer_one(place: Stores) {
    let store = place.open().await;
    let row = row();
    for length in [9 << 20, 5 << 20, 100, 0] {
        let values = ImageRow { bytes: Some(pattern(length, 3)), information: None };
        store.put(row.clone(), values.clone()).await.unwrap();
        assert!(store.get(&row, Columns::BYTES).await.unwrap() == Some(values), "{length} bytes");
    }
}

async fn the_same_put_again_changes_nothing(place: Stores) {
    let store = place.open().await;
    let (row, values) = (row(), whole(70_000, 4));
    for _ in 0..3 {
        store.put(row.clone(), values.clone()).await.unwrap();
    }
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(values));
    let found = store.scan(row.partition(), Columns::ALL, None, 10).await.unwrap();
    assert_eq!(found.len(), 1);
}

async fn columns_not_asked_for_are_left_out(place: Stores) {
    let store = place.open().await;
    let (row, values) = (row(), whole(1000, 5));
    store.put(row.clone(), values.clone()).await.unwrap();
    let full = values.information.clone().unwrap();

    let read = store.get(&row, Columns::BYTES).await.unwrap().unwrap();
    assert_eq!(read, ImageRow { bytes: values.bytes.clone(), information: None });

    let read = store.get(&row, Columns::CODES | Columns::META).await.unwrap().unwrap();
    assert_eq!(read.bytes, None);
    let mut expected = full.clone();
    expected.frames.iter_mut().for_each(|frame| frame.vector.clear());
    assert_eq!(read.information, Some(expected));

    let read = store.get(&row, Columns::VECTORS).await.unwrap().unwrap();
    let mut expected = full;
    expected.frames.iter_mut().for_each(|frame| frame.code.clear());
    expected.meta_json.clear();
    expected.facts = ImageFacts::default();
    assert_eq!(read.information, Some(expected));
}

async fn information_that_contradicts_itself_is_refused(place: Stores) {
    let store = place.open().await;
    let (row, mut ragged) = (row(), whole(10, 6));
    ragged.information.as_mut().unwrap().frames[1].vector.pop();
    let batch = vec![(self::row(), whole(10, 6)), (row.clone(), ragged)];
    let error = store.put_many(batch).await.unwrap_err();
    assert!(matches!(&error, ImageStoreError::SplitCells { row: named, .. } if *named == row), "{error}");
    assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), None);
}

async fn many_rows_are_read_in_the_order_asked_for(place: Stores) {
    let store = place.open().await;
    let rows: Vec<_> = (0..100).map(|seed| (row(), whole(seed as usize * 10, seed))).collect();
    store.put_many(rows.clone()).await.unwrap();
    let mut asked: Vec<_> = rows.iter().rev().map(|(row, _)| row.clone()).collect();
    asked.insert(3, row());
    asked.push(rows[5].0.clone());
    let read = store.get_many(&asked, Columns::ALL).await.unwrap();
    for (asked, read) in asked.iter().zip(read) {
        let expected = rows.iter().find(|(row, _)| row == asked).map(|(_, values)| values.clone());
        assert_eq!(read, expected, "{asked}");
    }
}

async fn deleted_rows_are_gone_and_deleting_again_succeeds(place: Stores) {
    let store = place.open().await;
    let rows: Vec<_> = (0..5).map(|seed| (row(), whole(5 << 20, seed))).collect();
    store.put_many(rows.clone()).await.unwrap();
    let gone: Vec<_> = rows[..4].iter().map(|(row, _)| row.clone()).collect();
    for _ in 0..2 {
        store.delete_many(&gone).await.unwrap();
        let read = store.get_many(&gone, Columns::ALL).await.unwrap();
        assert!(read.iter().all(Option::is_none));
    }
    assert!(store.get(&rows[4].0, Columns::ALL).await.unwrap().as_ref() == Some(&rows[4].1));
    store.put(rows[0].0.clone(), whole(3, 9)).await.unwrap();
    assert_eq!(store.get(&rows[0].0, Columns::ALL).await.unwrap(), Some(whole(3, 9)));
}

async fn empty_batches_succeed(place: Stores) {
    let store = place.open().await;
    store.put_many(Vec::new()).await.unwrap();
    store.delete_many(&[]).await.unwrap();
    assert!(store.get_many(&[], Columns::ALL).await.unwrap().is_empty());
    store.put(row(), whole(1, 1)).await.unwrap();
    assert!(store.scan(0, Columns::ALL, None, 0).await.unwrap().is_empty());
}

async fn a_scan_pages_through_one_partition_in_key_order(place: Stores) {
    let store = place.open().await;
    let mut rows: Vec<_> = (0..200).map(|seed| (row(), whole(100, seed))).collect();
    store.put_many(rows.clone()).await.unwrap();
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    for columns in [Columns::ALL, Columns::INFORMATION, Columns::BYTES] {
        for limit in [1, 7, 1000] {
            let mut seen = Vec::new();
            for partition in 0..PARTITIONS {
                let mut after = None;
                loop {
                    let page = store.scan(partition, columns, after.as_ref(), limit).await.unwrap();
                    assert!(page.len() <= limit);
                    assert!(page.iter().all(|(row, _)| row.partition() == partition));
                    let Some((last, _)) = page.last() else { break };
                    after = Some(last.clone());
                    seen.extend(page);
                }
            }
            let mut expected = rows.clone();
            if columns == Columns::INFORMATION {
                for (_, values) in &mut expected {
                    values.bytes = None;
                }
            } else if columns == Columns::BYTES {
                for (_, values) in &mut expected {
                    values.information = None;
                }
            }
            assert!(seen == expected, "{columns:?} in pages of {limit}");
        }
    }
}

async fn a_scan_finds_rows_that_have_any_of_the_columns(place: Stores) {
    let store = place.open().await;
    let of_partition_4 = || std::iter::repeat_with(row).find(|row| row.partition() == 4).unwrap();
    let mut rows: Vec<_> = (0..30).map(|_| of_partition_4()).collect();
    rows.sort();
    for (number, row) in rows.iter().enumerate() {
        let mut values = whole(50, number as u32);
        match number % 3 {
            0 => values.bytes = None,
            1 => values.information = None,
            _ => {}
        }
        store.put(row.clone(), values).await.unwrap();
    }
    let found = |page: Vec<(RowKey, ImageRow)>| page.into_iter().map(|(row, _)| row).collect::<Vec<_>>();
    let numbered = |keep: &dyn Fn(usize) -> bool| -> Vec<RowKey> {
        rows.iter().enumerate().filter(|(number, _)| keep(*number)).map(|(_, row)| row.clone()).collect()
    };
    let all = store.scan(4, Columns::ALL, None, 11).await.unwrap();
    assert_eq!(found(all), rows[..11]);
    let informed = store.scan(4, Columns::CODES, None, 100).await.unwrap();
    assert_eq!(found(informed), numbered(&|number| number % 3 != 1));
    let with_bytes = store.scan(4, Columns::BYTES, None, 100).await.unwrap();
    assert_eq!(found(with_bytes), numbered(&|number| number % 3 != 0));
}

async fn rows_put_during_a_scan_hide_none_that_were_there(place: Stores) {
    let store = place.open().await;
    let rows: Vec<_> = (0..300).map(|seed| (row(), whole(10, seed))).collect();
    store.put_many(rows.clone()).await.unwrap();
    let expected: BTreeSet<_> =
        rows.iter().map(|(row, _)| row.clone()).filter(|row| row.partition() == 2).collect();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.scan(2, Columns::CODES, after.as_ref(), 3).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page.into_iter().map(|(row, _)| row));
        store.put_many((0..9).map(|seed| (row(), whole(10, seed))).collect()).await.unwrap();
    }
    let distinct: BTreeSet<_> = seen.iter().cloned().collect();
    assert_eq!(distinct.len(), seen.len(), "a row was seen twice");
    assert!(expected.is_subset(&distinct));
}

async fn concurrent_puts_all_arrive(place: Stores) {
    let store = place.open().await;
    let mut tasks = Vec::new();
    for writer in 0..32 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let mut written = Vec::new();
            for number in 0..8 {
                let (row, values) = (row(), whole(2000, writer * 100 + number));
                store.put(row.clone(), values.clone()).await.unwrap();
                written.push((row, values));
            }
            written
        }));
    }
    for task in tasks {
        for (row, values) in task.await.unwrap() {
            assert_eq!(store.get(&row, Columns::ALL).await.unwrap(), Some(values));
        }
    }
}

async fn readers_see_a_row_old_or_new_and_never_mixed(place: Stores) {
    let store = place.open().await;
    let row = row();
    let versions = [whole(300_000, 1), whole(100_000, 2)];
    store.put(row.clone(), versions[0].clone()).await.unwrap();
    let writing = tokio::spawn({
        let (store, row, versions) = (Arc::clone(&store), row.clone(), versions.clone());
        async move {
            for turn in 1..=20 {
                store.put(row.clone(), versions[turn % 2].clone()).await.unwrap();
            }
        }
    });
    while !writing.is_finished() {
        let read = store.get(&row, Columns::ALL).await.unwrap().unwrap();
        assert!(versions.contains(&read), "a mixed row was read");
    }
    writing.await.unwrap();
    assert!(store.get(&row, Columns::ALL).await.unwrap().as_ref() == Some(&versions[0]));
}

async fn rows_and_blobs_survive_a_restart(place: Stores) {
    let store = place.open().await;
    let rows: Vec<_> = (0..20).map(|seed| (row(), whole(seed as usize * 100_000, seed))).collect();
    store.put_many(rows.clone()).await.unwrap();
    store.delete(&rows[0].0).await.unwrap();
    store.put_blob("codebooks/7", pattern(300_000, 7)).await.unwrap();
    let store = restart(&place, store).await;
    assert_eq!(store.get(&rows[0].0, Columns::ALL).await.unwrap(), None);
    for (row, values) in &rows[1..] {
        assert!(store.get(row, Columns::ALL).await.unwrap().as_ref() == Some(values));
    }
    assert_eq!(store.get_blob("codebooks/7").await.unwrap(), Some(pattern(300_000, 7)));
}

async fn blobs_are_replaced_listed_and_deleted(place: Stores) {
    let store = place.open().await;
    let sizes = [("segments/0/a", 0), ("segments/0/b", 1), ("segments/1/a", 9 << 20), ("codebook", 70_000)];
    for (name, bytes) in sizes {
        store.put_blob(name, pattern(bytes, 1)).await.unwrap();
        store.put_blob(name, pattern(bytes, 2)).await.unwrap();
        assert!(store.get_blob(name).await.unwrap() == Some(pattern(bytes, 2)), "{name}");
    }
    let listed = async |prefix| {
        let blobs = store.list_blobs(prefix).await.unwrap();
        blobs.into_iter().map(|blob| (blob.name, blob.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(listed("segments/0/").await, [("segments/0/a".into(), 0), ("segments/0/b".into(), 1)]);
    assert_eq!(listed("").await.len(), 4);
    assert_eq!(listed("segments/2").await, []);
    store.put_blob("segments/1/a", pattern(5, 3)).await.unwrap();
    assert_eq!(store.get_blob("segments/1/a").await.unwrap(), Some(pattern(5, 3)));
    for _ in 0..2 {
        store.delete_blob("segments/0/a").await.unwrap();
        assert_eq!(store.get_blob("segments/0/a").await.unwrap(), None);
    }
    assert_eq!(listed("segments/").await, [("segments/0/b".into(), 1), ("segments/1/a".into(), 5)]);
}

async fn ranges_of_blobs_are_cut_at_the_end(place: Stores) {
    let store = place.open().await;
    let blob = pattern((4 << 20) + 100_000, 8);
    store.put_blob("blob", blob.clone()).await.unwrap();
    let length = blob.len();
    for (offset, wanted) in [
        (0, 10),
        (65_000, 1000),
        ((4 << 20) - 5, 10),
        (length - 1, 1),
        (length - 1, 100),
        (length, 5),
        (length + 5, 5),
        (17, 0),
        (3, usize::MAX),
    ] {
        let read = store.get_blob_range("blob", offset as u64, wanted).await.unwrap().unwrap();
        let start = offset.min(length);
        let end = start.saturating_add(wanted).min(length);
        assert!(read == blob.slice(start..end), "{wanted} bytes from {offset}");
    }
}

async fn names_that_are_no_blob_names_are_refused(place: Stores) {
    let store = place.open().await;
    for name in ["", "a b", "ä", "a\0", &"a".repeat(600)] {
        let error = store.put_blob(name, pattern(1, 1)).await.unwrap_err();
        assert!(matches!(error, ImageStoreError::CheckBlobName { .. }), "{error}");
    }
}
