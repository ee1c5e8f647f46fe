//! PNG, JPEG and BMP through the `image` crate; TIFF in [`tiff`].

mod jpeg;
pub(crate) mod tiff;

use std::error::Error as _;
use std::io::Cursor;
use std::sync::Arc;

use image::error::UnsupportedErrorKind;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::contain::contained;
use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::{Decoded, Frame, FrameSelection, Pixels, Samples};
use crate::grey::GreyDisplay;
use crate::info::{ImageAttributes, ImageInfo};
use crate::limits::Limits;
use crate::memory::COMPRESSED_HEADER;

/// Reads the header of a PNG, JPEG or BMP file.
pub(crate) fn inspect(bytes: &[u8], format: Format, limits: &Limits) -> Result<ImageInfo, ImagingError> {
    contained(decoder_name(format), || open(bytes, format, limits).map(|opened| opened.info))
}

/// Decodes a PNG, JPEG or BMP file, turned as its EXIF orientation says.
pub(crate) fn decode(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
    selection: FrameSelection,
) -> Result<Decoded, ImagingError> {
    contained(decoder_name(format), || {
        let opened = open(bytes, format, limits)?;
        if format == Format::Jpeg && !jpeg::has_end(bytes) {
            // Its decoder would fill the missing part with grey.
            return Err(ImagingError::truncated(format, "it has no end mark"));
        }
        selection.of(opened.info.frames)?;
        limits.check_decoded(opened.decoder.total_bytes())?;
        let mut picture = DynamicImage::from_decoder(opened.decoder)
            .map_err(|error| refused(bytes, format, error, limits))?;
        picture.apply_orientation(opened.orientation);
        let (pixels, display) = pixels_of(picture);
        let frame = Frame::new(0, opened.info.width, opened.info.height, pixels, Arc::new(display));
        Ok(Decoded { info: opened.info, frames: vec![frame] })
    })
}

struct Opened<'a> {
    decoder: Box<dyn ImageDecoder + 'a>,
    orientation: Orientation,
    info: ImageInfo,
}

fn open<'a>(bytes: &'a [u8], format: Format, limits: &Limits) -> Result<Opened<'a>, ImagingError> {
    let kind = match format {
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Bmp => ImageFormat::Bmp,
        _ => ImageFormat::Png,
    };
    let mut most = limits.max_decoded_bytes;
    if let Some((width, height)) = declared_size(bytes, format) {
        limits.check_frame(width, height)?;
        // Four channels of 16 bits; what is left is for profiles, which may be compressed as well.
        most = most.min(u64::from(width) * u64::from(height) * 8 + COMPRESSED_HEADER);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(most);
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(|error| refused(bytes, format, error, limits))?;
    let (stored_width, stored_height) = decoder.dimensions();
    limits.check_frame(stored_width, stored_height)?;
    limits.check_frames(1)?;
    // A file without a readable orientation is shown as stored.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let (width, height) = if turned { (stored_height, stored_width) } else { (stored_width, stored_height) };
    let photo = decoder.color_type().has_color().then(|| "photo".to_owned());
    let info = ImageInfo {
        format,
        width,
        height,
        frames: 1,
        transfer_syntax: None,
        attributes: ImageAttributes { image_type: photo, ..ImageAttributes::default() },
    };
    Ok(Opened { decoder: Box::new(decoder), orientation, info })
}

/// The size where its header has it at a fixed place, so that our limits speak before those of a decoder.
fn declared_size(bytes: &[u8], format: Format) -> Option<(u32, u32)> {
    let word = |at: usize| bytes.get(at..)?.first_chunk::<4>().copied();
    match format {
        Format::Png => Some((u32::from_be_bytes(word(16)?), u32::from_be_bytes(word(20)?))),
        // The oldest bitmap header has its size in 16 bits. A negative height means rows from the top.
        Format::Bmp if word(14)? != 12u32.to_le_bytes() => {
            let edge = |bytes: [u8; 4]| i32::from_le_bytes(bytes).unsigned_abs();
            Some((edge(word(18)?), edge(word(22)?)))
        }
        _ => None,
    }
}

/// Transparent pixels are laid over black.
fn pixels_of(picture: DynamicImage) -> (Pixels, GreyDisplay) {
    // Sixteen bits seldom mean sixteen used ones (12-bit detectors): such grey is shown over its own range.
    let (eight, sixteen) = (GreyDisplay::plain(255.0), GreyDisplay::of_values());
    match picture.color() {
        ColorType::L8 => (Pixels::Grey(Samples::U8(picture.into_luma8().into_raw())), eight),
        ColorType::La8 => {
            let values = picture.into_luma_alpha8().into_raw();
            let laid = values.chunks_exact(2).map(|pixel| over_black(pixel[0], pixel[1])).collect();
            (Pixels::Grey(Samples::U8(laid)), eight)
        }
        ColorType::L16 => (Pixels::Grey(Samples::U16(picture.into_luma16().into_raw())), sixteen),
        ColorType::La16 => {
            let values = picture.into_luma_alpha16().into_raw();
            let laid = values.chunks_exact(2).map(|pixel| over_black16(pixel[0], pixel[1])).collect();
            (Pixels::Grey(Samples::U16(laid)), sixteen)
        }
        ColorType::Rgba8 => {
            let values = picture.into_rgba8().into_raw();
            let over = |pixel: &[u8]| [0, 1, 2].map(|channel| over_black(pixel[channel], pixel[3]));
            (Pixels::Rgb8(values.chunks_exact(4).flat_map(over).collect()), eight)
        }
        ColorType::Rgb16 => {
            (Pixels::Rgb16 { values: picture.into_rgb16().into_raw(), white: u16::MAX }, sixteen)
        }
        ColorType::Rgba16 => {
            let values = picture.into_rgba16().into_raw();
            let over = |pixel: &[u16]| [0, 1, 2].map(|channel| over_black16(pixel[channel], pixel[3]));
            let values = values.chunks_exact(4).flat_map(over).collect();
            (Pixels::Rgb16 { values, white: u16::MAX }, sixteen)
        }
        _ => (Pixels::Rgb8(picture.into_rgb8().into_raw()), eight),
    }
}

/// A value of 8 bits laid over black.
pub(crate) fn over_black(value: u8, alpha: u8) -> u8 {
    ((u16::from(value) * u16::from(alpha) + 127) / 255) as u8
}

fn over_black16(value: u16, alpha: u16) -> u16 {
    ((u32::from(value) * u32::from(alpha) + 32767) / 65535) as u16
}

fn decoder_name(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "JPEG (zune-jpeg)",
        Format::Bmp => "BMP (image)",
        _ => "PNG (png)",
    }
}

/// The `image` crate's error in this crate's words: what is not supported and what ends early apart from what is damaged.
fn refused(bytes: &[u8], format: Format, error: ImageError, limits: &Limits) -> ImagingError {
    if format == Format::Jpeg
        && let Some(detail) = jpeg::unread(bytes)
    {
        return ImagingError::UnsupportedPixels { format, detail };
    }
    match error {
        ImageError::Limits(_) => ImagingError::DecoderTooLarge { format, limit: limits.max_decoded_bytes },
        ImageError::IoError(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::truncated(format, "it ends before its last pixel")
        }
        ImageError::Unsupported(cause) => {
            let feature = match cause.kind() {
                UnsupportedErrorKind::GenericFeature(feature) => feature,
                _ => cause.to_string(),
            };
            ImagingError::UnsupportedPixels { format, detail: format!("the feature \"{feature}\"") }
        }
        _ if format == Format::Jpeg && !jpeg::has_end(bytes) => {
            ImagingError::truncated(format, "it has no end mark")
        }
        ImageError::Decoding(cause) => match cause.source() {
            Some(inner) => ImagingError::decode(format, decoder_name(format), &inner),
            None => ImagingError::decode(format, decoder_name(format), &cause),
        },
        other => ImagingError::decode(format, decoder_name(format), &other),
    }
}
