//! The end of an index under `Delete`: its programs, then its topics and tables, then the resource.
//!
//! Guarantee: what holds the resource back is told in it, with what to do, and tried again; the annotation `medindex.dev/force-deletion` lets it go.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::cleanup::{self, Cleanup};
use super::conditions::Findings;
use super::endings::{self, Ending};
use super::news::tell;
use super::watched::readable;
use super::{Context, ReconcileError, conflicts, dereference, stall, status};
use crate::api::MedicalImageIndex;
use crate::names::{FINALIZER, FORCE_DELETION};
use crate::validate::{named, validate};

/// How often it is looked whether the programs have ended.
const PERIOD: Duration = Duration::from_secs(1);

/// Ends the programs of an index that is being deleted; when to look again, while they run.
pub(super) async fn end_programs(
    resource: &MedicalImageIndex,
    context: &Context,
) -> Result<Option<Action>, ReconcileError> {
    let Some(since) = resource.metadata.deletion_timestamp.as_ref() else { return Ok(None) };
    let is_held = resource.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    if !is_held || cleanup::wanted(resource) != Cleanup::Remove {
        return Ok(None);
    }
    let index = named(resource, &context.release, None);
    match endings::end(&context.client, &index, since, &status::now()).await {
        Ok(Ending::Ended) => Ok(None),
        Ok(Ending::Running) => {
            let told = "its programs are ended, then its topics and tables are removed";
            let new = status::refused(resource, &Findings::unknown("Deleting", told));
            if status::write(&context.client, resource, &new).await? {
                tell(context, resource, "Deleting", &[told.to_owned()]).await;
            }
            Ok(Some(Action::requeue(PERIOD)))
        }
        Ok(Ending::PassedOver(running)) => {
            let told = format!("{running} pods do not end; topics and tables are removed all the same");
            tell(context, resource, "PodsPassedOver", &[told]).await;
            Ok(None)
        }
        Err(error) => {
            let error = ReconcileError::EndPrograms(error);
            tell_blocked(resource, context, &error).await?;
            Err(error)
        }
    }
}

/// Removes topics and tables of an index whose programs have ended.
pub(super) async fn clean_up(
    resource: &MedicalImageIndex,
    context: &Context,
) -> Result<Action, ReconcileError> {
    match cleanup::wanted(resource) {
        Cleanup::Keep => return Ok(Action::await_change()),
        Cleanup::Forced => {
            let told =
                format!("topics and tables are left behind, because the annotation {FORCE_DELETION} says so");
            tell(context, resource, "ForcedDeletion", &[told]).await;
            return Ok(Action::await_change());
        }
        Cleanup::Remove => {}
    }
    // What belongs to an older resource is not this one's to delete.
    let others = context.watched.all().await;
    if conflicts::is_shared(resource, readable(&others)) {
        return Ok(Action::await_change());
    }
    let is_claimed = || conflicts::conflict(resource, readable(&others)).is_some();
    if !was_made(resource) && (is_claimed() || validate(resource, &context.release).is_err()) {
        let told = "topics and tables of its name are left as they are, because it never was valid: they are not its own";
        tell(context, resource, "NothingMade", &[told.to_owned()]).await;
        return Ok(Action::await_change());
    }
    let outcome = remove(resource, context).await;
    if let Err(error) = &outcome {
        tell_blocked(resource, context, error).await?;
    }
    outcome.map(|()| Action::await_change())
}

async fn tell_blocked(
    resource: &MedicalImageIndex,
    context: &Context,
    error: &ReconcileError,
) -> Result<(), ReconcileError> {
    let unknown = Findings::unknown("Deleting", "the resource is being deleted");
    let message = format!("{error}; it is tried again, within three minutes at the latest");
    Ok(stall(resource, context, ("CleanupBlocked", message), unknown).await?)
}

/// Whether something was made for the resource: its endpoints are told from then on.
fn was_made(resource: &MedicalImageIndex) -> bool {
    resource.status.as_ref().is_some_and(|status| status.endpoints.is_some())
}

/// Removes what the resource has outside Kubernetes.
async fn remove(resource: &MedicalImageIndex, context: &Context) -> Result<(), ReconcileError> {
    // One that cannot be built has its topics and tables all the same.
    let index = named(resource, &context.release, None);
    let access = dereference::access_alone(&context.client, &index).await;
    let access = access
        .map_err(|error| if error.is_users() { ReconcileError::CleanupOf(error) } else { error.into() })?;
    cleanup::remove(context.backends.as_ref(), &access, &index).await.map_err(ReconcileError::Cleanup)
}
