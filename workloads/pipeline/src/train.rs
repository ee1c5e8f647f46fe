//! Training: a new generation of the quantizer, learned from a sample, checked on held-out queries, swapped in.
//!
//! The new generation is built beside the one that answers; searches go on meanwhile. It is swapped in only when its recall passes
//! the gate, and the one before is kept for one step back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use medindex_index::IndexError;
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
    #[error("{found} searchable images are too few to learn from, at least {needed} are needed; search is exact until then")]
    Sample {
        /// Images there are.
        found: usize,
        /// Images needed.
        needed: usize,
    },
    /// There is no generation to go back to.
    #[error("there is no earlier generation to go back to")]
    RollBack,
    /// Learning failed.
    #[error("learning the quantizer failed: {0}")]
    Learn(#[source] medindex_index::QuantizerError),
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(TrainError);

impl Classified for TrainError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start | Self::Sample { .. } | Self::RollBack => ErrorKind::Conflict,
            Self::Learn(_) => ErrorKind::Internal,
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

/// Learns, builds, measures and swaps in a new generation.
pub(crate) async fn train(
    context: &Arc<Context>,
    progress: &(dyn Fn(TrainingStage) + Send + Sync),
) -> Result<TrainingReport, TrainError> {
    let _running = context.training.try_lock().map_err(|_| TrainError::Start)?;
    let started = Instant::now();
    progress(TrainingStage::Sample);
    let sample = sample(context).await?;
    progress(TrainingStage::Learn);
    let quantizer = learn(context, &sample).await?;
    progress(TrainingStage::Build);
    let built = build(context, quantizer).await?;
    progress(TrainingStage::Measure);
    let recall = measure(context, sample.held_out).await?;
    let gate = context.settings.training.recall_gate;
    let accepted = recall >= gate;
    if accepted {
        progress(TrainingStage::Swap);
        swap(context, built.generation).await?;
    } else {
        discard(context, built.generation).await?;
    }
    let report = TrainingReport {
        generation: built.generation,
        accepted,
        sample: sample.learned_from,
        vectors: built.vectors,
        lists: built.lists,
        code_bytes: built.code_bytes,
        recall_at_10: recall,
        recall_gate: gate,
        seconds: started.elapsed().as_secs_f64(),
    };
    keep_report(context, &report).await?;
    Ok(report)
}
