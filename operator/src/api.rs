//! The resource type `MedicalImageIndex` of `medindex.dev/v1alpha1`: what users write, and what they read back.
//!
//! The schema holds every rule that can be decided from the object alone: bounds, patterns, defaults, and CEL rules whose messages say what to do.
//! The API server therefore refuses most mistakes at `kubectl apply`; `medindex-operator plan` and the tests evaluate the same rules without
//! one. Integers are signed (API servers warn of unsigned formats), and fields that are not set are left out of what is written (with
//! server-side apply a null would claim the field).

// KubeSchema copies its types into places where they cannot be reached.
#![allow(unreachable_pub)]

mod backends;
mod embedding;
mod image_index;
mod imports;
mod patterns;
mod pool;
mod quantizer;
mod secrets;
mod status;
mod workloads;

pub use backends::{CacheMode, CacheSpec, CatalogSpec, Compression, HbaseSpec, KafkaSpec};
pub use embedding::{ComputeDevice, EmbeddingSpec, ModelSource};
pub use image_index::{DeletionPolicy, MedicalImageIndex, MedicalImageIndexSpec};
pub use imports::{ImportFormat, ImportSource, ImportSpec};
pub use pool::{GpuSpec, NodePool};
pub use quantizer::{QuantizerSpec, RetrainPolicy};
pub use secrets::{SecretKey, TlsSpec};
pub use status::{
    Endpoints, GenerationStatus, ImageCounts, MedicalImageIndexStatus, WorkloadReplicas, condition_types,
};
pub use workloads::{
    Autoscaling, EmbedderSpec, GatewaySpec, IngressSpec, Rollout, SearchSpec, TrainerSpec, WorkloadSpec,
};
