//! TIFF and `BigTIFF`: pages as frames; grey and colour of 1 to 64 bits, signed and floating point.
//!
//! Not read: palettes, YCbCr outside JPEG compression, CMYK and Lab.

use std::io::Cursor;
use std::sync::Arc;

use tiff::decoder::{Decoder, DecodingResult, Limits as TiffLimits};
use tiff::tags::{CompressionMethod, Tag};
use tiff::{ColorType, TiffError, TiffUnsupportedError};

use crate::contain::contained;
use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::{Decoded, Frame, FrameSelection, Pixels, Samples};
use crate::grey::GreyDisplay;
use crate::info::{ImageAttributes, ImageInfo};
use crate::limits::Limits;
use crate::plain::over_black;

const DECODER: &str = "TIFF (tiff)";

/// Reads the directories of a TIFF file: its first page's size, and how many pages there are.
pub(crate) fn inspect(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImagingError> {
    contained(DECODER, || {
        let mut decoder = open(bytes, limits)?;
        let first = Page::read(&mut decoder, bytes.len(), limits)?;
        let mut frames = 1;
        while decoder.more_images() {
            decoder.next_image().map_err(refused)?;
            frames += 1;
            limits.check_frames(frames)?;
        }
        // Of several pages another one may be asked for.
        if frames == 1 {
            first.check_colour()?;
        }
        Ok(first.info(frames as u32))
    })
}

/// Decodes the selected pages.
pub(crate) fn decode(
    bytes: &[u8],
    limits: &Limits,
    selection: FrameSelection,
) -> Result<Decoded, ImagingError> {
    let info = inspect(bytes, limits)?;
    let selected = selection.of(info.frames)?;
    let frames = contained(DECODER, || {
        let mut decoder = open(bytes, limits)?;
        let mut frames = Vec::new();
        let mut decoded_bytes = 0;
        for index in 0..selected.end {
            if index > 0 {
                decoder.next_image().map_err(refused)?;
            }
            if index < selected.start {
                continue;
            }
            let page = Page::read(&mut decoder, bytes.len(), limits)?;
            decoded_bytes += page.bytes();
            limits.check_decoded(decoded_bytes)?;
            frames.push(page.decode(&mut decoder, index)?);
        }
        Ok(frames)
    })?;
    Ok(Decoded { info, frames })
}

type TiffDecoder<'a> = Decoder<Cursor<&'a [u8]>>;

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<TiffDecoder<'a>, ImagingError> {
    let bound = usize::try_from(limits.max_decoded_bytes).unwrap_or(usize::MAX);
    let mut own = TiffLimits::default();
    own.decoding_buffer_size = bound;
    own.intermediate_buffer_size = bound.min(bytes.len().max(1 << 20));
    own.ifd_value_size = bound.min(bytes.len().max(1 << 20));
    Ok(Decoder::new(Cursor::new(bytes)).map_err(refused)?.with_limits(own))
}

/// The current page before its pixels are read.
struct Page {
    width: u32,
    height: u32,
    colour: ColorType,
    planar: bool,
}

impl Page {
    fn read(decoder: &mut TiffDecoder<'_>, file_bytes: usize, limits: &Limits) -> Result<Self, ImagingError> {
        let (width, height) = decoder.dimensions().map_err(refused)?;
        limits.check_frame(width, height)?;
        let colour = decoder.colortype().map_err(refused)?;
        let planar = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).map_err(refused)? == Some(2);
        let page = Self { width, height, colour, planar };
        limits.check_decoded(page.bytes())?;
        check_pieces(decoder, file_bytes as u64)?;
        Ok(page)
    }

    fn bytes(&self) -> u64 {
        let bits = u64::from(self.colour.bit_depth()) * u64::from(self.colour.num_samples());
        u64::from(self.width) * u64::from(self.height) * bits.div_ceil(8)
    }

    fn info(&self, frames: u32) -> ImageInfo {
        let photo = self.colour.num_samples() >= 3;
        ImageInfo {
            format: Format::Tiff,
            width: self.width,
            height: self.height,
            frames,
            transfer_syntax: None,
            attributes: ImageAttributes {
                image_type: photo.then(|| "photo".to_owned()),
                ..ImageAttributes::default()
            },
        }
    }

    /// Refuses kinds of pixels that are not read.
    fn check_colour(&self) -> Result<(), ImagingError> {
        match self.colour {
            ColorType::Gray(_) | ColorType::GrayA(8) | ColorType::RGB(8 | 16) | ColorType::RGBA(8) => Ok(()),
            other => Err(unread(name_of(other))),
        }
    }

    fn decode(&self, decoder: &mut TiffDecoder<'_>, index: u32) -> Result<Frame, ImagingError> {
        self.check_colour()?;
        let mut values = DecodingResult::U8(Vec::new());
        decoder.read_image_to_buffer(&mut values).map_err(refused)?;
        let (pixels, display) = match self.colour {
            ColorType::Gray(bits) => self.grey(values, bits),
            ColorType::GrayA(8) => {
                let over = |pixel: &[u8]| over_black(pixel[0], pixel[1]);
                let grey = self.bytes_of(values)?.chunks_exact(2).map(over).collect();
                (Pixels::Grey(Samples::U8(grey)), GreyDisplay::plain(255.0))
            }
            ColorType::RGB(8) => (Pixels::Rgb8(self.bytes_of(values)?), GreyDisplay::plain(255.0)),
            ColorType::RGBA(8) => {
                let over = |pixel: &[u8]| [0, 1, 2].map(|channel| over_black(pixel[channel], pixel[3]));
                let colour = self.bytes_of(values)?.chunks_exact(4).flat_map(over).collect();
                (Pixels::Rgb8(colour), GreyDisplay::plain(255.0))
            }
            ColorType::RGB(16) => match values {
                DecodingResult::U16(values) => {
                    let values = self.woven(values);
                    (Pixels::Rgb16 { values, white: u16::MAX }, GreyDisplay::plain(65535.0))
                }
                _ => return Err(unread(format!("signed or real {}", name_of(self.colour)))),
            },
            _ => return Err(unread(name_of(self.colour))),
        };
        let channels = if matches!(pixels, Pixels::Grey(_)) { 1 } else { 3 };
        let length = match &pixels {
            Pixels::Grey(samples) => samples.len(),
            Pixels::Rgb8(values) => values.len(),
            Pixels::Rgb16 { values, .. } => values.len(),
        };
        let expected = self.width as usize * self.height as usize * channels;
        if length != expected {
            let detail = format!("page {index} has {length} values where {expected} belong");
            return Err(ImagingError::truncated(Format::Tiff, detail));
        }
        Ok(Frame::new(index, self.width, self.height, pixels, Arc::new(display)))
    }

    fn grey(&self, values: DecodingResult, bits: u8) -> (Pixels, GreyDisplay) {
        let samples = match values {
            DecodingResult::U8(values) if bits < 8 => {
                let white = f64::from((1u32 << bits) - 1);
                let samples = self.unpacked(&values, u32::from(bits));
                return (Pixels::Grey(samples), GreyDisplay::plain(white));
            }
            DecodingResult::U8(values) => {
                return (Pixels::Grey(Samples::U8(values)), GreyDisplay::plain(255.0));
            }
            DecodingResult::U16(values) => Samples::U16(values),
            DecodingResult::U32(values) => Samples::U32(values),
            DecodingResult::I8(values) => Samples::I16(values.into_iter().map(i16::from).collect()),
            DecodingResult::I16(values) => Samples::I16(values),
            DecodingResult::I32(values) => Samples::I32(values),
            DecodingResult::F32(values) => Samples::F32(values),
            DecodingResult::F64(values) => Samples::F64(values),
            DecodingResult::U64(values) => {
                Samples::F64(values.into_iter().map(|value| value as f64).collect())
            }
            DecodingResult::I64(values) => {
                Samples::F64(values.into_iter().map(|value| value as f64).collect())
            }
            DecodingResult::F16(values) => Samples::F32(values.into_iter().map(f32::from).collect()),
        };
        (Pixels::Grey(samples), GreyDisplay::of_values())
    }

    /// Values of 1, 2 or 4 bits, rows padded to whole bytes, the first value in the highest bits.
    fn unpacked(&self, bytes: &[u8], bits: u32) -> Samples {
        let width = self.width as usize;
        let row = (width * bits as usize).div_ceil(8);
        let value = |line: &[u8], at: usize| {
            let bit = at as u32 * bits;
            line[bit as usize / 8] >> (8 - bits - bit % 8) & ((1 << bits) - 1) as u8
        };
        let lines = bytes.chunks_exact(row);
        Samples::U8(lines.flat_map(|line| (0..width).map(move |at| value(line, at))).collect())
    }

    fn bytes_of(&self, values: DecodingResult) -> Result<Vec<u8>, ImagingError> {
        match values {
            DecodingResult::U8(values) => Ok(self.woven(values)),
            _ => Err(unread(format!("signed or real {}", name_of(self.colour)))),
        }
    }

    /// Pixel after pixel, where the file has plane after plane.
    fn woven<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        let samples = usize::from(self.colour.num_samples());
        if !self.planar || samples == 1 {
            return values;
        }
        let plane = values.len() / samples;
        (0..plane)
            .flat_map(|at| (0..samples).map(move |sample| (at, sample)))
            .map(|(at, sample)| values[sample * plane + at])
            .collect()
    }
}

fn name_of(colour: ColorType) -> String {
    let name = match colour {
        ColorType::Gray(_) => "grey",
        ColorType::GrayA(_) => "grey with transparency",
        ColorType::RGB(_) => "RGB colour",
        ColorType::RGBA(_) => "RGB colour with transparency",
        ColorType::Palette(_) => "a palette",
        ColorType::CMYK(_) | ColorType::CMYKA(_) => "CMYK colour",
        ColorType::YCbCr(_) => "YCbCr colour",
        ColorType::Lab(_) => "CIE L*a*b* colour",
        _ => "a mixture of channels",
    };
    format!("{name} of {} bits per sample", colour.bit_depth())
}

fn unread(detail: String) -> ImagingError {
    ImagingError::UnsupportedPixels { format: Format::Tiff, detail }
}

/// Refuses a page whose strips or tiles lie beyond the end of the file: it was cut.
fn check_pieces(decoder: &mut TiffDecoder<'_>, file_bytes: u64) -> Result<(), ImagingError> {
    for (offsets, lengths) in
        [(Tag::StripOffsets, Tag::StripByteCounts), (Tag::TileOffsets, Tag::TileByteCounts)]
    {
        let offsets = decoder.find_tag_unsigned_vec::<u64>(offsets).map_err(refused)?.unwrap_or_default();
        let lengths = decoder.find_tag_unsigned_vec::<u64>(lengths).map_err(refused)?.unwrap_or_default();
        let ends = offsets.iter().zip(&lengths).map(|(offset, length)| offset.saturating_add(*length));
        if let Some(end) = ends.max().filter(|end| *end > file_bytes) {
            let detail = format!("its pixels end at byte {end}, and it has {file_bytes}");
            return Err(ImagingError::truncated(Format::Tiff, detail));
        }
    }
    Ok(())
}

fn refused(error: TiffError) -> ImagingError {
    match error {
        TiffError::IoError(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::truncated(Format::Tiff, "it ends before its last pixel")
        }
        TiffError::UnsupportedError(cause) => unread(feature_of(&cause)),
        // Pixels were compared with our own limits before.
        TiffError::LimitsExceeded | TiffError::IntSizeError => {
            ImagingError::damaged(Format::Tiff, "it declares a part that is longer than the file can be")
        }
        TiffError::FormatError(cause) => ImagingError::decode(Format::Tiff, DECODER, &cause),
        other => ImagingError::decode(Format::Tiff, DECODER, &other),
    }
}

/// What the decoder does not read, for the sentence that it holds it.
fn feature_of(cause: &TiffUnsupportedError) -> String {
    use TiffUnsupportedError as Unsupported;
    match cause {
        Unsupported::UnsupportedCompressionMethod(CompressionMethod::Unknown(number)) => {
            format!("pixels compressed by method {number}")
        }
        Unsupported::UnsupportedCompressionMethod(method) => format!("pixels compressed by {method:?}"),
        Unsupported::UnknownCompressionMethod => "pixels compressed by a method that is not known".to_owned(),
        Unsupported::UnsupportedInterpretation(kind) | Unsupported::InterpretationWithBits(kind, _) => {
            format!("pixels of photometric interpretation {kind:?}")
        }
        Unsupported::UnknownInterpretation => {
            "pixels of a photometric interpretation that is not known".to_owned()
        }
        Unsupported::UnsupportedColorType(colour) => name_of(*colour),
        Unsupported::UnsupportedSampleDepth(bits) | Unsupported::UnsupportedBitsPerChannel(bits) => {
            format!("samples of {bits} bits")
        }
        Unsupported::InconsistentBitsPerSample(bits) => format!("samples of different depths {bits:?}"),
        Unsupported::ChromaSubsampling => "YCbCr colour with subsampling".to_owned(),
        other => format!("the feature \"{other}\""),
    }
}
