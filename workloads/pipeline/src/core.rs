//! What every role shares, in one process or in many: the ports, the settings, the model's description.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use medindex_backends::{Cache, Catalog, ImageStore, Queue};
use medindex_embedding::Manifest;
use medindex_proto::identity::{ImageId, RowKey, check_partitions};
use medindex_proto::names::MAX_INLINE_BYTES;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::alarms::{
    self, AlarmBoard, AlarmCheck, BackendCheck, ClockCheck, LostOperationsCheck, RaisedAlarm,
};
use crate::backend_error::BackendError;
use crate::clock::ClockWatch;
use crate::decode_memory::DecodeMemory;
use crate::error::{Classified, ErrorKind};
use crate::locks::ImageLocks;
use crate::operations::{self, Action, Event, OperationLog, OperationLogCounts, note, outcome};
use crate::settings::Settings;
use crate::tasks::Tasks;

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
    pub(crate) decode_memory: DecodeMemory,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: Tasks,
    /// Bumped whenever an image became searchable or failed, as far as this process sees it.
    pub(crate) changed: watch::Sender<u64>,
    /// Why the embedder of this process could not do its last batch, until a batch succeeds.
    embedding_failure: Mutex<Option<Arc<BackendError>>>,
    pub(crate) operations: OperationLog,
    pub(crate) alarms: AlarmBoard,
    pub(crate) clock: ClockWatch,
    /// What to look for, until the task that looks takes them.
    checks: Mutex<Vec<Box<dyn AlarmCheck>>>,
    /// The operation log has its beginning.
    has_begun: AtomicBool,
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
        let decode_memory = settings.decode_memory;
        Ok(Arc::new(Self {
            settings,
            partitions: check_partitions(partitions)?,
            ports,
            model_digest: model.digest(),
            model,
            locks: ImageLocks::new(),
            decode_memory: DecodeMemory::new(decode_memory),
            stop: CancellationToken::new(),
            tasks: Tasks::default(),
            changed: watch::Sender::new(0),
            embedding_failure: Mutex::new(None),
            operations: OperationLog::default(),
            alarms: AlarmBoard::default(),
            clock: ClockWatch::default(),
            checks: Mutex::new(vec![
                Box::new(BackendCheck::default()),
                Box::new(LostOperationsCheck::default()),
                Box::new(ClockCheck),
            ]),
            has_begun: AtomicBool::new(false),
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

    /// Looks for one more cause of alarms, from [`Self::begin`] on.
    pub fn add_check(&self, check: impl AlarmCheck + 'static) {
        self.checks.lock().push(Box::new(check));
    }

    /// Starts the tasks that write the operation log and look for causes of alarms, until the core stops, and records that the program begins.
    pub fn begin(self: &Arc<Self>) {
        self.watch();
        if !self.has_begun.swap(true, Ordering::Relaxed) {
            note(self, Event::new(self, Action::Start, &self.settings.process, outcome::DONE));
        }
    }

    /// As [`Self::begin`], for one command among many, whose beginning is nothing to record.
    pub(crate) fn watch(self: &Arc<Self>) {
        let checks = std::mem::take(&mut *self.checks.lock());
        if !checks.is_empty() {
            self.tasks.spawn(operations::publish(Arc::clone(self)));
            self.tasks.spawn(alarms::run(Arc::clone(self), checks));
        }
    }

    /// What became of the operations that this process recorded.
    pub fn operation_counts(&self) -> OperationLogCounts {
        self.operations.counts()
    }

    /// Alarms that are raised, as far as this process knows.
    pub fn raised_alarms(&self) -> Vec<RaisedAlarm> {
        self.alarms.raised()
    }

    /// Tells every background task to end, and waits until they have.
    pub async fn end(&self) {
        if self.has_begun.swap(false, Ordering::Relaxed) {
            note(self, Event::new(self, Action::Stop, &self.settings.process, outcome::DONE));
        }
        self.stop.cancel();
        self.tasks.ended().await;
    }

    /// Names of the background tasks that have not ended.
    pub fn running_tasks(&self) -> Vec<&'static str> {
        self.tasks.running()
    }

    /// Returns so long after the tasks were told to end.
    pub(crate) async fn stopped_for(&self, time: Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(time).await;
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

    /// Why the embedder of this process does not get on at present.
    pub(crate) fn embedding_failure(&self) -> Option<Arc<BackendError>> {
        self.embedding_failure.lock().clone()
    }

    /// Records how the embedder's last batch ended, and wakes those who wait for it.
    pub(crate) fn note_embedding(&self, failure: Option<BackendError>) {
        *self.embedding_failure.lock() = failure.map(Arc::new);
        self.announce_change();
    }

    /// Wakes those who wait for images to become searchable.
    pub(crate) fn announce_change(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
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
    if settings.alarm_period.is_zero() {
        return wrong("alarm_period", format!("{:?}", settings.alarm_period), "more than nothing");
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
