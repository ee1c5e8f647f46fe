//! The model that makes vectors of images.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The model, where it comes from, and how images are shown to it. Vectors of two models never mix, so what makes other vectors cannot change.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.dimension) == has(oldSelf.dimension) && (!has(self.dimension) || self.dimension == oldSelf.dimension)")
        .message("spec.embedding.dimension cannot change: stored vectors have it; make a new index and import again")
        .field_path(".dimension"),
    validation = Rule::new("!has(oldSelf.digest) || (has(self.digest) && self.digest == oldSelf.digest)")
        .message("spec.embedding.digest cannot change: vectors of two models never mix; make a new index and import again")
        .field_path(".digest")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// Where the model folder comes from.
    pub model: ModelSource,
    /// SHA-256 of the model's manifest: pods that find another model do not start. Checked when given, and fixed from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Numbers of a vector, where it is to be checked before anything starts. Cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8, max = 8192))]
    pub dimension: Option<i32>,
    /// Images computed in one run of the model at the most.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 256))]
    pub batch: i32,
    /// Grey window for images whose file has none.
    #[serde(default)]
    pub window: Window,
}

/// Where the model folder (`manifest.yaml` and its files) comes from: exactly one of the two.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.image) != has(self.claim)")
    .message("spec.embedding.model needs exactly one of image (a container image with the folder /model) and claim (a PersistentVolumeClaim)"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSource {
    /// Container image with the folder `/model`; copied into the pod before it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// PersistentVolumeClaim with the folder at its root, mounted read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim: Option<String>,
}

/// A named grey window for CT.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Window {
    /// The file's own, else the full range.
    #[default]
    File,
    /// The full range of stored values.
    Full,
    /// Lungs.
    Lung,
    /// Mediastinum.
    Mediastinum,
    /// Bones.
    Bone,
    /// Brain.
    Brain,
    /// Soft tissue.
    SoftTissue,
    /// Liver.
    Liver,
}

fn default_batch() -> i32 {
    8
}
