//! The model that makes vectors of images.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::{IMAGE, OBJECT_NAME};

/// The model, where it comes from, and how images are shown to it. Vectors of two models never mix, so what makes other vectors cannot change.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("!has(oldSelf.digest) || (has(self.digest) && self.digest == oldSelf.digest)")
        .message("spec.embedding.digest cannot change: vectors of two models never mix; make a new index and import again")
        .field_path(".digest"),
    validation = Rule::new("has(self.digest) || self.model == oldSelf.model")
        .message("spec.embedding.model can change only with spec.embedding.digest, which names the model: give the digest that the gateway's status tells, so that it stays the same model")
        .field_path(".model")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// Where the model folder comes from.
    pub model: ModelSource,
    /// SHA-256 of the model, as the gateway's status names it: with another one the index is not ready. Fixed from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// Images computed in one run of the model at the most.
    #[serde(default = "default_batch")]
    #[schemars(range(min = 1, max = 256))]
    pub batch: i32,
    /// Where the model computes, in embedders and importers alike. `Cuda` wants images with an ONNX Runtime for it, and a node pool with GPUs.
    #[serde(default)]
    pub device: ComputeDevice,
}

/// Where a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ComputeDevice {
    /// On processors.
    #[default]
    Cpu,
    /// On the first GPU of the container, by CUDA; the images need an ONNX Runtime for it.
    Cuda,
}

/// Where the model folder (`manifest.yaml` and its files) comes from: exactly one of the two.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.image) != has(self.claim)")
    .message("spec.embedding.model needs exactly one of image (a container image of the model's files) and claim (a PersistentVolumeClaim)"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSource {
    /// Container image that holds nothing but the folder's files; mounted as an image volume (Kubernetes 1.33 or later with the gate `ImageVolume`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: Option<String>,
    /// PersistentVolumeClaim with the folder at its root, mounted read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub claim: Option<String>,
}

fn default_batch() -> i32 {
    8
}
