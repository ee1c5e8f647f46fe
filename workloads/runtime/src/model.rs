//! The model of a program that embeds.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use medindex_embedding::{
    BatchingOptions, Device, EmbedError, Embedder, MANIFEST_FILE, Model, ModelError, RuntimeError,
    RuntimeOptions,
};

/// The model, and how it computes.
#[derive(Debug, Clone, Args)]
pub struct ModelArguments {
    /// Folder of the model: manifest.yaml and its files.
    #[arg(long, env = "MEDINDEX_MODEL_FOLDER", value_name = "FOLDER")]
    pub model_folder: PathBuf,
    /// Images computed in one run of the model at the most.
    #[arg(long, env = "MEDINDEX_MODEL_BATCH", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub model_batch: u32,
    /// Milliseconds that the first image of a run waits for others.
    #[arg(long, env = "MEDINDEX_MODEL_DELAY_MILLISECONDS", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub model_delay_milliseconds: u64,
    /// Threads that the model computes on; 0 for every core.
    #[arg(long, env = "MEDINDEX_THREADS", value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub threads: u32,
    /// Where the model computes: cpu, cuda (the first GPU) or cuda:N. For cuda, `MEDINDEX_ONNXRUNTIME` has to name a build of ONNX Runtime with CUDA, and
    /// NVIDIA's driver, CUDA and cuDNN have to be there; a program that cannot use the GPU ends.
    #[arg(long, env = "MEDINDEX_DEVICE", value_name = "DEVICE", default_value = "cpu")]
    pub device: Device,
}

/// Why the model cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartModelError {
    /// There is no ONNX Runtime.
    #[error(transparent)]
    FindRuntime(#[from] RuntimeError),
    /// The manifest cannot be read.
    #[error("cannot read the model's manifest {}: {source}; give the model's folder with --model-folder", path.display())]
    ReadManifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The model's files cannot be used.
    #[error(transparent)]
    LoadModel(#[from] ModelError),
    /// The model does not run.
    #[error(transparent)]
    RunModel(#[from] EmbedError),
    /// The process is being stopped.
    #[error("loading the model was cut off: {0}")]
    Finish(#[from] tokio::task::JoinError),
}

impl ModelArguments {
    /// Loads the model off the async threads: its files are read and hashed, and the graph is run once. Returns it with the text of its manifest.
    ///
    /// # Errors
    /// [`StartModelError`].
    pub async fn start(&self) -> Result<(Embedder, String), StartModelError> {
        let (folder, threads, device) = (self.model_folder.clone(), self.threads as usize, self.device);
        let max_batch = self.model_batch as usize;
        let max_delay = Duration::from_millis(self.model_delay_milliseconds);
        let batching = BatchingOptions { max_batch, max_delay, queue: 16 * max_batch };
        tokio::task::spawn_blocking(move || {
            let path = folder.join(MANIFEST_FILE);
            let manifest = std::fs::read_to_string(&path)
                .map_err(|source| StartModelError::ReadManifest { path, source })?;
            let options = RuntimeOptions::from_environment()?.with_threads(threads).with_device(device);
            let model = Model::load(&folder, &options)?;
            Ok((Embedder::start(Arc::new(model), batching)?, manifest))
        })
        .await?
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        model: ModelArguments,
    }

    fn parse(flags: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["program", "--model-folder=model"].iter().chain(flags))
    }

    #[test]
    fn a_model_computes_on_the_processor_unless_a_gpu_is_named() {
        assert_eq!(parse(&[]).unwrap().model.device, Device::Cpu);
        assert_eq!(parse(&["--device=cuda"]).unwrap().model.device, Device::Cuda(0));
        assert_eq!(parse(&["--device=cuda:1"]).unwrap().model.device, Device::Cuda(1));
    }

    #[test]
    fn a_device_that_is_none_is_refused_with_those_there_are() {
        let refusal = parse(&["--device=gpu"]).unwrap_err().to_string();
        assert!(refusal.contains("--device") && refusal.contains("cpu, cuda"), "{refusal}");
    }
}
