//! Writing how an index is into its resource, if that changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use serde::Serialize;
use serde_json::json;

use super::call::{CallError, bounded};
use super::conditions::{Findings, conditions, failing as failing_conditions};
use super::objects::Live;
use super::{training, workload_state};
use crate::api::{Endpoints, ImageCounts, MedicalImageIndex, MedicalImageIndexStatus};
use crate::build::gateway_host;
use crate::external::IndexStatus;
use crate::names::{Component, MANAGER};
use crate::validate::ValidatedIndex;

/// The API server refused the status, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("writing the status failed: {0}")]
pub struct StatusError(#[from] CallError);

/// The status of an index that could be validated.
pub fn status(
    resource: &MedicalImageIndex,
    index: &ValidatedIndex,
    findings: &Findings,
    live: &[Live],
    told: Option<&IndexStatus>,
) -> MedicalImageIndexStatus {
    let before = resource.status.clone().unwrap_or_default();
    let images = told.map(|told| ImageCounts {
        stored: told.images.received + told.images.indexed + told.images.failed,
        indexed: told.images.indexed,
        lag: told.upload_lag + told.index_lag,
    });
    let host = index.spec.gateway.ingress.as_ref().map(|ingress| {
        let scheme = if ingress.tls_secret.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", ingress.host)
    });
    MedicalImageIndexStatus {
        observed_generation: resource.metadata.generation,
        conditions: conditions(findings, &before.conditions, resource.metadata.generation, &now()),
        // What the gateway told last stays while it is silent.
        images: images.or(before.images),
        generation: told.map(training::generation).or(before.generation),
        endpoints: Some(Endpoints {
            gateway: Some(host.unwrap_or_else(|| format!("http://{}", gateway_host(index)))),
        }),
        embedder: Some(workload_state::replicas(index, Component::Embedder, live)),
        search: Some(search_replicas(index, live)),
        gateway: Some(workload_state::replicas(index, Component::Gateway, live)),
        imports: training::imports(index, live),
    }
}

/// Replicas of every shard, as `/scale` counts them: pods divided by shards.
fn search_replicas(index: &ValidatedIndex, live: &[Live]) -> crate::api::WorkloadReplicas {
    let pods = workload_state::replicas(index, Component::Search, live);
    let shards = index.spec.search.shards.max(1);
    crate::api::WorkloadReplicas {
        replicas: pods.replicas / shards,
        ready: pods.ready / shards,
        selector: pods.selector,
    }
}

/// The status of one that could not be validated: what was known stays, the conditions say what is wrong.
pub fn refused(resource: &MedicalImageIndex, findings: &Findings) -> MedicalImageIndexStatus {
    let before = resource.status.clone().unwrap_or_default();
    MedicalImageIndexStatus {
        observed_generation: resource.metadata.generation,
        conditions: conditions(findings, &before.conditions, resource.metadata.generation, &now()),
        ..before
    }
}

/// The status of one whose reconcile failed: what was known stays, `Reconciling` says what went wrong.
pub fn failing(resource: &MedicalImageIndex, error: &str) -> MedicalImageIndexStatus {
    let before = resource.status.clone().unwrap_or_default();
    let conditions = failing_conditions(&before.conditions, error, resource.metadata.generation, &now());
    MedicalImageIndexStatus { conditions, ..before }
}

/// Writes the status if it differs from what is there; whether it did.
///
/// # Errors
/// [`StatusError`].
pub async fn write(
    client: &Client,
    resource: &MedicalImageIndex,
    status: &MedicalImageIndexStatus,
) -> Result<bool, StatusError> {
    if resource.status.as_ref() == Some(status) {
        return Ok(false);
    }
    apply(client, &resource.namespace().unwrap_or_default(), &resource.name_any(), status).await?;
    Ok(true)
}

/// Writes a status over what is there.
///
/// # Errors
/// [`StatusError`].
pub(super) async fn apply(
    client: &Client,
    namespace: &str,
    name: &str,
    status: &impl Serialize,
) -> Result<(), StatusError> {
    // Whatever else the resource holds: it need not be one that can be read.
    let kind = ApiResource::erase::<MedicalImageIndex>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    // Applied and not merged, so that fields which are no longer set go.
    let patch = Patch::Apply(json!({
        "apiVersion": MedicalImageIndex::api_version(&()),
        "kind": MedicalImageIndex::kind(&()),
        "metadata": {"name": name},
        "status": status,
    }));
    let parameters = PatchParams::apply(MANAGER).force();
    bounded(api.patch_status(name, &parameters, &patch)).await?;
    Ok(())
}

/// Whole seconds, as the API server keeps them.
pub(super) fn now() -> Time {
    let second = Timestamp::from_second(Timestamp::now().as_second());
    Time(second.unwrap_or_default())
}
