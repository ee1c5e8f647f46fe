//! Stores with damaged pages: noticed, and everything else of them saved.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use half::f16;
use medindex_backends::embedded::{EmbeddedStore, STORE_FILE, StoreOptions};
use medindex_backends::{Columns, FrameVector, ImageInformation, ImageRow, ImageStore, Message, Queue};
use medindex_proto::{ImageId, RowKey};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

const ROWS: usize = 300;
const MESSAGES: u64 = 200;
const PARTITIONS: u32 = 4;

fn row_key(rng: &mut Pcg64) -> RowKey {
    RowKey::new(&ImageId::from_bytes(rng.random()), PARTITIONS)
}

fn image(rng: &mut Pcg64) -> ImageRow {
    let length = rng.random_range(1_000..200_000);
    let bytes: Vec<u8> = (0..length).map(|_| rng.random()).collect();
    let vector = (0..64).map(|_| f16::from_f32(rng.random())).collect();
    let information = ImageInformation {
        frames: vec![FrameVector { frame: 0, vector, code: Vec::new() }],
        meta_json: format!("{{\"length\":{length}}}"),
        ..ImageInformation::default()
    };
    ImageRow { bytes: Some(bytes.into()), information: Some(information) }
}

/// A store with rows and messages, the same in every run, byte for byte; its rows.
async fn filled(folder: &Path) -> Vec<(RowKey, ImageRow)> {
    let mut rng = Pcg64::seed_from_u64(11);
    let store = EmbeddedStore::open(folder).await.unwrap();
    store.create_topic("work", PARTITIONS).await.unwrap();
    let rows: Vec<_> = (0..ROWS).map(|_| (row_key(&mut rng), image(&mut rng))).collect();
    for rows in rows.chunks(20) {
        store.put_many(rows.to_vec()).await.unwrap();
    }
    for number in 0..MESSAGES {
        let payload = vec![number as u8; 500].into();
        let message = Message { partition: number as u32 % PARTITIONS, key: number.to_string(), payload };
        store.publish_many("work", vec![message]).await.unwrap();
    }
    store.close().await;
    rows
}

/// Writes random bytes over `count` pages.
fn damage(path: &Path, rng: &mut Pcg64, count: usize) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for _ in 0..count {
        // The first page says where everything is; without it the store is lost, which is another test.
        let page = rng.random_range(1..pages);
        let noise: Vec<u8> = (0..4096).map(|_| rng.random()).collect();
        file.write_all_at(&noise, page * 4096).unwrap();
    }
}

async fn find_damage(folder: &Path) -> Option<String> {
    EmbeddedStore::find_damage(folder, StoreOptions::default()).await.unwrap()
}

/// The store of a folder, which is whole, and how many rows it does not have; those that it has are as they were.
async fn count_lost(folder: &Path, rows: &[(RowKey, ImageRow)]) -> (EmbeddedStore, u32) {
    assert_eq!(find_damage(folder).await, None, "the new file is whole");
    let store = EmbeddedStore::open(folder).await.unwrap();
    let mut lost = 0;
    for (key, row) in rows {
        match store.get(key, Columns::BYTES | Columns::INFORMATION).await {
            Ok(Some(read)) => assert!(read == *row, "{key} was changed"),
            Ok(None) => lost += 1,
            // Its pieces have checksums of their own.
            Err(error) => {
                assert!(error.to_string().contains("checksum"), "{error}");
                lost += 1;
            }
        }
    }
    (store, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_but_the_damaged_rows_of_a_store_are_saved_as_they_were() {
    let original = tempfile::tempdir().unwrap();
    let rows = filled(original.path()).await;
    let keys: Vec<RowKey> = rows.iter().map(|(key, _)| key.clone()).collect();
    let (mut salvaged_stores, mut lost_in_all) = (0, 0);
    for seed in 0..30 {
        let mut rng = Pcg64::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STORE_FILE);
        fs::copy(original.path().join(STORE_FILE), &path).unwrap();
        damage(&path, &mut rng, 1 + seed as usize % 3);
        let damaged = fs::read(&path).unwrap();
        let found = find_damage(folder.path()).await;
        assert!(fs::read(&path).unwrap() == damaged, "looking changed the file");
        if found.is_none() {
            continue; // It met free pages only.
        }
        // Half of the rows are known, the others have to be found.
        let known = keys.iter().step_by(2).cloned().collect();
        let salvaged = EmbeddedStore::salvage(folder.path(), StoreOptions::default(), known).await.unwrap();
        assert!(fs::read(&salvaged.kept).unwrap() == damaged, "the damaged file is kept as it was");
        let (store, lost) = count_lost(folder.path(), &rows).await;
        println!("seed {seed}: {found:?}, {salvaged:?}, {lost} rows lost");
        // It can be written to again, where it could not be read too.
        store.put_many(rows.clone()).await.unwrap();
        store.close().await;
        salvaged_stores += 1;
        lost_in_all += lost;
    }
    assert!(salvaged_stores > 15, "{salvaged_stores}");
    let share = f64::from(lost_in_all) / (f64::from(salvaged_stores) * ROWS as f64);
    println!("{salvaged_stores} stores, {:.2} % of the rows lost", share * 100.0);
    assert!(share < 0.1, "{share}");
}

/// Salvages a store that `spoil` was done to; how many rows are lost, `None` where the damage was not noticed.
async fn lost_after(
    original: &Path,
    rows: &[(RowKey, ImageRow)],
    spoil: impl FnOnce(&mut Vec<u8>),
) -> Option<u32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(STORE_FILE);
    let mut bytes = fs::read(original.join(STORE_FILE)).unwrap();
    spoil(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    find_damage(folder.path()).await?;
    let known = rows.iter().map(|(key, _)| key.clone()).collect();
    let salvaged = EmbeddedStore::salvage(folder.path(), StoreOptions::default(), known).await.unwrap();
    assert!(fs::read(&salvaged.kept).unwrap() == bytes, "the damaged file is kept as it was");
    let (store, lost) = count_lost(folder.path(), rows).await;
    store.put_many(rows[..20].to_vec()).await.unwrap();
    store.close().await;
    Some(lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_cut_off_loses_only_what_was_behind_the_cut() {
    let original = tempfile::tempdir().unwrap();
    let rows = filled(original.path()).await;
    for cut in [1, 100, 4_096, 4_097, 5 * 4_096, 8 * 4_096] {
        let lost = lost_after(original.path(), &rows, |bytes| bytes.truncate(bytes.len() - cut)).await;
        println!("{cut} bytes cut off: {lost:?} rows lost");
        // The file of an image takes more pages than that.
        assert!(lost.unwrap() <= 2, "{cut}: {lost:?}");
    }
    // Of what has nothing of the tree, nothing can be read; it is begun anew.
    for left in [0, 40, 64, 320, 4_096] {
        let lost = lost_after(original.path(), &rows, |bytes| bytes.truncate(left)).await;
        assert_eq!(lost, Some(ROWS as u32), "{left}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_damaged_header_loses_at_most_its_last_commit() {
    let original = tempfile::tempdir().unwrap();
    let rows = filled(original.path()).await;
    let mut rng = Pcg64::seed_from_u64(5);
    let (mut noticed, mut lost_in_all) = (0, 0);
    for trial in 0..60 {
        let (at, length) = match trial {
            // The header without the commits; one commit; anything.
            0 => (0, 64),
            1 => (64, 128),
            2 => (192, 128),
            _ => (rng.random_range(0..320), rng.random_range(1..16)),
        };
        let noise: Vec<u8> = (0..length).map(|_| rng.random()).collect();
        let spoil = |bytes: &mut Vec<u8>| bytes[at..at + length].copy_from_slice(&noise);
        let Some(lost) = lost_after(original.path(), &rows, spoil).await else { continue };
        println!("{length} bytes at {at}: {lost} rows lost");
        noticed += 1;
        // Noise over the border of both commits leaves none.
        if !(at < 192 && at + length > 192) {
            assert!(lost <= 20, "{length} bytes at {at}: {lost} rows lost");
            lost_in_all += lost;
        }
    }
    println!("{noticed} noticed, {lost_in_all} rows lost");
    assert!(noticed > 20, "{noticed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_full_of_wrong_bytes_is_salvaged_in_bounded_time_and_gives_no_wrong_file() {
    let original = tempfile::tempdir().unwrap();
    let rows = filled(original.path()).await;
    let mut whole = 0;
    for seed in 0..20 {
        let mut rng = Pcg64::seed_from_u64(seed);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(STORE_FILE);
        let mut bytes = fs::read(original.path().join(STORE_FILE)).unwrap();
        for _ in 0..[300, 3_000, 8_000][seed as usize % 3] {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        fs::write(&path, &bytes).unwrap();
        if find_damage(folder.path()).await.is_some() {
            let known = rows.iter().map(|(key, _)| key.clone()).collect();
            EmbeddedStore::salvage(folder.path(), StoreOptions::default(), known).await.unwrap();
        }
        assert_eq!(find_damage(folder.path()).await, None);
        let store = EmbeddedStore::open(folder.path()).await.unwrap();
        for (key, row) in &rows {
            if let Ok(Some(read)) = store.get(key, Columns::BYTES).await {
                assert!(read.bytes == row.bytes, "seed {seed}: the file of {key} was changed");
                whole += 1;
            }
        }
        for partition in 0..PARTITIONS {
            let keys = store.keys(partition, None, 2 * ROWS).await.unwrap();
            assert!(keys.is_sorted() && keys.len() <= ROWS);
        }
        store.close().await;
    }
    println!("{whole} files of {} are whole", 20 * ROWS);
    assert!(whole > 1_000, "{whole}");
}

/// Writes `wrong` wherever `right` stands in the store of a folder, old pages included.
fn replace(folder: &Path, right: &[u8], wrong: &[u8]) -> usize {
    let path = folder.join(STORE_FILE);
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..bytes.len() - right.len()).filter(|at| &bytes[*at..at + right.len()] == right).collect();
    for place in &places {
        bytes[*place..place + wrong.len()].copy_from_slice(wrong);
    }
    fs::write(&path, bytes).unwrap();
    places.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_offsets_and_positions_of_a_queue_are_corrected_from_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let each = MESSAGES / u64::from(PARTITIONS);
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    // Their own numbers, so that they are found in the file.
    store.trim("work", 1, 3).await.unwrap();
    let mut consumer = store.consumer("work", "group").await.unwrap();
    assert_eq!(consumer.assignment().await.unwrap().len(), PARTITIONS as usize);
    consumer.commit(&[(1, 17), (2, 19)].into()).await.unwrap();
    drop(consumer);
    store.close().await;
    let pair = |first: u64, end: u64| [first.to_le_bytes(), end.to_le_bytes()].concat();
    assert!(replace(folder.path(), &pair(0, each), &pair(0, 1 << 60)) > 0);
    assert!(replace(folder.path(), &pair(3, each), &pair(1 << 50, 0)) > 0);
    assert!(replace(folder.path(), &pair(17, 19), &pair(17, 1 << 55)) > 0);
    assert!(find_damage(folder.path()).await.is_some());
    let salvaged = EmbeddedStore::salvage(folder.path(), StoreOptions::default(), Vec::new()).await.unwrap();
    assert_eq!((salvaged.messages, salvaged.lost_messages), (MESSAGES - 3, 0));
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    assert_eq!(
        store.end_offsets("work").await.unwrap(),
        (0..PARTITIONS).map(|number| (number, each)).collect()
    );
    assert_eq!(store.first_offsets("work").await.unwrap(), [(0, 0), (1, 3), (2, 0), (3, 0)].into());
    let committed = store.committed("work", "group").await.unwrap();
    assert_eq!(committed, [(1, 17), (2, each)].into());
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_store_is_called_whole_and_a_salvage_of_it_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path()).await;
    let options = StoreOptions::default;
    assert_eq!(find_damage(folder.path()).await, None);
    let salvaged = EmbeddedStore::salvage(folder.path(), options(), Vec::new()).await.unwrap();
    assert_eq!((salvaged.rows, salvaged.lost_rows), (ROWS as u64, 0));
    assert_eq!((salvaged.messages, salvaged.lost_messages), (MESSAGES, 0));
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    for (key, row) in &rows {
        assert!(store.get(key, Columns::BYTES | Columns::INFORMATION).await.unwrap().as_ref() == Some(row));
    }
    let ends = store.end_offsets("work").await.unwrap();
    assert_eq!(ends.values().sum::<u64>(), MESSAGES);
    let read = store.read_from("work", 1, 0, 1_000).await.unwrap();
    assert_eq!(read.len() as u64, MESSAGES / u64::from(PARTITIONS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_salvage_that_was_cut_off_between_the_two_names_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path()).await;
    let path = folder.path().join(STORE_FILE);
    fs::rename(&path, folder.path().join("store.salvaged")).unwrap();
    fs::write(folder.path().join("store.redb.damaged"), "what was damaged").unwrap();
    assert_eq!(find_damage(folder.path()).await, None);
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    assert!(store.get(&rows[0].0, Columns::BYTES).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_a_read_meets_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path()).await;
    let path = folder.path().join(STORE_FILE);
    // Bytes of one file, as the disk may have spoilt them.
    let mut bytes = fs::read(&path).unwrap();
    let wanted = &rows[7].1.bytes.as_ref().unwrap()[..32];
    let at = (0..bytes.len() - 32).find(|at| &bytes[*at..at + 32] == wanted).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    assert!(store.get(&rows[6].0, Columns::BYTES).await.is_ok());
    assert_eq!(store.damage(), None);
    assert!(store.get(&rows[7].0, Columns::BYTES).await.is_err());
    assert!(store.damage().is_some_and(|damage| damage.contains(rows[7].0.as_str())));
}
