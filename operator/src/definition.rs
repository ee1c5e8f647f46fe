//! The definition of the resource type as `kubectl apply` takes it: the file `crds/medicalimageindexes.yaml`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::api::MedicalImageIndex;

/// Why the definition cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// It has no form in YAML.
    #[error("cannot write the resource definition as YAML: {0}")]
    WriteYaml(#[from] serde_norway::Error),
}

/// The definition.
pub fn definition() -> CustomResourceDefinition {
    MedicalImageIndex::crd()
}

/// The definition as text.
///
/// # Errors
/// [`DefinitionError`].
pub fn definition_yaml() -> Result<String, DefinitionError> {
    let text = serde_norway::to_string(&definition())?;
    Ok(format!("# Made by `medindex-operator crd`; tests compare it with the code.\n{text}"))
}
