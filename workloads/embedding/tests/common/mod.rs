//! What the tests share: the models in the cache, pictures drawn here, and small models written here.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub(crate) mod onnx;
pub(crate) mod pictures;

use std::path::{Path, PathBuf};

use medindex_embedding::{Model, RuntimeOptions, find_model, models_folder};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// ONNX Runtime as `make setup` fetched it, on one thread.
pub(crate) fn runtime() -> RuntimeOptions {
    RuntimeOptions::from_environment().unwrap().with_threads(1)
}

/// The folder of a shipped model.
pub(crate) fn shipped(name: &str) -> PathBuf {
    find_model(&models_folder().unwrap(), name).expect("run `make setup` before the tests")
}

/// A shipped model, loaded.
pub(crate) fn load_shipped(name: &str) -> Model {
    Model::load(&shipped(name), &runtime()).expect("run `make setup` before the tests")
}

/// The manifest of [`tiny_model`], with the SHA-256 of `graph`.
pub(crate) fn tiny_manifest(graph: &[u8]) -> String {
    let hex =
        |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]));
    let digest: String = Sha256::digest(graph).iter().flat_map(|&byte| hex(byte)).collect();
    format!(
        "schema: 1\nname: tiny\nversion: 1\ndescription: Mean colour.\nlicence: Apache-2.0\nsource: this test\n\
         files:\n  model.onnx: {digest}\n\
         embedding:\n  graph: model.onnx\n  input:\n    name: image\n    width: 8\n    height: 8\n    layout: nchw\n    \
         colour_order: rgb\n    mean: [0.0, 0.0, 0.0]\n    scale: [1.0, 1.0, 1.0]\n    resize: squeeze\n  \
         output: embedding\n  dimension: 3\n  pooling: none\n  normalise: true\n"
    )
}

/// Writes a model folder with `graph` and `manifest`.
pub(crate) fn write_model(folder: &Path, graph: &[u8], manifest: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("model.onnx"), graph).unwrap();
    std::fs::write(folder.join("manifest.yaml"), manifest).unwrap();
}

/// A model folder whose embedding is the mean red, green and blue of the image.
pub(crate) fn tiny_model() -> TempDir {
    let folder = TempDir::new().unwrap();
    let graph = onnx::mean_colour(&[]);
    write_model(folder.path(), &graph, &tiny_manifest(&graph));
    folder
}
