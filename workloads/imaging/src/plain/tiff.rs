//! TIFF: pages as frames.

use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::{Decoded, FrameSelection};
use crate::info::ImageInfo;
use crate::limits::Limits;

pub(crate) fn inspect(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImagingError> {
    super::inspect(bytes, Format::Tiff, limits)
}

pub(crate) fn decode(
    bytes: &[u8],
    limits: &Limits,
    selection: FrameSelection,
) -> Result<Decoded, ImagingError> {
    super::decode(bytes, Format::Tiff, limits, selection)
}
