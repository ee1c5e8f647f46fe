//! Finding damage of stored vectors, and mending it from the image store.
//!
//! The index compares checksums of everything but the vectors when it is opened; those of a large index would take too long. They are
//! compared here with all the rest, in the background, soon after the start and then once a day, and whenever a merge meets damage. The entries of
//! a segment whose vectors are damaged are applied again with the vectors of the image store; what the store no longer has is removed. Where more than
//! vectors is damaged nothing is touched: a new start makes the index anew. Until then an alarm is raised: answers may be wrong. Failure: a store that
//! does not answer is asked again later, and the alarm stays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use medindex_backends::Columns;
use medindex_backends::catalog::{ImageRecord, ImageStatus};
use medindex_index::{Change, DamagedSegment, LogPositions};
use medindex_proto::identity::{ImageId, RowKey};

use crate::alarms::AlarmKind;
use crate::backend_error::BackendError;
use crate::follow::{PAGE, apply_changes, page_changes};
use crate::salvage::get_past_damage;
use crate::shard::Shard;
use crate::{hot_results, maintain};

/// After the start, when those who only ask one question are gone.
const SOON: Duration = Duration::from_mins(1);

/// Looks again and again until the context stops.
pub(crate) async fn run(shard: Arc<Shard>) {
    let period = shard.settings.verify_every;
    let mut wait = SOON.min(period);
    loop {
        tokio::select! {
            () = shard.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = match mend(&shard).await {
            Ok(()) => period,
            Err(error) => {
                tracing::error!(%error, "damage of the index cannot be mended and will be tried again");
                SOON.min(period)
            }
        };
    }
}

/// Compares the checksums of all stored vectors, and mends what is damaged.
pub(crate) async fn mend(shard: &Arc<Shard>) -> Result<(), BackendError> {
    let index = Arc::clone(&shard.index);
    let damaged = tokio::task::spawn_blocking(move || index.damaged()).await?;
    if damaged.is_empty() {
        shard.release_alarm(AlarmKind::IndexDamaged, &shard.name());
        return Ok(());
    }
    let mut ids: BTreeSet<ImageId> = BTreeSet::new();
    for DamagedSegment { error, keys } in &damaged {
        tracing::error!(%error, "the index is damaged");
        let Some(keys) = keys else {
            // Its keys may be anything, so it is not known what to read again. The next start makes the index anew.
            let detail = format!("{error}; start the process again, which makes the index anew");
            shard.hold_alarm(AlarmKind::IndexDamaged, &shard.name(), &detail).await;
            return Ok(());
        };
        shard.hold_alarm(AlarmKind::IndexDamaged, &shard.name(), &error.to_string()).await;
        ids.extend(keys.iter().map(|key| ImageId::from_bytes(key.id)));
    }
    let ids: Vec<ImageId> = ids.into_iter().collect();
    let mut removed = 0;
    for ids in ids.chunks(PAGE) {
        removed += apply_again(shard, ids).await?;
    }
    maintain::snapshot(shard).await?;
    if let Err(error) = hot_results::forget(&shard.ports, &shard.settings).await {
        tracing::warn!(%error, "answers from before the mending may be given until the cache drops them");
    }
    tracing::warn!(entries = ids.len(), removed, "the damaged vectors of the index are mended");
    shard.release_alarm(AlarmKind::IndexDamaged, &shard.name());
    Ok(())
}

/// Applies images once more as the image store has them; how many it does not have.
async fn apply_again(shard: &Arc<Shard>, ids: &[ImageId]) -> Result<usize, BackendError> {
    let keys: Vec<RowKey> = ids.iter().map(|id| shard.row_key(id)).collect();
    let rows = get_past_damage(shard.ports.store.as_ref(), &keys, Columns::VECTORS).await?;
    let page: Vec<_> =
        keys.into_iter().zip(rows).map(|(key, row)| (key, row.map(Option::unwrap_or_default))).collect();
    let (changes, _) = page_changes(shard, &page).await?;
    let found: BTreeSet<ImageId> = changes.iter().filter_map(upserted).collect();
    apply_changes(shard, changes, LogPositions::new()).await?;
    // One that was deleted meanwhile may have been removed from the index before it was applied again. From here on, a deletion is in the
    // log behind what was applied.
    let records = shard.ports.catalog.images(ids).await?;
    let is_there = |record: &ImageRecord| record.status != ImageStatus::Deleting;
    let gone = ids
        .iter()
        .zip(&records)
        .filter(|(id, record)| !found.contains(id) || !record.as_ref().is_some_and(is_there));
    let gone: Vec<Change> = gone.map(|(id, _)| Change::Remove { id: *id.as_bytes() }).collect();
    let removed = gone.len();
    apply_changes(shard, gone, LogPositions::new()).await?;
    Ok(removed)
}

fn upserted(change: &Change) -> Option<ImageId> {
    match change {
        Change::Upsert(entry) => Some(ImageId::from_bytes(entry.key.id)),
        Change::Remove { .. } => None,
    }
}
