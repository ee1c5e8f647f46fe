//! A bulk import that embeds in its own process, over embedded backends: what a process is on a cluster is a core of its own here.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use medindex_backends::embedded::{EmbeddedStore, MemoryCache, open_catalog};
use medindex_backends::image_store::{BlobInfo, Columns, ImageRow, ImageStore, ImageStoreError, Result};
use medindex_backends::{Fault, Queue as _};
use medindex_pipeline::{
    Core, DirectOptions, EmbedWorker, ImageStatus, ImportItem, ImportSummary, ListRequest, Pipeline, Ports,
    PublishedQuantizer, Searcher as _, Settings, Shard, ShardOptions, Upload,
};
use medindex_proto::RowKey;
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use support::{DEADLINE, embedder, pattern, upload};

const PARTITIONS: u32 = 9;
const NO_BOUND: DirectOptions = DirectOptions { batches: 2, images_per_second: None };

/// An image store that refuses the next few writes, or takes them and never answers.
struct Flaky {
    store: EmbeddedStore,
    failures: AtomicU32,
    hangs: AtomicBool,
    /// Writes that got no answer.
    unanswered: AtomicU32,
}

#[async_trait]
impl ImageStore for Flaky {
    async fn put_many(&self, rows: Vec<(RowKey, ImageRow)>) -> Result<()> {
        if self.hangs.load(Ordering::SeqCst) {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        let fails = |left: u32| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            let source =
                Fault::Unavailable { place: "the test's store".into(), source: "it is moved".into() };
            return Err(ImageStoreError::PutRows { rows: rows.len(), source });
        }
        self.store.put_many(rows).await
    }

    async fn get_many(&self, rows: &[RowKey], columns: Columns) -> Result<Vec<Option<ImageRow>>> {
        self.store.get_many(rows, columns).await
    }

    async fn delete_many(&self, rows: &[RowKey]) -> Result<()> {
        self.store.delete_many(rows).await
    }

    async fn scan(
        &self,
        partition: u32,
        columns: Columns,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, ImageRow)>> {
        self.store.scan(partition, columns, after, limit).await
    }

    async fn put_blob(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store.put_blob(name, bytes).await
    }

    async fn get_blob(&self, name: &str) -> Result<Option<Bytes>> {
        self.store.get_blob(name).await
    }

    async fn get_blob_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.store.get_blob_range(name, offset, length).await
    }

    async fn delete_blob(&self, name: &str) -> Result<()> {
        self.store.delete_blob(name).await
    }

    async fn list_blobs(&self, prefix: &str) -> Result<Vec<BlobInfo>> {
        self.store.list_blobs(prefix).await
    }
}

/// Backends that every process here shares.
struct Backends {
    folder: TempDir,
    ports: Ports,
    store: Arc<Flaky>,
}

impl Backends {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path()).await.unwrap();
        for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
            store.create_topic(topic, PARTITIONS).await.unwrap();
        }
        let flaky = Arc::new(Flaky {
            store: store.clone(),
            failures: AtomicU32::new(0),
            hangs: AtomicBool::new(false),
            unanswered: AtomicU32::new(0),
        });
        let ports = Ports {
            store: Arc::clone(&flaky) as _,
            queue: Arc::new(store),
            catalog: Arc::new(open_catalog(folder.path()).await.unwrap()),
            cache: Arc::new(MemoryCache::new(1 << 20)),
        };
        Self { folder, ports, store: flaky }
    }

    fn core(&self) -> Arc<Core> {
        let settings = Settings { batch: 4, backlog: 8, ..Settings::default() };
        let manifest = embedder().model().manifest().clone();
        Core::new(settings, PARTITIONS, self.ports.clone(), manifest).unwrap()
    }

    async fn importer(&self, options: DirectOptions, stop: &CancellationToken) -> (Pipeline, Arc<Core>) {
        let core = self.core();
        let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
        let worker = EmbedWorker { core: Arc::clone(&core), embedding: Arc::new(embedder()), quantizers };
        (Pipeline::connect_importer(worker, options, stop.clone()), core)
    }

    /// One importer from its start to its end.
    async fn import(&self, uploads: Vec<Upload>, options: DirectOptions) -> ImportSummary {
        let stop = CancellationToken::new();
        let (pipeline, core) = self.importer(options, &stop).await;
        let summary = pipeline.import(items(uploads), Arc::new(|_| {}), stop).await.unwrap();
        core.end().await;
        summary
    }

    /// An embedder that takes uploads from the queue.
    async fn start_embedder(&self) -> Arc<Core> {
        let core = self.core();
        let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
        let worker = EmbedWorker { core: Arc::clone(&core), embedding: Arc::new(embedder()), quantizers };
        worker.start().await.unwrap();
        core
    }

    /// A shard that holds everything.
    async fn open_shard(&self, name: &str) -> (Arc<Shard>, Arc<Core>) {
        let core = self.core();
        let options = ShardOptions {
            folder: self.folder.path().join(name),
            partitions: (0..PARTITIONS).collect(),
            memory_limit: None,
            publish_every: None,
        };
        (Shard::open(Arc::clone(&core), options).await.unwrap(), core)
    }

    /// Waits until so many writes got no answer.
    async fn hangs_in(&self, writes: u32) {
        let deadline = Instant::now() + DEADLINE;
        while self.store.unanswered.load(Ordering::SeqCst) < writes {
            assert!(Instant::now() < deadline, "nobody writes");
            tokio::task::yield_now().await;
        }
    }

    async fn messages(&self, topic: &str) -> u64 {
        self.ports.queue.end_offsets(topic).await.unwrap().values().sum()
    }

    /// Checks that exactly these many images are in an index that follows the change log, and are those of the catalog.
    async fn check_searchable(&self, images: u64) {
        let (shard, core) = self.open_shard("shard").await;
        shard.catch_up(&self.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await.unwrap()).await.unwrap();
        assert_eq!(shard.status().await.unwrap().entries as u64, images);
        let stop = CancellationToken::new();
        let (pipeline, importer) = self.importer(NO_BOUND, &stop).await;
        let request = ListRequest { limit: 1_000, after: None, status: Some(ImageStatus::Indexed) };
        let page = pipeline.list(&request).await.unwrap();
        assert_eq!(page.images.len() as u64, images);
        for image in &page.images {
            assert!(shard.holds(&image.id).await.unwrap(), "{} is not in the index", image.name);
            pipeline.file(&image.id).await.unwrap();
        }
        importer.end().await;
        core.end().await;
    }
}

fn items(uploads: Vec<Upload>) -> impl Iterator<Item = ImportItem> + Send + 'static {
    uploads.into_iter().map(|upload| {
        let Upload { name, label, sidecar, bytes } = upload;
        ImportItem { name, label, sidecar, read: Box::new(move || Ok(bytes)) }
    })
}

fn patterns(count: u32) -> Vec<Upload> {
    (0..count).map(pattern).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_embeds_by_itself_and_leaves_nothing_in_the_queue() {
    let backends = Backends::new().await;
    let mut uploads = patterns(20);
    let mut damaged = pattern(99).bytes.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0xa5);
    uploads.push(upload("damaged.png", damaged));
    uploads.push(pattern(3));
    let summary = backends.import(uploads.clone(), NO_BOUND).await;
    assert_eq!((summary.stored, summary.duplicates, summary.waiting), (20, 1, 0), "{summary:?}");
    assert_eq!(summary.failed.len(), 1);
    assert!(summary.failed[0].name == "damaged.png" && summary.failed[0].reason.contains("PNG"));
    assert_eq!(backends.messages(TOPIC_IMAGE_UPLOAD).await, 0);
    assert_eq!(backends.messages(TOPIC_DEAD_LETTER).await, 0, "whoever imports is told by the summary");
    assert_eq!(backends.messages(TOPIC_IMAGE_INDEXED).await, 20);
    backends.check_searchable(20).await;

    let again = backends.import(uploads, NO_BOUND).await;
    assert_eq!((again.stored, again.duplicates, again.failed.len()), (0, 21, 1), "{again:?}");
    assert_eq!(backends.messages(TOPIC_IMAGE_INDEXED).await, 20, "nothing was written twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_waited_for() {
    let backends = Backends::new().await;
    backends.store.failures.store(5, Ordering::SeqCst);
    let summary = backends.import(patterns(12), NO_BOUND).await;
    assert_eq!((summary.stored, summary.failed.len()), (12, 0), "{summary:?}");
    backends.check_searchable(12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_and_not_stored_is_taken_up_by_the_next_import() {
    let backends = Backends::new().await;
    backends.store.failures.store(u32::MAX, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let (pipeline, core) = backends.importer(NO_BOUND, &stop).await;
    let cut_off = tokio::spawn(async move {
        pipeline.import(items(patterns(16)), Arc::new(|_| {}), stop).await.map(|_| ())
    });
    let deadline = Instant::now() + DEADLINE;
    loop {
        let received = backends.ports.catalog.counts().await.unwrap().of_status("received".parse().unwrap());
        if received > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "nothing was accepted");
        tokio::task::yield_now().await;
    }
    cut_off.abort();
    core.end().await;
    backends.store.failures.store(0, Ordering::SeqCst);
    let summary = backends.import(patterns(16), NO_BOUND).await;
    assert_eq!((summary.stored, summary.duplicates, summary.failed.len()), (16, 0, 0), "{summary:?}");
    backends.check_searchable(16).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_images_come_at_the_rate_allowed_and_those_that_are_there_are_not_held_back() {
    let backends = Backends::new().await;
    let at = |rate| DirectOptions { images_per_second: Some(rate), ..NO_BOUND };
    let summary = backends.import(patterns(11), at(10.0)).await;
    assert!(summary.stored == 11 && summary.seconds >= 1.0, "{summary:?}");
    let again = backends.import(patterns(11), at(0.01)).await;
    assert!(again.duplicates == 11 && again.seconds < 60.0, "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_finishes_what_is_at_work_and_keeps_nothing_back() {
    let backends = Backends::new().await;
    let stop = CancellationToken::new();
    let options = DirectOptions { images_per_second: Some(0.5), ..NO_BOUND };
    let (pipeline, core) = backends.importer(options, &stop).await;
    let signal = stop.clone();
    let progress = Arc::new(move |progress: &medindex_pipeline::ImportProgress| {
        if progress.stored > 0 {
            signal.cancel();
        }
    });
    let begun = Instant::now();
    let summary = pipeline.import(items(patterns(64)), progress, stop).await.unwrap();
    core.end().await;
    assert!(summary.interrupted && summary.waiting == 0, "{summary:?}");
    assert!((1..64).contains(&summary.stored), "{summary:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "a rate does not outlive the wish to stop");
    backends.check_searchable(summary.stored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_is_given_up_when_its_process_ends_and_done_by_the_next_one() {
    let backends = Backends::new().await;
    let (shard, shard_core) = backends.open_shard("gateway").await;
    let gateway = Pipeline::connect(backends.core(), Arc::new(embedder()), shard);
    let uploaded = gateway.accept(pattern(1)).await.unwrap();
    let to_import: Vec<Upload> = (10..14).map(pattern).collect();

    backends.store.hangs.store(true, Ordering::SeqCst);
    let core = backends.start_embedder().await;
    backends.hangs_in(1).await;
    let stop = CancellationToken::new();
    let (pipeline, importer) = backends.importer(NO_BOUND, &stop).await;
    let files = items(to_import.clone());
    let import =
        tokio::spawn(async move { pipeline.import(files, Arc::new(|_| {}), stop).await.map(|_| ()) });
    backends.hangs_in(2).await;
    import.abort();
    let begun = Instant::now();
    tokio::join!(core.end(), importer.end());
    assert!(begun.elapsed() < Duration::from_secs(30), "what hangs was waited for");
    assert!(core.running_tasks().is_empty() && importer.running_tasks().is_empty());

    backends.store.hangs.store(false, Ordering::SeqCst);
    let core = backends.start_embedder().await;
    gateway.wait_until_searchable(&uploaded.id, DEADLINE).await.unwrap();
    let summary = backends.import(to_import, NO_BOUND).await;
    assert_eq!((summary.stored, summary.failed.len()), (4, 0), "{summary:?}");
    core.end().await;
    gateway.shutdown().await.unwrap();
    shard_core.end().await;
    backends.check_searchable(5).await;
}
