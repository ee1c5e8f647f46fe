//! Stopping an import, giving up an upload that was cut off, and repairing a folder while uploads still wait in its queue.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use medindex_backends::Catalog as _;
use medindex_backends::catalog::{Acceptance, NewImage};
use medindex_backends::embedded::open_catalog;
use medindex_pipeline::{ErrorKind, ImageStatus, ImportItem, OpenError, Pipeline, Settings};
use medindex_proto::identity::{ImageId, RowKey};
use support::{DEADLINE, embedder, open, pattern};
use tokio_util::sync::CancellationToken;

async fn wait_for_all(pipeline: &Pipeline, indexed: u64) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let images = pipeline.status().await.unwrap().images;
        if images.indexed == indexed && images.received == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{images:?} instead of {indexed} indexed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_told_to_stop_returns_and_keeps_what_it_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let items = (0..600).map(|seed| {
        let upload = pattern(seed);
        ImportItem {
            name: upload.name,
            label: upload.label,
            sidecar: upload.sidecar,
            read: Box::new(move || Ok(upload.bytes)),
        }
    });
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let progress = Arc::new(move |progress: &medindex_pipeline::ImportProgress| {
        if progress.waiting > 100 {
            cancel.cancel();
        }
    });
    let summary = pipeline.import(items, progress, stop).await.unwrap();
    assert!(summary.interrupted && summary.waiting > 0, "{summary:?}");
    assert!(summary.stored + summary.waiting < 600, "{summary:?}");
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    let pipeline = open(folder.path()).await;
    wait_for_all(&pipeline, summary.stored + summary.waiting).await;
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_killed_process_left_incomplete_is_given_up_at_once_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let whole = pipeline.accept(pattern(1)).await.unwrap().id;
    wait_for_all(&pipeline, 1).await;
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    // A process that is killed between the two leaves the row without the message.
    let catalog = open_catalog(folder.path()).await.unwrap();
    let row = catalog.image(&whole).await.unwrap().unwrap().image;
    let id = ImageId::new();
    let row_key = RowKey::new(&id, Settings::default().partitions);
    let cut_off = NewImage { id, row_key, sha256: [7; 32], md5: [7; 16], ..row };
    assert_eq!(catalog.accept_image(cut_off).await.unwrap(), Acceptance::New(id));
    catalog.close().await;
    drop(catalog);
    let pipeline = open(folder.path()).await;
    wait_for_all(&pipeline, 1).await;
    let given_up = pipeline.image(&id).await.unwrap();
    assert!(given_up.reason.unwrap().contains("upload it again"));
    assert_eq!(pipeline.image(&whole).await.unwrap().status, ImageStatus::Indexed);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_wait_in_the_queue_survive_the_loss_of_the_catalog() {
    const IMAGES: u32 = 60;
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let mut ids = Vec::new();
    for seed in 0..IMAGES {
        ids.push(pipeline.accept(pattern(seed)).await.unwrap().id);
    }
    let embedded = pipeline.status().await.unwrap().images.indexed;
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        std::fs::remove_file(folder.path().join(name)).ok();
    }
    let refused = Pipeline::open(folder.path(), embedder(), Settings::default()).await.err().unwrap();
    assert!(matches!(refused, OpenError::CompareParts { .. }), "{refused}");
    assert_eq!(medindex_pipeline::Classified::kind(&refused), ErrorKind::Internal);
    let report = Pipeline::repair(folder.path(), embedder(), Settings::default()).await.unwrap();
    assert_eq!(report.recovered, u64::from(IMAGES));
    assert!((embedded..=u64::from(IMAGES)).contains(&report.searchable), "{embedded} before, {report:?}");
    let pipeline = open(folder.path()).await;
    wait_for_all(&pipeline, u64::from(IMAGES)).await;
    for (seed, id) in ids.iter().enumerate() {
        let image = pipeline.image(id).await.unwrap();
        assert_eq!((image.name, image.label), (pattern(seed as u32).name, pattern(seed as u32).label));
    }
    pipeline.shutdown().await.unwrap();
}
