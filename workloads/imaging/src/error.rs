//! Why an image was refused, in words for the person who sent it.
//!
//! Every variant names one cause and says what to do; [`ImagingError::code`] is its stable short name for APIs,
//! metrics and tests.

use std::error::Error;

use thiserror::Error;

use crate::format::Format;

/// The cause that a decoder gave.
pub type Cause = Box<dyn Error + Send + Sync + 'static>;

/// Why a file could not be read as an image, or an operation on an image was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImagingError {
    /// The file has no bytes.
    #[error("the file is empty (0 bytes); send the file again, its transfer probably failed")]
    EmptyFile,

    /// The file exceeds `max_file_bytes`.
    #[error("the file has {bytes} bytes, more than the limit of {limit} (setting max_file_bytes)")]
    FileTooLarge {
        /// Size of the file.
        bytes: u64,
        /// The limit in force.
        limit: u64,
    },

    /// The content is not in any image format.
    #[error(
        "the file is not an image: its content looks like {looks_like}; send DICOM, PNG, JPEG, TIFF, BMP or NIfTI"
    )]
    NotAnImage {
        /// What the first bytes look like.
        looks_like: String,
    },

    /// An image, but in a format that is not read.
    #[error("the file is {format}, a format that is not supported; convert it to DICOM, PNG or TIFF")]
    UnsupportedFormat {
        /// The format's name with its article.
        format: String,
    },

    /// The header declares an image without pixels.
    #[error("the image is {width} x {height} pixels in size, so it has no pixel; export it again")]
    ZeroSized {
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
    },

    /// A frame exceeds `max_pixels`.
    #[error(
        "the image is {width} x {height} = {pixels} pixels, more than the limit of {limit} (setting max_pixels); send it smaller"
    )]
    TooManyPixels {
        /// Declared width.
        width: u32,
        /// Declared height.
        height: u32,
        /// Width times height.
        pixels: u64,
        /// The limit in force.
        limit: u64,
    },

    /// The file exceeds `max_frames`.
    #[error(
        "the image has {frames} frames, more than the limit of {limit} (setting max_frames); split it, or raise the limit"
    )]
    TooManyFrames {
        /// Declared number of frames.
        frames: u64,
        /// The limit in force.
        limit: u32,
    },

    /// The decoded pixels exceed `max_decoded_bytes`.
    #[error(
        "the image decodes to {bytes} bytes, more than the limit of {limit} (setting max_decoded_bytes); send fewer or smaller frames"
    )]
    DecodedTooLarge {
        /// Bytes that decoding would take.
        bytes: u64,
        /// The limit in force.
        limit: u64,
    },

    /// A decoder needs more memory than `max_decoded_bytes` before it gives any pixel.
    #[error(
        "decoding the {format} file takes more than the limit of {limit} bytes (setting max_decoded_bytes); send it smaller"
    )]
    DecoderTooLarge {
        /// The format it was read as.
        format: Format,
        /// The limit in force.
        limit: u64,
    },

    /// A compressed header is longer than any image needs.
    #[error(
        "the {format} file has more than the limit of {limit} bytes before its pixels, once uncompressed; remove its large private elements or profiles, and send it again"
    )]
    HeaderTooLarge {
        /// The format it was read as.
        format: Format,
        /// The limit in force; it is no setting.
        limit: u64,
    },

    /// The file ends too early.
    #[error("the {format} file is truncated: {detail}; send the file again")]
    Truncated {
        /// The format it was read as.
        format: Format,
        /// Where it ends.
        detail: String,
    },

    /// The content contradicts itself or its format.
    #[error("the {format} file is damaged: {detail}; export it again from its source")]
    Damaged {
        /// The format it was read as.
        format: Format,
        /// What is wrong.
        detail: String,
    },

    /// A DICOM object without pixels, for example a structured report.
    #[error("the DICOM file has no pixel data: it is {object}; only images can be indexed")]
    NoPixelData {
        /// What kind of object it is.
        object: String,
    },

    /// Pixel data in a compression that is not read.
    #[error(
        "the DICOM file's transfer syntax {uid} ({name}) is not supported; transcode it to Explicit VR Little Endian, JPEG-LS or JPEG 2000"
    )]
    UnsupportedTransferSyntax {
        /// UID of the transfer syntax.
        uid: String,
        /// Its name in the standard, or "unknown".
        name: String,
    },

    /// Pixels in a layout that is not read, for example 12-bit lossy JPEG.
    #[error(
        "the {format} file holds {detail}, which is not supported; convert it to 8 or 16 bits per sample"
    )]
    UnsupportedPixels {
        /// The format it was read as.
        format: Format,
        /// What is not supported.
        detail: String,
    },

    /// A decoder refused the compressed data.
    #[error("the {decoder} decoder could not read the {format} file: {source}; the file is probably damaged")]
    Decode {
        /// The format it was read as.
        format: Format,
        /// Name of the decoder.
        decoder: &'static str,
        /// The decoder's own words.
        source: Cause,
    },

    /// A decoder stopped on an internal fault; the process lives on.
    #[error("the {decoder} decoder stopped on a fault ({detail}); the file is probably damaged")]
    DecoderFault {
        /// Name of the decoder.
        decoder: &'static str,
        /// The fault in the decoder's own words.
        detail: String,
    },

    /// A frame was asked for that the image does not have.
    #[error("frame {frame} was asked for, but the image has {frames} frame(s), counted from 0")]
    NoSuchFrame {
        /// The frame asked for, from 0.
        frame: u32,
        /// Frames in the image.
        frames: u32,
    },

    /// A region of interest reaches outside the image.
    #[error(
        "the region x={x} y={y} w={region_width} h={region_height} reaches outside the image of {width} x {height} pixels"
    )]
    RegionOutside {
        /// Left edge.
        x: u32,
        /// Top edge.
        y: u32,
        /// Width of the region.
        region_width: u32,
        /// Height of the region.
        region_height: u32,
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },

    /// A region of interest without pixels.
    #[error(
        "the region is {region_width} x {region_height} pixels, so it is empty; choose one inside the image of {width} x {height} pixels"
    )]
    RegionEmpty {
        /// Width of the region.
        region_width: u32,
        /// Height of the region.
        region_height: u32,
        /// Width of the image.
        width: u32,
        /// Height of the image.
        height: u32,
    },

    /// A model's input cannot be made as specified.
    #[error("the model input cannot be prepared: {detail}; correct the model's manifest")]
    InvalidInputSpec {
        /// What is wrong with it.
        detail: String,
    },

    /// A preview could not be made as asked.
    #[error("the preview cannot be made: {detail}")]
    Preview {
        /// What is wrong.
        detail: String,
    },
}

impl ImagingError {
    /// Stable short name of the cause, for APIs, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyFile => "empty_file",
            Self::FileTooLarge { .. } => "file_too_large",
            Self::NotAnImage { .. } => "not_an_image",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::ZeroSized { .. } => "zero_sized",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooManyFrames { .. } => "too_many_frames",
            Self::DecodedTooLarge { .. } | Self::DecoderTooLarge { .. } => "decoded_too_large",
            Self::HeaderTooLarge { .. } => "header_too_large",
            Self::Truncated { .. } => "truncated",
            Self::Damaged { .. } => "damaged",
            Self::NoPixelData { .. } => "no_pixel_data",
            Self::UnsupportedTransferSyntax { .. } => "unsupported_transfer_syntax",
            Self::UnsupportedPixels { .. } => "unsupported_pixels",
            Self::Decode { .. } => "decode",
            Self::DecoderFault { .. } => "decoder_fault",
            Self::NoSuchFrame { .. } => "no_such_frame",
            Self::RegionOutside { .. } => "region_outside",
            Self::RegionEmpty { .. } => "region_empty",
            Self::InvalidInputSpec { .. } => "invalid_input_spec",
            Self::Preview { .. } => "preview",
        }
    }

    /// True where a limit refused the file.
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::FileTooLarge { .. }
                | Self::TooManyPixels { .. }
                | Self::TooManyFrames { .. }
                | Self::DecodedTooLarge { .. }
                | Self::DecoderTooLarge { .. }
                | Self::HeaderTooLarge { .. }
        )
    }

    pub(crate) fn truncated(format: Format, detail: impl Into<String>) -> Self {
        Self::Truncated { format, detail: detail.into() }
    }

    pub(crate) fn damaged(format: Format, detail: impl Into<String>) -> Self {
        Self::Damaged { format, detail: detail.into() }
    }
}
