//! DICOM files and bare data sets: header, frames, display.
//!
//! The data set is read in place by [`data_set`] and not by `dicom-object`, which takes the memory that a length
//! declares before it looks at what is left of the file, and copies the pixel data. Character sets and names of
//! classes come from dicom-rs.

mod attributes;
mod colour;
mod data_set;
mod display;
mod file;
mod image_module;
mod jpeg;
mod jpeg_12;
mod jpeg_2000;
mod jpeg_header;
mod jpeg_ls;
mod jpeg_ls_scan;
mod objects;
mod pixel_data;
mod rle;
mod samples;
mod text;
mod transfer_syntax;

use std::borrow::Cow;

pub(crate) use file::{is_deflated, looks_like_data_set};

use self::colour::{Palette, expand_422, ybr_full_to_rgb};
use self::data_set::{DataSet, PIXEL_DATA};
use self::display::Displays;
use self::file::DicomFile;
use self::image_module::{ImageModule, Photometric, unsupported};
use self::pixel_data::PixelData;
use self::samples::{Stored, unpack_bits};
use self::transfer_syntax::Compression;
use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::{Decoded, Frame, FrameSelection, Pixels, Samples};
use crate::info::ImageInfo;
use crate::limits::Limits;

/// Reads the header of a DICOM file, and checks that its pixel data is there; no pixel is decoded.
pub(crate) fn inspect(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImagingError> {
    let file = DicomFile::open(bytes, limits, false)?;
    let data_set = file.data_set()?;
    let module = read_module(&file, &data_set, limits)?;
    // Of a deflated data set only the header was inflated.
    if !file.syntax.deflated {
        PixelData::locate(&data_set, &module, file.syntax.compression)?.check_first(&module)?;
        check_length(&file, &data_set)?;
    }
    info_of(&file, &data_set, &module)
}

/// Decodes the selected frames of a DICOM file.
pub(crate) fn decode(
    bytes: &[u8],
    limits: &Limits,
    selection: FrameSelection,
) -> Result<Decoded, ImagingError> {
    let file = DicomFile::open(bytes, limits, true)?;
    let data_set = file.data_set()?;
    let module = read_module(&file, &data_set, limits)?;
    let info = info_of(&file, &data_set, &module)?;
    let selected = selection.of(module.frames)?;
    limits.check_decoded(
        module.decoded_frame_bytes().saturating_mul(u64::from(selected.end - selected.start)),
    )?;
    let decoder = FrameDecoder {
        pixel_data: PixelData::locate(&data_set, &module, file.syntax.compression)?,
        palette: match module.photometric {
            Photometric::Palette => Some(Palette::read(&data_set, module.signed)?),
            _ => None,
        },
        compression: file.syntax.compression,
        word_bytes: word_bytes(&data_set, &module),
        module: &module,
    };
    let displays = Displays::read(&data_set, &module)?;
    let frames = selected.map(|frame| {
        let pixels = decoder.decode(frame)?;
        Ok(Frame::new(frame, module.columns, module.rows, pixels, displays.of(frame)?))
    });
    let frames = frames.collect::<Result<Vec<Frame>, ImagingError>>()?;
    check_length(&file, &data_set)?;
    Ok(Decoded { info, frames })
}

/// Refuses pixel data that declares more bytes than the file has, also where its frames happen to be there: the file was
/// cut, or lies. Of a deflated data set no more is inflated than its frames need.
fn check_length(file: &DicomFile<'_>, data_set: &DataSet<'_>) -> Result<(), ImagingError> {
    match data_set.pixels() {
        Some(value) if value.missing > 0 && !value.undefined && !file.syntax.deflated => {
            let declared = value.bytes.len() as u64 + value.missing;
            let detail = format!(
                "its pixel data declares {declared} bytes, and {} of them are missing",
                value.missing
            );
            Err(ImagingError::truncated(Format::Dicom, detail))
        }
        _ => Ok(()),
    }
}

/// The image module; what cannot be decoded is refused before anything else is said of it.
fn read_module(
    file: &DicomFile<'_>,
    data_set: &DataSet<'_>,
    limits: &Limits,
) -> Result<ImageModule, ImagingError> {
    if data_set.is_empty() {
        return Err(ImagingError::truncated(Format::Dicom, "its data set is empty"));
    }
    let module = ImageModule::read(data_set, limits);
    // An object without pixels is not refused for the name of a compression it does not use.
    if file.syntax.compression == Compression::Unsupported
        && !matches!(module, Err(ImagingError::NoPixelData { .. }))
    {
        return Err(file::unsupported(&file.syntax_uid, file.syntax.name));
    }
    module
}

fn info_of(
    file: &DicomFile<'_>,
    data_set: &DataSet<'_>,
    module: &ImageModule,
) -> Result<ImageInfo, ImagingError> {
    let mut attributes = attributes::read(data_set)?;
    attributes.class_uid = attributes.class_uid.or_else(|| file.media_class.clone());
    Ok(ImageInfo {
        format: Format::Dicom,
        width: module.columns,
        height: module.rows,
        frames: module.frames,
        transfer_syntax: Some(file.syntax_uid.clone()),
        attributes,
    })
}

/// Bytes of a big endian word of the pixel data: with VR OW two at least, also where they hold two samples.
fn word_bytes(data_set: &DataSet<'_>, module: &ImageModule) -> Option<usize> {
    let value = data_set.get(PIXEL_DATA)?;
    let least = if value.vr == Some(*b"OW") { 2 } else { 1 };
    data_set.encoding.big_endian.then(|| least.max((module.bits_allocated / 8) as usize))
}

struct FrameDecoder<'a> {
    pixel_data: PixelData<'a>,
    palette: Option<Palette>,
    compression: Compression,
    word_bytes: Option<usize>,
    module: &'a ImageModule,
}

impl FrameDecoder<'_> {
    fn decode(&self, frame: u32) -> Result<Pixels, ImagingError> {
        let module = self.module;
        let bytes = self.pixel_data.frame(module, frame, self.word_bytes)?;
        let declared_ybr =
            module.photometric == Photometric::YbrFull || module.photometric == Photometric::YbrFull422;
        let (stored, ybr) = match self.compression {
            Compression::Native if module.bits_allocated == 1 => {
                let first_bit = (module.native_frame_bits() * u64::from(frame) % 8) as usize;
                return Ok(self.grey_or_palette(unpack_bits(&bytes, first_bit, module.pixels())));
            }
            Compression::Native => (self.native(bytes)?, declared_ybr),
            Compression::Rle => (rle::decode(&bytes, module)?, declared_ybr),
            Compression::Jpeg => {
                let decoded = jpeg::decode(&bytes, module)?;
                (decoded.stored, decoded.ybr)
            }
            Compression::JpegLs => (jpeg_ls::decode(&bytes, module)?, declared_ybr),
            Compression::Jpeg2000 => {
                let (stored, transformed) = jpeg_2000::decode(&bytes, module)?;
                (stored, declared_ybr && !transformed)
            }
            Compression::Unsupported => return Err(unsupported("pixels in a compression that is not read")),
        };
        let values = stored.values(module.kind);
        let expected = module.pixels() * module.samples as usize;
        if values.len() != expected {
            return Err(ImagingError::truncated(
                Format::Dicom,
                format!("frame {frame} has {} values where {expected} belong", values.len()),
            ));
        }
        if module.samples == 1 {
            Ok(self.grey_or_palette(values))
        } else {
            colour_pixels(values, stored.bits, ybr)
        }
    }

    fn native<'b>(&self, bytes: Cow<'b, [u8]>) -> Result<Stored<'b>, ImagingError> {
        let module = self.module;
        // A fragment may be padded to an even length.
        let whole = (module.native_frame_bits() / 8) as usize;
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[..whole.min(bytes.len())]),
            Cow::Owned(mut bytes) => {
                bytes.truncate(whole);
                Cow::Owned(bytes)
            }
        };
        let mut stored = Stored::native(bytes, module);
        if module.photometric == Photometric::YbrFull422 {
            if stored.sample_bytes != 1 {
                return Err(unsupported("subsampled colour of more than 8 bits"));
            }
            stored.bytes = Cow::Owned(expand_422(&stored.bytes));
            stored.planar = false;
        }
        Ok(stored)
    }

    fn grey_or_palette(&self, values: Samples) -> Pixels {
        match &self.palette {
            Some(palette) => palette.apply(&values),
            None => Pixels::Grey(values),
        }
    }
}

/// Three samples a pixel as RGB; deeper than 16 bits is cut to 16.
fn colour_pixels(values: Samples, bits: u32, ybr: bool) -> Result<Pixels, ImagingError> {
    let deep =
        |values: Vec<u16>, bits: u32| Pixels::Rgb16 { values, white: u16::MAX >> (16 - bits.clamp(1, 16)) };
    match values {
        Samples::U8(mut values) => {
            if ybr {
                ybr_full_to_rgb(&mut values);
            }
            if bits < 8 {
                return Ok(deep(values.into_iter().map(u16::from).collect(), bits));
            }
            Ok(Pixels::Rgb8(values))
        }
        _ if ybr => Err(unsupported("YBR colour of more than 8 bits")),
        Samples::U16(values) => Ok(deep(values, bits)),
        Samples::U32(values) => {
            let shift = bits.saturating_sub(16);
            Ok(deep(values.into_iter().map(|value| (value >> shift) as u16).collect(), bits))
        }
        _ => Err(unsupported("signed colour")),
    }
}
