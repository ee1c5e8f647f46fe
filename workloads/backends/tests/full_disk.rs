//! A disk that is full now and then: what is acknowledged is kept, what is refused changed nothing.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod process;

use std::fs;
use std::process::Command;
use std::time::Duration;

use medindex_backends::catalog::{ImageFilter, ImageStatus, IndexedImage, ListOrder};
use medindex_backends::embedded::{CATALOG_FILE, open_catalog};
use medindex_backends::{Catalog, Fault};
use medindex_proto::ImageId;
use process::{image, start};

/// Pages of the write-ahead log that fit before the disk is full, round by round: none, less than the smallest
/// transaction, about one, and more than one, so that writes fail at their beginning, in their middle and at
/// their end.
const ROOMS: [u64; 12] = [0, 1, 2, 3, 0, 5, 8, 0, 13, 21, 34, 1];
const PAGE_BYTES: u64 = 4096;

/// Ignores the signal of a file's size limit, so that writes fail as on a full disk.
const LIMITED_SHELL: &str = r#"trap '' XFSZ; exec "$0" "$@""#;

#[test]
fn what_is_acknowledged_after_failed_writes_is_read_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start("acknowledging_process", folder.path(), &["sh", "-c", LIMITED_SHELL]);
    child.wait_for_line("all is well", Duration::from_secs(100));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the other process of what_is_acknowledged_after_failed_writes_is_read_by_others"]
async fn acknowledging_process() {
    let catalog = open_catalog(process::folder()).await.unwrap();
    // Another process's view: its own connections.
    let other = open_catalog(process::folder()).await.unwrap();
    let mut kept = Vec::new();
    let mut failures = 0;
    for (round, room) in ROOMS.into_iter().enumerate() {
        let first = 1000 * u32::try_from(round).unwrap();
        let log = process::folder().join(format!("{CATALOG_FILE}-wal"));
        limit_files(Some(fs::metadata(log).map_or(0, |file| file.len()) + room * PAGE_BYTES));
        for number in first..first + 4 {
            failures += usize::from(!accept(&catalog, number..number + 1, &mut kept).await);
            failures += usize::from(!accept(&catalog, number + 100..number + 140, &mut kept).await);
            failures += usize::from(!index_or_delete(&catalog, &mut kept).await);
        }
        limit_files(None);
        assert!(accept(&catalog, first + 500..first + 501, &mut kept).await, "there is space again");
        assert_eq!(seen_by(&other).await, sorted(&kept), "round {round}: what was acknowledged, and no more");
    }
    assert!(failures > ROOMS.len(), "the limit has no effect");
    catalog.close().await;
    other.close().await;
    let again = open_catalog(process::folder()).await.unwrap();
    assert_eq!(seen_by(&again).await, sorted(&kept), "after a restart");
    process::say("all is well");
}

type Kept = Vec<(ImageId, ImageStatus)>;

/// Offers images; whether they were taken.
async fn accept(catalog: &impl Catalog, numbers: std::ops::Range<u32>, kept: &mut Kept) -> bool {
    let mut images: Vec<_> = numbers.map(image).collect();
    for image in &mut images {
        image.name = "n".repeat(3000);
    }
    match catalog.accept_images(images).await {
        Ok(acceptances) => {
            kept.extend(acceptances.iter().map(|acceptance| (acceptance.id(), ImageStatus::Received)));
            true
        }
        Err(error) => {
            assert!(matches!(error.fault(), Some(Fault::DiskFull { .. })), "{error:?}");
            false
        }
    }
}

/// Marks the latest image, and deletes the oldest.
async fn index_or_delete(catalog: &impl Catalog, kept: &mut Kept) -> bool {
    let Some(latest) = kept.last_mut() else { return true };
    let indexed = IndexedImage { id: latest.0, indexed_at_ms: 7, generation: 1, description: None };
    let marked = catalog.mark_indexed(vec![indexed]).await.is_ok();
    if marked {
        latest.1 = ImageStatus::Indexed;
    }
    let oldest = kept[0].0;
    let deleted = catalog.delete_images(&[oldest]).await.is_ok();
    if deleted {
        kept.remove(0);
    }
    marked && deleted
}

async fn seen_by(catalog: &impl Catalog) -> Kept {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page =
            catalog.list_images(&ImageFilter::default(), ListOrder::OldestFirst, after, 200).await.unwrap();
        seen.extend(page.items.iter().map(|record| (record.image.id, record.status)));
        after = page.next;
        if after.is_none() {
            return sorted(&seen);
        }
    }
}

fn sorted(images: &Kept) -> Kept {
    let mut images = images.clone();
    images.sort_by_key(|(id, _)| *id.as_bytes());
    images
}

/// Lets files of this process grow to `bytes` at most.
fn limit_files(bytes: Option<u64>) {
    let limit = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let id = std::process::id().to_string();
    let done = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={limit}:")]).status().unwrap();
    assert!(done.success());
}
