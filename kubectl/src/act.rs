//! What changes a resource: each command is one patch of one field.

use kube::api::{Patch, PatchParams};
use medindex_operator::api::MedicalImageIndex;
use medindex_operator::names::TRAIN_GENERATION;
use medindex_operator::reconcile::call::bounded;
use medindex_operator::reconcile::dereference::dereference;
use medindex_operator::reconcile::objects::Live;
use medindex_operator::reconcile::training::{JobState, job_state, newest};
use serde_json::{Value, json};

use crate::access::Access;
use crate::error::PluginError;

/// Pauses an index, or lets it go on; says what is so now.
///
/// # Errors
/// [`PluginError`].
pub async fn pause(access: &Access, name: &str, paused: bool) -> Result<String, PluginError> {
    let index = access.index(name).await?;
    let (done, already) = if paused {
        ("paused: the operator changes nothing for it until kubectl medindex resume", "already paused")
    } else {
        ("resumed", "not paused")
    };
    if index.spec.paused == paused {
        return Ok(format!("{name} is {already}"));
    }
    patch(access, name, &json!({"spec": {"paused": paused}})).await?;
    Ok(format!("{name} is {done}"))
}

/// Asks for a training; says of which generation.
///
/// # Errors
/// [`PluginError::Refuse`] where the operator would not train now, and others.
pub async fn train(access: &Access, name: &str) -> Result<String, PluginError> {
    let index = access.index(name).await?;
    let live = dereference(&access.client, &access.namespace, name).await?.live;
    let generation = next_training(&index, &live).map_err(PluginError::Refuse)?;
    patch(access, name, &request(generation)).await?;
    Ok(format!(
        "training {generation} is asked for: kubectl medindex status {name} shows it, kubectl medindex logs {name} -c trainer -f follows it"
    ))
}

/// The patch that asks for a training.
fn request(generation: i64) -> Value {
    json!({"metadata": {"annotations": {TRAIN_GENERATION: generation.to_string()}}})
}

/// Number of the next training, or why there is none now.
fn next_training(index: &MedicalImageIndex, live: &[Live]) -> Result<i64, String> {
    let name = index.metadata.name.as_deref().unwrap_or_default();
    let (spec, status) = (&index.spec, index.status.clone().unwrap_or_default());
    if let Some(wanted) = spec.quantizer.rollback_to {
        return Err(format!(
            "spec.quantizer.rollbackTo is {wanted}, which keeps trainings away: remove it first"
        ));
    }
    for (held, field) in [(spec.paused, "paused"), (spec.suspend, "suspend")] {
        if held {
            return Err(format!("spec.{field} is true, so nothing would begin: set it to false first"));
        }
    }
    if status.images.is_some_and(|images| images.indexed == 0) {
        return Err(format!("{name} has no searchable image to learn from yet"));
    }
    match newest(name, live) {
        Some((generation, job)) if job_state(job) == JobState::Running => Err(format!(
            "training {generation} runs already: kubectl medindex logs {name} -c trainer -f follows it"
        )),
        Some((generation, _)) => Ok(generation + 1),
        None => Ok(status.generation.map_or(0, |generation| generation.number) + 1),
    }
}

async fn patch(access: &Access, name: &str, patch: &Value) -> Result<(), PluginError> {
    let done = bounded(access.indexes().patch(name, &PatchParams::default(), &Patch::Merge(patch))).await;
    done.map_err(PluginError::call(format!("changing MedicalImageIndex {name}"))).map(drop)
}
