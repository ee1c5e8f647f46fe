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
use crate::core::Core;
use crate::error::{Classified, ErrorKind};
use crate::generations::{GenerationError, NotTheOneBefore, event, step_back};
use crate::operations::{Action, Event, outcome, stamp};
use crate::report::TrainingReport;
use crate::settings::TrainingPolicy;
use crate::shard::Shard;

/// Setting that keeps the last report.
pub(crate) const REPORT_SETTING: &str = "training.report";

/// Fewest vectors that a quantizer can learn from: as many as its projection has components.
const LEARN_FROM_FEWEST: usize = CODED_COMPONENTS;
/// Fewest images for a training: enough to learn from when a tenth of them is held out.
pub const FEWEST_IMAGES: usize = 288;

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
    /// Another one is the one before.
    #[error(transparent)]
    RollBackTo(#[from] NotTheOneBefore),
    /// This process does not hold the index.
    #[error(
        "this index is trained by its trainer: start the program medindex-trainer, or wait until the operator does"
    )]
    Delegate,
    /// The generation could not be published.
    #[error(transparent)]
    Publish(Box<GenerationError>),
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

impl From<GenerationError> for TrainError {
    fn from(error: GenerationError) -> Self {
        match error {
            GenerationError::RollBack => Self::RollBack,
            GenerationError::RollBackTo(error) => Self::RollBackTo(error),
            GenerationError::Backend(error) => Self::Backend(error),
            error => Self::Publish(Box::new(error)),
        }
    }
}

impl Classified for TrainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start | Self::Sample { .. } | Self::RollBack | Self::RollBackTo(_) | Self::Delegate => {
                ErrorKind::Conflict
            }
            Self::Publish(error) => error.kind(),
            Self::Learn(_) | Self::WriteReport(_) => ErrorKind::Internal,
            Self::Backend(error) => error.kind(),
        }
    }
}

/// Whether the policy asks for a training now.
pub(crate) fn is_due(shard: &Shard) -> bool {
    let policy = &shard.settings.training;
    if !policy.automatic || shard.training.try_lock().is_err() {
        return false;
    }
    let status = shard.index.status();
    let trained_on = shard.trained_on.load(Ordering::Relaxed) as usize;
    let needed = if trained_on == 0 { policy.first_at } else { trained_on.saturating_mul(policy.growth) };
    status.entries >= needed.max(FEWEST_IMAGES)
}

/// Recall is measured on this many neighbours.
const RECALL_AT: usize = 10;
/// Components of a vector after the projection; fewer where the model has fewer.
const CODED_COMPONENTS: usize = 256;
/// Seed of samples and of learning: the same vectors give the same generation.
const SEED: u64 = 0x4d49_4458;

/// Learns, builds, measures and swaps in a new generation.
pub(crate) async fn train(
    shard: &Arc<Shard>,
    progress: &(dyn Fn(TrainingStage) + Send + Sync),
) -> Result<TrainingReport, TrainError> {
    let _running = shard.training.try_lock().map_err(|_| TrainError::Start)?;
    let training = Training {
        index: &shard.index,
        policy: &shard.settings.training,
        generation: next_generation(shard, &shard.index).await?,
        expected_vectors: shard.index.len(),
    };
    let (_, report) = training.build(progress).await?;
    if report.accepted {
        progress(TrainingStage::Swap);
        let generation = report.generation;
        blocking(&shard.index, move |index| index.activate(generation)).await?;
    }
    keep_report(shard, &report).await?;
    shard.trained_on.store(report.vectors, Ordering::Relaxed);
    Ok(report)
}

/// One training, on the vectors of an index.
pub(crate) struct Training<'a> {
    /// What is learned from, and what recall is measured on.
    pub(crate) index: &'a Arc<Index>,
    pub(crate) policy: &'a TrainingPolicy,
    /// Number of the new generation.
    pub(crate) generation: u64,
    /// Vectors that the generation is for.
    pub(crate) expected_vectors: usize,
}

impl Training<'_> {
    /// Learns a quantizer, builds its generation beside the one that answers, and measures it.
    pub(crate) async fn build(
        &self,
        progress: &(dyn Fn(TrainingStage) + Send + Sync),
    ) -> Result<(Quantizer, TrainingReport), TrainError> {
        let started = Instant::now();
        let (sample, held_out) = self.draw_sample(progress).await?;
        let learned_from = sample.rows();
        progress(TrainingStage::Learn);
        let quantizer = self.learn(sample).await?;
        let built = quantizer.clone();
        progress(TrainingStage::Build);
        blocking(self.index, move |index| index.build_generation(built, &|_| {})).await?;
        progress(TrainingStage::Measure);
        let recall_at_10 = measure(self.index, self.generation, held_out).await?;
        let recall_gate = self.policy.recall_gate;
        let report = TrainingReport {
            generation: self.generation,
            accepted: recall_at_10 >= recall_gate,
            sample: learned_from,
            vectors: self.expected_vectors as u64,
            lists: quantizer.coarse().lists(),
            code_bytes: quantizer.product().shape().code_bytes(),
            recall_at_10,
            recall_gate,
            seconds: started.elapsed().as_secs_f64(),
        };
        Ok((quantizer, report))
    }

    /// Vectors to learn from, and others to ask with afterwards.
    async fn draw_sample(
        &self,
        progress: &(dyn Fn(TrainingStage) + Send + Sync),
    ) -> Result<(Matrix, Matrix), TrainError> {
        let found = self.index.len();
        if found < FEWEST_IMAGES {
            return Err(TrainError::Sample { found, needed: FEWEST_IMAGES });
        }
        progress(TrainingStage::Sample);
        // At most a tenth is held out, so that small collections still learn from most of what they have.
        let held_out = self.policy.held_out.clamp(1, found.div_ceil(10));
        let learn_from = self.policy.sample.max(LEARN_FROM_FEWEST).min(found - held_out);
        let drawn =
            blocking(self.index, move |index| Ok(index.sample_vectors(learn_from + held_out, SEED))).await?;
        // Rows come in the order they are stored in: every n-th is held out, so that both parts are spread alike.
        let every = (drawn.rows() / held_out).max(1);
        let (asked, learned): (Vec<usize>, Vec<usize>) =
            (0..drawn.rows()).partition(|row| row % every == every - 1 && row / every < held_out);
        Ok((rows_of(&drawn, &learned), rows_of(&drawn, &asked)))
    }

    async fn learn(&self, sample: Matrix) -> Result<Quantizer, TrainError> {
        let parameters = TrainingParameters {
            generation: self.generation,
            dimension: sample.columns().min(CODED_COMPONENTS),
            sub_quantizers: self.policy.sub_quantizers,
            bits: self.policy.bits,
            lists: self.policy.lists,
            expected_vectors: self.expected_vectors,
            seed: SEED,
            ..TrainingParameters::default()
        };
        tokio::task::spawn_blocking(move || Quantizer::train(&sample, &parameters, &|_| {}))
            .await?
            .map_err(TrainError::Learn)
    }
}

fn rows_of(matrix: &Matrix, rows: &[usize]) -> Matrix {
    let mut chosen = Matrix::zeros(rows.len(), matrix.columns());
    for (place, &row) in rows.iter().enumerate() {
        chosen.row_mut(place).copy_from_slice(matrix.row(row));
    }
    chosen
}

/// A number above every one that was used before.
pub(crate) async fn next_generation(core: &Core, index: &Index) -> Result<u64, TrainError> {
    let last = last_report(core).await?.map_or(0, |report| report.generation);
    let status = index.status();
    let known = [Some(last), Some(status.generation), status.previous_generation, status.built_generation];
    Ok(known.into_iter().flatten().max().unwrap_or(0) + 1)
}

/// Runs something long on the index off the async threads.
async fn blocking<T: Send + 'static>(
    index: &Arc<Index>,
    work: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
) -> Result<T, TrainError> {
    let index = Arc::clone(index);
    Ok(tokio::task::spawn_blocking(move || work(&index)).await??)
}

/// Share of the exact nearest neighbours that the built generation finds, the query itself left out.
async fn measure(index: &Arc<Index>, generation: u64, held_out: Matrix) -> Result<f64, TrainError> {
    blocking(index, move |index| {
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

/// Goes back to the generation before; returns the one that answers then, 0 for exact search, and whether that changed anything.
pub(crate) async fn roll_back(shard: &Arc<Shard>, to: Option<u64>) -> Result<(u64, bool), TrainError> {
    let _running = shard.training.try_lock().map_err(|_| TrainError::Start)?;
    let status = shard.index.status();
    if status.generation == 0 && status.previous_generation.is_none() {
        return Err(TrainError::RollBack);
    }
    let previous = status.previous_generation.unwrap_or(0);
    if let Some(wanted) = step_back(status.generation, previous, to)? {
        return Ok((wanted, false));
    }
    Ok((blocking(&shard.index, Index::rollback).await?, true))
}

/// Records how a training ended.
pub(crate) async fn record_training(core: &Core, ended: &Result<TrainingReport, TrainError>) {
    let event = match ended {
        Ok(report) => {
            let ended = if report.accepted { outcome::ACCEPTED } else { outcome::REFUSED };
            let TrainingReport { generation, recall_at_10, recall_gate, vectors, seconds, .. } = report;
            let detail = format!(
                "recall@10 {recall_at_10:.3} (gate {recall_gate:.3}), {vectors} vectors, {seconds:.1} s"
            );
            Event::new(core, Action::Train, format!("generation {generation}"), ended).detail(detail)
        }
        Err(error) => Event::new(core, Action::Train, "", outcome::FAILED).detail(error.to_string()),
    };
    stamp(core, event).await;
}

/// Records how going back ended.
pub(crate) async fn record_roll_back(core: &Core, ended: &Result<u64, TrainError>) {
    let event = match ended {
        Ok(generation) => event(core, Action::RollBack, *generation),
        Err(error) => Event::new(core, Action::RollBack, "", outcome::REFUSED).detail(error.to_string()),
    };
    stamp(core, event).await;
}

/// Keeps a report for people, and the size of the training for the policy.
pub(crate) async fn keep_report(core: &Core, report: &TrainingReport) -> Result<(), TrainError> {
    let text = serde_json::to_string(report).map_err(TrainError::WriteReport)?;
    core.ports.catalog.put_setting(REPORT_SETTING, &text).await?;
    Ok(())
}

/// The last training's report.
pub(crate) async fn last_report(core: &Core) -> Result<Option<TrainingReport>, BackendError> {
    let Some(text) = core.ports.catalog.setting(REPORT_SETTING).await? else { return Ok(None) };
    match serde_json::from_str(&text) {
        Ok(report) => Ok(Some(report)),
        Err(error) => {
            tracing::warn!(%error, "the report of the last training cannot be read; it is left out");
            Ok(None)
        }
    }
}

/// Notes that the trained generation went with a lost index, so that the next one is trained when there are images enough.
pub(crate) async fn forget_last(shard: &Arc<Shard>) -> Result<(), TrainError> {
    match last_report(shard).await? {
        Some(report) => {
            shard.trained_on.store(0, Ordering::Relaxed);
            keep_report(shard, &TrainingReport { accepted: false, vectors: 0, ..report }).await
        }
        None => Ok(()),
    }
}

/// Reads back at the start how many vectors the last training saw.
pub(crate) async fn recall_last(shard: &Arc<Shard>) -> Result<(), BackendError> {
    let vectors = last_report(shard).await?.map_or(0, |report| report.vectors);
    shard.trained_on.store(vectors, Ordering::Relaxed);
    Ok(())
}
