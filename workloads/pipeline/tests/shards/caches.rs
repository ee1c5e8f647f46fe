//! What gateways keep in the cache: never older than the index, never of a deleted image, and never needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use medindex_backends::cache::{CacheEntry, Result};
use medindex_backends::embedded::MemoryCache;
use medindex_backends::{Cache, CacheError, Catalog, Fault};
use medindex_pipeline::{
    Hit, ImageId, Pipeline, Ports, PreviewRequest, Query, ReadError, Region, SearchRequest, SearchResponse,
    train_and_publish,
};
use parking_lot::Mutex;

use crate::index::{DEADLINE, TestIndex, pattern, wait_for};

/// A cache that remembers keys, can be broken, and can delete an image at a bad moment.
struct Watched {
    inner: MemoryCache,
    keys: Mutex<BTreeSet<String>>,
    broken: AtomicBool,
    delete_on_set: Mutex<Option<(Arc<dyn Catalog>, ImageId)>>,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryCache::new(64 << 20),
            keys: Mutex::default(),
            broken: AtomicBool::new(false),
            delete_on_set: Mutex::default(),
        })
    }

    fn fault(&self) -> Option<Fault> {
        let broken = self.broken.load(Ordering::SeqCst);
        broken.then(|| Fault::Unavailable { place: "the test".to_owned(), source: "broken".into() })
    }

    /// Keys of a kind that still have values.
    async fn held(&self, prefix: &str) -> Vec<String> {
        let keys: Vec<String> =
            self.keys.lock().iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        let mut held = Vec::new();
        for key in keys {
            if self.inner.get(&key).await.unwrap().is_some() {
                held.push(key);
            }
        }
        held
    }
}

#[async_trait]
impl Cache for Watched {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        match self.fault() {
            Some(source) => Err(CacheError::Get { keys: keys.len(), source }),
            None => self.inner.get_many(keys).await,
        }
    }
    async fn set_many(&self, entries: Vec<CacheEntry>) -> Result<()> {
        if let Some(source) = self.fault() {
            return Err(CacheError::Set { keys: entries.len(), source });
        }
        self.keys.lock().extend(entries.iter().map(|entry| entry.key.clone()));
        let delete = self.delete_on_set.lock().take();
        if let Some((catalog, id)) = delete {
            catalog.mark_deleting(&[id]).await.unwrap();
        }
        self.inner.set_many(entries).await
    }
    async fn set_if_absent(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<bool> {
        match self.fault() {
            Some(source) => Err(CacheError::Set { keys: 1, source }),
            None => self.inner.set_if_absent(key, value, time_to_live).await,
        }
    }
    async fn delete_many(&self, keys: &[&str]) -> Result<()> {
        match self.fault() {
            Some(source) => Err(CacheError::Delete { keys: keys.len(), source }),
            None => self.inner.delete_many(keys).await,
        }
    }
}

async fn watched_index() -> (TestIndex, Arc<Watched>) {
    let mut index = TestIndex::new().await;
    let cache = Watched::new();
    index.ports = Ports { cache: cache.clone(), ..index.ports };
    (index, cache)
}

pub(crate) fn by_file(seed: u32) -> SearchRequest {
    let upload = pattern(seed);
    SearchRequest::new(Query::File { name: upload.name, bytes: upload.bytes })
}

/// Searches; the results, and whether they had been kept.
pub(crate) async fn ask(gateway: &Pipeline, request: SearchRequest) -> (Vec<Hit>, bool) {
    let (answer, kept) = ask_for_answer(gateway, request).await;
    (answer.results, kept)
}

/// Searches until the cache had the answer or had it not: while the end of the log is told too slowly, nobody looks, keeps or counts.
async fn ask_for_answer(gateway: &Pipeline, request: SearchRequest) -> (SearchResponse, bool) {
    let (begun, before) = (Instant::now(), gateway.cache_counts());
    loop {
        let answer = gateway.search(request.clone()).await.unwrap();
        let counts = gateway.cache_counts();
        if counts.result_hits > before.result_hits {
            return (answer, true);
        }
        if counts.result_misses > before.result_misses {
            return (answer, false);
        }
        assert!(begun.elapsed() < DEADLINE, "the cache is not asked");
    }
}

fn ids(hits: &[Hit]) -> Vec<ImageId> {
    hits.iter().map(|hit| hit.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_until_an_upload_a_deletion_or_a_generation_changes_it() {
    let (index, _) = watched_index().await;
    let shard = index.whole_shard("shard").await.shard;
    index.upload(&shard, 0..300).await;
    let gateway = index.gateway(&shard);
    let (first, kept) = ask(&gateway, by_file(1)).await;
    assert!(!kept);
    let (again, kept) = ask(&gateway, by_file(1)).await;
    assert!(kept);
    assert_eq!(ids(&first), ids(&again));
    assert_eq!(
        first.iter().map(|hit| hit.distance.to_bits()).collect::<Vec<_>>(),
        again.iter().map(|hit| hit.distance.to_bits()).collect::<Vec<_>>()
    );
    // The same bytes under another name are the same question; another number of results or a region is another one.
    let renamed = SearchRequest::new(Query::File { name: "other".into(), bytes: pattern(1).bytes });
    let answer = gateway.search(renamed).await.unwrap();
    assert_eq!((answer.query.name.as_str(), ids(&answer.results)), ("other", ids(&first)));
    assert!(!ask(&gateway, SearchRequest { k: 5, ..by_file(1) }).await.1);
    let region = Region { x: 8, y: 8, width: 32, height: 32 };
    assert!(!ask(&gateway, SearchRequest { region: Some(region), ..by_file(1) }).await.1);
    assert!(!ask(&gateway, by_file(2)).await.1);
    // Who wants to know how it was found gets it found.
    let explained = gateway.search(SearchRequest { explain: true, ..by_file(1) }).await.unwrap();
    assert!(explained.explain.unwrap().index.exact_scored > 0);

    // An upload: the picture itself, which the first answer had not at its place.
    let new = index.upload(&shard, 900..901).await[0];
    let (unseen, kept) = ask(&gateway, by_file(900)).await;
    assert!(!kept && unseen[0].id == new);
    assert!(!ask(&gateway, by_file(1)).await.1, "the log went on");
    assert!(ask(&gateway, by_file(1)).await.1);

    // A deletion.
    let gone = first[0].id;
    gateway.delete(&gone).await.unwrap();
    let (without, kept) = ask(&gateway, by_file(1)).await;
    assert!(!kept && !ids(&without).contains(&gone));
    assert_eq!(without.len(), 10);
    assert!(ask(&gateway, by_file(1)).await.1);

    // A generation, and back.
    train_and_publish(&index.core(), &index.subfolder("trainer"), &|_| {}).await.unwrap();
    wait_for("generation 1", || async { shard.index().status().generation == 1 }).await;
    for is_kept in [false, true] {
        let (answer, kept) = ask_for_answer(&gateway, by_file(1)).await;
        assert_eq!((answer.generation, kept), (1, is_kept));
    }
    gateway.roll_back(None).await.unwrap();
    wait_for("exact search", || async { shard.index().status().generation == 0 }).await;
    assert_eq!(gateway.search(by_file(1)).await.unwrap().generation, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_kept_until_its_image_is_deleted_even_at_a_bad_moment() {
    let (index, cache) = watched_index().await;
    let shard = index.whole_shard("shard").await.shard;
    let stored = index.upload(&shard, 0..3).await;
    let gateway = index.gateway(&shard);
    let wanted = |max_edge| PreviewRequest { window: None, frame: None, max_edge };
    let drawn = gateway.preview(&stored[0], wanted(256)).await.unwrap();
    assert_eq!(gateway.preview(&stored[0], wanted(256)).await.unwrap(), drawn);
    let counts = gateway.cache_counts();
    assert_eq!((counts.preview_hits, counts.preview_misses), (1, 1));
    gateway.preview(&stored[0], wanted(64)).await.unwrap();
    // Unusual sizes are drawn anew: a deletion would not know their keys.
    gateway.preview(&stored[0], wanted(63)).await.unwrap();
    assert_eq!(gateway.cache_counts().preview_misses, 2);
    assert_eq!(cache.held("preview:").await.len(), 2);
    gateway.delete(&stored[0]).await.unwrap();
    assert_eq!(cache.held("preview:").await, Vec::<String>::new());
    let refused = gateway.preview(&stored[0], wanted(256)).await;
    assert!(matches!(refused, Err(ReadError::FindImage(_))));

    // Deleted between the drawing and the keeping.
    *cache.delete_on_set.lock() = Some((Arc::clone(&index.ports.catalog), stored[1]));
    gateway.preview(&stored[1], wanted(128)).await.unwrap();
    assert_eq!(cache.held("preview:").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_cache_fails_no_request_and_deletions_are_finished_once_it_is_back() {
    let (index, cache) = watched_index().await;
    let shard = index.whole_shard("shard").await.shard;
    let stored = index.upload(&shard, 0..12).await;
    let gateway = index.gateway(&shard);
    let wanted = PreviewRequest { window: None, frame: None, max_edge: 256 };
    let expected = gateway.preview(&stored[0], wanted).await.unwrap();
    cache.broken.store(true, Ordering::SeqCst);
    assert_eq!(gateway.search(by_file(1)).await.unwrap().results[0].id, stored[1]);
    assert_eq!(gateway.preview(&stored[0], wanted).await.unwrap(), expected);
    let upload = pattern(3);
    assert!(!gateway.recognise(upload.name, upload.bytes).await.unwrap().cached);
    gateway.delete(&stored[0]).await.unwrap();
    assert!(matches!(gateway.image(&stored[0]).await, Err(ReadError::FindImage(_))));
    assert!(!ids(&gateway.search(by_file(0)).await.unwrap().results).contains(&stored[0]));
    assert_eq!(cache.held("preview:").await.len(), 1, "it could not be removed");

    cache.broken.store(false, Ordering::SeqCst);
    // The deletion is asked for again, or finished by the sweeper.
    let _ = gateway.delete(&stored[0]).await;
    assert_eq!(cache.held("preview:").await, Vec::<String>::new());
    assert!(index.ports.catalog.image(&stored[0]).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_for_one_picture_at_two_gateways_are_computed_once() {
    let (index, cache) = watched_index().await;
    let shard = index.whole_shard("shard").await.shard;
    index.upload(&shard, 0..12).await;
    let gateways = [index.gateway(&shard), index.gateway(&shard)];
    let upload = pattern(3);
    let asked = (0..50).map(|number: usize| {
        let (gateway, upload) = (gateways[number % 2].clone(), upload.clone());
        async move { gateway.recognise(upload.name, upload.bytes).await.unwrap() }
    });
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.classes[0].label == answers[0].classes[0].label));
    let computed: u64 = gateways.iter().map(|gateway| gateway.cache_counts().recognition_misses).sum();
    assert_eq!(computed, 1);

    // A process that dies while it computes holds up others for a moment only.
    let other = pattern(77);
    let key = "image:".to_owned() + &gateways[0].recognise(other.name, other.bytes).await.unwrap().md5;
    cache.inner.delete(&key).await.unwrap();
    cache.inner.set(&format!("{key}:computing"), "1".into(), Duration::from_millis(300)).await.unwrap();
    let other = pattern(77);
    assert!(!gateways[1].recognise(other.name, other.bytes).await.unwrap().cached);
}
