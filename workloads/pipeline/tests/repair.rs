//! Stopping an import, and repairing a folder while uploads still wait in its queue.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use medindex_pipeline::{ErrorKind, ImportItem, OpenError, Pipeline, Settings};
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
