//! The index follows the change log.
//!
//! It reads on from the positions of its last snapshot; changes are idempotent, so what is read twice does no harm. When the
//! log was trimmed past those positions, or there is no usable snapshot, everything is read back from the image store.

use std::sync::Arc;
use std::time::Duration;

use medindex_backends::queue::{Delivery, positions_after};
use medindex_backends::{Columns, Follower, QueueError};
use medindex_index::{Change, LogPositions};
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::names::TOPIC_IMAGE_INDEXED;

use crate::backend_error::BackendError;
use crate::catalog_row::index_attributes;
use crate::change::{ChangeError, changes_of, entries};
use crate::context::Context;
use crate::dead_letter::{DeadImage, bury};
use crate::retry::Backoff;

/// Messages applied to the index at once.
const BATCH: usize = 512;
/// How long a poll waits for the first message.
const POLL: Duration = Duration::from_secs(1);
/// Rows read back from the image store at once.
const PAGE: usize = 512;

/// Runs until the context stops.
pub(crate) async fn run(context: Arc<Context>) {
    let mut backoff = Backoff::default();
    while !context.stop.is_cancelled() {
        let error = match follow(&context, &mut backoff).await {
            Ok(()) => return,
            Err(error) => error,
        };
        tracing::error!(%error, "following the change log is interrupted and will be tried again");
        *context.follower.failure.lock() = Some(error.to_string());
        if let BackendError::Queue(QueueError::OutOfRange { .. }) = error
            && let Err(error) = rebuild(&context).await
        {
            tracing::error!(%error, "the index cannot be rebuilt");
        }
        tokio::select! {
            () = context.stop.cancelled() => {}
            () = backoff.wait() => {}
        }
    }
}

/// Follows until the context stops, or a backend fails.
async fn follow(context: &Arc<Context>, backoff: &mut Backoff) -> Result<(), BackendError> {
    let mut follower = open(context).await?;
    loop {
        let deliveries = tokio::select! {
            () = context.stop.cancelled() => return Ok(()),
            deliveries = follower.poll(BATCH, POLL) => deliveries?,
        };
        if !deliveries.is_empty() {
            apply(context, &deliveries).await?;
        }
        backoff.reset();
        *context.follower.failure.lock() = None;
    }
}

async fn open(context: &Arc<Context>) -> Result<Box<dyn Follower>, BackendError> {
    let mut from = context.index.log_positions();
    // A partition that the index knows nothing of is read from its beginning; the queue follows only what is named.
    for partition in 0..context.partitions {
        from.entry(partition).or_insert(0);
    }
    Ok(context.ports.queue.follow(TOPIC_IMAGE_INDEXED, from).await?)
}

/// Applies the changes of a run of messages to the index.
async fn apply(context: &Arc<Context>, deliveries: &[Delivery]) -> Result<(), BackendError> {
    let (mut changes, mut dead) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        match changes_of(context, delivery).await {
            Ok(more) => changes.extend(more),
            Err(ChangeError::Backend(error)) => return Err(error),
            Err(error) => {
                dead.push(DeadImage::unreadable(delivery.clone(), "unreadable_change", &error.to_string()));
            }
        }
    }
    bury(context, dead).await?;
    apply_changes(context, changes, positions_after(deliveries)).await
}

async fn apply_changes(
    context: &Arc<Context>,
    changes: Vec<Change>,
    positions: LogPositions,
) -> Result<(), BackendError> {
    let count = changes.len();
    let index = Arc::clone(&context.index);
    tokio::task::spawn_blocking(move || index.apply(&changes, &positions)).await??;
    context.follower.count(count);
    context.announce_change();
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

/// Reads every stored vector back into the index, then goes on from where the log stood when it began.
pub(crate) async fn rebuild(context: &Arc<Context>) -> Result<Rebuilt, BackendError> {
    let ends = context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    let mut rebuilt = Rebuilt::default();
    for partition in 0..context.partitions {
        let mut after: Option<RowKey> = None;
        loop {
            let page = context.ports.store.scan(partition, Columns::VECTORS, after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let full = page.len() == PAGE;
            let (changes, unknown) = page_changes(context, &page).await?;
            rebuilt.rows += page.len() as u64;
            rebuilt.unknown += unknown;
            apply_changes(context, changes, LogPositions::new()).await?;
            if !full {
                break;
            }
        }
    }
    apply_changes(context, Vec::new(), ends).await?;
    tracing::info!(?rebuilt, "the index was rebuilt from the image store");
    Ok(rebuilt)
}

/// Entries of the rows that the catalog still has, and how many it does not know.
async fn page_changes(
    context: &Arc<Context>,
    page: &[(RowKey, medindex_backends::ImageRow)],
) -> Result<(Vec<Change>, u64), BackendError> {
    let ids: Vec<ImageId> = page.iter().map(|(row_key, _)| row_key.image_id()).collect();
    let records = context.ports.catalog.images(&ids).await?;
    let (mut changes, mut unknown) = (Vec::new(), 0);
    for ((row_key, row), record) in page.iter().zip(records) {
        let Some(record) = record else {
            unknown += 1;
            continue;
        };
        let frames = row.information.iter().flat_map(|information| &information.frames);
        let frames = frames.map(|frame| (frame.frame, frame.vector.clone())).collect();
        changes.extend(entries(&row_key.image_id(), frames, &index_attributes(&record)));
    }
    Ok((changes, unknown))
}

/// Changes that are not searchable yet.
pub(crate) async fn lag(context: &Context) -> Result<u64, BackendError> {
    let ends = context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    let applied = context.index.log_positions();
    Ok(ends
        .iter()
        .map(|(partition, end)| end.saturating_sub(applied.get(partition).copied().unwrap_or(0)))
        .sum())
}

/// Waits until everything that is in the change log now is searchable.
pub(crate) async fn catch_up(context: &Arc<Context>) -> Result<(), BackendError> {
    let ends = context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    let mut changed = context.changed.subscribe();
    loop {
        let applied = context.index.log_positions();
        if ends.iter().all(|(partition, end)| applied.get(partition).copied().unwrap_or(0) >= *end) {
            return Ok(());
        }
        tokio::select! {
            () = context.stop.cancelled() => return Ok(()),
            outcome = changed.changed() => if outcome.is_err() { return Ok(()) },
        }
    }
}
