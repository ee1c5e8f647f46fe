//! An index on embedded backends with a real embedder: the processes of a cluster as cores of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use medindex_backends::embedded::{EmbeddedStore, MemoryCache, open_catalog};
use medindex_backends::{ImageStore, Queue};
use medindex_embedding::{BatchingOptions, Embedder, Model, RuntimeOptions, find_model, models_folder};
use medindex_index::{Hit, SearchRequest};
use medindex_pipeline::{
    Core, EmbedWorker, ImageId, LoadSource, Pipeline, Ports, PublishedQuantizer, Searcher as _, Settings,
    Shard, ShardOptions, Upload,
};
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use tempfile::TempDir;

pub(crate) const PARTITIONS: u32 = 6;
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// What every process of the index shares.
pub(crate) struct TestIndex {
    pub(crate) folder: TempDir,
    pub(crate) ports: Ports,
    model: Arc<Model>,
    embedder: Embedder,
}

/// A shard that runs.
pub(crate) struct Running {
    pub(crate) core: Arc<Core>,
    pub(crate) shard: Arc<Shard>,
}

async fn store_with_topics(folder: &Path) -> EmbeddedStore {
    std::fs::create_dir_all(folder).unwrap();
    let store = EmbeddedStore::open(folder).await.unwrap();
    for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
        store.create_topic(topic, PARTITIONS).await.unwrap();
    }
    store
}

impl TestIndex {
    /// An empty index, with an embedder that takes uploads.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = store_with_topics(folder.path()).await;
        let ports = Ports {
            store: Arc::new(store.clone()),
            queue: Arc::new(store),
            catalog: Arc::new(open_catalog(folder.path()).await.unwrap()),
            cache: Arc::new(MemoryCache::new(64 << 20)),
        };
        let found = find_model(&models_folder().unwrap(), "efficientnet-lite0");
        let options = RuntimeOptions::from_environment().expect("run `make setup`").with_threads(1);
        let model = Arc::new(Model::load(&found.expect("run `make setup`"), &options).unwrap());
        let embedder = Embedder::start(Arc::clone(&model), BatchingOptions::default()).unwrap();
        let index = Self { folder, ports, model, embedder };
        let core = index.core();
        let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
        let embedding = Arc::new(index.embedder.clone());
        EmbedWorker { core, embedding, quantizers }.start().await.unwrap();
        index
    }

    /// A queue without a message.
    pub(crate) async fn empty_queue(&self, name: &str) -> Arc<dyn Queue> {
        Arc::new(store_with_topics(&self.subfolder(name)).await)
    }

    pub(crate) fn store(&self) -> &dyn ImageStore {
        self.ports.store.as_ref()
    }

    /// What a process has of its own.
    pub(crate) fn core(&self) -> Arc<Core> {
        self.core_over(self.ports.clone())
    }

    fn core_over(&self, ports: Ports) -> Arc<Core> {
        let settings = Settings {
            snapshot_every: 1,
            verify_every: Duration::from_millis(200),
            alarm_period: Duration::from_millis(200),
            standstill: Duration::from_millis(400),
            ..Settings::default()
        };
        Core::new(settings, PARTITIONS, ports, self.model.manifest().clone()).unwrap()
    }

    pub(crate) fn options(&self, name: &str, partitions: &[u32]) -> ShardOptions {
        ShardOptions {
            folder: self.subfolder(name),
            partitions: partitions.to_vec(),
            memory_limit: None,
            publish_every: None,
        }
    }

    pub(crate) fn subfolder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a shard that holds everything and waits until it is ready.
    pub(crate) async fn whole_shard(&self, name: &str) -> Running {
        let all: Vec<u32> = (0..PARTITIONS).collect();
        self.open(self.options(name, &all)).await
    }

    /// Opens a shard that holds everything and publishes, and waits until it is ready.
    pub(crate) async fn publishing_shard(&self, name: &str, partitions: &[u32]) -> Running {
        self.open(self.publishing_options(name, partitions)).await
    }

    pub(crate) fn publishing_options(&self, name: &str, partitions: &[u32]) -> ShardOptions {
        let publish_every = Some(Duration::from_millis(50));
        ShardOptions { publish_every, ..self.options(name, partitions) }
    }

    /// Opens a shard and waits until it is ready.
    pub(crate) async fn open(&self, options: ShardOptions) -> Running {
        self.open_over(self.ports.clone(), options).await
    }

    /// Opens a shard over other ports and waits until it is ready.
    pub(crate) async fn open_over(&self, ports: Ports, options: ShardOptions) -> Running {
        let core = self.core_over(ports);
        let shard = Shard::open(Arc::clone(&core), options).await.unwrap();
        core.add_check(shard.alarm_check());
        core.begin();
        wait_for("the shard to be ready", || async { shard.unready().await.is_none() }).await;
        Running { core, shard }
    }

    /// The flows that users call, answered by one shard.
    pub(crate) fn gateway(&self, shard: &Arc<Shard>) -> Pipeline {
        Pipeline::connect(self.core(), Arc::new(self.embedder.clone()), Arc::clone(shard) as _)
    }

    /// Uploads patterns, and waits until `shard` finds them.
    pub(crate) async fn upload(&self, shard: &Arc<Shard>, seeds: std::ops::Range<u32>) -> Vec<ImageId> {
        let gateway = self.gateway(shard);
        let mut ids = Vec::new();
        for seed in seeds {
            ids.push(gateway.accept(pattern(seed)).await.unwrap().id);
        }
        for id in &ids {
            gateway.wait_until_searchable(id, DEADLINE).await.unwrap();
        }
        // Its tasks would keep the shard, and the folder's lock with it.
        gateway.shutdown().await.unwrap();
        ids
    }

    /// Waits until an alarm is raised, or was cleared, that says all of `parts`.
    pub(crate) async fn wait_for_alarm(&self, kind: &str, is_raised: bool, parts: &[&str]) {
        let what = format!("{kind} to be {}", if is_raised { "raised" } else { "cleared" });
        wait_for(&what, || async {
            let alarms = self.ports.catalog.recent_alarms(100).await.unwrap();
            alarms.iter().filter(|alarm| alarm.kind == kind).any(|alarm| {
                alarm.cleared_at_ms.is_none() == is_raised
                    && parts.iter().all(|part| alarm.detail.contains(part))
            })
        })
        .await;
    }

    /// The nearest entries of each stored image's vector.
    pub(crate) async fn answers(&self, shard: &Arc<Shard>, asked: &Arc<Shard>) -> Vec<Vec<Hit>> {
        let mut answers = Vec::new();
        for row in 0..12 {
            let vector = asked.index().sample_vectors(12, 5).row(row).to_vec();
            let question = SearchRequest { exact: true, ..SearchRequest::new(vector, 10) };
            answers.push(shard.search(question).await.unwrap().hits);
        }
        answers
    }
}

impl Running {
    pub(crate) fn source(&self) -> Option<LoadSource> {
        self.shard.loaded().source
    }

    /// Waits until everything that the shard holds is published.
    pub(crate) async fn published(&self) {
        wait_for("a publication of everything", || async {
            let positions = serde_json::to_value(self.shard.index().log_positions()).unwrap();
            let held = serde_json::to_value(self.shard.partitions_held()).unwrap();
            let published = publications(self.core.ports().store.as_ref()).await;
            published.iter().any(|(_, each)| each["partitions"] == held && each["positions"] == positions)
        })
        .await;
    }

    /// Ends it in order.
    pub(crate) async fn close(self) {
        self.shard.close().await.unwrap();
    }
}

/// Every publication that can be read: the blob that describes it, and the description.
pub(crate) async fn publications(store: &dyn ImageStore) -> Vec<(String, serde_json::Value)> {
    let mut found = Vec::new();
    for blob in store.list_blobs("segments/").await.unwrap() {
        if blob.name.ends_with("/publication") {
            let text = store.get_blob(&blob.name).await.unwrap().unwrap();
            let body = text.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default();
            // What a test has spoilt is none.
            found.extend(serde_json::from_slice(body).map(|body| (blob.name, body)));
        }
    }
    found
}

/// Writes a description that a stranger, or another release, might have left: whole, but not this index's.
pub(crate) async fn forge(store: &dyn ImageStore, blob: &str, format: u32, body: &serde_json::Value) {
    let body = serde_json::to_vec(body).unwrap();
    let first = format!("{{\"medindex_segments\":{format},\"crc32\":{}}}\n", crc32fast::hash(&body));
    store.put_blob(blob, [first.into_bytes(), body].concat().into()).await.unwrap();
}

/// Waits for a condition.
pub(crate) async fn wait_for<F: Future<Output = bool>>(what: &str, mut done: impl FnMut() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !done().await {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A grey PNG whose pattern depends on `seed`.
pub(crate) fn pattern(seed: u32) -> Upload {
    let picture = image::GrayImage::from_fn(64, 64, |x, y| {
        let (x, y) = (x as f32, y as f32);
        let angle = seed as f32 * 0.37;
        let wave = (x * angle.cos() + y * angle.sin()) * (0.1 + (seed % 17) as f32 * 0.03);
        let radius = ((x - 32.0).powi(2) + (y - 32.0).powi(2)).sqrt() * (seed % 5) as f32 * 0.1;
        image::Luma([(127.0 + 60.0 * wave.sin() + 60.0 * radius.cos()) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let label = Some(format!("class{}", seed % 5));
    Upload { name: format!("pattern-{seed}.png"), bytes: bytes.into_inner().into(), label, sidecar: None }
}
