//! The manifest of a model folder: what the model is, how its input is made, and what its outputs mean.
//!
//! A model is a folder with `manifest.yaml` and the files named in it. The manifest is read strictly: a field
//! that is not known, missing or out of range is refused with the field's name, because a wrong mean or a
//! swapped colour order does not fail at run time, it only makes every search worse.
//!
//! See `docs/models.md` for the format, field by field.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use medindex_imaging::WindowChoice;
use serde::Deserialize;

use crate::digest::sha256_of_text;

mod preprocessing;
mod validate;

pub use preprocessing::{InputSettings, WindowSetting};

/// File name of the manifest inside a model folder.
pub const MANIFEST_FILE: &str = "manifest.yaml";

/// The manifest format this version reads.
pub const SCHEMA: u32 = 1;

/// What can be wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the model manifest {}: run `make setup` to prepare the shipped models, or see docs/models.md to add your own", path.display())]
    Read {
        /// The manifest's path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not the YAML that the format asks for.
    #[error("the model manifest {} is not valid (docs/models.md describes the format)", path.display())]
    Parse {
        /// The manifest's path.
        path: PathBuf,
        /// Line, column and reason.
        #[source]
        source: serde_norway::Error,
    },
    /// A field has a value that cannot be right.
    #[error("the model manifest {} is not valid: {field} {problem}", path.display())]
    Invalid {
        /// The manifest's path.
        path: PathBuf,
        /// The field, as a path such as `embedding.input.scale`.
        field: String,
        /// What is wrong with it and what it should be.
        problem: String,
    },
}

/// A model's description, as in its `manifest.yaml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the manifest format; [`SCHEMA`].
    pub schema: u32,
    /// Name of the model, which is also its folder's name: lower-case letters, digits and hyphens.
    pub name: String,
    /// Version of the model together with its preprocessing, raised with every change to either.
    pub version: u32,
    /// One sentence for people.
    pub description: String,
    /// Licence of the weights, as far as known.
    pub licence: String,
    /// Where the weights come from.
    pub source: String,
    /// Every file that the graphs need, with its SHA-256 in lower-case hex.
    pub files: BTreeMap<String, String>,
    /// Which window images of an image type (`CT`, `MR`…) are rendered with; others with the file's own.
    #[serde(default)]
    pub window: BTreeMap<String, WindowSetting>,
    /// How the embedding is computed.
    pub embedding: EmbeddingSettings,
    /// How classes are recognised; a model without it only embeds.
    #[serde(default)]
    pub classification: Option<ClassificationSettings>,
}

/// How the embedding is computed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSettings {
    /// The ONNX file, one of [`Manifest::files`].
    pub graph: String,
    /// How an image becomes the graph's input.
    pub input: InputSettings,
    /// Name of the graph's output that holds the embedding.
    pub output: String,
    /// Number of components of the embedding.
    pub dimension: usize,
    /// How the output becomes one vector an image.
    pub pooling: Pooling,
    /// Whether the vector is scaled to length 1; search needs it, so `false` is refused.
    pub normalise: bool,
}

/// How a graph's output becomes one vector an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The output is `[images, dimension]` already.
    None,
    /// The output is `[images, dimension, height, width]`; each channel is averaged over its plane.
    Average,
}

/// How classes are recognised.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassificationSettings {
    /// The ONNX file, one of [`Manifest::files`]; may be the embedding's.
    pub graph: String,
    /// How an image becomes the graph's input; may differ from the embedding's.
    pub input: InputSettings,
    /// Name of the graph's output, `[images, classes]`.
    pub output: String,
    /// Whether the output holds probabilities already, or logits.
    pub activation: Activation,
    /// Label of each class, in the output's order, or a text file with one a line.
    pub labels: Labels,
}

/// What turns the classification output into probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// The output sums to 1 already.
    None,
    /// The output holds logits: softmax is applied.
    Softmax,
}

/// Labels of the classes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Labels {
    /// In the manifest itself.
    List(Vec<String>),
    /// In one of [`Manifest::files`], one label a line.
    File(String),
}

impl Manifest {
    /// Reads and checks the manifest of the model folder `folder`.
    ///
    /// # Errors
    /// [`ManifestError`] when the file is missing, not YAML, has a field that is unknown or missing, or a
    /// value that cannot be right.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(MANIFEST_FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ManifestError::Read { path: path.clone(), source })?;
        Self::parse(&text, &path)
    }

    /// Parses and checks `text`; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ManifestError> {
        let manifest: Self = serde_norway::from_str(text)
            .map_err(|source| ManifestError::Parse { path: path.to_owned(), source })?;
        validate::validate(&manifest).map_err(|invalid| ManifestError::Invalid {
            path: path.to_owned(),
            field: invalid.field,
            problem: invalid.problem,
        })?;
        Ok(manifest)
    }

    /// The window that images of `image_type` are rendered with: the one named for it, else the file's own.
    pub fn window_for(&self, image_type: Option<&str>) -> WindowChoice {
        image_type
            .and_then(|kind| self.window.get(kind))
            .copied()
            .map_or(WindowChoice::File, WindowChoice::from)
    }

    /// What identifies the vectors of this model: a SHA-256 over everything that a vector depends on, and
    /// over nothing else, so that a new description or label does not make an index unusable.
    pub fn digest(&self) -> String {
        let embedding = &self.embedding;
        let mut text = format!("medindex embedding, schema {}\nversion {}\n", self.schema, self.version);
        // A graph may keep its weights in other files, and nothing tells which: all count, but labels.
        let labels = self.classification.as_ref().and_then(|settings| match &settings.labels {
            Labels::File(file) => Some(file),
            Labels::List(_) => None,
        });
        for (file, digest) in self.files.iter().filter(|(file, _)| Some(*file) != labels) {
            let _ = writeln!(text, "file {file} {digest}");
        }
        for (kind, window) in &self.window {
            let _ = writeln!(text, "window {kind} {window}");
        }
        let _ = writeln!(text, "graph {}\noutput {}", embedding.graph, embedding.output);
        let _ = writeln!(text, "dimension {}\npooling {:?}", embedding.dimension, embedding.pooling);
        let _ = writeln!(text, "input {:?}", embedding.input);
        sha256_of_text(&text)
    }
}
