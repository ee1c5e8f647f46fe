//! What every role shares, in one process or in many: the ports, the settings, the model's description.

use std::sync::Arc;

use chrono::Utc;
use medindex_backends::{Cache, Catalog, ImageStore, Queue};
use medindex_embedding::Manifest;
use medindex_proto::identity::{ImageId, RowKey, check_partitions};
use medindex_proto::names::MAX_INLINE_BYTES;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{Classified, ErrorKind};
use crate::locks::ImageLocks;
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

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A setting is out of its range.
    #[error("setting {name} is {value}, but must be {range}")]
    CheckSetting {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        range: String,
    },
    /// The number of partitions cannot be.
    #[error(transparent)]
    CheckPartitions(#[from] medindex_proto::IdentityError),
}

impl Classified for SettingsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::BadRequest
    }
}

/// What every role shares.
pub struct Core {
    pub(crate) settings: Settings,
    pub(crate) partitions: u32,
    pub(crate) ports: Ports,
    model: Manifest,
    model_digest: String,
    pub(crate) locks: ImageLocks,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Bumped whenever an image became searchable or failed, as far as this process sees it.
    pub(crate) changed: watch::Sender<u64>,
}

impl Core {
    /// Checks the settings and puts the parts together; `partitions` is the number that the index was made with.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(
        settings: Settings,
        partitions: u32,
        ports: Ports,
        model: Manifest,
    ) -> Result<Arc<Self>, SettingsError> {
        check_settings(&settings)?;
        Ok(Arc::new(Self {
            settings,
            partitions: check_partitions(partitions)?,
            ports,
            model_digest: model.digest(),
            model,
            locks: ImageLocks::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            changed: watch::Sender::new(0),
        }))
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Partitions of the index.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// Cancelled when the process is asked to end; every background task listens to it.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Tells every background task to end, and waits until they have.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The description of the model whose vectors the index holds.
    pub fn model(&self) -> &Manifest {
        &self.model
    }

    /// What identifies the vectors; see [`Manifest::digest`].
    pub fn model_digest(&self) -> &str {
        &self.model_digest
    }

    /// The model as answers name it.
    pub(crate) fn model_name(&self) -> String {
        format!("{}@{}", self.model.name, self.model.version)
    }

    pub(crate) fn row_key(&self, id: &ImageId) -> RowKey {
        RowKey::new(id, self.partitions)
    }

    /// Wakes those who wait for images to become searchable.
    pub(crate) fn announce_change(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Raises an alarm; a catalog that cannot take it is logged, so that the alarm is not lost without a word.
    pub async fn raise_alarm(&self, kind: &str, subject: &str, detail: &str) {
        tracing::warn!(kind, subject, detail, "alarm raised");
        if let Err(error) = self.ports.catalog.raise_alarm(kind, subject, detail, now_ms()).await {
            tracing::error!(kind, subject, %error, "the alarm could not be recorded");
        }
    }

    /// Clears an alarm if it is raised.
    pub async fn clear_alarm(&self, kind: &str, subject: &str) {
        if let Err(error) = self.ports.catalog.clear_alarm(kind, subject, now_ms()).await {
            tracing::error!(kind, subject, %error, "the alarm could not be cleared");
        }
    }
}

fn check_settings(settings: &Settings) -> Result<(), SettingsError> {
    let wrong = |name, value: String, range: &str| {
        Err(SettingsError::CheckSetting { name, value, range: range.to_owned() })
    };
    check_partitions(settings.partitions)?;
    if settings.batch == 0 {
        return wrong("batch", settings.batch.to_string(), "at least 1");
    }
    if settings.inline_bytes > MAX_INLINE_BYTES {
        let range = format!("at most {MAX_INLINE_BYTES}");
        return wrong("inline_bytes", settings.inline_bytes.to_string(), &range);
    }
    if settings.max_results == 0 {
        return wrong("max_results", settings.max_results.to_string(), "at least 1");
    }
    let training = &settings.training;
    if !(0.0..=1.0).contains(&training.recall_gate) {
        return wrong("recall_gate", training.recall_gate.to_string(), "0 to 1");
    }
    if training.growth < 2 {
        return wrong("growth", training.growth.to_string(), "at least 2");
    }
    Ok(())
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    Utc::now().timestamp_millis()
}
