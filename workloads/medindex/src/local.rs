//! Opening a data folder in this process: the model, the flows, the index.

use std::path::PathBuf;
use std::sync::Arc;

use medindex_embedding::{
    BatchingOptions, Device, Embedder, Model, ModelError, RuntimeError, RuntimeOptions,
};
use medindex_pipeline::{
    Classified as _, ErrorKind, OpenError, Pipeline, RepairReport, SearchableFrames, Settings,
};

use crate::arguments::GlobalOptions;
use crate::failure::{Code, Failure, describe};
use crate::folder::DataFolder;
use crate::models;

/// An open data folder.
pub(crate) struct Local {
    /// The flows.
    pub(crate) pipeline: Pipeline,
    /// The folder.
    pub(crate) folder: DataFolder,
}

impl Local {
    /// Opens a folder that was imported into before.
    pub(crate) async fn open_existing(options: &GlobalOptions) -> Result<Self, Failure> {
        let folder = DataFolder::resolve(options.data.as_deref(), options.model.as_deref())?;
        folder.require_existing()?;
        Self::open(folder, options, None).await
    }

    /// Opens a folder, or creates it.
    pub(crate) async fn open_or_create(
        options: &GlobalOptions,
        frames: Option<SearchableFrames>,
    ) -> Result<Self, Failure> {
        let folder = DataFolder::resolve(options.data.as_deref(), options.model.as_deref())?;
        Self::open(folder, options, frames).await
    }

    async fn open(
        mut folder: DataFolder,
        options: &GlobalOptions,
        frames: Option<SearchableFrames>,
    ) -> Result<Self, Failure> {
        if let Some(frames) = frames {
            folder.choices.frames = frames;
        }
        let (embedder, settings) = prepare(&folder, options).await?;
        let pipeline = Pipeline::open(&folder.path, embedder, settings)
            .await
            .map_err(|error| opening_failed(&folder, &error))?;
        folder.remember()?;
        Ok(Self { pipeline, folder })
    }

    /// Repairs a folder that was imported into before.
    pub(crate) async fn repair(options: &GlobalOptions) -> Result<RepairReport, Failure> {
        let mut folder = DataFolder::resolve(options.data.as_deref(), options.model.as_deref())?;
        folder.require_existing()?;
        let (embedder, settings) = prepare(&folder, options).await?;
        let report = Pipeline::repair(&folder.path, embedder, settings)
            .await
            .map_err(|error| opening_failed(&folder, &error))?;
        folder.remember()?;
        Ok(report)
    }

    /// Closes the folder after a command; the command's own failure comes first.
    pub(crate) async fn close<T>(self, outcome: Result<T, Failure>) -> Result<T, Failure> {
        let closed = self.pipeline.shutdown().await.map_err(|error| Failure::flow(&error));
        let value = outcome?;
        closed?;
        Ok(value)
    }
}

/// The model and the settings of a folder.
async fn prepare(folder: &DataFolder, options: &GlobalOptions) -> Result<(Embedder, Settings), Failure> {
    let model = models::find(&folder.choices.model)?;
    let embedder = start_embedder(model, options.threads, options.device).await?;
    let settings = Settings {
        frames: folder.choices.frames,
        limits: options.limits(),
        decode_memory: options.decode_memory(),
        ..Settings::default()
    };
    Ok((embedder, settings))
}

/// Loads the model on a blocking thread: its files are read and hashed.
async fn start_embedder(folder: PathBuf, threads: usize, device: Device) -> Result<Embedder, Failure> {
    let load = move || -> Result<Embedder, Failure> {
        let options = RuntimeOptions::from_environment()
            .map_err(|error| Failure::new(Code::NotFound, describe(&error)))?
            .with_threads(threads)
            .with_device(device);
        let model = Model::load(&folder, &options)
            .map_err(|error| Failure::caused_by(code_of_model(&error), "cannot use the model", &error))?;
        Embedder::start(Arc::new(model), BatchingOptions::default())
            .map_err(|error| Failure::caused_by(Code::Other, "cannot start the model", &error))
    };
    tokio::task::spawn_blocking(load)
        .await
        .map_err(|error| Failure::caused_by(Code::Other, "cannot load the model", &error))?
}

/// Exit code of a model that cannot be used: a library that is not there is to be set up, and no fault of the model.
fn code_of_model(error: &ModelError) -> Code {
    match error {
        ModelError::Runtime(RuntimeError::LocateCache | RuntimeError::FindLibrary { .. }) => Code::NotFound,
        ModelError::Runtime(
            RuntimeError::LoadLibrary { .. } | RuntimeError::ChangeLibrary { .. } | RuntimeError::Start(_),
        ) => Code::Other,
        _ => Code::Refused,
    }
}

fn opening_failed(folder: &DataFolder, error: &OpenError) -> Failure {
    let code = match error.kind() {
        ErrorKind::Conflict => Code::InUse,
        ErrorKind::BadRequest => Code::Refused,
        _ => Code::Storage,
    };
    if code != Code::InUse {
        return Failure::new(code, describe(error));
    }
    let path = folder.path.display();
    let advice = match folder.server() {
        Some(server) => format!(
            "`medindex serve` (process {}) has it open; add --server {} to ask it instead",
            server.pid, server.url
        ),
        None => {
            "another process has it open; wait until it ends, or name another folder with --data".to_owned()
        }
    };
    Failure::new(Code::InUse, format!("{path} is in use: {advice}"))
}
