//! How the system stands, for people and for probes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use medindex_backends::catalog::ImageStatus as RecordStatus;
use medindex_proto::names::TOPIC_IMAGE_INDEXED;

use crate::backend_error::BackendError;
use crate::context::Context;
use crate::report::{Alarm, INTENDED_USE, ImageCounts, NamedCount, Status};
use crate::{follow, ingest, train};

pub(crate) async fn status(context: &Arc<Context>) -> Result<Status, BackendError> {
    let catalog = &context.ports.catalog;
    let index = context.searcher.status().await?;
    let ends = context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
    let partitions: Vec<u32> = (0..context.partitions).collect();
    let counts = catalog.counts().await?;
    let alarms = catalog.open_alarms().await?;
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model: context.model_name(),
        model_digest: context.model_digest().to_owned(),
        images: ImageCounts {
            received: counts.of_status(RecordStatus::Received),
            indexed: counts.of_status(RecordStatus::Indexed),
            failed: counts.of_status(RecordStatus::Failed),
        },
        modalities: named(counts.by_modality),
        labels: named(counts.by_label),
        upload_lag: ingest::embed::lag(context).await?,
        index_lag: follow::lag_of(&ends, &partitions, &index.log_positions),
        partitions: context.partitions,
        index,
        training: train::last_report(context).await?,
        alarms: alarms.into_iter().map(Alarm::from).collect(),
        intended_use: INTENDED_USE,
    })
}

fn named(counts: Vec<(Option<String>, u64)>) -> Vec<NamedCount> {
    let named = |(name, count): (Option<String>, u64)| NamedCount { name: name.unwrap_or_default(), count };
    counts.into_iter().map(named).collect()
}

/// Why requests cannot be answered right now; `None` when they can. A gateway waits at its start until embedders and shards are there, so
/// that a rollout waits too; later it goes on without them: uploads, lists and files need neither, searches say what is missing.
pub(crate) async fn unready(context: &Arc<Context>) -> Option<String> {
    if context.stop.is_cancelled() {
        return Some("the process is shutting down".to_owned());
    }
    if let Err(error) = context.ports.catalog.setting(train::REPORT_SETTING).await {
        return Some(error.to_string());
    }
    if context.shard.is_none() && context.was_complete.load(Ordering::Relaxed) {
        return None;
    }
    let reason = match context.embedding.unready().await {
        Some(reason) => Some(reason),
        None => context.searcher.unready().await,
    };
    context.was_complete.fetch_or(reason.is_none(), Ordering::Relaxed);
    reason
}
