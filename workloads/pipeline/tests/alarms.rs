//! Alarms and the operation log while backends fail: the flows of a gateway over embedded backends that can be made to fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use medindex_backends::embedded::{EmbeddedStore, MemoryCache, StoreOptions, open_catalog};
use medindex_backends::queue::{Delivery, Message, Result as QueueResult};
use medindex_backends::{Catalog, Consumer, Fault, Follower, Positions, Queue, QueueError};
use medindex_embedding::Embedder;
use medindex_index::{IndexStatus, SearchRequest};
use medindex_pipeline::{
    Alarm, BackendError, Core, DiskCheck, EmbedWorker, Found, ImageId, MemoryCheck, OperationRequest,
    Pipeline, Ports, PublishedQuantizer, Searcher, Settings,
};
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use tempfile::TempDir;
use tokio::sync::watch;

use support::{DEADLINE, embedder, pattern};

const PARTITIONS: u32 = 3;
const PERIOD: Duration = Duration::from_millis(200);

/// The embedded queue, which does not answer while it is told so.
struct Failing {
    queue: EmbeddedStore,
    is_down: Arc<AtomicBool>,
    log_is_blocked: watch::Receiver<bool>,
}

impl Failing {
    fn look(&self) -> QueueResult<()> {
        if self.is_down.load(Ordering::Relaxed) {
            let source =
                Fault::Unavailable { place: "the queue under test".into(), source: "told so".into() };
            return Err(QueueError::Read { topic: "any".into(), source });
        }
        Ok(())
    }
}

#[async_trait]
impl Queue for Failing {
    async fn create_topic(&self, topic: &str, partitions: u32) -> QueueResult<()> {
        self.queue.create_topic(topic, partitions).await
    }
    async fn partitions(&self, topic: &str) -> QueueResult<u32> {
        self.queue.partitions(topic).await
    }
    async fn publish_many(&self, topic: &str, messages: Vec<Message>) -> QueueResult<Vec<u64>> {
        self.look()?;
        if topic == TOPIC_OPERATION_LOG {
            self.log_is_blocked.clone().wait_for(|is_blocked| !is_blocked).await.unwrap();
        }
        self.queue.publish_many(topic, messages).await
    }
    async fn consumer(&self, topic: &str, group: &str) -> QueueResult<Box<dyn Consumer>> {
        self.look()?;
        self.queue.consumer(topic, group).await
    }
    async fn follow(&self, topic: &str, from: Positions) -> QueueResult<Box<dyn Follower>> {
        self.queue.follow(topic, from).await
    }
    async fn read_from(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        max: usize,
    ) -> QueueResult<Vec<Delivery>> {
        self.queue.read_from(topic, partition, offset, max).await
    }
    async fn first_offsets(&self, topic: &str) -> QueueResult<Positions> {
        self.queue.first_offsets(topic).await
    }
    async fn end_offsets(&self, topic: &str) -> QueueResult<Positions> {
        self.look()?;
        self.queue.end_offsets(topic).await
    }
    async fn committed(&self, topic: &str, group: &str) -> QueueResult<Positions> {
        self.queue.committed(topic, group).await
    }
    async fn trim(&self, topic: &str, partition: u32, before: u64) -> QueueResult<()> {
        self.queue.trim(topic, partition, before).await
    }
}

/// Search shards of which some may be missing.
struct Shards {
    are_missing: Arc<AtomicBool>,
}

#[async_trait]
impl Searcher for Shards {
    async fn search(&self, _question: SearchRequest) -> Result<Found, BackendError> {
        Ok(Found::default())
    }
    async fn holds(&self, _id: &ImageId) -> Result<bool, BackendError> {
        Ok(false)
    }
    async fn generation(&self) -> Result<u64, BackendError> {
        Ok(0)
    }
    async fn status(&self) -> Result<IndexStatus, BackendError> {
        Ok(IndexStatus::default())
    }
    async fn applied(&self) -> Result<Positions, BackendError> {
        Ok(Positions::new())
    }
    async fn catch_up(&self, _ends: &Positions) -> Result<(), BackendError> {
        Ok(())
    }
    async fn missing_partitions(&self) -> Vec<u32> {
        if self.are_missing.load(Ordering::Relaxed) { vec![1, 2] } else { Vec::new() }
    }
    async fn unready(&self) -> Option<String> {
        None
    }
}

/// Several gateways over one set of backends.
struct House {
    gateways: Vec<Pipeline>,
    /// Of the first gateway.
    core: Arc<Core>,
    embedder: Embedder,
    queue_is_down: Arc<AtomicBool>,
    log_is_blocked: watch::Sender<bool>,
    shards_are_missing: Arc<AtomicBool>,
    catalog: Arc<dyn Catalog>,
    _folder: TempDir,
}

impl House {
    async fn with_gateways(count: usize) -> Self {
        Self::with_checks(count, |_| ()).await
    }

    /// The first gateway looks for further causes of alarms.
    async fn with_checks(count: usize, add_checks: impl FnOnce(&Core)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open_with(folder.path(), StoreOptions::default()).await.unwrap();
        for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
            store.create_topic(topic, PARTITIONS).await.unwrap();
        }
        let queue_is_down = Arc::new(AtomicBool::new(false));
        let shards_are_missing = Arc::new(AtomicBool::new(false));
        let log_is_blocked = watch::Sender::new(false);
        let queue = Failing {
            queue: store.clone(),
            is_down: Arc::clone(&queue_is_down),
            log_is_blocked: log_is_blocked.subscribe(),
        };
        let ports = Ports {
            store: Arc::new(store),
            queue: Arc::new(queue),
            catalog: Arc::new(open_catalog(folder.path()).await.unwrap()),
            cache: Arc::new(MemoryCache::new(1 << 20)),
        };
        let catalog = Arc::clone(&ports.catalog);
        let embedder = embedder();
        let core = |number: usize| {
            let settings = Settings {
                partitions: PARTITIONS,
                process: format!("gateway@{number}"),
                alarm_period: PERIOD,
                standstill: PERIOD * 2,
                ..Settings::default()
            };
            let model = embedder.model().manifest().clone();
            Core::new(settings, PARTITIONS, ports.clone(), model).unwrap()
        };
        let cores: Vec<Arc<Core>> = (0..count).map(core).collect();
        add_checks(&cores[0]);
        let gateway = |core: &Arc<Core>| {
            let searcher = Arc::new(Shards { are_missing: Arc::clone(&shards_are_missing) });
            Pipeline::connect(Arc::clone(core), Arc::new(embedder.clone()), searcher)
        };
        let gateways = cores.iter().map(gateway).collect();
        let core = Arc::clone(&cores[0]);
        Self {
            gateways,
            core,
            embedder,
            queue_is_down,
            log_is_blocked,
            shards_are_missing,
            catalog,
            _folder: folder,
        }
    }

    async fn alarms(&self, kind: &str) -> Vec<Alarm> {
        let mut alarms = self.gateways[0].alarms(false, 100).await.unwrap();
        alarms.retain(|alarm| alarm.kind == kind);
        alarms
    }

    /// Waits until the only alarm of a kind is raised, or cleared; returns it.
    async fn wait_for(&self, kind: &str, is_raised: bool) -> Alarm {
        let begun = Instant::now();
        loop {
            let alarms = self.alarms(kind).await;
            assert!(alarms.len() < 2, "raised once: {alarms:?}");
            if let Some(alarm) = alarms.into_iter().find(|alarm| alarm.cleared_at_ms.is_none() == is_raised) {
                return alarm;
            }
            assert!(begun.elapsed() < DEADLINE, "{kind}: raised is not {is_raised}");
            tokio::task::yield_now().await;
        }
    }

    async fn events(&self, action: &str) -> Vec<String> {
        let request =
            OperationRequest { limit: 100, action: Some(action.to_owned()), ..OperationRequest::default() };
        let page = self.gateways[0].operations(&request).await.unwrap();
        page.operations.into_iter().map(|operation| operation.subject).collect()
    }

    async fn wait_for_events(&self, action: &str, subject: &str) {
        let begun = Instant::now();
        loop {
            let events = self.events(action).await;
            if events.iter().any(|event| event == subject) {
                assert_eq!(events.iter().filter(|event| *event == subject).count(), 1, "{events:?}");
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{action} of {subject} is not listed: {events:?}");
            tokio::task::yield_now().await;
        }
    }

    async fn end(self) {
        for gateway in self.gateways {
            gateway.shutdown().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cause_that_three_gateways_see_is_one_alarm_with_both_times() {
    let house = House::with_gateways(3).await;
    house.shards_are_missing.store(true, Ordering::Relaxed);
    let raised = house.wait_for("shard_missing", true).await;
    assert!(
        raised.detail.contains("[1, 2]") && raised.detail.contains("search processes"),
        "{}",
        raised.detail
    );
    let begun = Instant::now();
    while house.gateways[1].raised_alarms().iter().all(|alarm| alarm.name != "shard_missing") {
        assert!(begun.elapsed() < DEADLINE, "the metrics of the second gateway do not have it");
        tokio::task::yield_now().await;
    }
    // It stays one row while it lasts, and is seen again.
    let begun = Instant::now();
    while house.wait_for("shard_missing", true).await.seen_at_ms < raised.raised_at_ms + 1_000 {
        assert!(begun.elapsed() < DEADLINE);
    }
    house.shards_are_missing.store(false, Ordering::Relaxed);
    let cleared = house.wait_for("shard_missing", false).await;
    assert_eq!(cleared.raised_at_ms, raised.raised_at_ms);
    assert!(cleared.cleared_at_ms.unwrap() > raised.raised_at_ms);
    house.wait_for_events("alarm.raise", "shard_missing").await;
    house.wait_for_events("alarm.clear", "shard_missing").await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_of_a_process_that_was_killed_is_cleared_by_another() {
    let house = House::with_gateways(2).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    // Its process says nothing more.
    house.catalog.raise_alarm("disk_short", "search@killed", "the disk is full", now).await.unwrap();
    let cleared = house.wait_for("disk_short", false).await;
    let lasted = cleared.cleared_at_ms.unwrap() - now;
    assert!(
        lasted >= 3 * PERIOD.as_millis() as i64,
        "it was cleared after {lasted} ms, while it could be seen"
    );
    house.wait_for_events("alarm.clear", "disk_short search@killed").await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_queue_is_down_operations_go_to_the_catalog_and_the_alarm_says_so() {
    let house = House::with_gateways(1).await;
    let gateway = &house.gateways[0];
    house.queue_is_down.store(true, Ordering::Relaxed);
    let accepted = gateway.accept(pattern(1)).await.unwrap();
    // What was acknowledged is listed at once, because it could not take the way through the queue.
    assert_eq!(house.events("image.upload").await, [accepted.id.to_string()]);
    assert!(gateway.operation_counts().kept >= 1);
    house.wait_for("send_failed", true).await;
    let down = house.wait_for("queue_down", true).await;
    assert!(down.detail.contains("gateway@0") && down.detail.contains("told so"), "{}", down.detail);
    house.queue_is_down.store(false, Ordering::Relaxed);
    house.wait_for("queue_down", false).await;
    house.wait_for_events("alarm.raise", "queue_down").await;
    house.wait_for_events("alarm.clear", "queue_down").await;
    assert_eq!(house.gateways[0].operation_counts().dropped, 0);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_waits_for_no_log_and_what_the_buffer_does_not_hold_is_counted_and_alarmed() {
    let house = House::with_gateways(1).await;
    let gateway = &house.gateways[0];
    // The queue neither takes events nor refuses them.
    house.log_is_blocked.send_replace(true);
    let image = ImageId::new();
    let begun = Instant::now();
    let mut recorded = 0_u64;
    while gateway.operation_counts().dropped == 0 {
        gateway.file(&image).await.unwrap_err();
        recorded += 1;
        assert!(begun.elapsed() < DEADLINE, "{recorded} events were recorded and none was dropped");
    }
    assert!(recorded > 4_096, "{recorded}");
    let lost = house.wait_for("operations_lost", true).await;
    assert_eq!(lost.subject, "gateway@0");
    house.log_is_blocked.send_replace(false);
    let counts = loop {
        let counts = gateway.operation_counts();
        if counts.waiting == 0 && counts.published + counts.kept >= recorded - counts.dropped {
            break counts;
        }
        assert!(begun.elapsed() < DEADLINE, "{counts:?}");
        tokio::task::yield_now().await;
    };
    assert!(counts.dropped < 100, "all but what did not fit is recorded: {counts:?}");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_no_embedder_takes_are_an_alarm_until_one_does() {
    let house = House::with_gateways(1).await;
    for seed in 1..=3 {
        house.gateways[0].accept(pattern(seed)).await.unwrap();
    }
    // It may be raised before the third is accepted: what it says follows.
    let begun = Instant::now();
    loop {
        let detail = house.wait_for("upload_lag", true).await.detail;
        if detail.contains("3 uploads wait") && detail.contains("embedders") {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "{detail}");
        tokio::task::yield_now().await;
    }
    let core = Arc::clone(&house.core);
    let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
    let worker = EmbedWorker { core, embedding: Arc::new(house.embedder.clone()), quantizers };
    worker.start().await.unwrap();
    house.wait_for("upload_lag", false).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_near_its_memory_limit_is_an_alarm_until_it_has_less() {
    static RESIDENT_MIB: AtomicU64 = AtomicU64::new(89);
    let check = MemoryCheck::new(100 << 20, || RESIDENT_MIB.load(Ordering::Relaxed) << 20);
    let house = House::with_checks(1, |core| core.add_check(check)).await;
    // The backends' alarm comes at the second look: one that comes shows that the others were looked for.
    house.shards_are_missing.store(true, Ordering::Relaxed);
    house.wait_for("shard_missing", true).await;
    assert!(house.alarms("memory_short").await.is_empty(), "not before nine tenths");
    RESIDENT_MIB.store(91, Ordering::Relaxed);
    let raised = house.wait_for("memory_short", true).await;
    assert_eq!(raised.subject, "gateway@0");
    assert!(raised.detail.contains("91 MiB of memory of at most 100 MiB"), "{}", raised.detail);
    RESIDENT_MIB.store(79, Ordering::Relaxed);
    house.wait_for("memory_short", false).await;
    house.end().await;
}

/// A small disk of its own; unmounted at the end.
struct Disk(TempDir);

impl Disk {
    /// One of 8 MiB; `None` where this process may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path());
        mount.output().unwrap().status.success().then(|| Self(folder))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "{} stays mounted", self.0.path().display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_nearly_full_is_an_alarm_until_there_is_room() {
    let Some(disk) = Disk::mount() else {
        return medindex_testbed::say!("NOT CHECKED: disk_short, because only root may mount a small disk");
    };
    let check = DiskCheck::new(disk.0.path());
    let house = House::with_checks(1, |core| core.add_check(check)).await;
    let file = disk.0.path().join("index");
    std::fs::write(&file, vec![1; 7_700 << 10]).unwrap();
    let raised = house.wait_for("disk_short", true).await;
    assert!(
        raised.detail.contains("94 % full") && raised.detail.contains("larger disk"),
        "{}",
        raised.detail
    );
    std::fs::remove_file(&file).unwrap();
    house.wait_for("disk_short", false).await;
    house.end().await;
}
