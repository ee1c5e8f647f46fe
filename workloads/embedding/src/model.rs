//! A model folder, loaded: images in, unit vectors and class probabilities out.
//!
//! Guarantees: every vector has [`Model::dimension`] finite components and length 1 (to rounding); the files
//! are the ones whose SHA-256 the manifest names; what the manifest says of the graphs was checked against
//! the graphs by running them once. An image's vector does not depend on the batch it was computed in beyond
//! rounding. Assumes that the manifest's preprocessing is the model's: nothing can check that.
//! Every call blocks for the time of the computation: from async code, use [`crate::Embedder`].

use std::path::Path;
use std::sync::Arc;

use medindex_imaging::{Rendered, WindowChoice};
use rayon::prelude::*;

use crate::device::Device;
use crate::error::ModelError;
use crate::files::{read_labels, verify_files};
use crate::graph::{Graph, Head, Output};
use crate::manifest::{Activation, Manifest, Pooling};
use crate::runtime::{self, RuntimeOptions};
use crate::vector::{VectorFault, normalise, softmax};

/// Images run through a graph at once. On a processor the shipped models take the same time for each image of a
/// batch as for one alone (measured for 1, 8 and 16), so that a larger one would only make callers wait longer
/// and take memory for activations (VGG-16: some 30 MB an image).
pub const MAX_BATCH: usize = 8;

/// How probable a class is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClassProbability {
    /// Label of the class.
    pub label: String,
    /// 0 to 1; those of one image sum to 1.
    pub probability: f32,
}

/// A loaded model.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    digest: String,
    device: Device,
    embedding: Head,
    classification: Option<(Head, Vec<String>)>,
}

impl Model {
    /// Loads the model in `folder`, verifies its files against the manifest, and runs it once.
    ///
    /// # Errors
    /// [`ModelError`]: the manifest is refused, a file is missing or not the one named, ONNX Runtime is
    /// missing, cannot use the device or refuses the graph, or the graph does not fit the manifest.
    pub fn load(folder: &Path, options: &RuntimeOptions) -> Result<Self, ModelError> {
        let manifest = Manifest::read(folder)?;
        verify_files(folder, &manifest)?;
        let environment = runtime::start(&options.library)?;
        let load_graph = |file: &str| Graph::load(&environment, &folder.join(file), options).map(Arc::new);
        let settings = &manifest.embedding;
        let graph = load_graph(&settings.graph)?;
        let path = folder.join(&settings.graph);
        let embedding = Head::new(Arc::clone(&graph), path, &settings.input, &settings.output)?;
        let classification = match &manifest.classification {
            None => None,
            Some(settings) => {
                // Two heads of one file share its weights and its threads.
                let graph = if settings.graph == manifest.embedding.graph {
                    graph
                } else {
                    load_graph(&settings.graph)?
                };
                let head = Head::new(graph, folder.join(&settings.graph), &settings.input, &settings.output)?;
                Some((head, read_labels(folder, settings)?))
            }
        };
        let device = options.device;
        let model = Self { digest: manifest.digest(), manifest, device, embedding, classification };
        model.check_outputs()?;
        let threads = options.effective_threads();
        tracing::info!(model = model.manifest.name, %device, threads, "the model is loaded");
        Ok(model)
    }

    /// The model's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What identifies the vectors: equal digests mean equal weights and equal preprocessing. Lower-case hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Number of components of an embedding.
    pub fn dimension(&self) -> usize {
        self.manifest.embedding.dimension
    }

    /// Whether [`Model::classify`] can answer.
    pub fn recognises(&self) -> bool {
        self.classification.is_some()
    }

    /// Labels of the classes, in the output's order; empty when the model recognises none.
    pub fn labels(&self) -> &[String] {
        self.classification.as_ref().map_or(&[], |(_, labels)| labels)
    }

    /// The window that images of `image_type` (as in `ImageAttributes::image_type`) are rendered with.
    pub fn window_for(&self, image_type: Option<&str>) -> WindowChoice {
        self.manifest.window_for(image_type)
    }

    /// The embedding of each image, in order: [`Model::dimension`] components, length 1.
    ///
    /// # Errors
    /// [`ModelError::Run`] and its kin; one image without a usable output fails the call.
    pub fn embed(&self, images: &[Rendered]) -> Result<Vec<Vec<f32>>, ModelError> {
        let images: Vec<&Rendered> = images.iter().collect();
        self.embed_each(&images)?.into_iter().collect()
    }

    /// The classes of each image, in order, each most probable first.
    ///
    /// # Errors
    /// [`ModelError::Classify`] when the model recognises none; otherwise as [`Model::embed`].
    pub fn classify(&self, images: &[Rendered]) -> Result<Vec<Vec<ClassProbability>>, ModelError> {
        let images: Vec<&Rendered> = images.iter().collect();
        self.classify_each(&images)?.into_iter().collect()
    }

    /// As [`Model::embed`], with a result for each image.
    pub(crate) fn embed_each(
        &self,
        images: &[&Rendered],
    ) -> Result<Vec<Result<Vec<f32>, ModelError>>, ModelError> {
        let dimension = self.dimension();
        let mut embeddings = Vec::with_capacity(images.len());
        for batch in images.chunks(MAX_BATCH) {
            let output = self.run(&self.embedding, batch)?;
            let rows = match self.manifest.embedding.pooling {
                Pooling::None => self.rows(&output, batch.len(), dimension)?,
                Pooling::Average => self.pooled_rows(&output, batch.len(), dimension)?,
            };
            embeddings.extend(rows.into_iter().map(|mut row| {
                normalise(&mut row).map_err(|fault| self.unusable(fault))?;
                Ok(row)
            }));
        }
        Ok(embeddings)
    }

    /// As [`Model::classify`], with a result for each image.
    pub(crate) fn classify_each(
        &self,
        images: &[&Rendered],
    ) -> Result<Vec<Result<Vec<ClassProbability>, ModelError>>, ModelError> {
        let (Some((head, labels)), Some(settings)) = (&self.classification, &self.manifest.classification)
        else {
            return Err(ModelError::Classify { model: self.manifest.name.clone() });
        };
        let mut classes = Vec::with_capacity(images.len());
        for batch in images.chunks(MAX_BATCH) {
            let output = self.run(head, batch)?;
            for mut row in self.rows(&output, batch.len(), labels.len())? {
                let scored = match settings.activation {
                    Activation::None => VectorFault::check(&row),
                    Activation::Softmax => softmax(&mut row),
                };
                classes.push(scored.map(|()| rank(labels, &row)).map_err(|fault| self.unusable(fault)));
            }
        }
        Ok(classes)
    }

    /// Makes the input of `images` and runs it through `head`.
    fn run(&self, head: &Head, images: &[&Rendered]) -> Result<Output, ModelError> {
        let per_image = head.values_per_image();
        let mut values = vec![0.0_f32; images.len() * per_image];
        values
            .par_chunks_mut(per_image)
            .zip(images)
            .try_for_each(|(slot, image)| image.write_tensor(&head.spec, slot))
            .map_err(|source| ModelError::MakeInput { model: self.manifest.name.clone(), source })?;
        head.run(images.len(), &values).map_err(|source| self.failed(images.len(), source))
    }

    /// Splits `[images, width]` into rows.
    fn rows(&self, output: &Output, images: usize, width: usize) -> Result<Vec<Vec<f32>>, ModelError> {
        if output.shape != [images, width] {
            return Err(self.unexpected_shape(output, images));
        }
        Ok(output.values.chunks_exact(width).map(<[f32]>::to_vec).collect())
    }

    /// Averages `[images, dimension, height, width]` over each plane.
    fn pooled_rows(
        &self,
        output: &Output,
        images: usize,
        dimension: usize,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let plane = match output.shape[..] {
            [n, c, height, width] if n == images && c == dimension && height * width > 0 => height * width,
            _ => return Err(self.unexpected_shape(output, images)),
        };
        let average = |plane: &[f32]| plane.iter().sum::<f32>() / plane.len() as f32;
        let image = plane * dimension;
        Ok(output
            .values
            .chunks_exact(image)
            .map(|planes| planes.chunks_exact(plane).map(average).collect())
            .collect())
    }

    /// Runs both heads on a grey image, so that a wrong manifest, and a GPU that cannot run them, are found at
    /// loading and not at the first upload. It also lets ONNX Runtime allocate its arenas.
    fn check_outputs(&self) -> Result<(), ModelError> {
        let output = self.run_grey(&self.embedding)?;
        let dimension = self.dimension();
        let fits = match (self.manifest.embedding.pooling, &output.shape[..]) {
            (Pooling::None, [1, found]) | (Pooling::Average, [1, found, _, _]) => *found == dimension,
            _ => false,
        };
        if !fits {
            let expected = match self.manifest.embedding.pooling {
                Pooling::None => format!("[1, {dimension}]"),
                Pooling::Average => format!("[1, {dimension}, height, width]"),
            };
            let problem = format!(
                "embedding.dimension and embedding.pooling ask for the output {:?} to be {expected}, and it is {:?}",
                self.embedding.output, output.shape
            );
            return Err(ModelError::CheckGraph { path: self.embedding.path.clone(), problem });
        }
        let Some((head, labels)) = &self.classification else { return Ok(()) };
        let output = self.run_grey(head)?;
        match output.shape[..] {
            [1, classes] if classes == labels.len() => Ok(()),
            [1, classes] => Err(ModelError::CountLabels {
                model: self.manifest.name.clone(),
                labels: labels.len(),
                classes,
            }),
            _ => Err(ModelError::CheckGraph {
                path: head.path.clone(),
                problem: format!(
                    "classification.output {:?} should be [1, classes], and it is {:?}",
                    head.output, output.shape
                ),
            }),
        }
    }

    fn run_grey(&self, head: &Head) -> Result<Output, ModelError> {
        head.run(1, &vec![0.1_f32; head.values_per_image()]).map_err(|source| ModelError::TryRun {
            model: self.manifest.name.clone(),
            device: self.device,
            source,
        })
    }

    fn failed(&self, images: usize, source: ort::Error) -> ModelError {
        ModelError::Run { model: self.manifest.name.clone(), images, source }
    }

    fn unusable(&self, fault: VectorFault) -> ModelError {
        ModelError::UseOutput { model: self.manifest.name.clone(), fault }
    }

    fn unexpected_shape(&self, output: &Output, images: usize) -> ModelError {
        ModelError::CheckOutput { model: self.manifest.name.clone(), images, found: output.shape.clone() }
    }
}

/// The labels with their probabilities, most probable first; equal ones in the model's order.
fn rank(labels: &[String], probabilities: &[f32]) -> Vec<ClassProbability> {
    let mut classes: Vec<ClassProbability> = labels
        .iter()
        .zip(probabilities)
        .map(|(label, &probability)| ClassProbability { label: label.clone(), probability })
        .collect();
    classes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    classes
}
