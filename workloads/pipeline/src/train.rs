//! Training: a new generation of the quantizer, learned from a sample, checked on held-out queries, swapped in.
//!
//! The new generation is built beside the one that answers; searches go on meanwhile. It is swapped in only when its recall passes
//! the gate, and the one before is kept for one step back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use medindex_index::linear::Matrix;
use medindex_index::quantizer::{Quantizer, QuantizerError, TrainingParameters};
use medindex_index::{Index, IndexError, SearchRequest};
use serde::Serialize;

use crate::backend_error::{BackendError, from_backend};
use crate::context::Context;
use crate::error::{Classified, ErrorKind};
use crate::report::TrainingReport;

/// Setting that keeps the last report.
pub(crate) const REPORT_SETTING: &str = "training.report";

/// Fewest images that a quantizer can learn from.
pub const FEWEST_IMAGES: usize = 256;

/// What a training is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingStage {
    /// Reading a sample of the stored vectors.
    Sample,
    /// Learning transform, coarse quantizer and codebooks.
    Learn,
    /// Encoding all stored vectors.
    Build,
    /// Measuring recall on held-out queries.
    Measure,
    /// Swapping the new generation in.
    Swap,
}

/// Why there is no new generation.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A training runs already.
    #[error("a training is running already; wait until it is done")]
    Start,
    /// Too few images.
    #[error(
        "{found} searchable images are too few to learn from, at least {needed} are needed; search is exact until then"
    )]
    Sample {
        /// Images there are.
        found: usize,
        /// Images needed.
        needed: usize,
    },
    /// There is no generation to go back to.
    #[error("there is no earlier generation to go back to")]
    RollBack,
    /// The report could not be written down.
    #[error("the training's report cannot be written: {0}")]
    WriteReport(#[source] serde_json::Error),
    /// Learning failed.
    #[error("learning the quantizer failed: {0}")]
    Learn(#[source] QuantizerError),
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(TrainError);

impl Classified for TrainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start | Self::Sample { .. } | Self::RollBack => ErrorKind::Conflict,
            Self::Learn(_) | Self::WriteReport(_) => ErrorKind::Internal,
            Self::Backend(error) => error.kind(),
        }
    }
}

/// Whether the policy asks for a training now.
pub(crate) fn is_due(context: &Context) -> bool {
    let policy = &context.settings.training;
    if !policy.automatic || context.training.try_lock().is_err() {
        return false;
    }
    let status = context.index.status();
    let trained_on = context.trained_on.load(Ordering::Relaxed) as usize;
    let needed = if trained_on == 0 { policy.first_at } else { trained_on.saturating_mul(policy.growth) };
    status.entries >= needed.max(FEWEST_IMAGES)
}

/// Recall is measured on this many neighbours.
const RECALL_AT: usize = 10;
/// Components of a vector after the projection; fewer where the model has fewer.
const CODED_COMPONENTS: usize = 256;
/// Sub-quantizers of 4 bits: codes of 32 bytes, four components each.
const SUB_QUANTIZERS: usize = 64;
/// Seed of samples and of learning: the same vectors give the same generation.
const SEED: u64 = 0x4d49_4458;

/// Learns, builds, measures and swaps in a new generation.
pub(crate) async fn train(
    context: &Arc<Context>,
    progress: &(dyn Fn(TrainingStage) + Send + Sync),
) -> Result<TrainingReport, TrainError> {
    let _running = context.training.try_lock().map_err(|_| TrainError::Start)?;
    let started = Instant::now();
    progress(TrainingStage::Sample);
    let (sample, held_out) = draw_sample(context).await?;
    let learned_from = sample.rows();
    progress(TrainingStage::Learn);
    let quantizer = learn(context, sample).await?;
    let (generation, lists) = (quantizer.generation(), quantizer.coarse().lists());
    let code_bytes = quantizer.product().shape().code_bytes();
    progress(TrainingStage::Build);
    blocking(context, move |index| index.build_generation(quantizer, &|_| {})).await?;
    progress(TrainingStage::Measure);
    let recall_at_10 = measure(context, generation, held_out).await?;
    let recall_gate = context.settings.training.recall_gate;
    let accepted = recall_at_10 >= recall_gate;
    if accepted {
        progress(TrainingStage::Swap);
        blocking(context, move |index| index.activate(generation)).await?;
    }
    let report = TrainingReport {
        generation,
        accepted,
        sample: learned_from,
        vectors: context.index.len() as u64,
        lists,
        code_bytes,
        recall_at_10,
        recall_gate,
        seconds: started.elapsed().as_secs_f64(),
    };
    keep_report(context, &report).await?;
    Ok(report)
}

/// Vectors to learn from, and others to ask with afterwards.
async fn draw_sample(context: &Arc<Context>) -> Result<(Matrix, Matrix), TrainError> {
    let found = context.index.len();
    if found < FEWEST_IMAGES {
        return Err(TrainError::Sample { found, needed: FEWEST_IMAGES });
    }
    let policy = &context.settings.training;
    // At most a tenth is held out, so that small collections still learn from most of what they have.
    let held_out = policy.held_out.clamp(1, found.div_ceil(10));
    let learn_from = policy.sample.max(FEWEST_IMAGES).min(found - held_out);
    let drawn = blocking(context, move |index| Ok(index.sample_vectors(learn_from + held_out, SEED))).await?;
    // Rows come in the order they are stored in: every n-th is held out, so that both parts are spread alike.
    let every = (drawn.rows() / held_out).max(1);
    let (asked, learned): (Vec<usize>, Vec<usize>) =
        (0..drawn.rows()).partition(|row| row % every == every - 1 && row / every < held_out);
    Ok((rows_of(&drawn, &learned), rows_of(&drawn, &asked)))
}

fn rows_of(matrix: &Matrix, rows: &[usize]) -> Matrix {
    let mut chosen = Matrix::zeros(rows.len(), matrix.columns());
    for (place, &row) in rows.iter().enumerate() {
        chosen.row_mut(place).copy_from_slice(matrix.row(row));
    }
    chosen
}

/// Learns a quantizer; its number is above every one that was used before.
async fn learn(context: &Arc<Context>, sample: Matrix) -> Result<Quantizer, TrainError> {
    let last = last_report(context).await?.map_or(0, |report| report.generation);
    let status = context.index.status();
    let known = [Some(last), Some(status.generation), status.previous_generation, status.built_generation];
    let generation = known.into_iter().flatten().max().unwrap_or(0) + 1;
    let parameters = TrainingParameters {
        generation,
        dimension: sample.columns().min(CODED_COMPONENTS),
        sub_quantizers: SUB_QUANTIZERS,
        bits: 4,
        expected_vectors: context.index.len(),
        seed: SEED,
        ..TrainingParameters::default()
    };
    tokio::task::spawn_blocking(move || Quantizer::train(&sample, &parameters, &|_| {}))
        .await?
        .map_err(TrainError::Learn)
}

/// Runs something long on the index off the async threads.
async fn blocking<T: Send + 'static>(
    context: &Arc<Context>,
    work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
) -> Result<T, TrainError> {
    let index = Arc::clone(&context.index);
    Ok(tokio::task::spawn_blocking(move || work(&index)).await??)
}

/// Share of the exact nearest neighbours that the built generation finds, the query itself left out.
async fn measure(context: &Arc<Context>, generation: u64, held_out: Matrix) -> Result<f64, TrainError> {
    blocking(context, move |index| {
        let mut requests = Vec::with_capacity(held_out.rows());
        for row in 0..held_out.rows() {
            let vector = held_out.row(row).to_vec();
            let itself = SearchRequest { exact: true, ..SearchRequest::new(vector.clone(), 1) };
            let exclude = index.search(&itself)?.hits.first().map(|hit| hit.key.id);
            requests.push(SearchRequest { exclude, ..SearchRequest::new(vector, RECALL_AT) });
        }
        Ok(index.measure_recall(generation, &requests)?.recall)
    })
    .await
}

/// Goes back to the generation before; returns the one that answers then, 0 for exact search.
pub(crate) async fn roll_back(context: &Arc<Context>) -> Result<u64, TrainError> {
    let _running = context.training.try_lock().map_err(|_| TrainError::Start)?;
    let status = context.index.status();
    if status.generation == 0 && status.previous_generation.is_none() {
        return Err(TrainError::RollBack);
    }
    blocking(context, Index::rollback).await
}

/// Keeps a report for people, and the size of the training for the policy.
async fn keep_report(context: &Arc<Context>, report: &TrainingReport) -> Result<(), TrainError> {
    let text = serde_json::to_string(report).map_err(TrainError::WriteReport)?;
    context.ports.catalog.put_setting(REPORT_SETTING, &text).await?;
    context.trained_on.store(report.vectors, Ordering::Relaxed);
    Ok(())
}

/// The last training's report.
pub(crate) async fn last_report(context: &Arc<Context>) -> Result<Option<TrainingReport>, BackendError> {
    let Some(text) = context.ports.catalog.setting(REPORT_SETTING).await? else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(report) => Ok(Some(report)),
        Err(error) => {
            tracing::warn!(%error, "the report of the last training cannot be read; it is left out");
            Ok(None)
        }
    }
}

/// Notes that the trained generation went with a lost index, so that the next one is trained when there are images enough.
pub(crate) async fn forget_last(context: &Arc<Context>) -> Result<(), TrainError> {
    match last_report(context).await? {
        Some(report) => keep_report(context, &TrainingReport { accepted: false, vectors: 0, ..report }).await,
        None => Ok(()),
    }
}

/// Reads back at the start how many vectors the last training saw.
pub(crate) async fn recall_last(context: &Arc<Context>) -> Result<(), BackendError> {
    let vectors = last_report(context).await?.map_or(0, |report| report.vectors);
    context.trained_on.store(vectors, Ordering::Relaxed);
    Ok(())
}
