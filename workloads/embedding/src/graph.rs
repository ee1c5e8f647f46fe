//! One ONNX graph: loaded, checked against what the manifest says of it, and run on batches.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use medindex_imaging::{InputSpec, Layout};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::TensorRef;

use crate::device::Device;
use crate::error::ModelError;
use crate::manifest::InputSettings;
use crate::runtime::RuntimeOptions;

/// What a graph's output turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Output {
    /// Shape; the first axis is the number of images.
    pub(crate) shape: Vec<usize>,
    /// Values in row-major order.
    pub(crate) values: Vec<f32>,
}

/// A loaded graph.
#[derive(Debug)]
pub(crate) struct Graph {
    // ONNX Runtime's own threads work on one batch at a time; a second caller waits here.
    session: Mutex<Session>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Graph {
    /// Loads the ONNX file at `path`, to compute where `options` say, with as many threads for each operator.
    pub(crate) fn load(
        environment: &Environment,
        path: &Path,
        options: &RuntimeOptions,
    ) -> Result<Self, ModelError> {
        let refused =
            |source| ModelError::LoadGraph { path: path.to_owned(), device: options.device, source };
        let begin = || -> Result<SessionBuilder, ModelError> {
            let builder = session_builder(environment, options.effective_threads()).map_err(refused)?;
            Ok(options.device.register(builder, &options.library)?)
        };
        let session = match options.device {
            Device::Cpu => begin()?.commit_from_file(path).map_err(refused)?,
            device @ Device::Cuda(_) => match commit_whole(begin()?, path) {
                Ok(session) => session,
                Err(error) => {
                    // Parts of the graph have to stay on the processor, or it cannot be loaded at all.
                    let session = begin()?.commit_from_file(path).map_err(refused)?;
                    let graph = path.display();
                    tracing::warn!(%graph, %device, %error, "parts of the graph compute on the processor");
                    session
                }
            },
        };
        let inputs = session.inputs().iter().map(|outlet| outlet.name().to_owned()).collect();
        let outputs = session.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
        Ok(Self { session: Mutex::new(session), inputs, outputs })
    }

    /// Runs `values`, of the shape `shape`, as the input `input`, and copies out the output `output`.
    fn run(
        &self,
        input: &str,
        shape: [usize; 4],
        values: &[f32],
        output: &str,
    ) -> Result<Output, ort::Error> {
        let tensor = TensorRef::from_array_view((shape, values))?;
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = session.run(ort::inputs![input => tensor])?;
        let value = outputs
            .get(output)
            .ok_or_else(|| ort::Error::new(format!("the graph gave no output named {output:?}")))?;
        let (shape, values) = value.try_extract_tensor::<f32>()?;
        let shape = shape.iter().map(|&edge| edge as usize).collect();
        Ok(Output { shape, values: values.to_vec() })
    }
}

/// The settings that sessions have on every device.
fn session_builder(environment: &Environment, threads: usize) -> Result<SessionBuilder, ort::Error> {
    let builder = Session::builder(environment)?.with_optimization_level(GraphOptimizationLevel::All)?;
    Ok(builder.with_intra_threads(threads)?)
}

/// A session that computes on the builder's device alone; an error where it would not.
fn commit_whole(builder: SessionBuilder, path: &Path) -> Result<Session, ort::Error> {
    builder.with_disable_cpu_fallback()?.commit_from_file(path)
}

/// One way through a graph: an input, how it is made, and an output.
#[derive(Debug)]
pub(crate) struct Head {
    graph: Arc<Graph>,
    /// The graph's file, for errors.
    pub(crate) path: PathBuf,
    pub(crate) spec: InputSpec,
    pub(crate) output: String,
    input: String,
    /// Shape of one image's input, without the batch axis.
    shape: [usize; 3],
}

impl Head {
    /// The way through `graph` (from the file `path`) that `settings` and `output` name.
    pub(crate) fn new(
        graph: Arc<Graph>,
        path: PathBuf,
        settings: &InputSettings,
        output: &str,
    ) -> Result<Self, ModelError> {
        let named = |kind: &str, name: &str, there: &[String]| {
            if there.iter().any(|other| other == name) {
                return Ok(());
            }
            let problem = format!("it has no {kind} named {name:?}, only {}", there.join(", "));
            Err(ModelError::CheckGraph { path: path.clone(), problem })
        };
        named("input", &settings.name, &graph.inputs)?;
        named("output", output, &graph.outputs)?;
        let (width, height) = (settings.width as usize, settings.height as usize);
        let shape = match settings.layout {
            Layout::Nchw => [3, height, width],
            Layout::Nhwc => [height, width, 3],
        };
        Ok(Self {
            path,
            spec: settings.to_spec(),
            output: output.to_owned(),
            input: settings.name.clone(),
            shape,
            graph,
        })
    }

    /// Number of values of one image's input.
    pub(crate) fn values_per_image(&self) -> usize {
        self.shape.iter().product()
    }

    /// Runs `images` images, whose inputs lie one after another in `values`.
    pub(crate) fn run(&self, images: usize, values: &[f32]) -> Result<Output, ort::Error> {
        let [first, second, third] = self.shape;
        self.graph.run(&self.input, [images, first, second, third], values, &self.output)
    }
}
