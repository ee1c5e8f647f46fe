//! `NIfTI`-1 and `NIfTI`-2 volumes in one file, plain or gzip-compressed: slices along the third axis are frames, further
//! axes follow one after the other.
//!
//! Slices are turned as radiologists see them, by the signs of the file's orientation: patient's right on the left, front or
//! top up. A compressed volume is inflated no further than the last selected slice.
//!
//! Voxels that are NaN, which masks have as background, take the least finite value of their slice after scaling, and infinite ones its ends;
//! a slice without a finite voxel takes the least value of all slices decoded with it. Where none of them has one, and where scaling
//! overflows, nothing can be shown ([`crate::frame::shown`]).

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use crate::error::ImagingError;
use crate::format::Format;
use crate::frame::{Decoded, Frame, FrameSelection, Pixels, Samples};
use crate::grey::{GreyDisplay, Modality};
use crate::info::ImageInfo;
use crate::limits::Limits;
use crate::nifti_header::{HEADER_BYTES, Header, Number};

/// True for a `NIfTI` header, also inside gzip.
pub(crate) fn looks_like_nifti(bytes: &[u8]) -> bool {
    head_of(bytes).is_ok_and(|head| Header::is_one(&head))
}

/// Reads the header of a volume.
pub(crate) fn inspect(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImagingError> {
    let header = read_header(bytes, limits)?;
    Ok(header.info())
}

/// Decodes the selected slices.
pub(crate) fn decode(
    bytes: &[u8],
    limits: &Limits,
    selection: FrameSelection,
) -> Result<Decoded, ImagingError> {
    let header = read_header(bytes, limits)?;
    let selected = selection.of(header.frames)?;
    let slice = header.slice_bytes();
    let count = u64::from(selected.end - selected.start);
    limits.check_decoded(slice.saturating_mul(count))?;
    let start = slice.saturating_mul(u64::from(selected.start)).saturating_add(header.data_offset);
    let mut source = Source::open(bytes);
    if let Source::Gzip(_) = source {
        // What lies before the slices has to be inflated too, and takes time.
        limits.check_decoded(start.saturating_add(slice.saturating_mul(count)))?;
    }
    source.skip(start)?;
    let mut slices = Vec::new();
    for index in selected.clone() {
        let mut raw = Vec::new();
        source.read(slice, &mut raw)?;
        if raw.len() as u64 != slice {
            return Err(ImagingError::truncated(
                Format::Nifti,
                format!("slice {index} of {} has {} bytes where {slice} belong", header.frames, raw.len()),
            ));
        }
        slices.push(turned(pixels_of(&raw, &header), &header));
    }
    settle(&mut slices, header.slope);
    let display = Arc::new(display_of(&header));
    let frames = selected
        .zip(slices)
        .map(|(index, pixels)| Frame::new(index, header.width, header.height, pixels, Arc::clone(&display)));
    Ok(Decoded { info: header.info(), frames: frames.collect() })
}

fn read_header(bytes: &[u8], limits: &Limits) -> Result<Header, ImagingError> {
    let header = Header::read(&head_of(bytes)?)?;
    limits.check_frame(header.width, header.height)?;
    limits.check_frames(header.declared_frames)?;
    limits.check_decoded(header.slice_bytes())?;
    Ok(header)
}

/// The first bytes of the volume, inflated where needed.
fn head_of(bytes: &[u8]) -> Result<Vec<u8>, ImagingError> {
    let mut head = Vec::new();
    Source::open(bytes).read(HEADER_BYTES, &mut head)?;
    Ok(head)
}

/// A volume's bytes in their order.
enum Source<'a> {
    Plain(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
}

impl<'a> Source<'a> {
    fn open(bytes: &'a [u8]) -> Self {
        if bytes.starts_with(&[0x1F, 0x8B]) {
            Self::Gzip(Box::new(MultiGzDecoder::new(bytes)))
        } else {
            Self::Plain(bytes)
        }
    }

    /// Appends up to `length` bytes.
    fn read(&mut self, length: u64, to: &mut Vec<u8>) -> Result<(), ImagingError> {
        match self {
            Self::Plain(bytes) => {
                let (taken, rest) = bytes.split_at((length as usize).min(bytes.len()));
                to.extend_from_slice(taken);
                *bytes = rest;
                Ok(())
            }
            Self::Gzip(stream) => match stream.by_ref().take(length).read_to_end(to) {
                Ok(_) => Ok(()),
                // What could be inflated is told by the length.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
                Err(error) => Err(ImagingError::decode(Format::Nifti, "gzip", &error)),
            },
        }
    }

    fn skip(&mut self, mut length: u64) -> Result<(), ImagingError> {
        if let Self::Plain(bytes) = self {
            *bytes = bytes.get(length as usize..).unwrap_or_default();
            return Ok(());
        }
        let mut scrap = Vec::with_capacity(1 << 16);
        while length > 0 {
            scrap.clear();
            self.read(length.min(1 << 16), &mut scrap)?;
            if scrap.is_empty() {
                return Err(ImagingError::truncated(Format::Nifti, "it ends before the slice asked for"));
            }
            length -= scrap.len() as u64;
        }
        Ok(())
    }
}

fn display_of(header: &Header) -> GreyDisplay {
    let modality = Modality::Linear { slope: header.slope, intercept: header.intercept };
    let bytes_as_shown = header.number == Number::U8 && modality == Modality::IDENTITY;
    GreyDisplay { natural: bytes_as_shown.then_some((0.0, 255.0)), modality, ..GreyDisplay::of_values() }
}

fn pixels_of(raw: &[u8], header: &Header) -> Pixels {
    fn words<const N: usize>(raw: &[u8], big: bool) -> impl Iterator<Item = [u8; N]> {
        raw.as_chunks::<N>().0.iter().map(move |word| {
            let mut word = *word;
            if big {
                word.reverse();
            }
            word
        })
    }
    let big = header.big_endian;
    let samples = match header.number {
        Number::U8 => Samples::U8(raw.to_vec()),
        Number::I8 => Samples::I16(raw.iter().map(|byte| i16::from(byte.cast_signed())).collect()),
        Number::U16 => Samples::U16(words(raw, big).map(u16::from_le_bytes).collect()),
        Number::I16 => Samples::I16(words(raw, big).map(i16::from_le_bytes).collect()),
        Number::U32 => Samples::U32(words(raw, big).map(u32::from_le_bytes).collect()),
        Number::I32 => Samples::I32(words(raw, big).map(i32::from_le_bytes).collect()),
        Number::F32 => Samples::F32(words(raw, big).map(f32::from_le_bytes).collect()),
        Number::F64 => Samples::F64(words(raw, big).map(f64::from_le_bytes).collect()),
        Number::U64 => Samples::F64(words(raw, big).map(|word| u64::from_le_bytes(word) as f64).collect()),
        Number::I64 => Samples::F64(words(raw, big).map(|word| i64::from_le_bytes(word) as f64).collect()),
        Number::Rgb => return Pixels::Rgb8(raw.to_vec()),
        Number::Rgba => {
            let colours = raw.as_chunks::<4>().0.iter();
            return Pixels::Rgb8(colours.flat_map(|[red, green, blue, _]| [*red, *green, *blue]).collect());
        }
    };
    Pixels::Grey(samples)
}

/// Gives voxels that are no finite numbers a value that can be shown, as the head of this file says; where no slice has a finite value,
/// none is changed.
fn settle(slices: &mut [Pixels], slope: f64) {
    let range_of = |pixels: &Pixels| match pixels {
        Pixels::Grey(samples @ (Samples::F32(_) | Samples::F64(_))) => samples.finite_range(),
        _ => None,
    };
    let ranges: Vec<Option<(f64, f64)>> = slices.iter().map(range_of).collect();
    let whole = ranges.iter().flatten().copied();
    let whole = whole.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    let Some(whole) = whole else { return };
    // A negative slope turns the order.
    let darkest = |(least, greatest): (f64, f64)| if slope < 0.0 { greatest } else { least };
    for (pixels, range) in slices.iter_mut().zip(ranges) {
        let (least, greatest) = range.unwrap_or_else(|| (darkest(whole), darkest(whole)));
        let background = darkest((least, greatest));
        let settled = |value: f64| if value.is_nan() { background } else { value.clamp(least, greatest) };
        match pixels {
            Pixels::Grey(Samples::F32(values)) => {
                for value in values {
                    *value = settled(f64::from(*value)) as f32;
                }
            }
            Pixels::Grey(Samples::F64(values)) => {
                for value in values {
                    *value = settled(*value);
                }
            }
            _ => {}
        }
    }
}

/// Turns a slice left to right and top to bottom as the header asks.
fn turned(pixels: Pixels, header: &Header) -> Pixels {
    fn flip<T: Copy>(values: &[T], channels: usize, header: &Header) -> Vec<T> {
        let (width, height) = (header.width as usize, header.height as usize);
        let mut out = Vec::with_capacity(values.len());
        for row in 0..height {
            let row = if header.flip_rows { height - 1 - row } else { row };
            let line = &values[row * width * channels..(row + 1) * width * channels];
            if header.flip_columns {
                out.extend(line.chunks_exact(channels).rev().flatten());
            } else {
                out.extend_from_slice(line);
            }
        }
        out
    }
    if !header.flip_rows && !header.flip_columns {
        return pixels;
    }
    match pixels {
        Pixels::Rgb8(values) => Pixels::Rgb8(flip(&values, 3, header)),
        Pixels::Rgb16 { values, white } => Pixels::Rgb16 { values: flip(&values, 3, header), white },
        Pixels::Grey(samples) => Pixels::Grey(match samples {
            Samples::U8(values) => Samples::U8(flip(&values, 1, header)),
            Samples::U16(values) => Samples::U16(flip(&values, 1, header)),
            Samples::I16(values) => Samples::I16(flip(&values, 1, header)),
            Samples::U32(values) => Samples::U32(flip(&values, 1, header)),
            Samples::I32(values) => Samples::I32(flip(&values, 1, header)),
            Samples::F32(values) => Samples::F32(flip(&values, 1, header)),
            Samples::F64(values) => Samples::F64(flip(&values, 1, header)),
        }),
    }
}
