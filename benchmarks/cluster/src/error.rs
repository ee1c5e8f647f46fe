//! What a benchmark can fail with.

use std::io;
use std::path::PathBuf;

use medindex_backends::{CacheError, CatalogError, Fault, ImageStoreError, QueueError};
use medindex_embedding::{EmbedError, ManifestError, ModelError, RuntimeError};
use medindex_index::IndexError;
use medindex_index::quantizer::QuantizerError;
use medindex_logging::LogError;
use medindex_operator::program::ProgramError;
use medindex_pipeline::{BackendError, IngestError, ReadError, RecogniseError, SearchError, SettingsError};
use medindex_rpc::serving::ServeError;
use medindex_testbed::TestbedError;
use tokio::task::JoinError;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A figure is not what the benchmark exists to show.
    #[error("{0}")]
    Check(String),
    /// The plot cannot be drawn.
    #[error("cannot draw the plot: {0}")]
    Plot(String),
    /// The result cannot be written as JSON.
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
    /// Something took too long.
    #[error("waited too long for {0}")]
    Wait(&'static str),
    #[error("a computation was stopped half-way")]
    Compute(#[from] JoinError),
    /// A part of MedIndex or of the testbed failed.
    #[error("{0}")]
    Part(Box<dyn std::error::Error + Send + Sync>),
}

macro_rules! from_parts {
    ($($part:ty),+ $(,)?) => {
        $(impl From<$part> for BenchError {
            fn from(error: $part) -> Self {
                Self::Part(Box::new(error))
            }
        })+
    };
}

from_parts!(
    BackendError,
    CacheError,
    CatalogError,
    EmbedError,
    Fault,
    ImageStoreError,
    IndexError,
    IngestError,
    ManifestError,
    ModelError,
    QuantizerError,
    QueueError,
    ReadError,
    RecogniseError,
    RuntimeError,
    SearchError,
    ServeError,
    SettingsError,
    TestbedError,
    kube::Error,
    LogError,
    ProgramError,
);

impl BenchError {
    /// For `map_err`: a file that cannot be used.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
