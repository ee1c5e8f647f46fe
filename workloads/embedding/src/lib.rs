//! Embedding and recognition of images with ONNX Runtime.
//!
//! A model is a folder: `manifest.yaml` ([`Manifest`]) and the ONNX files it names. [`find_model`] finds one
//! by name, [`Model::load`] verifies and loads it, [`Embedder`] puts it behind a thread that gathers images
//! into batches. The shipped models' manifests are in the repository's `models/`, `make setup` prepares the
//! files beside them in the cache folder, and `docs/models.md` says how to add another.
//!
//! Guarantees: vectors are finite, of length 1 and of the dimension the manifest names; files whose SHA-256
//! differs from the manifest's are refused. Assumes nothing of the processor. Fails at loading, not at the
//! first image, where the manifest, the files or ONNX Runtime are wrong or the [`Device`] cannot be used.

mod device;
mod digest;
mod embedder;
mod error;
mod files;
mod graph;
mod manifest;
mod model;
mod runtime;
mod vector;

pub use device::{Device, ParseDeviceError};
pub use embedder::{BatchingOptions, BatchingStatistics, EmbedError, Embedder};
pub use error::ModelError;
pub use files::{available_models, find_model, models_folder};
pub use manifest::{
    Activation, ClassificationSettings, EmbeddingSettings, InputSettings, Labels, MANIFEST_FILE, Manifest,
    ManifestError, Pooling, SCHEMA, WindowSetting,
};
pub use model::{ClassProbability, MAX_BATCH, Model};
pub use runtime::{CACHE_VARIABLE, LIBRARY_VARIABLE, RuntimeError, RuntimeOptions, cache_folder};
pub use vector::VectorFault;
