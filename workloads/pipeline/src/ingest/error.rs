//! Why an upload was refused or could not be kept.

use medindex_imaging::ImagingError;
use medindex_proto::identity::ImageId;

use crate::backend_error::{BackendError, from_backend};
use crate::error::{Classified, ErrorKind};
use crate::ingest::label::LabelError;

/// Why an upload was refused or could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The file is no image that can be indexed, or too large.
    #[error(transparent)]
    Inspect(ImagingError),
    /// The label cannot be kept.
    #[error("{0}")]
    CheckLabel(#[from] LabelError),
    /// The same bytes are just being deleted.
    #[error("image {0} with the same content is being deleted; upload it again in a minute")]
    BeingDeleted(ImageId),
    /// There is no such image.
    #[error("there is no image {0}")]
    FindImage(ImageId),
    /// It did not become searchable in time; it stays accepted.
    #[error("image {0} is accepted but not searchable yet; ask for its status later")]
    AwaitSearchable(ImageId),
    /// The upload was neither taken nor refused: a fault of ours.
    #[error("the upload was not answered; send it again, and report it if it comes back")]
    LoseAnswer,
    /// A backend failed; the upload is not acknowledged.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(IngestError);

impl Classified for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Inspect(error) => imaging_kind(error),
            Self::CheckLabel(_) => ErrorKind::BadRequest,
            Self::BeingDeleted(_) => ErrorKind::Conflict,
            Self::FindImage(_) => ErrorKind::NotFound,
            Self::AwaitSearchable(_) => ErrorKind::Unavailable,
            Self::LoseAnswer => ErrorKind::Internal,
            Self::Backend(error) => error.kind(),
        }
    }

    fn limit_option(&self) -> Option<&'static str> {
        match self {
            Self::Inspect(error) => imaging_limit_option(error),
            _ => None,
        }
    }
}

/// Kind of a refusal by the imaging crate.
pub(crate) fn imaging_kind(error: &ImagingError) -> ErrorKind {
    if error.is_limit() { ErrorKind::TooLarge } else { ErrorKind::Unprocessable }
}

/// The option that raises the limit over which an image is.
pub(crate) fn imaging_limit_option(error: &ImagingError) -> Option<&'static str> {
    match error {
        ImagingError::FileTooLarge { .. } => Some("--max-file-bytes"),
        ImagingError::TooManyPixels { .. } => Some("--max-pixels"),
        ImagingError::TooManyFrames { .. } => Some("--max-frames"),
        ImagingError::DecodedTooLarge { .. } | ImagingError::DecoderTooLarge { .. } => {
            Some("--max-decoded-bytes")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_that_raises_a_limit_is_named_where_there_is_one() {
        let pixels = ImagingError::TooManyPixels { width: 4, height: 4, pixels: 16, limit: 9 };
        assert_eq!(IngestError::Inspect(pixels).limit_advice(), "; --max-pixels raises the limit");
        let frames = ImagingError::TooManyFrames { frames: 30, limit: 9 };
        assert_eq!(IngestError::Inspect(frames).limit_option(), Some("--max-frames"));
        assert_eq!(IngestError::Inspect(ImagingError::EmptyFile).limit_advice(), "");
        assert_eq!(IngestError::LoseAnswer.limit_option(), None);
    }
}
