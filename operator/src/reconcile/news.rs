//! Events: what a user sees with `kubectl describe`, each once.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource as _;
use kube::runtime::events::{Event as Occurrence, EventType};

use super::conditions::is_found;
use super::{Context, call};
use crate::api::condition_types::{DEGRADED, QUANTIZER_READY, READY, STALLED};
use crate::api::{MedicalImageIndex, MedicalImageIndexStatus};

/// Reasons of `QuantizerReady` that a user has to hear of; a new generation that answers is told by its number.
const TRAINING_NEWS: [&str; 4] = ["Training", "TrainingFailed", "RecallGateHeld", "RollbackImpossible"];

/// Reasons of `Ready` that somebody has to look at, also where the index was not ready before; others pass by themselves.
const FAULTS: [&str; 9] = [
    "KafkaRefuses",
    "KafkaUnavailable",
    "HbaseUnavailable",
    "Unschedulable",
    "ImageUnavailable",
    "Crashing",
    "MountsMissing",
    "PodsRefused",
    "PodsWaiting",
];

/// Tells of a change of readiness, of what stalls, and of generations, once.
pub(super) async fn announce(context: &Context, resource: &MedicalImageIndex, new: &MedicalImageIndexStatus) {
    let before = resource.status.clone().unwrap_or_default();
    for condition in &new.conditions {
        let mut found = before.conditions.iter().filter(|known| is_found(known));
        let known = found.find(|known| known.type_ == condition.type_);
        if let Some(warns) = is_news(known, condition) {
            publish(context, resource, &condition.reason, &condition.message, warns).await;
        }
    }
    if let Some(note) = new_generation(&before, new) {
        publish(context, resource, "GenerationActive", &note, false).await;
    }
}

/// Whether a condition has to be told, and if so, whether as a warning.
fn is_news(known: Option<&Condition>, new: &Condition) -> Option<bool> {
    let is_true = new.status == "True";
    let turned = known.map_or(is_true, |known| known.status != new.status);
    match new.type_.as_str() {
        READY => {
            let is_other = known.is_none_or(|known| known.reason != new.reason);
            let is_fault = is_other && FAULTS.contains(&new.reason.as_str());
            (turned || is_fault).then_some(!is_true)
        }
        DEGRADED => (is_true && turned).then_some(true),
        STALLED => {
            let reworded = known.is_some_and(|known| known.message != new.message);
            (is_true && (turned || reworded)).then_some(true)
        }
        QUANTIZER_READY => {
            let is_other = known.is_some_and(|known| known.reason != new.reason);
            (is_other && TRAINING_NEWS.contains(&new.reason.as_str())).then_some(new.reason != "Training")
        }
        _ => None,
    }
}

/// That another generation answers.
fn new_generation(before: &MedicalImageIndexStatus, new: &MedicalImageIndexStatus) -> Option<String> {
    let (before, now) = (before.generation.as_ref()?, new.generation.as_ref()?);
    let recall = now.recall.as_ref().map_or_else(String::new, |recall| format!(", recall {recall}"));
    (before.number != now.number)
        .then(|| format!("generation {} answers{recall}; before it did {}", now.number, before.number))
}

/// One event for all notes of a reconcile.
pub(super) async fn tell(context: &Context, resource: &MedicalImageIndex, reason: &str, notes: &[String]) {
    if !notes.is_empty() {
        publish(context, resource, reason, &notes.join("; "), false).await;
    }
}

/// Tells of one thing.
pub(super) async fn publish(
    context: &Context,
    resource: &MedicalImageIndex,
    reason: &str,
    note: &str,
    warns: bool,
) {
    publish_about(context, &resource.object_ref(&()), reason, note, warns).await;
}

/// An event that cannot be written is no reason to do nothing: it is in the log too.
pub(super) async fn publish_about(
    context: &Context,
    reference: &ObjectReference,
    reason: &str,
    note: &str,
    warns: bool,
) {
    tracing::info!(index = reference.name, namespace = reference.namespace, reason, note, "event");
    let type_ = if warns { EventType::Warning } else { EventType::Normal };
    // Events of the same reason and action are counted, and their notes lost but for the first: another note is another action.
    let action = note.chars().take(128).collect();
    // The API server takes notes up to a kilobyte.
    let note = note.chars().take(1_000).collect();
    let occurrence =
        Occurrence { type_, reason: reason.to_owned(), note: Some(note), action, secondary: None };
    if let Err(error) = call::bounded(context.events.publish(&occurrence, reference)).await {
        tracing::warn!(%error, "an event cannot be written");
    }
}
