//! A resource that this operator cannot read: written under another schema than its own, by a newer release say.
//!
//! It is told in the resource like everything else that only a person can change, and it holds up nobody: deletion under Retain, or forced,
//! lets it go. Under Delete it waits, because what belongs to it outside Kubernetes is not known.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::controller::Action;
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;

use super::conditions::{Findings, conditions};
use super::news::publish_about;
use super::{Context, PERIOD, ReconcileError, cleanup, dereference, jittered, status};
use crate::api::MedicalImageIndex;
use crate::names::FORCE_DELETION;

/// Tells in the resource why it cannot be read, or lets it go.
///
/// # Errors
/// [`ReconcileError`] where the API server fails.
pub async fn reconcile_unreadable(
    namespace: &str,
    name: &str,
    error: &str,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let kind = ApiResource::erase::<MedicalImageIndex>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &kind);
    let Some(resource) = dereference::read("the resource", api.get_opt(name)).await? else {
        return Ok(Action::await_change());
    };
    let deleted = resource.metadata.deletion_timestamp.is_some();
    if deleted && is_let_go(&resource) {
        cleanup::release(&api, &resource).await?;
        return Ok(Action::await_change());
    }
    let (reason, remedy) = if deleted {
        let remedy = format!(
            "mend it, or set the annotation {FORCE_DELETION}=true: what it has at the backends is not known"
        );
        ("CleanupBlocked", remedy)
    } else {
        (
            "InvalidSpec",
            "mend it with kubectl edit, or upgrade the operator if the field is of a newer release"
                .to_owned(),
        )
    };
    let message = format!("the resource cannot be read: {error}; {remedy}");
    tell(&resource, context, (reason, message)).await?;
    Ok(Action::requeue(jittered(PERIOD)))
}

/// Whether nothing outside Kubernetes has to be removed with it. A policy that cannot be read is none: Retain.
fn is_let_go(resource: &DynamicObject) -> bool {
    cleanup::is_forced(resource) || resource.data["spec"]["deletionPolicy"] != "Delete"
}

/// Writes the conditions and an event, if they are news.
async fn tell(
    resource: &DynamicObject,
    context: &Context,
    stalled: (&'static str, String),
) -> Result<(), ReconcileError> {
    let before = &resource.data["status"];
    let known: Vec<Condition> = serde_json::from_value(before["conditions"].clone()).unwrap_or_default();
    let (reason, message) = stalled.clone();
    let findings =
        Findings { stalled: Some(stalled), ..Findings::unknown(reason, "not looked at: see Stalled") };
    let generation = resource.metadata.generation;
    let mut new = if before.is_object() { before.clone() } else { json!({}) };
    new["conditions"] = json!(conditions(&findings, &known, generation, &status::now()));
    new["observedGeneration"] = json!(generation);
    if new == *before {
        return Ok(());
    }
    let reference = resource.object_ref(&ApiResource::erase::<MedicalImageIndex>(&()));
    publish_about(context, &reference, reason, &message, true).await;
    let namespace = resource.namespace().unwrap_or_default();
    Ok(status::apply(&context.client, &namespace, &resource.name_any(), &new).await?)
}
