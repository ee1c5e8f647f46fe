//! Generations on a cluster: published by the trainer, taken up by embedders and search shards.
//!
//! A generation is a blob of the image store; which one is active is a setting of the catalog. Shards look at it every [`PERIOD`], build a new
//! generation beside the one that answers and swap when it is complete, each in its own time: answers of two generations merge, because every
//! shard ranks by the exact distance. The generation before stays, so that going back is swapping the two numbers.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use medindex_index::quantizer::{Quantizer, QuantizerError};
use serde::{Deserialize, Serialize};

use crate::alarms::AlarmKind;
use crate::backend_error::{BackendError, from_backend};
use crate::core::{Core, now_ms};
use crate::embedding::Quantizers;
use crate::error::{Classified, ErrorKind};
use crate::operations::{Action, Event, note, outcome, stamp};
use crate::shard::Shard;

/// Setting that says which generation is active.
pub(crate) const POINTER_SETTING: &str = "generation.current";
/// How often processes look whether another generation is active.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);

/// Which generation is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationPointer {
    /// The active generation; 0 for exact search.
    pub active: u64,
    /// The one to go back to; 0 for exact search.
    pub previous: Option<u64>,
    /// Unix milliseconds when it became active.
    pub since_ms: i64,
}

/// Why a generation could not be published or taken up.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The setting cannot be read.
    #[error(
        "the setting {POINTER_SETTING} of the catalog holds {value:?}, which cannot be read: {source}; train again"
    )]
    ParsePointer {
        /// What it holds.
        value: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The setting cannot be written.
    #[error("the setting {POINTER_SETTING} cannot be written: {0}")]
    WritePointer(#[source] serde_json::Error),
    /// Its quantizer is not in the image store.
    #[error(
        "the quantizer of generation {generation} is not in the image store ({blob}): train again, or go back one generation"
    )]
    FindQuantizer {
        /// The generation.
        generation: u64,
        /// Where it should be.
        blob: String,
    },
    /// Its quantizer is damaged.
    #[error(
        "the quantizer of generation {generation} cannot be used: {source}; train again, or go back one generation"
    )]
    ReadQuantizer {
        /// The generation.
        generation: u64,
        /// Why.
        #[source]
        source: QuantizerError,
    },
    /// There is none to go back to.
    #[error("there is no earlier generation to go back to")]
    RollBack,
    /// Another one is the one before.
    #[error(transparent)]
    RollBackTo(#[from] NotTheOneBefore),
    /// It was trained for another model.
    #[error(
        "generation {generation} was trained on vectors of the model {found}, this index holds those of {expected}: train again, or go back one generation"
    )]
    OtherModel {
        /// The generation.
        generation: u64,
        /// Digest of its model.
        found: String,
        /// Digest of the index's model.
        expected: String,
    },
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

/// A generation that cannot be gone back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "generation {wanted} is not the one before: {active} answers, and only {previous} can be gone back to"
)]
pub struct NotTheOneBefore {
    /// The generation asked for.
    pub wanted: u64,
    /// The one that answers.
    pub active: u64,
    /// The one before it.
    pub previous: u64,
}

from_backend!(GenerationError);

impl Classified for GenerationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::RollBack | Self::RollBackTo(_) => ErrorKind::Conflict,
            Self::Backend(error) => error.kind(),
            _ => ErrorKind::Internal,
        }
    }
}

fn blob_of(generation: u64) -> String {
    format!("generations/{generation:010}/quantizer")
}

/// Where the digest of the model is whose vectors a quantizer was trained on.
fn model_blob_of(generation: u64) -> String {
    format!("generations/{generation:010}/model")
}

/// Whether a generation is the active one or the one before, with the quantizer of this checksum; 0 always is.
pub(crate) async fn is_known(
    core: &Core,
    generation: u64,
    quantizer: Option<u32>,
) -> Result<bool, GenerationError> {
    if generation == 0 {
        return Ok(true);
    }
    let Some(pointer) = pointer(core).await? else { return Ok(false) };
    if pointer.active != generation && pointer.previous != Some(generation) {
        return Ok(false);
    }
    let bytes = core.ports.store.get_blob(&blob_of(generation)).await?;
    Ok(bytes.is_some_and(|bytes| Some(crc32fast::hash(&bytes)) == quantizer))
}

/// Which generation is active; `None` before the first training.
pub(crate) async fn pointer(core: &Core) -> Result<Option<GenerationPointer>, GenerationError> {
    let Some(value) = core.ports.catalog.setting(POINTER_SETTING).await? else { return Ok(None) };
    match serde_json::from_str(&value) {
        Ok(pointer) => Ok(Some(pointer)),
        Err(source) => Err(GenerationError::ParsePointer { value, source }),
    }
}

async fn point(core: &Core, pointer: GenerationPointer) -> Result<(), GenerationError> {
    let text = serde_json::to_string(&pointer).map_err(GenerationError::WritePointer)?;
    Ok(core.ports.catalog.put_setting(POINTER_SETTING, &text).await?)
}

/// Stores a quantizer and makes its generation the active one.
pub(crate) async fn publish(core: &Core, quantizer: &Quantizer) -> Result<(), GenerationError> {
    let generation = quantizer.generation();
    let digest = Bytes::copy_from_slice(core.model_digest().as_bytes());
    core.ports.store.put_blob(&model_blob_of(generation), digest).await?;
    core.ports.store.put_blob(&blob_of(generation), quantizer.to_bytes().into()).await?;
    let before = pointer(core).await?.map_or(0, |pointer| pointer.active);
    point(core, GenerationPointer { active: generation, previous: Some(before), since_ms: now_ms() }).await?;
    stamp(core, event(core, Action::Publish, generation).detail(format!("before it: {before}"))).await;
    Ok(())
}

/// An event about a generation.
pub(crate) fn event(core: &Core, action: Action, generation: u64) -> Event {
    Event::new(core, action, format!("generation {generation}"), outcome::DONE)
}

/// Makes the generation before active again; returns its number, 0 for exact search, and whether that changed anything: whoever says which one it
/// has to be can ask again and again, and when it is active nothing is done.
pub(crate) async fn roll_back(core: &Core, to: Option<u64>) -> Result<(u64, bool), GenerationError> {
    let Some(GenerationPointer { active, previous: Some(previous), .. }) = pointer(core).await? else {
        return Err(GenerationError::RollBack);
    };
    if let Some(wanted) = step_back(active, previous, to)? {
        return Ok((wanted, false));
    }
    point(core, GenerationPointer { active: previous, previous: Some(active), since_ms: now_ms() }).await?;
    Ok((previous, true))
}

/// The generation asked for if it is active already; an error if it is neither that nor the one before.
pub(crate) fn step_back(active: u64, previous: u64, to: Option<u64>) -> Result<Option<u64>, NotTheOneBefore> {
    match to {
        Some(wanted) if wanted == active => Ok(Some(active)),
        Some(wanted) if wanted != previous => Err(NotTheOneBefore { wanted, active, previous }),
        _ => Ok(None),
    }
}

async fn fetch(core: &Core, generation: u64) -> Result<Quantizer, GenerationError> {
    check_model(core, generation).await?;
    let blob = blob_of(generation);
    let bytes: Option<Bytes> = core.ports.store.get_blob(&blob).await?;
    let bytes = bytes.ok_or(GenerationError::FindQuantizer { generation, blob })?;
    let read = move || Quantizer::from_bytes(&bytes);
    let quantizer = tokio::task::spawn_blocking(read).await?;
    quantizer.map_err(|source| GenerationError::ReadQuantizer { generation, source })
}

/// Codes of another model's vectors mean nothing. Generations that were published before their model was written down have none to compare.
async fn check_model(core: &Core, generation: u64) -> Result<(), GenerationError> {
    let Some(digest) = core.ports.store.get_blob(&model_blob_of(generation)).await? else { return Ok(()) };
    let expected = core.model_digest();
    if digest == expected.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&digest).into_owned();
    Err(GenerationError::OtherModel { generation, found, expected: expected.to_owned() })
}

/// The published quantizer, as an embedder sees it.
pub struct PublishedQuantizer {
    core: Arc<Core>,
    current: ArcSwapOption<Quantizer>,
}

impl PublishedQuantizer {
    /// Reads the active generation, and looks for another one in the background until the core stops. A generation that cannot be read is
    /// an alarm and no error: images are then stored without codes, which shards make themselves.
    pub async fn follow(core: Arc<Core>) -> Arc<Self> {
        let published = Arc::new(Self { current: ArcSwapOption::empty(), core: Arc::clone(&core) });
        published.look().await;
        let looking = Arc::clone(&published);
        core.tasks.spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            loop {
                tokio::select! {
                    () = looking.core.stop.cancelled() => return,
                    _ = period.tick() => looking.look().await,
                }
            }
        });
        published
    }

    async fn look(&self) {
        if let Err(error) = self.take_up().await {
            tracing::error!(%error, "the active generation cannot be taken up and will be tried again");
        }
    }

    async fn take_up(&self) -> Result<(), GenerationError> {
        let active = pointer(&self.core).await?.map_or(0, |pointer| pointer.active);
        let current = self.current.load().as_ref().map_or(0, |quantizer| quantizer.generation());
        if active == current {
            return Ok(());
        }
        let quantizer = if active == 0 { None } else { Some(Arc::new(fetch(&self.core, active).await?)) };
        self.current.store(quantizer);
        tracing::info!(generation = active, "codes are of another generation from now on");
        Ok(())
    }
}

impl Quantizers for PublishedQuantizer {
    fn current(&self) -> Option<Arc<Quantizer>> {
        self.current.load_full()
    }
}

/// Keeps a shard at the active generation until the core stops.
pub(crate) async fn follow_with_shard(shard: Arc<Shard>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shard.stop.cancelled() => return,
            _ = period.tick() => {}
        }
        match bring_up_to_date(&shard).await {
            Ok(()) => shard.release_alarm(AlarmKind::GenerationFailed, &shard.name()),
            Err(error) => {
                shard.hold_alarm(AlarmKind::GenerationFailed, &shard.name(), &error.to_string()).await;
            }
        }
    }
}

/// Builds and activates the generation that is active in the catalog, unless the shard has it.
pub(crate) async fn bring_up_to_date(shard: &Arc<Shard>) -> Result<(), GenerationError> {
    let Some(pointer) = pointer(shard).await? else { return Ok(()) };
    let status = shard.index.status();
    if pointer.active == status.generation {
        return Ok(());
    }
    let index = Arc::clone(&shard.index);
    if status.previous_generation.unwrap_or(0) == pointer.active {
        tokio::task::spawn_blocking(move || index.rollback()).await??;
    } else {
        let quantizer = fetch(shard, pointer.active).await?;
        tokio::task::spawn_blocking(move || {
            index.build_generation(quantizer, &|_| {})?;
            index.activate(pointer.active)
        })
        .await??;
    }
    note(shard, event(shard, Action::Activate, pointer.active).detail(shard.name()));
    tracing::info!(generation = pointer.active, "the shard answers with another generation from now on");
    shard.announce_snapshot();
    Ok(())
}
