//! Answers to searches that are asked again, kept in the cache.
//!
//! Kept are the hits of the index, never what the catalog says of them: names and labels are added anew, and what was deleted is left out, at
//! every answer. Only searches whose query has to be embedded are kept: for the others the index is as fast as the cache.
//!
//! A key carries the generation and the end of the change log as it was when the search began, so that an upload, a deletion or a new generation
//! makes every kept answer one that nobody asks for any more; their time to live removes them. An answer is kept only if every replica
//! that may have given it had applied the log up to there: it is what a search at that moment finds, or newer. Mending damaged vectors of the index
//! is no change of the log: it leaves a mark in the cache that makes answers from before it count for nothing.
//! A cache or queue that does not answer slows a search by a quarter of a second at the most, and not again for five seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use medindex_backends::{CacheError, Positions};
use medindex_index as index;
use medindex_proto::identity::ImageId;
use medindex_proto::names::TOPIC_IMAGE_INDEXED;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::core::Ports;
use crate::search::{Query, SearchRequest};
use crate::searcher::Found;
use crate::settings::Settings;

/// How long the end of the change log may take to be told.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long nobody asks again after it was not told.
const PAUSE: Duration = Duration::from_secs(5);

/// Key of the mark that the last mending left; no key of an answer is like it.
const MENDED: &str = "results:mended";

/// How often each cache had what was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CacheCounts {
    /// Searches answered from kept answers.
    pub result_hits: u64,
    /// Searches that were computed although they could have been kept.
    pub result_misses: u64,
    /// Previews that were kept.
    pub preview_hits: u64,
    /// Previews that were drawn although they could have been kept.
    pub preview_misses: u64,
    /// Recognitions that were kept.
    pub recognition_hits: u64,
    /// Recognitions that were computed.
    pub recognition_misses: u64,
}

/// Hits and misses of one cache.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counter {
    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// What the caches of a process count, and what it knows of the log's availability.
#[derive(Debug, Default)]
pub(crate) struct Caches {
    pub(crate) results: Counter,
    pub(crate) previews: Counter,
    pub(crate) recognitions: Counter,
    /// Until when the end of the log is not asked for.
    paused: Mutex<Option<Instant>>,
}

impl Caches {
    pub(crate) fn counts(&self) -> CacheCounts {
        let (result_hits, result_misses) = self.results.read();
        let (preview_hits, preview_misses) = self.previews.read();
        let (recognition_hits, recognition_misses) = self.recognitions.read();
        CacheCounts {
            result_hits,
            result_misses,
            preview_hits,
            preview_misses,
            recognition_hits,
            recognition_misses,
        }
    }
}

/// A search whose answer may be kept.
pub(crate) struct Slot {
    key: String,
    generation: u64,
    /// The mark of the last mending when the search began.
    mended: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct KeptAnswer {
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mended: Option<String>,
    hits: Vec<KeptHit>,
}

#[derive(Serialize, Deserialize)]
struct KeptHit {
    id: ImageId,
    frame: u32,
    distance: f32,
}

/// What became of looking for a kept answer.
pub(crate) enum Kept {
    /// It was there.
    Answer(Found),
    /// It was not there: an answer can be kept here.
    Missing(Slot),
    /// This search is not kept, or cannot be now.
    Never,
}

/// Looks for the answer to a request.
pub(crate) async fn find(context: &Arc<Context>, request: &SearchRequest) -> Kept {
    if request.explain || !needs_embedding(request) {
        return Kept::Never;
    }
    let Some((ends, is_applied)) = log_ends(context).await else { return Kept::Never };
    let Ok(generation) = context.searcher.generation().await else { return Kept::Never };
    let Some(key) = key_of(context, request, generation, &ends).await else { return Kept::Never };
    let read = match context.ports.cache.get_many(&[key.as_str(), MENDED]).await {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%error, "the cache cannot be read; searching instead");
            return Kept::Never;
        }
    };
    let [kept, mended] = [0, 1].map(|place| read.get(place).cloned().flatten());
    let mended = mended.map(|mark| String::from_utf8_lossy(&mark).into_owned());
    match kept.as_deref().map(serde_json::from_slice::<KeptAnswer>) {
        Some(Ok(kept)) if kept.mended == mended => {
            context.caches.results.hit();
            return Kept::Answer(kept.into_found());
        }
        Some(Err(error)) => tracing::warn!(key, %error, "a kept answer cannot be read; searching instead"),
        Some(Ok(_)) | None => {}
    }
    context.caches.results.miss();
    if is_applied { Kept::Missing(Slot { key, generation, mended }) } else { Kept::Never }
}

/// Makes answers that were kept before now count for nothing.
pub(crate) async fn forget(ports: &Ports, settings: &Settings) -> Result<(), CacheError> {
    let mark = ImageId::new().to_string();
    // Longer than any answer from before is kept.
    ports.cache.set(MENDED, mark.into(), settings.results_ttl * 2).await
}

/// Keeps an answer, if it is whole and of the generation that its key names.
pub(crate) async fn keep(context: &Arc<Context>, slot: Slot, found: &Found) {
    if !found.missing_partitions.is_empty() || found.explain.generation != slot.generation {
        return;
    }
    let hit = |hit: &index::Hit| KeptHit {
        id: ImageId::from_bytes(hit.key.id),
        frame: hit.key.frame,
        distance: hit.distance,
    };
    let hits = found.hits.iter().map(hit).collect();
    let kept = KeptAnswer { generation: slot.generation, mended: slot.mended, hits };
    let outcome = match serde_json::to_vec(&kept) {
        Ok(value) => {
            let stored = context.ports.cache.set(&slot.key, value.into(), context.settings.results_ttl).await;
            stored.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = outcome {
        tracing::debug!(reason, "an answer cannot be kept");
    }
}

impl KeptAnswer {
    fn into_found(self) -> Found {
        let hit = |hit: KeptHit| index::Hit {
            key: index::EntryKey::new(*hit.id.as_bytes(), hit.frame),
            distance: hit.distance,
            group: 0,
        };
        let explain = index::Explain { generation: self.generation, ..index::Explain::default() };
        Found { hits: self.hits.into_iter().map(hit).collect(), explain, missing_partitions: Vec::new() }
    }
}

fn needs_embedding(request: &SearchRequest) -> bool {
    match request.query {
        Query::File { .. } => true,
        Query::Stored(_) => request.region.is_some() || request.window.is_some(),
    }
}

/// Where the change log ends, and whether every replica had applied all of it before.
async fn log_ends(context: &Arc<Context>) -> Option<(Positions, bool)> {
    if context.caches.paused.lock().is_some_and(|until| Instant::now() < until) {
        return None;
    }
    let asked = tokio::time::timeout(PATIENCE, context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED)).await;
    let Ok(Ok(ends)) = asked else {
        *context.caches.paused.lock() = Some(Instant::now() + PAUSE);
        tracing::debug!("the end of the change log is not told; answers are not kept for a while");
        return None;
    };
    let applied = context.searcher.applied().await.ok()?;
    let is_applied = ends.iter().all(|(partition, end)| applied.get(partition).copied().unwrap_or(0) >= *end);
    Some((ends, is_applied))
}

/// The key of an answer: the generation, the end of the log, and everything that the answer depends on.
async fn key_of(
    context: &Arc<Context>,
    request: &SearchRequest,
    generation: u64,
    ends: &Positions,
) -> Option<String> {
    let mut question = Sha256::new();
    let asked = (
        env!("CARGO_PKG_VERSION"),
        context.model_digest(),
        (request.k, request.region, request.frame, request.window),
        (&request.filter, request.group_by, request.probes, request.exact),
        ends,
    );
    question.update(format!("{asked:?}"));
    let query = request.query.clone();
    let hashed = tokio::task::spawn_blocking(move || {
        match &query {
            Query::File { bytes, .. } => question.update(Sha256::digest(bytes)),
            Query::Stored(id) => question.update(id.as_bytes()),
        }
        hex::encode(question.finalize())
    });
    Some(format!("results:{generation}:{}", hashed.await.ok()?))
}
