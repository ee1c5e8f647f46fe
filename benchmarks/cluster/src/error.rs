//! What a benchmark can fail with.

use std::io;
use std::path::PathBuf;

use medindex_backends::{CacheError, CatalogError, ImageStoreError, QueueError};
use medindex_embedding::{EmbedError, ManifestError, ModelError, RuntimeError};
use medindex_index::IndexError;
use medindex_index::quantizer::QuantizerError;
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
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Embedder(#[from] EmbedError),
    #[error(transparent)]
    Index(#[from] Box<IndexError>),
    #[error(transparent)]
    Ingest(#[from] IngestError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Model(#[from] Box<ModelError>),
    #[error(transparent)]
    Quantizer(#[from] QuantizerError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Recognise(#[from] RecogniseError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Store(#[from] ImageStoreError),
    #[error(transparent)]
    Testbed(#[from] TestbedError),
}

impl From<IndexError> for BenchError {
    fn from(error: IndexError) -> Self {
        Self::Index(Box::new(error))
    }
}

impl From<ModelError> for BenchError {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl BenchError {
    /// For `map_err`: a file that cannot be used.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}
