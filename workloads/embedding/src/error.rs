//! What can fail in finding, loading and running a model.

use std::path::PathBuf;

use crate::device::Device;
use crate::manifest::ManifestError;
use crate::runtime::RuntimeError;
use crate::vector::VectorFault;

/// What can fail in loading or running a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The manifest was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// ONNX Runtime is not there, or cannot use the device.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// There is no model of that name.
    #[error("there is no model {name:?} in {}; there are: {available}. Run `make setup` to prepare the shipped ones", folder.display())]
    FindModel {
        /// The name asked for.
        name: String,
        /// Where models are looked for.
        folder: PathBuf,
        /// The names of those there are, separated by commas, or `none`.
        available: String,
    },
    /// A file named in the manifest could not be read.
    #[error("cannot read the model file {}: run `make setup` to prepare the shipped models again", path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is not the one that the manifest names.
    #[error(
        "the model file {} is not the one its manifest names: expected SHA-256 {expected}, found {found}. Run `make setup` to prepare it again, or correct `files` in the manifest",
        path.display()
    )]
    VerifyFile {
        /// The file.
        path: PathBuf,
        /// The digest in the manifest.
        expected: String,
        /// The file's digest.
        found: String,
    },
    /// ONNX Runtime refused a graph.
    #[error("ONNX Runtime cannot load {} on {device}{}", path.display(), device.advice())]
    LoadGraph {
        /// The ONNX file.
        path: PathBuf,
        /// Where it was to compute.
        device: Device,
        /// Why.
        #[source]
        source: ort::Error,
    },
    /// A graph is not what the manifest says.
    #[error("the graph {} does not fit its manifest: {problem}", path.display())]
    CheckGraph {
        /// The ONNX file.
        path: PathBuf,
        /// What differs, and what there is.
        problem: String,
    },
    /// The labels file does not hold one label a class.
    #[error("the model {model} has {labels} labels for {classes} classes")]
    CountLabels {
        /// The model's name.
        model: String,
        /// Labels in the manifest or the labels file.
        labels: usize,
        /// Classes in the graph's output.
        classes: usize,
    },
    /// An image could not be brought to the graph's input.
    #[error("an image cannot be made into the input of the model {model}")]
    MakeInput {
        /// The model's name.
        model: String,
        /// Why.
        #[source]
        source: medindex_imaging::ImagingError,
    },
    /// A graph failed in its first run, when it was loaded.
    #[error("the model {model} does not run on {device}{}", device.advice())]
    TryRun {
        /// The model's name.
        model: String,
        /// Where it was to compute.
        device: Device,
        /// Why.
        #[source]
        source: ort::Error,
    },
    /// A graph failed while running.
    #[error("the model {model} failed on a batch of {images} images")]
    Run {
        /// The model's name.
        model: String,
        /// Images in the batch.
        images: usize,
        /// Why.
        #[source]
        source: ort::Error,
    },
    /// A graph answered with another shape than at loading.
    #[error("the model {model} answered with the shape {found:?} for {images} images")]
    CheckOutput {
        /// The model's name.
        model: String,
        /// Images in the batch.
        images: usize,
        /// The output's shape.
        found: Vec<usize>,
    },
    /// The output for one image is no usable vector.
    #[error("the model {model} gave no usable output for the image: {fault}")]
    UseOutput {
        /// The model's name.
        model: String,
        /// What is wrong with it.
        fault: VectorFault,
    },
    /// The model has no classification.
    #[error("the model {model} recognises no classes: its manifest has no `classification`")]
    Classify {
        /// The model's name.
        model: String,
    },
}
