//! DICOM files and bare data sets.

use crate::error::ImagingError;
use crate::frame::{Decoded, FrameSelection};
use crate::info::ImageInfo;
use crate::limits::Limits;

pub(crate) fn looks_like_data_set(_bytes: &[u8]) -> bool {
    false
}

pub(crate) fn inspect(_bytes: &[u8], _limits: &Limits) -> Result<ImageInfo, ImagingError> {
    Err(ImagingError::UnsupportedFormat { format: "a DICOM file".to_owned() })
}

pub(crate) fn decode(_: &[u8], _: &Limits, _: FrameSelection) -> Result<Decoded, ImagingError> {
    Err(ImagingError::UnsupportedFormat { format: "a DICOM file".to_owned() })
}
