//! What is damaged, taken or from the future is refused by name; what is not damaged is read.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod process;

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::catch_unwind;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::catalog::{ImageFilter, ListOrder};
use medindex_backends::embedded::{CATALOG_FILE, EmbeddedStore, STORE_FILE, open_catalog};
use medindex_backends::{
    Catalog, CatalogError, Columns, Fault, ImageRow, ImageStore, ImageStoreError, Queue, QueueError,
};
use medindex_proto::{ImageId, RowKey};
use process::{image, patterned, start};
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use redb::{Database, TableDefinition};
use sqlx::Connection;

/// A closed store with rows and messages; returns the rows.
async fn make_store(folder: &Path) -> Vec<(RowKey, ImageRow)> {
    let store = EmbeddedStore::open(folder).await.unwrap();
    let rows: Vec<_> = (0..40)
        .map(|seed| {
            let values = ImageRow { bytes: Some(patterned(30_000, seed)), information: None };
            (RowKey::new(&ImageId::new(), 9), values)
        })
        .collect();
    store.put_many(rows.clone()).await.unwrap();
    store.create_topic("work", 2).await.unwrap();
    for number in 0..40_u64 {
        store.publish("work", (number % 2) as u32, "key", patterned(2000, number)).await.unwrap();
    }
    store.close().await;
    rows
}

fn is_corrupted(fault: Option<&Fault>) -> bool {
    matches!(fault, Some(Fault::Corrupted { .. }))
}

/// Reads everything: each value must be right, or refused as damaged. Damage in the search tree may hide a row, which is then
/// missing; that is allowed only where the file's own checksums tell of it. Returns how many were refused or missing.
async fn read_all(store: &EmbeddedStore, rows: &[(RowKey, ImageRow)], damage_is_known: bool) -> usize {
    let mut refused = 0;
    for (row, values) in rows {
        match store.get(row, Columns::BYTES).await {
            Ok(Some(read)) => assert!(read == *values, "a damaged value was returned"),
            Ok(None) => {
                assert!(damage_is_known, "a row of a whole store was passed off as missing");
                refused += 1;
            }
            Err(ImageStoreError::JoinCells { .. }) => refused += 1,
            Err(error) => {
                assert!(is_corrupted(error.fault()), "{error}");
                refused += 1;
            }
        }
    }
    for partition in 0..2 {
        match store.read_from("work", partition, 0, 100).await {
            Ok(read) => {
                for delivery in read {
                    let number = delivery.offset * 2 + u64::from(partition);
                    assert!(delivery.payload == patterned(2000, number), "a damaged message was returned");
                }
            }
            Err(QueueError::UnknownTopic { .. } | QueueError::UnknownPartition { .. }) => refused += 1,
            Err(error) => {
                assert!(is_corrupted(error.fault()), "{error}");
                refused += 1;
            }
        }
    }
    refused
}

/// Whether the database's checksums of its pages do not fit, asked of a copy because the question repairs.
fn tells_of_damage(path: &Path, copy: &Path) -> bool {
    fs::copy(path, copy).unwrap();
    let asked = catch_unwind(|| Database::open(copy).map_err(drop)?.check_integrity().map_err(drop));
    !matches!(asked, Ok(Ok(true)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_overwritten_store_is_refused_as_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let rows = make_store(folder.path()).await;
    let path = folder.path().join(STORE_FILE);
    let whole = fs::read(&path).unwrap();
    let cases: [(&str, Vec<u8>); 5] = [
        ("empty", Vec::new()),
        ("cut inside the header", whole[..100].to_vec()),
        ("cut in the middle", whole[..whole.len() / 2].to_vec()),
        ("text", b"this is no database".repeat(1000)),
        ("header of zeros", [&vec![0; 4096][..], &whole[4096..]].concat()),
    ];
    for (case, content) in cases {
        fs::write(&path, content).unwrap();
        let Err(fault) = EmbeddedStore::open(folder.path()).await else { panic!("{case}: it was opened") };
        let message = fault.to_string();
        assert!(matches!(fault, Fault::Corrupted { .. }), "{case}: {message}");
        assert!(
            message.contains(&folder.path().display().to_string()) && message.contains("backup"),
            "{message}"
        );
    }
    fs::write(&path, whole).unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    assert_eq!(read_all(&store, &rows, false).await, 0, "an undamaged store was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_never_change_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let rows = make_store(folder.path()).await;
    let path = folder.path().join(STORE_FILE);
    let whole = fs::read(&path).unwrap();
    let seed = 20_261_121;
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut refused = 0;
    for _ in 0..40 {
        fs::write(&path, &whole).unwrap();
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        for _ in 0..20 {
            let place = random.random_range(0..whole.len() as u64);
            file.seek(SeekFrom::Start(place)).unwrap();
            let mut byte = [0];
            file.read_exact(&mut byte).unwrap();
            file.seek(SeekFrom::Start(place)).unwrap();
            file.write_all(&[byte[0] ^ (1 << (random.next_u32() % 8))]).unwrap();
        }
        drop(file);
        let damage_is_known = tells_of_damage(&path, &folder.path().join("copy.redb"));
        match EmbeddedStore::open(folder.path()).await {
            Ok(store) => {
                refused += read_all(&store, &rows, damage_is_known).await;
                store.close().await;
            }
            Err(fault) => {
                let named = matches!(
                    fault,
                    Fault::Corrupted { .. } | Fault::Failed { .. } | Fault::NewerSchema { .. }
                );
                assert!(named, "{fault}");
                refused += 1;
            }
        }
    }
    assert!(
        refused > 40,
        "only {refused} of 800 flipped bits were noticed: the test does not damage the store"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_later_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    make_store(folder.path()).await;
    let database = Database::open(folder.path().join(STORE_FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, u64>::new("about")).unwrap().insert("layout", 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let fault = EmbeddedStore::open(folder.path()).await.err().unwrap();
    assert!(matches!(&fault, Fault::NewerSchema { found, .. } if found.contains("99")), "{fault}");
    assert!(fault.to_string().contains("upgrade"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_that_the_folder_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut holder = start("holder_process", folder.path(), &[]);
    holder.wait_for_line("open", Duration::from_mins(1));
    let fault = EmbeddedStore::open(folder.path()).await.err().unwrap();
    assert!(matches!(fault, Fault::InUse { .. }), "{fault}");
    let message = fault.to_string();
    assert!(message.contains(&folder.path().display().to_string()), "{message}");
    assert!(message.contains("another data folder"), "{message}");
    holder.kill();
    EmbeddedStore::open(folder.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process of a_second_process_is_told_that_the_folder_is_in_use"]
async fn holder_process() {
    let _store = EmbeddedStore::open(process::folder()).await.unwrap();
    process::say("open");
    std::future::pending::<()>().await;
}

#[test]
fn a_full_disk_is_named_and_writing_goes_on_once_there_is_space() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start("full_disk_process", folder.path(), &["sh", "-c", LIMITED_SHELL]);
    child.wait_for_line("all is well", Duration::from_secs(100));
}

/// Runs its arguments with files limited to about 12 MiB; the signal of the limit is ignored, so that writes
/// fail as on a full disk.
const LIMITED_SHELL: &str = r#"trap '' XFSZ; ulimit -S -f 24000; exec "$0" "$@""#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process of a_full_disk_is_named_and_writing_goes_on_once_there_is_space"]
async fn full_disk_process() {
    let store = EmbeddedStore::open(process::folder()).await.unwrap();
    let mut stored = Vec::new();
    let error = loop {
        assert!(stored.len() < 40, "the limit has no effect");
        let row = RowKey::new(&ImageId::new(), 9);
        let values = ImageRow { bytes: Some(patterned(1 << 20, stored.len() as u64)), information: None };
        match store.put(row.clone(), values.clone()).await {
            Ok(()) => stored.push((row, values)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault(), Some(Fault::DiskFull { .. })), "{error}");
    assert!(error.to_string().contains("free or add space"), "{error}");
    assert!(stored.len() > 3, "{} rows fitted", stored.len());
    for (row, values) in &stored {
        let read = store.get(row, Columns::BYTES).await.unwrap();
        assert!(read.as_ref() == Some(values), "an acknowledged row was lost");
    }

    let catalog = open_catalog(process::folder()).await.unwrap();
    let mut accepted = 0;
    let error = loop {
        assert!(accepted < 40_000, "the limit has no effect");
        let mut batch: Vec<_> = (accepted..accepted + 100).map(image).collect();
        for image in &mut batch {
            image.name = "n".repeat(8000);
        }
        match catalog.accept_images(batch).await {
            Ok(_) => accepted += 100,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.fault(), Some(Fault::DiskFull { .. })), "{error}");

    let id = std::process::id().to_string();
    let freed =
        std::process::Command::new("prlimit").args(["--pid", &id, "--fsize=unlimited:"]).status().unwrap();
    assert!(freed.success());
    let (row, values) = (RowKey::new(&ImageId::new(), 9), stored[0].1.clone());
    store.put(row.clone(), values).await.unwrap();
    stored.push((row, stored[0].1.clone()));
    store.close().await;
    let store = EmbeddedStore::open(process::folder()).await.unwrap();
    for (row, values) in &stored {
        assert!(store.get(row, Columns::BYTES).await.unwrap().as_ref() == Some(values));
    }
    catalog.accept_image(image(1_000_000)).await.unwrap();
    catalog.close().await;
    let catalog = open_catalog(process::folder()).await.unwrap();
    let counts = catalog.counts().await.unwrap();
    assert_eq!(counts.by_status[0].1, u64::from(accepted) + 1);
    process::say("all is well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_catalog_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open_catalog(folder.path()).await.unwrap();
    catalog.accept_images((0..2000).map(image).collect()).await.unwrap();
    catalog.close().await;
    let path = folder.path().join(CATALOG_FILE);
    let whole = fs::read(&path).unwrap();
    let overwritten = [&whole[..4096], &vec![0xee; whole.len() - 4096][..]].concat();
    for (case, content) in
        [("empty", Vec::new()), ("text", b"no database ".repeat(1000)), ("overwritten", overwritten)]
    {
        fs::write(&path, content).unwrap();
        let error = match open_catalog(folder.path()).await {
            Err(error) => error,
            Ok(catalog) => catalog
                .list_images(&ImageFilter::default(), ListOrder::NewestFirst, None, 10)
                .await
                .unwrap_err(),
        };
        assert!(is_corrupted(error.fault()), "{case}: {error}");
        assert!(error.to_string().contains(CATALOG_FILE), "{error}");
    }
    fs::write(&path, &whole).unwrap();
    let catalog = open_catalog(folder.path()).await.unwrap();
    assert_eq!(catalog.counts().await.unwrap().by_status[0].1, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_of_a_later_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open_catalog(folder.path()).await.unwrap().close().await;
    let url = format!("sqlite://{}", folder.path().join(CATALOG_FILE).display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (4711, 'of the future', TRUE, X'00', 1)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let error = open_catalog(folder.path()).await.err().unwrap();
    let CatalogError::Migrate(fault) = &error else { panic!("{error}") };
    assert!(matches!(fault, Fault::NewerSchema { found, .. } if found.contains("4711")), "{fault}");
    assert!(error.to_string().contains("upgrade"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let fault = EmbeddedStore::open(file.join("below")).await.err().unwrap();
    assert!(matches!(fault, Fault::Inaccessible { .. }), "{fault}");
    let error = open_catalog(file.join("below")).await.err().unwrap();
    assert!(matches!(error.fault(), Some(Fault::Inaccessible { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_and_catalog_refuse_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(folder.path()).await.unwrap();
    store.create_topic("work", 1).await.unwrap();
    let mut consumer = store.consumer("work", "group").await.unwrap();
    store.close().await;
    let closed = |fault: Option<&Fault>| assert!(matches!(fault, Some(Fault::Closed { .. })), "{fault:?}");
    closed(store.put(RowKey::new(&ImageId::new(), 9), ImageRow::default()).await.unwrap_err().fault());
    closed(store.list_blobs("").await.unwrap_err().fault());
    closed(store.publish("work", 0, "", Bytes::new()).await.unwrap_err().fault());
    closed(consumer.poll(1, Duration::from_secs(9)).await.unwrap_err().fault());
    let catalog = open_catalog(folder.path()).await.unwrap();
    catalog.close().await;
    closed(catalog.accept_image(image(1)).await.unwrap_err().fault());
    closed(catalog.counts().await.unwrap_err().fault());
}
