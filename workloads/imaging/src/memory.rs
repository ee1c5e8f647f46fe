//! What looking into an image takes of main memory, estimated, so that a process can bound what it does at the same time.
//!
//! Estimates are upper bounds for the formats as they are; they are not measured while a decoder runs.

use crate::dicom;
use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::FrameSelection;
use crate::info::ImageInfo;

/// Bytes that reading a header in place takes: directories, attributes, first rows.
const HEADER_IN_PLACE: u64 = 1 << 20;
/// Bytes before the pixels of a compressed stream at the most; a longer one is refused. An enhanced multi-frame object of 4096
/// frames has a few KiB of functional groups for each.
pub(crate) const COMPRESSED_HEADER: u64 = 32 << 20;
/// Bytes a pixel of the frame that is decoded: the decoder's own planes of up to 32 bits beside the stored values.
const WORKING_BYTES: u64 = 16;
/// Bytes a pixel of a frame that was decoded, and of its rendered form: up to three channels of 16 bits.
const KEPT_BYTES: u64 = 6;

/// Bytes that [`crate::inspect`] takes at the most beside the file.
pub fn inspect_memory(bytes: &[u8]) -> u64 {
    match Format::detect(bytes) {
        // A growing buffer is copied once more.
        Ok(Format::Dicom) if dicom::is_deflated(bytes) => 2 * COMPRESSED_HEADER,
        Ok(Format::Png) => COMPRESSED_HEADER,
        _ => HEADER_IN_PLACE,
    }
}

/// Bytes that [`crate::decode`] and rendering take at the most beside the file and what [`inspect_memory`] says.
///
/// # Errors
/// [`ImagingError::NoSuchFrame`] where the image has no such frame.
pub fn decode_memory(info: &ImageInfo, selection: FrameSelection) -> Result<u64, ImagingError> {
    let pixels = u64::from(info.width) * u64::from(info.height);
    let selected = selection.of(info.frames)?;
    let frames = u64::from(selected.end - selected.start);
    Ok(pixels.saturating_mul(WORKING_BYTES + KEPT_BYTES * frames))
}
