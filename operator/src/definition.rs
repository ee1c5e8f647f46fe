//! The definition of the resource type as `kubectl apply` takes it: the file `crds/medicalimageindexes.yaml`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSON};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

use crate::api::MedicalImageIndex;
use crate::api::condition_types::{READY, RECONCILING};

/// Reason of the conditions of a resource that no operator has looked at yet: the API server gives them by the schema.
pub const PENDING: &str = "Pending";

/// When nobody looked.
const NEVER: &str = "1970-01-01T00:00:00Z";

/// Why the definition cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It has no form in YAML.
    #[error("cannot write the resource definition as YAML: {0}")]
    WriteYaml(#[from] serde_norway::Error),
}

/// The definition.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = MedicalImageIndex::crd();
    let schemas = definition.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut());
    for schema in schemas {
        let root = schema.open_api_v3_schema.as_mut();
        let status = root.and_then(|root| root.properties.as_mut()?.get_mut("status"));
        if let Some(status) = status {
            status.default = Some(JSON(pending()));
        }
    }
    definition
}

/// The status of a resource that no operator has looked at: tools that wait for conditions (Flux, Argo CD, kubectl wait) take one without any for done.
fn pending() -> Value {
    let condition = |name: &str, status: &str| {
        json!({
            "type": name,
            "status": status,
            "reason": PENDING,
            "message": "no operator has looked at it yet",
            "lastTransitionTime": NEVER,
        })
    };
    json!({"conditions": [condition(READY, "Unknown"), condition(RECONCILING, "True")]})
}

/// The definition as text.
///
/// # Errors
/// [`DefinitionError`].
pub fn definition_yaml() -> Result<String, DefinitionError> {
    let text = serde_norway::to_string(&definition())?;
    // Readers of YAML 1.1 take what looks like a time for one, and the API server wants text.
    let text =
        text.replace(&format!("lastTransitionTime: {NEVER}"), &format!("lastTransitionTime: '{NEVER}'"));
    Ok(format!("# Made by `medindex-operator crd`; tests compare it with the code.\n{text}"))
}
