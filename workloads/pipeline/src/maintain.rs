//! Upkeep in the background: freezing and compacting the index, snapshots, trimming the queue, training when it is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use medindex_index::LogPositions;
use medindex_proto::names::{TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG};

use crate::alarms::AlarmKind;
use crate::backend_error::BackendError;
use crate::ingest::embed::GROUP;
use crate::shard::Shard;
use crate::{mend, operations, train};

/// How often upkeep looks whether there is something to do when nothing wakes it.
const PERIOD: Duration = Duration::from_secs(30);

/// Runs until the context stops.
pub(crate) async fn run(shard: Arc<Shard>) {
    let mut changed = shard.changed.subscribe();
    let mut period = tokio::time::interval(PERIOD);
    loop {
        let due = tokio::select! {
            () = shard.stop.cancelled() => return,
            _ = period.tick() => true,
            outcome = changed.changed() => {
                if outcome.is_err() { return }
                shard.follower.since_snapshot.load(Ordering::Relaxed) >= shard.settings.snapshot_every
            }
        };
        if !due {
            continue;
        }
        match upkeep(&shard).await {
            Ok(()) => shard.release_alarm(AlarmKind::MaintenanceFailed, &shard.name()),
            Err(error) => {
                shard.hold_alarm(AlarmKind::MaintenanceFailed, &shard.name(), &error.to_string()).await;
                // A merge looks at the vectors before it writes them again.
                if matches!(&error, BackendError::Index(damage) if damage.is_damage())
                    && let Err(error) = mend::mend(&shard).await
                {
                    tracing::error!(%error, "damage of the index cannot be mended");
                }
            }
        }
    }
}

async fn upkeep(shard: &Arc<Shard>) -> Result<(), BackendError> {
    if shard.follower.since_snapshot.load(Ordering::Relaxed) > 0 {
        snapshot(shard).await?;
    }
    if shard.alone && train::is_due(shard) {
        let outcome = train::train(shard, &|_| {}).await;
        train::record_training(shard, &outcome).await;
        match outcome {
            Ok(report) => tracing::info!(?report, "the index trained itself"),
            Err(error) => tracing::warn!(%error, "the index could not train itself"),
        }
    }
    Ok(())
}

/// Brings the index in shape, makes it durable and drops what the queue no longer needs.
pub(crate) async fn snapshot(shard: &Arc<Shard>) -> Result<(), BackendError> {
    let index = Arc::clone(&shard.index);
    tokio::task::spawn_blocking(move || index.maintain()).await??;
    snapshot_as_it_is(shard).await
}

/// As [`snapshot`], without merging segments, which may take minutes: for a process that ends.
pub(crate) async fn snapshot_as_it_is(shard: &Arc<Shard>) -> Result<(), BackendError> {
    let counted = shard.follower.since_snapshot.load(Ordering::Relaxed);
    let index = Arc::clone(&shard.index);
    let positions = tokio::task::spawn_blocking(move || index.snapshot()).await??;
    shard.follower.since_snapshot.fetch_sub(counted, Ordering::Relaxed);
    shard.announce_snapshot();
    if shard.alone {
        trim_queue(shard, positions).await?;
    }
    Ok(())
}

/// Drops the messages that nobody needs any more. On a cluster the queue's own retention does it.
async fn trim_queue(shard: &Shard, positions: LogPositions) -> Result<(), BackendError> {
    let queue = &shard.ports.queue;
    for (partition, before) in positions {
        queue.trim(TOPIC_IMAGE_INDEXED, partition, before).await?;
    }
    for (partition, before) in queue.committed(TOPIC_IMAGE_UPLOAD, GROUP).await? {
        queue.trim(TOPIC_IMAGE_UPLOAD, partition, before).await?;
    }
    for (partition, before) in queue.committed(TOPIC_OPERATION_LOG, operations::GROUP).await? {
        queue.trim(TOPIC_OPERATION_LOG, partition, before).await?;
    }
    Ok(())
}
