//! What an index on a cluster says about itself, so that no process ever works on it with another model or another number of partitions.
//!
//! The first embedder writes it into the image store; every other process reads it at its start and waits until it is there. It is what
//! `medindex.json` is to a data folder.

use std::path::Path;
use std::time::Duration;

use medindex_backends::ImageStore;
use medindex_embedding::{Manifest, ManifestError};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::backend_error::{BackendError, from_backend};
use crate::error::{Classified, ErrorKind};

/// Blob that holds the description.
pub(crate) const DESCRIPTION_BLOB: &str = "index/description.json";
/// Layout that this release reads and writes.
const FORMAT: u32 = 1;
/// How often a process that waits for the description looks for it.
const LOOK: Duration = Duration::from_secs(1);

/// What an index says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexDescription {
    /// Layout of the description.
    pub format: u32,
    /// Partitions: of the topics, of the table, of the search.
    pub partitions: u32,
    /// Digest of the model whose vectors it holds.
    pub model_digest: String,
    /// The model's manifest as YAML text.
    pub manifest: String,
}

/// Why a process does not fit the index.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError {
    /// The description is damaged or of a later release.
    #[error(
        "the index's description ({DESCRIPTION_BLOB} in the image store) cannot be read: {reason}; use the release that wrote it, or restore it from a backup"
    )]
    Parse {
        /// What is wrong.
        reason: String,
    },
    /// It cannot be written.
    #[error("the index's description cannot be written: {0}")]
    Write(#[source] serde_json::Error),
    /// Its model's manifest cannot be used.
    #[error(transparent)]
    ReadManifest(#[from] ManifestError),
    /// This process has another model.
    #[error(
        "the index holds vectors of model {stored}, this process has {given}: give it the index's model, or make a new index for the new model"
    )]
    CompareModel {
        /// Digest of the index's model.
        stored: String,
        /// Digest of this process's model.
        given: String,
    },
    /// This process was told another number of partitions.
    #[error(
        "the index has {stored} partitions, this process was told {given}: the number of partitions is fixed when an index is made; start it with --partitions {stored}"
    )]
    ComparePartitions {
        /// Partitions of the index.
        stored: u32,
        /// Partitions that this process was told.
        given: u32,
    },
    /// The process was told to stop before the description was there.
    #[error("stopped while waiting for the first embedder to register its model")]
    Stop,
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(DescriptionError);

impl Classified for DescriptionError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::CompareModel { .. } | Self::ComparePartitions { .. } => ErrorKind::BadRequest,
            Self::Stop => ErrorKind::Unavailable,
            Self::Backend(error) => error.kind(),
            Self::Parse { .. } | Self::Write(_) | Self::ReadManifest(_) => ErrorKind::Internal,
        }
    }
}

impl IndexDescription {
    /// The model's manifest.
    ///
    /// # Errors
    /// [`DescriptionError::ReadManifest`].
    pub fn model(&self) -> Result<Manifest, DescriptionError> {
        Ok(Manifest::parse(&self.manifest, Path::new(DESCRIPTION_BLOB))?)
    }

    fn check_partitions(self, given: u32) -> Result<Self, DescriptionError> {
        if self.partitions == given {
            Ok(self)
        } else {
            Err(DescriptionError::ComparePartitions { stored: self.partitions, given })
        }
    }
}

/// Writes the description of a new index, or checks that an existing one has this model and this many partitions.
///
/// # Errors
/// [`DescriptionError`].
pub async fn register_model(
    store: &dyn ImageStore,
    partitions: u32,
    manifest: &str,
) -> Result<IndexDescription, DescriptionError> {
    let given = Manifest::parse(manifest, Path::new("manifest.yaml"))?.digest();
    if read(store).await?.is_none() {
        let (model_digest, manifest) = (given.clone(), manifest.to_owned());
        let description = IndexDescription { format: FORMAT, partitions, model_digest, manifest };
        let bytes = serde_json::to_vec_pretty(&description).map_err(DescriptionError::Write)?;
        store.put_blob(DESCRIPTION_BLOB, bytes.into()).await?;
    }
    // Read back: of two that write at the same time one is last, and both then see the same.
    let missing = || DescriptionError::Parse { reason: "it vanished after it was written".to_owned() };
    let stored = read(store).await?.ok_or_else(missing)?.check_partitions(partitions)?;
    if stored.model_digest == given {
        Ok(stored)
    } else {
        Err(DescriptionError::CompareModel { stored: stored.model_digest, given })
    }
}

/// Reads the description, waiting until the first embedder has written it.
///
/// # Errors
/// [`DescriptionError`]; a store that does not answer is waited for, too.
pub async fn await_description(
    store: &dyn ImageStore,
    partitions: u32,
    stop: &CancellationToken,
) -> Result<IndexDescription, DescriptionError> {
    let mut told = false;
    loop {
        match read(store).await {
            Ok(Some(description)) => return description.check_partitions(partitions),
            Ok(None) if !told => {
                tracing::info!("waiting for the first embedder to register its model");
                told = true;
            }
            Ok(None) => {}
            Err(DescriptionError::Backend(error)) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(%error, "the index's description cannot be read yet");
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = stop.cancelled() => return Err(DescriptionError::Stop),
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn read(store: &dyn ImageStore) -> Result<Option<IndexDescription>, DescriptionError> {
    let Some(bytes) = store.get_blob(DESCRIPTION_BLOB).await? else { return Ok(None) };
    let wrong = |reason: String| DescriptionError::Parse { reason };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if format != Some(u64::from(FORMAT)) {
        return Err(wrong(format!("it has format {format:?}, this release reads {FORMAT}")));
    }
    serde_json::from_value(value).map(Some).map_err(|error| wrong(error.to_string()))
}
