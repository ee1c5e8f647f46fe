//! `medindex-operator plan`: what a resource would change, without changing it.

use std::io::Read as _;
use std::path::Path;

use kube::{Api, Client};

use crate::api::MedicalImageIndex;
use crate::build::{BuildError, Surroundings, build};
use crate::external::network::NetworkBackends;
use crate::program::arguments::PlanArguments;
use crate::reconcile::apply::is_as_wanted;
use crate::reconcile::dereference::{self, DereferenceError};
use crate::reconcile::external_state::{self, Corrected};
use crate::validate::{ValidatedIndex, joined, validate};

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
    if let Ok(Some(known)) = api.get_opt(&index.name).await {
        resource.metadata.uid = known.metadata.uid;
    }
    let index = checked(&resource)?;
    let mut lines = kubernetes(&client, &index).await?;
    let access = dereference::access(&client, &index).await?;
    lines.extend(external("Kafka", &external_state::topics(&NetworkBackends, &access, &index, true).await));
    lines.extend(external("HBase", &external_state::tables(&NetworkBackends, &access, &index, true).await));
    Ok(lines)
}

async fn kubernetes(client: &Client, index: &ValidatedIndex) -> Result<Vec<String>, PlanError> {
    let found = dereference::dereference(client, &index.namespace, &index.name).await?;
    let training =
        crate::reconcile::training::newest(&index.name, &found.live).map(|(generation, _)| generation);
    let desired = build(index, &Surroundings { training, ..found.surroundings })?;
    let mut lines = vec!["Kubernetes:".to_owned()];
    for object in &desired {
        match found.live.iter().find(|live| live.is(object)) {
            None => lines.push(format!("  + {}", name(object))),
            Some(live) if !is_as_wanted(live, object) => lines.push(format!("  ~ {}", name(object))),
            Some(_) => {}
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
    if corrected.part.reason.ends_with("Unavailable") {
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
