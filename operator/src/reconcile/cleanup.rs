//! What becomes of the backends when a resource is deleted.
//!
//! Under `Retain` nothing outside Kubernetes is touched, so no backend is asked, and the resource, which has no finalizer, goes at once, without
//! an operator too. Under `Delete` topics and tables are removed; a backend that is away holds the resource back, with a condition and an event that say what to do, until it is there again
//! or a person sets the annotation `medindex.dev/force-deletion`. Objects in the cluster go with their owner.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::apply::ApplyError;
use super::call::bounded;
use crate::api::{DeletionPolicy, MedicalImageIndex};
use crate::external::tables::desired_tables;
use crate::external::topics::desired_topics;
use crate::external::{Access, Backends, ExternalError};
use crate::names::{FINALIZER, FORCE_DELETION};
use crate::validate::ValidatedIndex;

/// What a deletion has to do outside Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Nothing.
    Keep,
    /// Nothing, because a person said so.
    Forced,
    /// Remove topics and tables.
    Remove,
}

/// What the resource asks for.
pub fn wanted(index: &MedicalImageIndex) -> Cleanup {
    match index.spec.deletion_policy {
        DeletionPolicy::Retain => Cleanup::Keep,
        DeletionPolicy::Delete if is_forced(index) => Cleanup::Forced,
        DeletionPolicy::Delete => Cleanup::Remove,
    }
}

/// Whether a person lets the resource go whatever it leaves behind.
pub fn is_forced(resource: &impl ResourceExt) -> bool {
    resource.annotations().get(FORCE_DELETION).is_some_and(|value| value == "true")
}

/// Takes the finalizer off, where it is on: nothing outside Kubernetes has to go before the resource.
///
/// # Errors
/// [`ApplyError`] where the API server fails, or the resource has changed since it was read.
pub async fn release<K>(api: &Api<K>, resource: &K) -> Result<(), ApplyError>
where
    K: ResourceExt + Clone + DeserializeOwned + Debug,
{
    let kept: Vec<&String> = resource.finalizers().iter().filter(|name| *name != FINALIZER).collect();
    if kept.len() == resource.finalizers().len() {
        return Ok(());
    }
    let metadata = json!({"finalizers": kept, "resourceVersion": resource.meta().resource_version});
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let name = resource.name_any();
    match bounded(api.patch(&name, &PatchParams::default(), &patch)).await {
        Err(source) if source.code() != Some(404) => {
            let kind = "MedicalImageIndex";
            Err(ApplyError::Call { action: "releasing", kind, name, source })
        }
        _ => Ok(()),
    }
}

/// Removes topics and tables; what is gone already is no error, so a cleanup that was cut off goes on.
///
/// # Errors
/// [`ExternalError`].
pub async fn remove(
    backends: &dyn Backends,
    access: &Access,
    index: &ValidatedIndex,
) -> Result<(), ExternalError> {
    let topics: Vec<String> = desired_topics(index).into_iter().map(|topic| topic.name).collect();
    backends.delete_topics(access, &topics).await?;
    let tables: Vec<_> = desired_tables(index).into_iter().map(|table| table.name).collect();
    backends.delete_tables(access, &tables).await
}
