//! Why an image was refused, in words for the person who sent it.
//!
//! Every variant names one cause and says what to do; [`ImagingError::code`] is its stable short name for APIs,
//! metrics and tests.

use std::error::Error;
use std::fmt::Display;

use thiserror::Error;

use crate::format::Format;

/// The cause that a decoder gave, in its own words.
pub type Cause = Box<dyn Error + Send + Sync + 'static>;

/// Why a file could not be read as an image, or an operation on an image was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImagingError {
    /// The file has no bytes.
    #[error("the file is empty (0 bytes); send the file again, its transfer probably failed")]
    EmptyFile,

    /// The file exceeds `max_file_bytes`.
    #[error(
        "the file has {bytes} bytes, more than the limit of {limit} (setting max_file_bytes); send it smaller"
    )]
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
    #[error("the file is {format}, a format that is not supported; convert it to DICOM, PNG, TIFF or NIfTI")]
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
    #[error("the image has {frames} frames, more than the limit of {limit} (setting max_frames); split it")]
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

    /// Nothing can be shown of a frame: it has no number, or its numbers overflow.
    #[error("the {format} file shows nothing: {detail}")]
    Blank {
        /// The format it was read as.
        format: Format,
        /// Which frame, why, and what to do.
        detail: String,
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

    /// Pixels in a layout or compression that is not read, for example 12-bit lossy JPEG.
    #[error("the {format} file holds {detail}, which is not supported; {}", read_instead(*format))]
    UnsupportedPixels {
        /// The format it was read as.
        format: Format,
        /// What is not supported.
        detail: String,
    },

    /// A decoder refused the data: they end early or contradict themselves, which not every decoder tells apart.
    #[error(
        "the {format} file ends early or is damaged: copy it again, or export it again from its source; the {decoder} decoder says: {source}"
    )]
    Decode {
        /// The format it was read as.
        format: Format,
        /// Name of the decoder.
        decoder: &'static str,
        /// The decoder's own words.
        source: Cause,
    },

    /// A decoder stopped on an internal fault; the process lives on.
    #[error(
        "the {decoder} decoder stopped on a fault ({detail}); the file is probably damaged: copy it again, or export it again from its source"
    )]
    DecoderFault {
        /// Name of the decoder.
        decoder: &'static str,
        /// The fault in the decoder's own words.
        detail: String,
    },

    /// A frame was asked for that the image does not have.
    #[error(
        "frame {frame} was asked for, but the image has {frames} frame(s), counted from 0; ask for one that it has"
    )]
    NoSuchFrame {
        /// The frame asked for, from 0.
        frame: u32,
        /// Frames in the image.
        frames: u32,
    },

    /// A region of interest reaches outside the image.
    #[error(
        "the region x={x} y={y} w={region_width} h={region_height} reaches outside the image of {width} x {height} pixels; choose one inside it"
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
            Self::Blank { .. } => "blank",
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

    /// A decoder's refusal; its words become one line without a full stop, as they end a sentence of ours.
    pub(crate) fn decode(format: Format, decoder: &'static str, cause: &dyn Display) -> Self {
        let words = cause.to_string();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::Decode { format, decoder, source: words.trim_end_matches('.').into() }
    }
}

/// What a file of a format can be turned into so that it is read.
fn read_instead(format: Format) -> &'static str {
    match format {
        Format::Dicom => {
            "transcode it to Explicit VR Little Endian, with grey or RGB pixels of 8 or 16 bits per sample"
        }
        Format::Jpeg => "save it as baseline JPEG of 8 bits per sample, or as PNG",
        Format::Nifti => "convert its voxels to whole numbers, float32 or float64",
        Format::Png | Format::Tiff | Format::Bmp => {
            "save it as grey or RGB of 8 or 16 bits per sample, uncompressed or as PNG"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_decoder_end_one_line_that_says_what_to_do() {
        let error = ImagingError::decode(Format::Png, "PNG (png)", &"CRC error:\n expected 1.\n");
        assert_eq!(
            error.to_string(),
            "the PNG file ends early or is damaged: copy it again, or export it again from its source; \
             the PNG (png) decoder says: CRC error: expected 1"
        );
        assert!(error.source().is_some_and(|cause| cause.to_string() == "CRC error: expected 1"));
    }

    #[test]
    fn pixels_that_are_not_read_come_with_what_is_read_of_their_format() {
        for format in [Format::Dicom, Format::Png, Format::Jpeg, Format::Tiff, Format::Bmp, Format::Nifti] {
            let error = ImagingError::UnsupportedPixels { format, detail: "a test".to_owned() };
            let words = error.to_string();
            assert!(words.starts_with(&format!("the {format} file holds a test, which is not supported; ")));
            assert!(words.ends_with(read_instead(format)), "{words}");
        }
    }
}
