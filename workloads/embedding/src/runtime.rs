//! ONNX Runtime: where its library is, and the one environment of the process.
//!
//! The library is loaded at run time from a path, so that building needs nothing beside Rust. One process
//! has one environment; the first [`Runtime::start`] decides which library is used, and a later call with
//! another library is refused rather than ignored.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;

use crate::device::Device;

/// Environment variable that names ONNX Runtime's library.
pub const LIBRARY_VARIABLE: &str = "MEDINDEX_ONNXRUNTIME";

/// Environment variable that names the cache folder shared by all checkouts.
pub const CACHE_VARIABLE: &str = "MEDINDEX_CACHE";

/// What can fail before any model is read.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// Neither `MEDINDEX_CACHE` nor `HOME` says where the cache is.
    #[error("cannot tell where the cache folder is: set MEDINDEX_CACHE (or HOME)")]
    LocateCache,
    /// The library's file is not there.
    #[error(
        "ONNX Runtime's library is not at {}: run `make setup` to fetch it, or set MEDINDEX_ONNXRUNTIME to the path of a libonnxruntime.so",
        path.display()
    )]
    FindLibrary {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The library's file is there and cannot be loaded.
    #[error("cannot load ONNX Runtime from {}: run `make setup` to fetch it again, or set MEDINDEX_ONNXRUNTIME", path.display())]
    LoadLibrary {
        /// The library.
        path: PathBuf,
        /// Why.
        #[source]
        source: ort::LoadDynamicError,
    },
    /// Another library was loaded by this process before.
    #[error("this process uses ONNX Runtime from {} already, and cannot change to {}", loaded.display(), asked.display())]
    ChangeLibrary {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        asked: PathBuf,
    },
    /// ONNX Runtime could not create its environment.
    #[error("ONNX Runtime cannot start")]
    Start(#[source] ort::Error),
    /// The library was built for processors only.
    #[error(
        "ONNX Runtime at {} was built without CUDA and cannot compute on {device}: set MEDINDEX_ONNXRUNTIME to the libonnxruntime.so of a GPU build (such as that of the Python package onnxruntime-gpu), with libonnxruntime_providers_cuda.so and libonnxruntime_providers_shared.so beside it, or choose --device cpu",
        library.display()
    )]
    SupportDevice {
        /// The device asked for.
        device: Device,
        /// The library.
        library: PathBuf,
    },
    /// The library can compute on such a device, and something that it needs for it is missing.
    #[error(
        "ONNX Runtime at {} cannot use {device}: it needs libonnxruntime_providers_cuda.so beside it, NVIDIA's driver, and CUDA and cuDNN of the versions that it was built for where the loader finds them (LD_LIBRARY_PATH); provide what the cause names, or choose --device cpu",
        library.display()
    )]
    UseDevice {
        /// The device asked for.
        device: Device,
        /// The library.
        library: PathBuf,
        /// What is missing.
        #[source]
        source: ort::Error,
    },
}

/// Which library runs the models, where, and on how many threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// `libonnxruntime.so`, version 1.17 or later.
    pub library: PathBuf,
    /// Threads one model uses for one batch; 0 for as many as the machine has cores.
    pub threads: usize,
    /// Where the models compute.
    pub device: Device,
}

impl RuntimeOptions {
    /// Options from the environment: the library from `MEDINDEX_ONNXRUNTIME`, else from the cache folder that
    /// `make setup` fills; every core of the processor.
    ///
    /// # Errors
    /// [`RuntimeError::LocateCache`] when nothing says where the cache is.
    pub fn from_environment() -> Result<Self, RuntimeError> {
        let library = match set_variable(LIBRARY_VARIABLE) {
            Some(path) => PathBuf::from(path),
            None => cache_folder()?.join("onnxruntime").join("libonnxruntime.so"),
        };
        Ok(Self { library, threads: 0, device: Device::Cpu })
    }

    /// The same options with another number of threads.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The same options on another device.
    pub fn with_device(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// The number of threads meant: `threads`, or the machine's cores for 0.
    pub fn effective_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        }
    }
}

/// The cache folder: `MEDINDEX_CACHE`, else `.cache/medindex` in the home folder.
///
/// # Errors
/// [`RuntimeError::LocateCache`] when neither variable is set.
pub fn cache_folder() -> Result<PathBuf, RuntimeError> {
    set_variable(CACHE_VARIABLE)
        .map(PathBuf::from)
        .or_else(|| set_variable("HOME").map(|home| Path::new(&home).join(".cache").join("medindex")))
        .ok_or(RuntimeError::LocateCache)
}

/// A variable's value; empty counts as not set, as in a shell's `${NAME:-default}`.
fn set_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The environment in use and the library it came from. Never dropped: ONNX Runtime allows one a process.
static STARTED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// The process's ONNX Runtime environment, loading `library` at the first call.
pub(crate) fn start(library: &Path) -> Result<Environment, RuntimeError> {
    let library =
        std::fs::canonicalize(library).map_err(|_| RuntimeError::FindLibrary { path: library.to_owned() })?;
    let mut started = STARTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((loaded, environment)) = started.as_ref() {
        if *loaded == library {
            return Ok(environment.clone());
        }
        return Err(RuntimeError::ChangeLibrary { loaded: loaded.clone(), asked: library });
    }
    let environment = ort::init_from(&library)
        .map_err(|source| RuntimeError::LoadLibrary { path: library.clone(), source })?
        .with_name("medindex")
        .with_telemetry(false)
        .build()
        .map_err(RuntimeError::Start)?;
    *started = Some((library, environment.clone()));
    Ok(environment)
}
