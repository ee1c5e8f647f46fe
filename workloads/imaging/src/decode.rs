//! The two entries: what a file is, and its pixels.

use crate::dicom;
use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::{Decoded, FrameSelection, shown};
use crate::info::ImageInfo;
use crate::limits::Limits;
use crate::{nifti, plain};

/// Reads the header of an image: format, size, frames and attributes. Pixels are not decoded.
///
/// # Errors
/// Any [`ImagingError`] that the header shows: not an image, no pixel data, a limit, a transfer syntax that is not read.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImagingError> {
    limits.check_file(bytes.len())?;
    match Format::detect(bytes)? {
        Format::Dicom => dicom::inspect(bytes, limits),
        Format::Nifti => nifti::inspect(bytes, limits),
        Format::Tiff => plain::tiff::inspect(bytes, limits),
        format => plain::inspect(bytes, format, limits),
    }
}

/// Reads an image with the selected frames decoded.
///
/// # Errors
/// Any [`ImagingError`]; [`ImagingError::NoSuchFrame`] where the image has no such frame.
pub fn decode(bytes: &[u8], limits: &Limits, selection: FrameSelection) -> Result<Decoded, ImagingError> {
    limits.check_file(bytes.len())?;
    let format = Format::detect(bytes)?;
    let Decoded { info, frames } = match format {
        Format::Dicom => dicom::decode(bytes, limits, selection),
        Format::Nifti => nifti::decode(bytes, limits, selection),
        Format::Tiff => plain::tiff::decode(bytes, limits, selection),
        _ => plain::decode(bytes, format, limits, selection),
    }?;
    Ok(Decoded { info, frames: shown(format, selection, frames)? })
}
