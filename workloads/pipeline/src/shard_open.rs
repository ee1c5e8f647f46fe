//! Opening a search shard on a cluster: what its own disk has, else published segments, else the rows of the image store.
//!
//! The shard exists at once and says why it is not ready; it loads in the background. Guarantees: nothing that does not fit the memory limit is
//! loaded, and a process is never killed for it; a folder of other partitions or another model is made anew. What fails is tried again, ever
//! more slowly, and is an alarm meanwhile. A shard whose disk holds what fits serves that, and follows the log as far as memory allows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use medindex_backends::Positions;
use medindex_backends::catalog::ImageStatus;
use medindex_index::{Index, IndexError, IndexOptions, LogPositions};
use medindex_proto::names::TOPIC_IMAGE_INDEXED;

use crate::alarms::AlarmKind;
use crate::backend_error::BackendError;
use crate::core::Core;
use crate::published_segments::LoadSource;
use crate::retry::Backoff;
use crate::shard::Shard;
use crate::{follow, generations, maintain, mend, published_segments};

/// Where a shard keeps its index, and what it may use.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Folder of the index.
    pub folder: PathBuf,
    /// Partitions that it holds.
    pub partitions: Vec<u32>,
    /// Main memory that the process may use, in bytes; no limit when `None`.
    pub memory_limit: Option<u64>,
    /// Publishes its segments, at the most once in this time; does not when `None`. One replica of each shard does.
    pub publish_every: Option<Duration>,
}

impl Shard {
    /// Opens a shard of a cluster and starts its background tasks; it loads and follows from then on.
    ///
    /// # Errors
    /// [`BackendError::Index`] when the folder cannot be used at all.
    pub async fn open(core: Arc<Core>, options: ShardOptions) -> Result<Arc<Self>, BackendError> {
        let ShardOptions { folder, mut partitions, memory_limit, publish_every } = options;
        partitions.sort_unstable();
        partitions.dedup();
        let settings = IndexOptions::new(core.model().embedding.dimension, core.model_digest());
        let held = partitions.clone();
        let index = tokio::task::spawn_blocking(move || open_index(&folder, &settings, &held)).await??;
        let shard = Self::new(core, partitions, false, index, memory_limit);
        *shard.loading.lock() = Some("it has not begun to load".to_owned());
        shard.tasks.spawn(load_and_follow(Arc::clone(&shard), publish_every));
        Ok(shard)
    }
}

/// What the folder has, unless it is of other partitions or damaged.
fn open_index(folder: &std::path::Path, options: &IndexOptions, held: &[u32]) -> Result<Index, IndexError> {
    match Index::open(folder, options.clone()) {
        Ok(index) => {
            let stored: Vec<u32> = index.log_positions().keys().copied().collect();
            // A partition without a change yet may be missing.
            if stored.iter().all(|partition| held.contains(partition)) {
                return Ok(index);
            }
            tracing::warn!(?stored, ?held, "the folder has other partitions; the index is loaded anew");
        }
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "the index is damaged; it is loaded anew");
        }
        Err(IndexError::OtherModel { .. }) => {
            tracing::warn!("the folder is of another model; it is loaded anew");
        }
        Err(error) => return Err(error),
    }
    Index::recreate(folder, options.clone())
}

async fn load_and_follow(shard: Arc<Shard>, publish_every: Option<Duration>) {
    let mut backoff = Backoff::default();
    loop {
        let outcome = tokio::select! {
            () = shard.stop.cancelled() => return,
            outcome = load(&shard) => outcome,
        };
        let Err(reason) = outcome else { break };
        tracing::error!(%reason, "the shard cannot load and tries again");
        *shard.loading.lock() = Some(reason.clone());
        shard.hold_alarm(AlarmKind::ShardNotLoading, &shard.name(), &reason).await;
        tokio::select! {
            () = shard.stop.cancelled() => return,
            () = backoff.wait() => {}
        }
    }
    shard.release_alarm(AlarmKind::ShardNotLoading, &shard.name());
    *shard.loading.lock() = None;
    shard.tasks.spawn(follow::run(Arc::clone(&shard)));
    shard.tasks.spawn(maintain::run(Arc::clone(&shard)));
    shard.tasks.spawn(mend::run(Arc::clone(&shard)));
    shard.tasks.spawn(generations::follow_with_shard(Arc::clone(&shard)));
    if let Some(period) = publish_every {
        shard.tasks.spawn(published_segments::publish_snapshots(Arc::clone(&shard), period));
    }
}

/// Brings the index near enough to the log that following it does the rest.
async fn load(shard: &Arc<Shard>) -> Result<(), String> {
    let told = |error: BackendError| error.to_string();
    let queue = &shard.ports.queue;
    let ends = queue.end_offsets(TOPIC_IMAGE_INDEXED).await.map_err(|error| told(error.into()))?;
    let first = queue.first_offsets(TOPIC_IMAGE_INDEXED).await.map_err(|error| told(error.into()))?;
    let rebuild = must_rebuild(shard, &first, &ends) || log_was_lost(shard).await.map_err(told)?;
    if !rebuild {
        shard.memory.check(shard.index.row_count() as u64).map_err(|error| error.to_string())?;
        generations::bring_up_to_date(shard).await.map_err(|error| error.to_string())?;
        let positions = shard.index.log_positions();
        // From now on it is known that they were read from their beginning.
        let unread = shard.held.iter().filter(|partition| !positions.contains_key(partition));
        let unread: LogPositions = unread.map(|partition| (*partition, 0)).collect();
        shard.index.apply(&[], &unread).map_err(|error| error.to_string())?;
        shard.loaded.loaded_from(if positions.is_empty() { LoadSource::Log } else { LoadSource::Disk });
        return Ok(());
    }
    check_memory(shard).await?;
    let published = published_segments::load(shard, &first, &ends).await;
    let source = if published.map_err(|error| error.to_string())? {
        LoadSource::Segments
    } else {
        // The generation is there already: what is loaded gets its lists at once.
        *shard.loading.lock() = Some("it loads all entries from the image store".to_owned());
        follow::rebuild(shard).await.map_err(told)?;
        LoadSource::Scan
    };
    maintain::snapshot(shard).await.map_err(told)?;
    shard.loaded.loaded_from(source);
    Ok(())
}

/// Whether following the log from where the index stands would leave entries out, or the index is ahead of a log that was made anew.
fn must_rebuild(shard: &Shard, first: &Positions, ends: &Positions) -> bool {
    let applied = shard.index.log_positions();
    let of = |positions: &Positions, partition: u32| positions.get(&partition).copied().unwrap_or(0);
    shard.held.iter().any(|&partition| {
        let Some(&applied) = applied.get(&partition) else { return of(ends, partition) > 0 };
        applied < of(first, partition) || applied > of(ends, partition)
    })
}

/// Whether the index has never read a part of the log while the catalog has searchable images: a change is in the log before its image is
/// searchable, so where [`must_rebuild`] found the log empty, it was lost, or restored without its messages.
async fn log_was_lost(shard: &Shard) -> Result<bool, BackendError> {
    let applied = shard.index.log_positions();
    if shard.held.iter().all(|partition| applied.contains_key(partition)) {
        return Ok(false);
    }
    Ok(shard.ports.catalog.counts().await?.of_status(ImageStatus::Indexed) > 0)
}

/// Refuses to load more than fits.
async fn check_memory(shard: &Shard) -> Result<(), String> {
    let counts = shard.ports.catalog.counts().await.map_err(|error| error.to_string())?;
    let images = counts.of_status(ImageStatus::Indexed);
    let entries = images * shard.held.len() as u64 / u64::from(shard.partitions);
    shard.memory.check(entries).map_err(|error| error.to_string())
}
