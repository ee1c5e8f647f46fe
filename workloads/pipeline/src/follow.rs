//! The index follows the change log.
//!
//! It reads on from the positions of its last snapshot; changes are idempotent, so what is read twice does no harm. When the
//! log was trimmed past those positions, or there is no usable snapshot, everything is read back from the image store.
//!
//! A shard that has no memory for the next changes stops before them, at a position from which it can go on later. It answers with what it has,
//! still takes deletions from the log beyond (they free memory, and nobody may find what was deleted), and goes on once there is room for the rest
//! or for a twentieth of the limit: it never reads the log again and again for a few entries.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use medindex_backends::catalog::ImageStatus;
use medindex_backends::queue::{Delivery, positions_after};
use medindex_backends::{Columns, Follower, ImageRow, Positions, QueueError};
use medindex_index::{Change, LogPositions};
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::names::TOPIC_IMAGE_INDEXED;

use crate::alarms::AlarmKind;
use crate::backend_error::BackendError;
use crate::catalog_row::index_attributes;
use crate::change::{ChangeError, changes_of, entries, removal_of};
use crate::dead_letter::{DeadImage, bury};
use crate::retry::Backoff;
use crate::salvage::{Read, lacks_vectors, scan_past_damage};
use crate::shard::Shard;

/// Messages applied to the index at once.
const BATCH: usize = 512;
/// How long a poll waits for the first message.
const POLL: Duration = Duration::from_secs(1);
/// Rows read back from the image store at once.
pub(crate) const PAGE: usize = 512;
/// Partitions read back at the same time: regions of several servers, and the store's connections, are kept busy.
const PARALLEL_SCANS: usize = 4;

/// Runs until the context stops.
pub(crate) async fn run(shard: Arc<Shard>) {
    let mut backoff = Backoff::default();
    while !shard.stop.is_cancelled() {
        let error = match follow(&shard, &mut backoff).await {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::error!(%error, "following the change log is interrupted and will be tried again");
        let out_of_range = matches!(error, BackendError::Queue(QueueError::OutOfRange { .. }));
        shard.follower.note_failure(error);
        if out_of_range && let Err(error) = rebuild(&shard).await {
            tracing::error!(%error, "the index cannot be rebuilt");
        }
        // Those who wait for it look whether there is still something to wait for.
        shard.announce_applied();
        tokio::select! {
            () = shard.stop.cancelled() => {}
            () = backoff.wait() => {}
        }
    }
}

/// Follows until the context stops, or a backend fails.
async fn follow(shard: &Arc<Shard>, backoff: &mut Backoff) -> Result<(), BackendError> {
    let mut follower = open(shard).await?;
    let mut full = false;
    loop {
        let deliveries = tokio::select! {
            () = shard.stop.cancelled() => return Ok(()),
            deliveries = follower.poll(BATCH, POLL) => deliveries?,
        };
        if full {
            look_ahead(shard, &deliveries).await?;
            if can_go_on(shard).await? {
                tracing::info!(shard = shard.name(), "there is memory again; the change log is followed on");
                shard.memory.relieve();
                shard.release_alarm(AlarmKind::MemoryShort, &shard.name());
                follower = open(shard).await?;
                full = false;
            }
        } else if !deliveries.is_empty() {
            full = !apply(shard, &deliveries).await?;
            if full {
                look_ahead(shard, &deliveries).await?;
                let detail = "its memory limit is reached: searches go on without newer images";
                shard.hold_alarm(AlarmKind::MemoryShort, &shard.name(), detail).await;
            }
        }
        if !full && !shard.follower.caught_up.load(Ordering::Relaxed) && lag(shard).await? == 0 {
            shard.note_caught_up();
        }
        backoff.reset();
        shard.follower.note_success();
    }
}

/// Applies the deletions of messages that cannot be applied yet; the position stays.
async fn look_ahead(shard: &Arc<Shard>, deliveries: &[Delivery]) -> Result<(), BackendError> {
    let removals: Vec<Change> =
        deliveries.iter().filter_map(|delivery| removal_of(shard, delivery)).collect();
    if removals.is_empty() {
        return Ok(());
    }
    apply_changes(shard, removals, LogPositions::new()).await
}

/// Whether a shard that stopped for want of memory has enough to go on.
async fn can_go_on(shard: &Arc<Shard>) -> Result<bool, BackendError> {
    let rows = shard.index.row_count() as u64;
    // The log is asked only when something was freed.
    let freed = shard.memory.pressure().is_none_or(|pressure| rows < pressure.rows);
    Ok(freed && shard.memory.has_room(rows, lag(shard).await?))
}

async fn open(shard: &Arc<Shard>) -> Result<Box<dyn Follower>, BackendError> {
    let mut from = shard.index.log_positions();
    // A partition that the index knows nothing of is read from its beginning; the queue follows only what is named.
    for &partition in &shard.held {
        from.entry(partition).or_insert(0);
    }
    Ok(shard.ports.queue.follow(TOPIC_IMAGE_INDEXED, from).await?)
}

/// Applies the changes of a run of messages to the index, as many from the first on as there is memory for; whether these are all.
async fn apply(shard: &Arc<Shard>, deliveries: &[Delivery]) -> Result<bool, BackendError> {
    let (mut changes, mut spans, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    let (mut taken, mut rows) = (deliveries.len(), shard.index.row_count() as u64);
    for (number, delivery) in deliveries.iter().enumerate() {
        match changes_of(shard, delivery).await {
            Ok((more, span)) => {
                rows += additions(&more);
                if !fits(shard, rows, &more) {
                    taken = number;
                    break;
                }
                changes.extend(more);
                spans.push(span);
            }
            Err(ChangeError::Backend(error)) => return Err(error),
            Err(error) => {
                dead.push(DeadImage::unreadable(delivery.clone(), "unreadable_change", &error.to_string()));
            }
        }
    }
    bury(shard, dead).await?;
    if taken > 0 {
        apply_changes(shard, changes, positions_after(&deliveries[..taken])).await?;
    }
    drop(spans);
    Ok(taken == deliveries.len())
}

fn additions(changes: &[Change]) -> u64 {
    changes.iter().filter(|change| matches!(change, Change::Upsert(_))).count() as u64
}

/// Whether there is memory for `rows` rows, which are so many because of `changes`; says so once when there is not.
fn fits(shard: &Shard, rows: u64, changes: &[Change]) -> bool {
    let Err(error) = shard.memory.check(rows) else { return true };
    let added = additions(changes);
    // Deletions are always taken.
    if added == 0 {
        return true;
    }
    if shard.memory.press(rows - added, error) {
        tracing::warn!(
            shard = shard.name(),
            %error,
            "the memory limit is reached: the change log is not followed until memory is free; searches go on without newer images"
        );
    }
    false
}

pub(crate) async fn apply_changes(
    shard: &Arc<Shard>,
    changes: Vec<Change>,
    positions: LogPositions,
) -> Result<(), BackendError> {
    let count = changes.len();
    let index = Arc::clone(&shard.index);
    tokio::task::spawn_blocking(move || index.apply(&changes, &positions)).await??;
    shard.follower.count(count);
    shard.announce_applied();
    Ok(())
}

/// What a rebuild read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rebuilt {
    /// Rows of the image store.
    pub(crate) rows: u64,
    /// Those of them that the catalog does not know.
    pub(crate) unknown: u64,
}

/// Reads every stored vector back into the index, several partitions at a time, then goes on from where the log stood when it began.
pub(crate) async fn rebuild(shard: &Arc<Shard>) -> Result<Rebuilt, BackendError> {
    let ends = shard.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    // Boxed: the compiler cannot prove of the plain futures that they may move between threads.
    let mut scans = Vec::with_capacity(shard.held.len());
    for &partition in &shard.held {
        scans.push(scan_partition(shard, partition).boxed());
    }
    let rebuilt = futures::stream::iter(scans)
        .buffer_unordered(PARALLEL_SCANS)
        .try_fold(Rebuilt::default(), |sum, part| async move {
            Ok(Rebuilt { rows: sum.rows + part.rows, unknown: sum.unknown + part.unknown })
        })
        .await?;
    let ends = ends.into_iter().filter(|(partition, _)| shard.held.contains(partition)).collect();
    apply_changes(shard, Vec::new(), ends).await?;
    tracing::info!(?rebuilt, "the index was rebuilt from the image store");
    Ok(rebuilt)
}

async fn scan_partition(shard: &Arc<Shard>, partition: u32) -> Result<Rebuilt, BackendError> {
    let mut rebuilt = Rebuilt::default();
    let mut after: Option<RowKey> = None;
    loop {
        let store = shard.ports.store.as_ref();
        let page = scan_past_damage(store, partition, Columns::VECTORS, after.as_ref(), PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(rebuilt) };
        after = Some(last.clone());
        let full = page.len() == PAGE;
        let (changes, unknown) = page_changes(shard, &page).await?;
        rebuilt.rows += page.len() as u64;
        rebuilt.unknown += unknown;
        shard.memory.check((shard.index.row_count() + changes.len()) as u64)?;
        apply_changes(shard, changes, LogPositions::new()).await?;
        freeze_what_was_read(shard).await?;
        if !full {
            return Ok(rebuilt);
        }
    }
}

/// Writes rows to disk once there are many: until then their vectors are in main memory, which is not counted with them. Positions of the log come
/// at the end of the whole, so a load that is cut off begins again.
async fn freeze_what_was_read(shard: &Arc<Shard>) -> Result<(), BackendError> {
    let index = Arc::clone(&shard.index);
    tokio::task::spawn_blocking(move || index.freeze_if_large()).await??;
    Ok(())
}

/// Entries of the rows that the catalog still has, and how many it does not know.
pub(crate) async fn page_changes(
    shard: &Arc<Shard>,
    page: &[(RowKey, Read<ImageRow>)],
) -> Result<(Vec<Change>, u64), BackendError> {
    let ids: Vec<ImageId> = page.iter().map(|(row_key, _)| row_key.image_id()).collect();
    let records = shard.ports.catalog.images(&ids).await?;
    let dimension = shard.core.model().embedding.dimension;
    let (mut changes, mut unknown) = (Vec::new(), 0);
    for ((row_key, row), record) in page.iter().zip(records) {
        let Some(record) = record else {
            unknown += 1;
            continue;
        };
        // Given up by a repair, or on its way out: nobody can open what a search would find.
        if matches!(record.status, ImageStatus::Failed | ImageStatus::Deleting) {
            continue;
        }
        let whole = match row {
            Ok(row) => lacks_vectors(row, dimension).map_or(Ok(row), Err),
            Err(damage) => Err(damage.clone()),
        };
        let row = match whole {
            Ok(row) => row,
            // The folder is refused, or the repair says so, where the catalog calls the image indexed.
            Err(reason) => {
                tracing::error!(%row_key, reason, "a damaged row of the image store is left out of the index");
                continue;
            }
        };
        let frames = row.information.iter().flat_map(|information| &information.frames);
        let frames = frames.map(|frame| (frame.frame, frame.vector.clone())).collect();
        changes.extend(entries(&row_key.image_id(), frames, &index_attributes(&record)));
    }
    Ok((changes, unknown))
}

/// Changes that are not searchable yet.
pub(crate) async fn lag(shard: &Shard) -> Result<u64, BackendError> {
    let ends = shard.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    Ok(lag_of(&ends, &shard.held, &shard.index.log_positions()))
}

/// Changes before `ends` that are not applied, in the partitions given.
pub(crate) fn lag_of(ends: &Positions, partitions: &[u32], applied: &LogPositions) -> u64 {
    let behind = |partition: &u32| {
        let end = ends.get(partition).copied().unwrap_or(0);
        end.saturating_sub(applied.get(partition).copied().unwrap_or(0))
    };
    partitions.iter().map(behind).sum()
}

/// Whether everything before these positions is applied, in the partitions that the shard holds.
pub(crate) fn has_applied(shard: &Shard, ends: &Positions) -> bool {
    lag_of(ends, &shard.held, &shard.index.log_positions()) == 0
}
