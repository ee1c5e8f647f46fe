//! Ends the programs of an index before its topics and tables are removed: what still runs would write to them, and brokers may make a topic anew for
//! whoever writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::{DeleteParams, ListParams};

use super::apply::{ApplyError, delete, is_owned};
use super::dereference::{DereferenceError, list};
use super::objects::{KINDS, Live, POD};
use crate::validate::ValidatedIndex;

/// Kinds of what makes pods.
const MAKERS: [&str; 3] = ["Deployment", "StatefulSet", "Job"];
/// So many seconds after the end of the time that they were given pods are no longer waited for: those on a node that is lost never go.
const LATE: i64 = 15;
/// So many seconds after the deletion of the resource a pod that nobody deletes is no longer waited for.
const NEVER_TOLD: i64 = 300;

/// Why programs cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The API server does not tell what there is.
    #[error(transparent)]
    List(#[from] DereferenceError),
    /// The API server does not delete it.
    #[error(transparent)]
    Delete(#[from] ApplyError),
}

/// How far the programs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// None runs.
    Ended,
    /// Pods run, and are waited for.
    Running,
    /// So many pods run, and are waited for no longer.
    PassedOver(usize),
}

/// Deletes what makes pods, and looks how many run still of an index that is deleted since then.
///
/// # Errors
/// [`EndError`].
pub async fn end(
    client: &Client,
    index: &ValidatedIndex,
    since: &Time,
    now: &Time,
) -> Result<Ending, EndError> {
    let (namespace, name) = (&index.namespace, &index.name);
    let mut told = false;
    for kind in KINDS.into_iter().filter(|kind| MAKERS.contains(&kind.kind)) {
        let makers = list(client, namespace, name, kind, ListParams::default()).await?;
        for found in makers.iter().filter(|found| is_owned(found, index)) {
            if found.object.metadata.deletion_timestamp.is_none() {
                delete(client, index, found, DeleteParams::background()).await?;
                told = true;
            }
        }
    }
    let mut running = list(client, namespace, name, POD, ListParams::default()).await?;
    running.retain(|pod| !has_ended(pod));
    Ok(if running.is_empty() {
        Ending::Ended
    } else if told || running.iter().any(|pod| may_end(pod, since, now)) {
        Ending::Running
    } else {
        Ending::PassedOver(running.len())
    })
}

/// Whether a pod has time left. The time of its deletion is the end of what it was given.
fn may_end(pod: &Live, since: &Time, now: &Time) -> bool {
    let last = match &pod.object.metadata.deletion_timestamp {
        Some(end) => end.0.as_second() + LATE,
        None => since.0.as_second() + NEVER_TOLD,
    };
    now.0.as_second() < last
}

fn has_ended(pod: &Live) -> bool {
    matches!(pod.object.data["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
