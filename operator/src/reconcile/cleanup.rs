//! What becomes of the backends when a resource is deleted.
//!
//! Under `Retain` nothing outside Kubernetes is touched, so no backend is asked, and the resource goes at once. Under `Delete` topics and tables
//! are removed; a backend that is away holds the resource back, with a condition and an event that say what to do, until it is there again
//! or a person sets the annotation `medindex.dev/force-deletion`. Objects in the cluster go with their owner.

use kube::ResourceExt;

use crate::api::{DeletionPolicy, MedicalImageIndex};
use crate::external::tables::desired_tables;
use crate::external::topics::desired_topics;
use crate::external::{Access, Backends, ExternalError};
use crate::names::FORCE_DELETION;
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
