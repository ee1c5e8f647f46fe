//! Ends the programs of an index before its topics and tables are removed: what still runs would write to them, and brokers may make a topic anew for
//! whoever writes.
//!
//! Guarantee: bounded. Pods that do not go, on a node that is lost say, hold up a deletion no longer than the caller says.

use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{DeleteParams, ListParams};

use super::ReconcileError;
use super::apply::{delete, is_owned};
use super::dereference::read;
use super::objects::{KINDS, Kind, Live};
use crate::names::{index_labels, selector_text};
use crate::validate::ValidatedIndex;

/// Programs end within 25 seconds of being told to, ten seconds after their Service lets them go.
pub const GONE_WITHIN: Duration = Duration::from_secs(45);
/// How often it is looked whether the pods are gone.
const PERIOD: Duration = Duration::from_millis(500);

/// Deletes what makes pods and waits until they are gone, for so long at the most.
///
/// # Errors
/// [`ReconcileError`] where the API server fails.
pub async fn end(client: &Client, index: &ValidatedIndex, within: Duration) -> Result<(), ReconcileError> {
    for kind in kinds(&["Deployment", "StatefulSet", "Job"]) {
        for found in list(client, index, kind).await?.iter().filter(|found| is_owned(found, index)) {
            delete(client, index, found, DeleteParams::background()).await?;
        }
    }
    let begun = Instant::now();
    for kind in kinds(&["Pod"]) {
        let mut left = list(client, index, kind).await?.len();
        while left > 0 {
            if begun.elapsed() >= within {
                tracing::warn!(
                    index = index.name,
                    left,
                    "pods do not end; topics and tables are removed all the same"
                );
                break;
            }
            tokio::time::sleep(PERIOD).await;
            left = list(client, index, kind).await?.len();
        }
    }
    Ok(())
}

fn kinds(names: &'static [&'static str]) -> impl Iterator<Item = Kind> {
    KINDS.into_iter().filter(|kind| names.contains(&kind.kind))
}

/// The objects of a kind that belong to the index by their labels.
async fn list(client: &Client, index: &ValidatedIndex, kind: Kind) -> Result<Vec<Live>, ReconcileError> {
    let api = kind.objects(client, &index.namespace);
    let selector = selector_text(&index_labels(&index.name));
    let listed = read(&kind.resource().plural, api.list(&ListParams::default().labels(&selector))).await?;
    Ok(listed.items.into_iter().map(|object| Live { kind, object }).collect())
}
