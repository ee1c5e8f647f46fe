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

/// A store with rows and messages; its rows.
async fn filled(folder: &Path) -> Vec<(RowKey, ImageRow)> {
    let mut rng = Pcg64::seed_from_u64(11);
    let store = EmbeddedStore::open(folder).await.unwrap();
    store.create_topic("work", PARTITIONS).await.unwrap();
    let rows: Vec<_> =
        (0..ROWS).map(|_| (RowKey::new(&ImageId::new(), PARTITIONS), image(&mut rng))).collect();
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
        let found = EmbeddedStore::has_damaged_pages(folder.path(), StoreOptions::default()).await.unwrap();
        assert!(fs::read(&path).unwrap() == damaged, "looking changed the file");
        if !found {
            continue; // It met free pages only, or the store cannot be opened at all.
        }
        // Half of the rows are known, the others have to be found.
        let known = keys.iter().step_by(2).cloned().collect();
        let salvaged = EmbeddedStore::salvage(folder.path(), StoreOptions::default(), known).await.unwrap();
        assert!(fs::read(&salvaged.kept).unwrap() == damaged, "the damaged file is kept as it was");
        assert!(
            !EmbeddedStore::has_damaged_pages(folder.path(), StoreOptions::default()).await.unwrap(),
            "the new file is whole"
        );
        let store = EmbeddedStore::open(folder.path()).await.unwrap();
        let mut lost = 0;
        for (key, row) in &rows {
            match store.get(key, Columns::BYTES | Columns::INFORMATION).await {
                Ok(Some(read)) => assert!(read == *row, "seed {seed}: {key} was changed"),
                Ok(None) => lost += 1,
                // Its pieces have checksums of their own.
                Err(error) => {
                    assert!(error.to_string().contains("checksum"), "seed {seed}: {error}");
                    lost += 1;
                }
            }
        }
        println!("seed {seed}: {salvaged:?}, {lost} rows lost");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_store_is_called_whole_and_a_salvage_of_it_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rows = filled(folder.path()).await;
    let options = StoreOptions::default;
    assert!(!EmbeddedStore::has_damaged_pages(folder.path(), options()).await.unwrap());
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
    assert!(!EmbeddedStore::has_damaged_pages(folder.path(), StoreOptions::default()).await.unwrap());
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
