//! What every flow shares: the ports, the index, the model, the settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use chrono::Utc;
use medindex_backends::{Cache, Catalog, ImageStore, Queue};
use medindex_embedding::{Embedder, Model};
use medindex_index::Index;
use medindex_proto::identity::{ImageId, RowKey};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::flight::SingleFlight;
use crate::locks::ImageLocks;
use crate::report::Recognition;
use crate::settings::Settings;

/// The ports that a profile plugs in.
#[derive(Clone)]
pub struct Ports {
    /// Image store.
    pub store: Arc<dyn ImageStore>,
    /// Queue.
    pub queue: Arc<dyn Queue>,
    /// Catalog.
    pub catalog: Arc<dyn Catalog>,
    /// Cache.
    pub cache: Arc<dyn Cache>,
}

/// Shared by every flow and background task.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) partitions: u32,
    pub(crate) ports: Ports,
    pub(crate) embedder: Embedder,
    pub(crate) index: Arc<Index>,
    pub(crate) locks: ImageLocks,
    pub(crate) recognitions: SingleFlight<Recognition>,
    pub(crate) training: tokio::sync::Mutex<()>,
    /// Vectors there were at the last training; 0 before the first.
    pub(crate) trained_on: AtomicU64,
    pub(crate) follower: FollowerState,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Bumped whenever an image became searchable or failed.
    pub(crate) changed: watch::Sender<u64>,
}

impl Context {
    pub(crate) fn row_key(&self, id: &ImageId) -> RowKey {
        RowKey::new(id, self.partitions)
    }

    pub(crate) fn model(&self) -> &Arc<Model> {
        self.embedder.model()
    }

    /// The model as answers name it.
    pub(crate) fn model_name(&self) -> String {
        let manifest = self.model().manifest();
        format!("{}@{}", manifest.name, manifest.version)
    }

    /// Wakes those who wait for images to become searchable.
    pub(crate) fn announce_change(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Raises an alarm; a catalog that cannot take it is logged, so that the alarm is not lost without a word.
    pub(crate) async fn raise_alarm(&self, kind: &str, subject: &str, detail: &str) {
        tracing::warn!(kind, subject, detail, "alarm raised");
        if let Err(error) = self.ports.catalog.raise_alarm(kind, subject, detail, now_ms()).await {
            tracing::error!(kind, subject, %error, "the alarm could not be recorded");
        }
    }

    /// Clears an alarm if it is raised.
    pub(crate) async fn clear_alarm(&self, kind: &str, subject: &str) {
        if let Err(error) = self.ports.catalog.clear_alarm(kind, subject, now_ms()).await {
            tracing::error!(kind, subject, %error, "the alarm could not be cleared");
        }
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
    pub(crate) failure: Mutex<Option<String>>,
}

impl FollowerState {
    pub(crate) fn count(&self, changes: usize) -> u64 {
        self.since_snapshot.fetch_add(changes as u64, Ordering::Relaxed) + changes as u64
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}
