//! Why a search was not answered.

use medindex_imaging::ImagingError;
use medindex_proto::identity::ImageId;

use crate::backend_error::{BackendError, from_backend};
use crate::embedding::EmbeddingError;
use crate::error::{Classified, ErrorKind};
use crate::ingest::error::{imaging_kind, imaging_limit_option};

/// Why a search was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A number of results that cannot be had.
    #[error("k is {k}, but must be 1 to {most}")]
    CheckResultCount {
        /// What was asked for.
        k: usize,
        /// The most that is answered.
        most: usize,
    },
    /// No list is to be probed.
    #[error("probes is 0, but must be at least 1; leave it out to have it chosen")]
    CheckProbes,
    /// There is no such image.
    #[error("there is no image {0}")]
    FindImage(ImageId),
    /// The image to search from has no vector.
    #[error("image {id} cannot be searched from: it is {state}")]
    FindVector {
        /// The image.
        id: ImageId,
        /// Where it stands.
        state: String,
    },
    /// The query file cannot be read, or the region lies outside of it.
    #[error(transparent)]
    Decode(ImagingError),
    /// The model failed on the query.
    #[error(transparent)]
    Embed(EmbeddingError),
    /// A part of the index did not answer, and the whole was asked for.
    #[error(
        "partitions {} did not answer, and the whole index was asked for; try again in a moment, or take a partial answer",
        shown(missing)
    )]
    CheckWhole {
        /// Partitions that did not answer.
        missing: Vec<u32>,
    },
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(SearchError);

fn shown(partitions: &[u32]) -> String {
    partitions.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

impl Classified for SearchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::FindImage(_) => ErrorKind::NotFound,
            Self::FindVector { .. } => ErrorKind::Conflict,
            Self::CheckResultCount { .. }
            | Self::CheckProbes
            | Self::Decode(
                ImagingError::RegionEmpty { .. }
                | ImagingError::RegionOutside { .. }
                | ImagingError::NoSuchFrame { .. },
            ) => ErrorKind::BadRequest,
            Self::Decode(error) => imaging_kind(error),
            Self::Embed(error) => error.kind(),
            Self::CheckWhole { .. } => ErrorKind::Unavailable,
            Self::Backend(error) => error.kind(),
        }
    }

    fn limit_option(&self) -> Option<&'static str> {
        match self {
            Self::Decode(error) => imaging_limit_option(error),
            _ => None,
        }
    }
}
