//! The image pixel module: what the header says of the pixels (PS3.3 C.7.6.3), checked before they are touched.

use super::data_set::{DOUBLE_PIXEL_DATA, DataSet, FLOAT_PIXEL_DATA, PIXEL_DATA, Tag, tag_name};
use super::objects::describe_object;
use crate::error::ImagingError;
use crate::format::Format;
use crate::limits::Limits;

const SAMPLES_PER_PIXEL: Tag = 0x0028_0002;
const PHOTOMETRIC_INTERPRETATION: Tag = 0x0028_0004;
const PLANAR_CONFIGURATION: Tag = 0x0028_0006;
const NUMBER_OF_FRAMES: Tag = 0x0028_0008;
const ROWS: Tag = 0x0028_0010;
const COLUMNS: Tag = 0x0028_0011;
const BITS_ALLOCATED: Tag = 0x0028_0100;
const BITS_STORED: Tag = 0x0028_0101;
const HIGH_BIT: Tag = 0x0028_0102;
const PIXEL_REPRESENTATION: Tag = 0x0028_0103;

/// Photometric Interpretation (0028,0004).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Photometric {
    Monochrome1,
    Monochrome2,
    Palette,
    Rgb,
    YbrFull,
    YbrFull422,
    /// JPEG 2000 transforms, which the codestream itself undoes.
    YbrJpeg2000,
}

/// What a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SampleKind {
    Integer,
    Float,
    Double,
}

/// The image pixel module.
#[derive(Debug, Clone)]
pub(crate) struct ImageModule {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    /// At least 1, within the limits.
    pub(crate) frames: u32,
    /// 1 or 3.
    pub(crate) samples: u32,
    pub(crate) photometric: Photometric,
    /// True for planes one after the other.
    pub(crate) planar: bool,
    /// 1, 8, 16, 32 or 64.
    pub(crate) bits_allocated: u32,
    /// 1 to `bits_allocated`.
    pub(crate) bits_stored: u32,
    /// `bits_stored - 1` to `bits_allocated - 1`.
    pub(crate) high_bit: u32,
    pub(crate) signed: bool,
    pub(crate) kind: SampleKind,
}

impl ImageModule {
    /// Reads and checks the module of a data set.
    pub(crate) fn read(data_set: &DataSet<'_>, limits: &Limits) -> Result<Self, ImagingError> {
        let kind = if data_set.get(PIXEL_DATA).is_some() {
            SampleKind::Integer
        } else if data_set.get(FLOAT_PIXEL_DATA).is_some() {
            SampleKind::Float
        } else if data_set.get(DOUBLE_PIXEL_DATA).is_some() {
            SampleKind::Double
        } else {
            return Err(ImagingError::NoPixelData { object: describe_object(data_set) });
        };
        let rows = u32::from(required(data_set, ROWS, "Rows")?);
        let columns = u32::from(required(data_set, COLUMNS, "Columns")?);
        limits.check_frame(columns, rows)?;
        let frames = match data_set.decimal(NUMBER_OF_FRAMES) {
            Some(frames) if frames < 0.0 => {
                return Err(damaged(format!("its Number of Frames (0028,0008) is {frames}")));
            }
            // `as` saturates.
            Some(frames) => (frames as u64).max(1),
            // Absent, or no number, as in real files of one frame.
            None => 1,
        };
        limits.check_frames(frames)?;
        let samples = u32::from(data_set.u16(SAMPLES_PER_PIXEL).unwrap_or(1));
        let bits_allocated = u32::from(required(data_set, BITS_ALLOCATED, "Bits Allocated")?);
        let bits_stored = data_set.u16(BITS_STORED).map_or(bits_allocated, u32::from);
        let high_bit = data_set.u16(HIGH_BIT).map_or(bits_stored.saturating_sub(1), u32::from);
        let module = Self {
            rows,
            columns,
            frames: frames as u32,
            samples,
            photometric: photometric(data_set, samples)?,
            planar: samples > 1 && data_set.u16(PLANAR_CONFIGURATION) == Some(1),
            bits_allocated,
            bits_stored,
            high_bit,
            signed: data_set.u16(PIXEL_REPRESENTATION) == Some(1),
            kind,
        };
        module.check()?;
        limits.check_decoded(module.decoded_frame_bytes())?;
        Ok(module)
    }

    fn check(&self) -> Result<(), ImagingError> {
        let bits = self.bits_allocated;
        let allowed = match self.kind {
            SampleKind::Integer => matches!(bits, 1 | 8 | 16 | 32) && (bits != 1 || self.samples == 1),
            SampleKind::Float => bits == 32 && self.samples == 1,
            SampleKind::Double => bits == 64 && self.samples == 1,
        };
        if !allowed {
            return Err(unsupported(format!("{bits} bits allocated for each of {} samples", self.samples)));
        }
        if self.bits_stored == 0 || self.bits_stored > bits {
            return Err(damaged(format!("it stores {} bits in {bits} allocated bits", self.bits_stored)));
        }
        if self.high_bit >= bits || self.high_bit + 1 < self.bits_stored {
            return Err(damaged(format!(
                "its High Bit {} does not fit {} stored bits in {bits}",
                self.high_bit, self.bits_stored
            )));
        }
        let expected = match self.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 | Photometric::Palette => 1,
            _ => 3,
        };
        if self.samples != expected {
            return Err(damaged(format!(
                "it has {} samples per pixel where its photometric interpretation needs {expected}",
                self.samples
            )));
        }
        Ok(())
    }

    /// Pixels of a frame.
    pub(crate) fn pixels(&self) -> usize {
        self.rows as usize * self.columns as usize
    }

    /// Bits of one uncompressed frame in the file.
    pub(crate) fn native_frame_bits(&self) -> u64 {
        let samples = match self.photometric {
            // Two pixels share their colour.
            Photometric::YbrFull422 => 2,
            _ => u64::from(self.samples),
        };
        self.pixels() as u64 * samples * u64::from(self.bits_allocated)
    }

    /// Bytes of all uncompressed frames in the file.
    pub(crate) fn native_bytes(&self) -> u64 {
        self.native_frame_bits().saturating_mul(u64::from(self.frames)).div_ceil(8)
    }

    /// Bytes of one decoded frame in memory.
    pub(crate) fn decoded_frame_bytes(&self) -> u64 {
        let sample = u64::from(self.bits_allocated.div_ceil(8));
        let samples = if self.photometric == Photometric::Palette { 3 } else { u64::from(self.samples) };
        self.pixels() as u64 * samples * sample
    }
}

fn required(data_set: &DataSet<'_>, tag: Tag, name: &str) -> Result<u16, ImagingError> {
    data_set.u16(tag).ok_or_else(|| damaged(format!("it has pixel data, but no {name} {}", tag_name(tag))))
}

fn photometric(data_set: &DataSet<'_>, samples: u32) -> Result<Photometric, ImagingError> {
    let Some(code) = data_set.code(PHOTOMETRIC_INTERPRETATION) else {
        return Ok(if samples == 3 { Photometric::Rgb } else { Photometric::Monochrome2 });
    };
    match code.to_ascii_uppercase().as_str() {
        "MONOCHROME1" => Ok(Photometric::Monochrome1),
        "MONOCHROME2" => Ok(Photometric::Monochrome2),
        "PALETTE COLOR" | "PALETTE_COLOR" => Ok(Photometric::Palette),
        "RGB" => Ok(Photometric::Rgb),
        "YBR_FULL" => Ok(Photometric::YbrFull),
        "YBR_FULL_422" => Ok(Photometric::YbrFull422),
        "YBR_ICT" | "YBR_RCT" => Ok(Photometric::YbrJpeg2000),
        _ => Err(unsupported(format!("pixels of photometric interpretation {code}"))),
    }
}

pub(crate) fn damaged(detail: impl Into<String>) -> ImagingError {
    ImagingError::damaged(Format::Dicom, detail)
}

pub(crate) fn unsupported(detail: impl Into<String>) -> ImagingError {
    ImagingError::UnsupportedPixels { format: Format::Dicom, detail: detail.into() }
}
