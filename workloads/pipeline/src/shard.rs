//! A search shard: an index that follows the change log for some partitions, or for all.
//!
//! In one process one shard holds everything; on a cluster each search pod holds one.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use medindex_backends::Positions;
use medindex_index::quantizer::Quantizer;
use medindex_index::{Index, IndexStatus, SearchRequest};
use medindex_proto::identity::ImageId;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::alarms::{AlarmCheck, IndexLagCheck};
use crate::backend_error::BackendError;
use crate::core::Core;
use crate::embedding::Quantizers;
use crate::memory::{MemoryBudget, MemoryPressure};
use crate::published_segments::LoadSource;
use crate::searcher::{Found, Searcher};
use crate::{follow, maintain};

/// How often in a row following fails until those who wait for it are told: about a second, by [`crate::retry::Backoff`].
const LASTING: u32 = 5;

/// An index that follows the change log.
pub struct Shard {
    pub(crate) core: Arc<Core>,
    /// Partitions that it holds, ascending.
    pub(crate) held: Vec<u32>,
    /// It is the only one there is: it trains itself and trims the queue behind it.
    pub(crate) alone: bool,
    pub(crate) index: Arc<Index>,
    pub(crate) follower: FollowerState,
    pub(crate) training: tokio::sync::Mutex<()>,
    /// Vectors there were at the last training; 0 before the first.
    pub(crate) trained_on: AtomicU64,
    /// Why it has not loaded yet; `None` once it has.
    pub(crate) loading: Mutex<Option<String>>,
    /// Bumped whenever changes were applied.
    pub(crate) applied: watch::Sender<u64>,
    /// Bumped whenever there is something new to publish.
    pub(crate) snapshots: watch::Sender<u64>,
    /// Memory that it may take.
    pub(crate) memory: MemoryBudget,
    /// How it came to what it has.
    pub(crate) loaded: LoadState,
}

/// How a shard came to what it has, and what became of published segments.
pub(crate) struct LoadState {
    opened: Instant,
    source: Mutex<Option<(LoadSource, Duration)>>,
    ready_after: Mutex<Option<Duration>>,
    pub(crate) refused: AtomicU64,
    pub(crate) publications: AtomicU64,
    pub(crate) published_bytes: AtomicU64,
}

/// How a shard came to what it has, and what became of published segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loaded {
    /// Where the index came from; `None` while it loads.
    pub source: Option<LoadSource>,
    /// How long loading took.
    pub load_time: Option<Duration>,
    /// How long it took until everything could be found that was in the log.
    pub ready_after: Option<Duration>,
    /// Published segments that were refused since the start.
    pub refused_segments: u64,
    /// Publications since the start.
    pub publications: u64,
    /// Bytes sent for them.
    pub published_bytes: u64,
}

impl LoadState {
    fn new() -> Self {
        Self {
            opened: Instant::now(),
            source: Mutex::new(None),
            ready_after: Mutex::new(None),
            refused: AtomicU64::new(0),
            publications: AtomicU64::new(0),
            published_bytes: AtomicU64::new(0),
        }
    }

    /// Notes that loading is done.
    pub(crate) fn loaded_from(&self, source: LoadSource) {
        *self.source.lock() = Some((source, self.opened.elapsed()));
    }
}

/// How far the index follows the change log.
#[derive(Default)]
pub(crate) struct FollowerState {
    /// Changes applied since the last snapshot.
    pub(crate) since_snapshot: AtomicU64,
    /// The index had everything that was in the change log, once since the start.
    pub(crate) caught_up: AtomicBool,
    /// Why the follower stopped, if it did.
    failure: Mutex<Option<FollowFailure>>,
}

/// Why the follower stopped.
struct FollowFailure {
    error: Arc<BackendError>,
    /// How often in a row.
    times: u32,
}

impl FollowerState {
    /// Why the follower does not get on, in words.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().as_ref().map(|failure| failure.error.to_string())
    }

    /// The failure that trying again did not mend.
    fn lasting_failure(&self) -> Option<Arc<BackendError>> {
        let failure = self.failure.lock();
        failure.as_ref().filter(|failure| failure.times >= LASTING).map(|failure| Arc::clone(&failure.error))
    }

    pub(crate) fn note_failure(&self, error: BackendError) {
        let mut failure = self.failure.lock();
        let times = failure.as_ref().map_or(1, |before| before.times.saturating_add(1));
        *failure = Some(FollowFailure { error: Arc::new(error), times });
    }

    pub(crate) fn note_success(&self) {
        *self.failure.lock() = None;
    }

    pub(crate) fn count(&self, changes: usize) -> u64 {
        self.since_snapshot.fetch_add(changes as u64, Ordering::Relaxed) + changes as u64
    }
}

impl Deref for Shard {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Shard {
    pub(crate) fn new(
        core: Arc<Core>,
        held: Vec<u32>,
        alone: bool,
        index: Index,
        memory_limit: Option<u64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            core,
            held,
            alone,
            index: Arc::new(index),
            follower: FollowerState::default(),
            training: tokio::sync::Mutex::new(()),
            trained_on: AtomicU64::new(0),
            loading: Mutex::new(None),
            applied: watch::Sender::new(0),
            snapshots: watch::Sender::new(0),
            memory: MemoryBudget::new(memory_limit),
            loaded: LoadState::new(),
        })
    }

    /// Partitions that it holds, ascending.
    pub fn partitions_held(&self) -> &[u32] {
        &self.held
    }

    /// Its name in alarms and logs: the partitions that it holds.
    pub fn name(&self) -> String {
        let held: Vec<String> = self.held.iter().map(u32::to_string).collect();
        format!("partitions {}", held.join(","))
    }

    /// The index.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Why it takes no more changes; `None` while it does. It answers with what it has meanwhile.
    pub fn memory_pressure(&self) -> Option<MemoryPressure> {
        self.memory.pressure()
    }

    /// How it came to what it has.
    pub fn loaded(&self) -> Loaded {
        let state = &self.loaded;
        let source = *state.source.lock();
        Loaded {
            source: source.map(|(source, _)| source),
            load_time: source.map(|(_, time)| time),
            ready_after: *state.ready_after.lock(),
            refused_segments: state.refused.load(Ordering::Relaxed),
            publications: state.publications.load(Ordering::Relaxed),
            published_bytes: state.published_bytes.load(Ordering::Relaxed),
        }
    }

    /// Wakes the publisher.
    pub(crate) fn announce_snapshot(&self) {
        self.snapshots.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Notes that everything can be found that was in the log once since the start.
    pub(crate) fn note_caught_up(&self) {
        if self.follower.caught_up.swap(true, Ordering::Relaxed) {
            return;
        }
        let ready_after = self.loaded.opened.elapsed();
        *self.loaded.ready_after.lock() = Some(ready_after);
        let source = self.loaded.source.lock().map_or("nothing", |(source, _)| source.name());
        tracing::info!(
            shard = self.name(),
            source,
            entries = self.index.len(),
            seconds = ready_after.as_secs_f64(),
            "the shard is ready"
        );
    }

    /// Wakes those who wait for the index.
    pub(crate) fn announce_applied(&self) {
        self.applied.send_modify(|version| *version = version.wrapping_add(1));
        self.core.announce_change();
    }

    /// Ends the background tasks and makes the index durable as it is: segments are merged after the next start. What was applied is safe without
    /// it.
    ///
    /// # Errors
    /// [`BackendError`] when the last snapshot cannot be written.
    pub async fn close(self: &Arc<Self>) -> Result<(), BackendError> {
        self.core.end().await;
        maintain::snapshot_as_it_is(self).await
    }

    /// Looks whether the shard follows the change log; see [`Core::add_check`].
    pub fn alarm_check(self: &Arc<Self>) -> impl AlarmCheck + use<> {
        IndexLagCheck::new(self)
    }

    /// Changes of the log that the index has not applied.
    ///
    /// # Errors
    /// [`BackendError`] when the queue does not answer.
    pub async fn lag(&self) -> Result<u64, BackendError> {
        follow::lag(self).await
    }
}

#[async_trait]
impl Searcher for Shard {
    async fn search(&self, question: SearchRequest) -> Result<Found, BackendError> {
        let index = Arc::clone(&self.index);
        let answer = tokio::task::spawn_blocking(move || index.search(&question)).await??;
        Ok(Found { hits: answer.hits, explain: answer.explain, missing_partitions: Vec::new() })
    }

    async fn holds(&self, id: &ImageId) -> Result<bool, BackendError> {
        Ok(!self.index.frames(*id.as_bytes()).is_empty())
    }

    async fn generation(&self) -> Result<u64, BackendError> {
        Ok(self.index.status().generation)
    }

    async fn applied(&self) -> Result<Positions, BackendError> {
        Ok(self.index.log_positions())
    }

    async fn status(&self) -> Result<IndexStatus, BackendError> {
        Ok(self.index.status())
    }

    async fn catch_up(&self, ends: &Positions) -> Result<(), BackendError> {
        let mut applied = self.applied.subscribe();
        // One without memory for the rest takes deletions beyond its position, but never reaches the end.
        while !follow::has_applied(self, ends) && self.memory.pressure().is_none() {
            if let Some(failure) = self.follower.lasting_failure() {
                return Err(BackendError::Follow(failure));
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                outcome = applied.changed() => if outcome.is_err() { break },
            }
        }
        Ok(())
    }

    async fn unready(&self) -> Option<String> {
        if self.stop.is_cancelled() {
            return Some("the process is shutting down".to_owned());
        }
        if let Some(reason) = self.loading.lock().clone() {
            return Some(format!("the index is not loaded: {reason}"));
        }
        if let Some(failure) = self.follower.failure() {
            return Some(format!("the index does not follow the change log: {failure}"));
        }
        // One that has no memory for the rest goes on answering with what it has; others are no better off.
        if self.follower.caught_up.load(Ordering::Relaxed) || self.memory.pressure().is_some() {
            return None;
        }
        match follow::lag(self).await {
            Ok(0) => {
                self.note_caught_up();
                None
            }
            Ok(lag) => Some(format!("the index is catching up: {lag} changes are left")),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Quantizers for Shard {
    fn current(&self) -> Option<Arc<Quantizer>> {
        self.index.quantizer()
    }
}

#[cfg(test)]
mod tests {
    use medindex_proto::MessageError;

    use super::*;

    #[test]
    fn a_failure_lasts_when_trying_again_did_not_mend_it() {
        let state = FollowerState::default();
        let failure = || BackendError::Message(MessageError::Unversioned { kind: "change" });
        for _ in 1..LASTING {
            state.note_failure(failure());
            assert!(state.lasting_failure().is_none(), "it is tried again");
        }
        state.note_failure(failure());
        assert!(state.lasting_failure().is_some());
        assert!(state.failure().is_some_and(|reason| reason.contains("change")));
        state.note_success();
        assert!(state.lasting_failure().is_none() && state.failure().is_none());
    }
}
