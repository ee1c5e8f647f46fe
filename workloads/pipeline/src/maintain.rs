//! Upkeep in the background: freezing and compacting the index, snapshots, trimming the queue, training when it is due.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use medindex_proto::names::{TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD};

use crate::backend_error::BackendError;
use crate::context::Context;
use crate::ingest::embed::GROUP;
use crate::train;

/// How often upkeep looks whether there is something to do when nothing wakes it.
const PERIOD: Duration = Duration::from_secs(30);

/// Alarm for upkeep that fails.
const ALARM_MAINTENANCE: &str = "maintenance_failed";

/// Runs until the context stops.
pub(crate) async fn run(context: Arc<Context>) {
    let mut changed = context.changed.subscribe();
    let mut period = tokio::time::interval(PERIOD);
    let mut alarmed = false;
    loop {
        let due = tokio::select! {
            () = context.stop.cancelled() => return,
            _ = period.tick() => true,
            outcome = changed.changed() => {
                if outcome.is_err() { return }
                context.follower.since_snapshot.load(Ordering::Relaxed) >= context.settings.snapshot_every
            }
        };
        if !due {
            continue;
        }
        match upkeep(&context).await {
            Ok(()) if alarmed => {
                context.clear_alarm(ALARM_MAINTENANCE, "").await;
                alarmed = false;
            }
            Ok(()) => {}
            Err(error) => {
                context.raise_alarm(ALARM_MAINTENANCE, "", &error.to_string()).await;
                alarmed = true;
            }
        }
    }
}

async fn upkeep(context: &Arc<Context>) -> Result<(), BackendError> {
    if context.follower.since_snapshot.load(Ordering::Relaxed) > 0 {
        snapshot(context).await?;
    }
    if train::is_due(context) {
        match train::train(context, &|_| {}).await {
            Ok(report) => tracing::info!(?report, "the index trained itself"),
            Err(error) => tracing::warn!(%error, "the index could not train itself"),
        }
    }
    Ok(())
}

/// Makes the index durable and drops what the queue no longer needs.
pub(crate) async fn snapshot(context: &Arc<Context>) -> Result<(), BackendError> {
    let counted = context.follower.since_snapshot.load(Ordering::Relaxed);
    let index = Arc::clone(&context.index);
    let positions = tokio::task::spawn_blocking(move || {
        index.maintain()?;
        index.snapshot()
    })
    .await??;
    context.follower.since_snapshot.fetch_sub(counted, Ordering::Relaxed);
    let queue = &context.ports.queue;
    for (partition, before) in positions {
        queue.trim(TOPIC_IMAGE_INDEXED, partition, before).await?;
    }
    for (partition, before) in queue.committed(TOPIC_IMAGE_UPLOAD, GROUP).await? {
        queue.trim(TOPIC_IMAGE_UPLOAD, partition, before).await?;
    }
    Ok(())
}
