//! `medindex-operator plan`: what a resource would change, without changing it.

use std::io::Read as _;
use std::path::Path;

use kube::api::ListParams;
use kube::{Api, Client};

use crate::api::MedicalImageIndex;
use crate::build::{BuildError, Surroundings, build};
use crate::external::network::NetworkBackends;
use crate::program::arguments::PlanArguments;
use crate::reconcile::apply::missing;
use crate::reconcile::autoscaled;
use crate::reconcile::conditions::Truth;
use crate::reconcile::conflicts;
use crate::reconcile::dereference::{self, DereferenceError};
use crate::reconcile::disks;
use crate::reconcile::external_state::{self, Corrected};
use crate::validate::{ValidatedIndex, joined, rules_of_change, validate};

/// Why a client cannot be had.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("reading {path} failed: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no resource.
    #[error("{path} holds no MedicalImageIndex: {source}")]
    Parse {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: serde_norway::Error,
    },
    /// The resource is not valid.
    #[error("the resource is not valid:\n  {0}")]
    Validate(String),
    /// The API server cannot be reached.
    #[error("connecting to the API server failed: {0}; with --offline it is not asked")]
    Connect(#[source] BoxError),
    /// Something could not be read.
    #[error(transparent)]
    Dereference(#[from] DereferenceError),
    /// Something could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Makes the plan, as lines of text. `connect` is asked for a client unless the plan is made offline.
///
/// # Errors
/// [`PlanError`].
pub async fn plan(
    arguments: &PlanArguments,
    connect: impl AsyncFnOnce() -> Result<Client, BoxError>,
) -> Result<Vec<String>, PlanError> {
    let mut resource = read(&arguments.file)?;
    resource.metadata.namespace.get_or_insert_with(|| arguments.namespace.clone());
    let release = arguments.images.release();
    let checked = |resource: &MedicalImageIndex| {
        validate(resource, &release).map_err(|errors| PlanError::Validate(joined(&errors, "\n  ")))
    };
    let index = checked(&resource)?;
    if arguments.offline {
        let objects = build(&index, &Surroundings::default())?;
        return Ok(objects.iter().map(|object| format!("  would make {}", name(object))).collect());
    }
    let client = connect().await.map_err(PlanError::Connect)?;
    // Objects of a resource that is there already are known by its id.
    let api: Api<MedicalImageIndex> = Api::namespaced(client.clone(), &index.namespace);
    let known = dereference::read("the resource", api.get_opt(&index.name)).await?;
    if let Some(known) = known {
        resource.metadata.uid.clone_from(&known.metadata.uid);
        resource.metadata.creation_timestamp.clone_from(&known.metadata.creation_timestamp);
        let refused = rules_of_change(&known, &resource);
        refused.map_err(|errors| PlanError::Validate(joined(&errors, "\n  ")))?;
    }
    let index = checked(&resource)?;
    let mut lines = Box::pin(claimed_by_others(&client, &resource)).await;
    lines.extend(Box::pin(kubernetes(&client, &index)).await?);
    let access = dereference::access(&client, &index).await?;
    lines.extend(external("Kafka", &external_state::topics(&NetworkBackends, &access, &index, true).await));
    lines.extend(external("HBase", &external_state::tables(&NetworkBackends, &access, &index, true).await));
    Ok(lines)
}

/// Who has the topics, tables, database or cache keys already. Who may not list the other namespaces' resources is told that nobody looked.
async fn claimed_by_others(client: &Client, resource: &MedicalImageIndex) -> Vec<String> {
    let listed = Api::<MedicalImageIndex>::all(client.clone());
    match dereference::read("the resources of all namespaces", listed.list(&ListParams::default())).await {
        Ok(others) => conflicts::conflict(resource, &others.items).map(|conflict| format!("! {conflict}")),
        Err(error) => Some(format!(
            "? whether others claim the same topics, tables, database or cache keys is not known: {error}"
        )),
    }
    .into_iter()
    .collect()
}

async fn kubernetes(client: &Client, index: &ValidatedIndex) -> Result<Vec<String>, PlanError> {
    let found = dereference::dereference(client, &index.namespace, &index.name).await?;
    let training =
        crate::reconcile::training::newest(&index.name, &found.live).map(|(generation, _)| generation);
    let replicas = autoscaled::replicas(index, &found.live);
    let desired = build(index, &Surroundings { training, replicas, ..found.surroundings })?;
    let mut lines = vec!["Kubernetes:".to_owned()];
    for object in &desired {
        let Some(live) = found.live.iter().find(|live| live.is(object)) else {
            lines.push(format!("  + {}", name(object)));
            continue;
        };
        if let Some(size) = disks::growth(live, object) {
            lines.push(format!("  ~ {}: made anew around its pods, with disks of {size}", name(object)));
        }
        let fields = missing(live, object);
        if !fields.is_empty() {
            lines.push(format!("  ~ {}: {}", name(object), fields.join(", ")));
        }
    }
    for live in found.live.iter().filter(|live| live.kind.is_made()) {
        if !desired.iter().any(|object| live.is(object)) {
            lines.push(format!("  - {} {}", live.kind.kind, live.name()));
        }
    }
    Ok(or_nothing(lines))
}

fn external(backend: &str, corrected: &Corrected) -> Vec<String> {
    let mut lines = vec![format!("{backend}:")];
    lines.extend(corrected.done.iter().map(|change| format!("  ~ {change}")));
    lines.extend(corrected.stalled.iter().map(|(_, problem)| format!("  ! {problem}")));
    lines.extend(corrected.degraded.iter().map(|problem| format!("  ! {problem}")));
    // Nobody could look, or was refused: that is not that all is in order.
    if lines.len() == 1 && corrected.part.status != Truth::True {
        lines.push(format!("  ? {}", corrected.part.message));
    }
    or_nothing(lines)
}

fn or_nothing(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() == 1 {
        lines.push("  nothing to change".to_owned());
    }
    lines
}

fn name(object: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn read(path: &Path) -> Result<MedicalImageIndex, PlanError> {
    let shown = path.display().to_string();
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|source| PlanError::Read { path: shown.clone(), source })?;
    serde_norway::from_str(&text).map_err(|source| PlanError::Parse { path: shown, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::conditions::Part;

    fn corrected(part: Part, done: &[&str]) -> Corrected {
        let done = done.iter().map(|change| (*change).to_owned()).collect();
        Corrected { part, done, stalled: None, degraded: Vec::new() }
    }

    #[test]
    fn a_backend_that_could_not_be_looked_at_is_not_in_order() {
        for reason in ["KafkaUnavailable", "KafkaRefuses"] {
            let told = external("Kafka", &corrected(Part::not_ready(reason, "invalid credentials"), &[]));
            assert_eq!(told, ["Kafka:", "  ? invalid credentials"], "{reason}");
        }
        let told = external("Kafka", &corrected(Part::not_ready("Paused", "paused"), &["create topic a"]));
        assert_eq!(told, ["Kafka:", "  ~ create topic a"]);
        let told = external("HBase", &corrected(Part::ready("TablesAsWanted", "2 tables"), &[]));
        assert_eq!(told, ["HBase:", "  nothing to change"]);
    }
}
