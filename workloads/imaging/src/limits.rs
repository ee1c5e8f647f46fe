//! What one image may cost: bounds that are checked before memory is taken.

use serde::{Deserialize, Serialize};

use crate::error::ImagingError;

/// Bounds on one image file. Every bound is inclusive: a value equal to the bound is accepted.
///
/// Headers are checked against these bounds before pixel memory is taken, and streams that turn out larger
/// than their header declares are cut off at the declared size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of the file as uploaded. Default 512 MiB.
    pub max_file_bytes: u64,
    /// Pixels (width × height) of one frame. Default 100 million.
    pub max_pixels: u64,
    /// Frames (multi-frame DICOM, TIFF pages, `NIfTI` slices). Default 4096.
    pub max_frames: u32,
    /// Bytes of the decoded pixels of all selected frames together. Default 1 GiB.
    pub max_decoded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 512 << 20,
            max_pixels: 100_000_000,
            max_frames: 4096,
            max_decoded_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Refuses a file that is empty or larger than `max_file_bytes`.
    pub(crate) fn check_file(&self, bytes: usize) -> Result<(), ImagingError> {
        if bytes == 0 {
            return Err(ImagingError::EmptyFile);
        }
        if bytes as u64 > self.max_file_bytes {
            return Err(ImagingError::FileTooLarge { bytes: bytes as u64, limit: self.max_file_bytes });
        }
        Ok(())
    }

    /// Refuses a frame without pixels or with more than `max_pixels`.
    pub(crate) fn check_frame(&self, width: u32, height: u32) -> Result<(), ImagingError> {
        if width == 0 || height == 0 {
            return Err(ImagingError::ZeroSized { width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.max_pixels {
            return Err(ImagingError::TooManyPixels { width, height, pixels, limit: self.max_pixels });
        }
        Ok(())
    }

    /// Refuses more than `max_frames` frames.
    pub(crate) fn check_frames(&self, frames: u64) -> Result<(), ImagingError> {
        if frames > u64::from(self.max_frames) {
            return Err(ImagingError::TooManyFrames { frames, limit: self.max_frames });
        }
        Ok(())
    }

    /// Refuses decoded pixels of more than `max_decoded_bytes`.
    pub(crate) fn check_decoded(&self, bytes: u64) -> Result<(), ImagingError> {
        if bytes > self.max_decoded_bytes {
            return Err(ImagingError::DecodedTooLarge { bytes, limit: self.max_decoded_bytes });
        }
        Ok(())
    }
}
