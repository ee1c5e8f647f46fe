//! Training on a cluster: a sample of the image store, learned from and measured in a folder of the trainer's own, then published.
//!
//! Row keys begin with digits of an MD5, so the first rows of every partition are a random sample of all images. Recall is measured on the
//! sample; shards build the generation from their own vectors afterwards.

use std::path::Path;
use std::sync::Arc;

use medindex_backends::Columns;
use medindex_backends::catalog::ImageStatus;
use medindex_index::{Attributes, Change, Index, IndexOptions, LogPositions};
use medindex_proto::identity::RowKey;

use crate::backend_error::BackendError;
use crate::change::entries;
use crate::core::Core;
use crate::generations;
use crate::report::TrainingReport;
use crate::train::{TrainError, Training, TrainingStage, keep_report, next_generation, record_training};

/// Rows read at once.
const PAGE: usize = 512;

/// Trains a generation and publishes it when its recall passes the gate. `folder` must be empty; it holds the sample meanwhile.
///
/// # Errors
/// [`TrainError`].
pub async fn train_and_publish(
    core: &Arc<Core>,
    folder: &Path,
    progress: &(dyn Fn(TrainingStage) + Send + Sync),
) -> Result<TrainingReport, TrainError> {
    progress(TrainingStage::Sample);
    let options = IndexOptions::new(core.model().embedding.dimension, core.model_digest());
    let path = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || Index::recreate(&path, options)).await?;
    let index = Arc::new(opened.map_err(BackendError::from)?);
    let rows = load_sample(core, &index).await?;
    let images = core.ports.catalog.counts().await?.of_status(ImageStatus::Indexed).max(rows);
    let vectors_per_image = index.len() as f64 / rows.max(1) as f64;
    let training = Training {
        index: &index,
        policy: &core.settings.training,
        generation: next_number(core, &index).await?,
        expected_vectors: (images as f64 * vectors_per_image) as usize,
    };
    let outcome = learn_and_publish(core, &training, progress).await;
    record_training(core, &outcome).await;
    outcome
}

async fn learn_and_publish(
    core: &Core,
    training: &Training<'_>,
    progress: &(dyn Fn(TrainingStage) + Send + Sync),
) -> Result<TrainingReport, TrainError> {
    let (quantizer, report) = training.build(progress).await?;
    if report.accepted {
        progress(TrainingStage::Swap);
        generations::publish(core, &quantizer).await?;
    }
    keep_report(core, &report).await?;
    Ok(report)
}

/// Above the last trained one and above the active one.
async fn next_number(core: &Core, index: &Index) -> Result<u64, TrainError> {
    let active = generations::pointer(core).await?.map_or(0, |pointer| pointer.active);
    Ok(next_generation(core, index).await?.max(active + 1))
}

/// Fills the index with as many rows of every partition as the policy learns from; returns how many.
async fn load_sample(core: &Core, index: &Arc<Index>) -> Result<u64, TrainError> {
    let policy = &core.settings.training;
    let wanted = (policy.sample + policy.held_out).div_ceil(core.partitions as usize);
    let mut rows = 0;
    for partition in 0..core.partitions {
        let mut after: Option<RowKey> = None;
        let mut left = wanted;
        while left > 0 {
            let limit = left.min(PAGE);
            let page = core.ports.store.scan(partition, Columns::VECTORS, after.as_ref(), limit).await?;
            let whole = page.len() == limit;
            left -= page.len();
            rows += page.len() as u64;
            after = page.last().map(|(row_key, _)| row_key.clone());
            let mut changes: Vec<Change> = Vec::with_capacity(page.len());
            for (row_key, row) in page {
                let frames = row.information.unwrap_or_default().frames;
                let frames = frames.into_iter().map(|frame| (frame.frame, frame.vector)).collect();
                changes.extend(entries(&row_key.image_id(), frames, &Attributes::default()));
            }
            let index = Arc::clone(index);
            tokio::task::spawn_blocking(move || index.apply(&changes, &LogPositions::new())).await??;
            if !whole {
                break;
            }
        }
    }
    Ok(rows)
}
