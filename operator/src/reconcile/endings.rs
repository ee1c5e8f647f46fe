//! Ends the programs of an index before its topics and tables are removed: what still runs would write to them, and brokers may make a topic anew for
//! whoever writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use kube::api::{DeleteParams, ListParams};

use super::apply::{ApplyError, delete, is_owned};
use super::dereference::{DereferenceError, read};
use super::objects::{KINDS, Kind, Live};
use crate::names::{index_labels, selector_text};
use crate::validate::ValidatedIndex;

/// So many seconds after the deletion pods are no longer waited for, because those on a node that is lost never go. Programs end within 25 seconds of
/// being told to, ten seconds after they were let go.
const GONE_WITHIN: i64 = 45;

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
    /// So many pods run, and are waited for.
    Running(usize),
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
    for kind in kinds(&["Deployment", "StatefulSet", "Job"]) {
        for found in list(client, index, kind).await?.iter().filter(|found| is_owned(found, index)) {
            if found.object.metadata.deletion_timestamp.is_none() {
                delete(client, index, found, DeleteParams::background()).await?;
            }
        }
    }
    let mut running = 0;
    for kind in kinds(&["Pod"]) {
        let pods = list(client, index, kind).await?;
        running += pods.iter().filter(|pod| !has_ended(pod)).count();
    }
    Ok(if running == 0 {
        Ending::Ended
    } else if now.0.as_second() - since.0.as_second() < GONE_WITHIN {
        Ending::Running(running)
    } else {
        Ending::PassedOver(running)
    })
}

fn has_ended(pod: &Live) -> bool {
    matches!(pod.object.data["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn kinds(names: &'static [&'static str]) -> impl Iterator<Item = Kind> {
    KINDS.into_iter().filter(|kind| names.contains(&kind.kind))
}

/// The objects of a kind that belong to the index by their labels.
async fn list(client: &Client, index: &ValidatedIndex, kind: Kind) -> Result<Vec<Live>, DereferenceError> {
    let api = kind.objects(client, &index.namespace);
    let selector = selector_text(&index_labels(&index.name));
    let listed = read(&kind.resource().plural, api.list(&ListParams::default().labels(&selector))).await?;
    Ok(listed.items.into_iter().map(|object| Live { kind, object }).collect())
}
