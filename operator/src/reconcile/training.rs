//! When a generation is trained, and how that went. Pure.

use super::conditions::Part;
use super::objects::Live;
use crate::api::{GenerationStatus, QuantizerSpec};
use crate::build::training_name;
use crate::external::IndexStatus;
use crate::validate::ValidatedIndex;

/// How the Job of a training stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It runs, or is about to.
    Running,
    /// It ended well.
    Complete,
    /// It was given up.
    Failed,
}

/// The state of a Job.
pub fn job_state(job: &Live) -> JobState {
    let conditions = job.object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let is_true = |name: &str| {
        conditions.iter().any(|condition| condition["type"] == name && condition["status"] == "True")
    };
    match (is_true("Complete"), is_true("Failed")) {
        (true, _) => JobState::Complete,
        (false, true) => JobState::Failed,
        (false, false) => JobState::Running,
    }
}

/// The newest training that there is: its generation and its Job.
pub fn newest<'a>(index: &str, live: &'a [Live]) -> Option<(i64, &'a Live)> {
    let prefix = training_name(index, 0);
    let prefix = prefix.trim_end_matches('0');
    let number = |job: &Live| job.name().strip_prefix(prefix)?.parse::<i64>().ok();
    let jobs = live.iter().filter(|live| live.kind.kind == "Job");
    jobs.filter_map(|job| Some((number(job)?, job))).max_by_key(|(generation, _)| *generation)
}

/// The generation that has to be trained or kept as the newest Job; `None` when there never was one and none is due.
pub fn wanted(index: &ValidatedIndex, status: Option<&IndexStatus>, live: &[Live]) -> Option<i64> {
    let newest = newest(&index.name, live);
    if let Some(requested) = requested(index, newest.as_ref()) {
        return Some(requested);
    }
    let due = status.is_some_and(|status| is_due(&index.spec.quantizer, status));
    match newest {
        // One at a time; after one that failed a person has to look.
        Some((generation, job)) if job_state(job) == JobState::Running => Some(generation),
        Some((generation, job)) if due && job_state(job) == JobState::Complete => Some(generation + 1),
        Some((generation, _)) => Some(generation),
        None if due => Some(status.map_or(0, |status| status.index.generation) + 1),
        None => None,
    }
}

/// The generation that a person wants trained and nobody has begun to. While it may not be, because the user goes back or one is
/// trained already, it waits.
fn requested(index: &ValidatedIndex, newest: Option<&(i64, &Live)>) -> Option<i64> {
    let runs = newest.is_some_and(|(_, job)| job_state(job) == JobState::Running);
    let wanted = index.train_generation.filter(|_| index.spec.quantizer.rollback_to.is_none() && !runs);
    wanted.filter(|wanted| newest.is_none_or(|(generation, _)| generation < wanted))
}

/// Whether the policy asks for a training.
pub fn is_due(quantizer: &QuantizerSpec, status: &IndexStatus) -> bool {
    let (policy, images) = (&quantizer.retrain, status.images.indexed);
    if quantizer.rollback_to.is_some() {
        return false;
    }
    let Some(last) = status.training else { return images >= policy.first_at_images };
    if policy.growth_percent == 0 {
        return false;
    }
    let next_at = last.vectors.saturating_mul(100 + i64::from(policy.growth_percent)) / 100;
    images >= next_at.max(policy.first_at_images)
}

/// The generation that the user asks to go back to, if another one answers and the index can.
pub fn rolls_back(quantizer: &QuantizerSpec, status: &IndexStatus) -> Option<i64> {
    quantizer.rollback_to.filter(|wanted| {
        status.index.generation != *wanted && status.index.previous_generation.unwrap_or(0) == *wanted
    })
}

/// The generation, for the status.
pub fn generation(status: &IndexStatus) -> GenerationStatus {
    let recall = status.training.filter(|training| training.generation == status.index.generation);
    GenerationStatus {
        number: status.index.generation,
        recall: recall.map(|training| format!("{:.4}", training.recall_at_10)),
        previous: status.index.previous_generation,
    }
}

/// What the gateway was asked for, and what came of it.
#[derive(Debug, Default)]
pub struct Asked {
    /// How the index is, where the gateway told.
    pub status: Option<IndexStatus>,
    /// Why it did not tell, or did not go back to the generation before.
    pub trouble: Option<String>,
}

/// How the quantizer is.
pub fn part(index: &ValidatedIndex, asked: &Asked, live: &[Live]) -> Part {
    let again = |trouble: &String| format!(": {trouble}; tried again within a minute");
    let trouble = asked.trouble.as_ref().map_or_else(String::new, again);
    let Some(status) = &asked.status else {
        let message = format!("the gateway does not tell yet which generation answers{trouble}");
        return Part::unknown("GatewaySilent", message);
    };
    let number = status.index.generation;
    if let Some(wanted) = index.spec.quantizer.rollback_to.filter(|wanted| *wanted != number) {
        let previous = status.index.previous_generation.unwrap_or(0);
        if previous == wanted {
            let message = format!(
                "generation {number} answers; going back to {wanted}, again and again until it is done{trouble}"
            );
            return Part::not_ready("RollingBack", message);
        }
        return Part::not_ready(
            "RollbackImpossible",
            format!(
                "spec.quantizer.rollbackTo is {wanted}, but generation {number} answers and the one before it is {previous}: one can go \
                 back to that one only"
            ),
        );
    }
    let held = status.training.filter(|training| !training.accepted);
    let newest = newest(&index.name, live);
    // Its Job failed, and why is known.
    let newest = newest.filter(|(generation, _)| held.is_none_or(|held| held.generation != *generation));
    if let Some((generation, job)) = newest {
        match job_state(job) {
            JobState::Running => {
                return Part::ready(
                    "Training",
                    format!("generation {number} answers; {generation} is trained"),
                );
            }
            JobState::Failed => {
                let name = job.name();
                return Part::not_ready(
                    "TrainingFailed",
                    format!(
                        "generation {number} answers; training {generation} failed: see kubectl logs job/{name}, then delete that Job, or run kubectl medindex train {}, to try again",
                        index.name
                    ),
                );
            }
            JobState::Complete => {}
        }
    }
    if let Some(training) = held {
        return Part::ready(
            "RecallGateHeld",
            format!(
                "generation {number} answers; generation {} found {:.4} of the true nearest ten, under the gate of {} %, and was not taken",
                training.generation, training.recall_at_10, index.spec.quantizer.recall_gate_percent
            ),
        );
    }
    match number {
        0 => Part::ready("Exact", "search is exact until there are images enough to train"),
        _ => Part::ready("GenerationActive", format!("generation {number} answers")),
    }
}

/// Imports by name: `Running`, `Complete` or `Failed`.
pub fn imports(index: &ValidatedIndex, live: &[Live]) -> std::collections::BTreeMap<String, String> {
    let state = |name: &str| {
        let job = live.iter().find(|live| live.kind.kind == "Job" && live.name() == name)?;
        Some(format!("{:?}", job_state(job)))
    };
    let imports = index.spec.imports.iter();
    imports
        .filter_map(|import| {
            Some((import.name.clone(), state(&crate::build::import_name(&index.name, &import.name))?))
        })
        .collect()
}
