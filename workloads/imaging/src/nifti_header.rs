//! The header of a `NIfTI`-1 (348 bytes) or `NIfTI`-2 (540 bytes) volume (nifti1.h and nifti2.h of the NIfTI group).

use crate::error::ImagingError;
use crate::format::Format;
use crate::info::{ImageAttributes, ImageInfo};

/// Bytes that hold either header.
pub(crate) const HEADER_BYTES: u64 = 544;

/// Type of a voxel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    Rgb,
    Rgba,
}

impl Number {
    fn of_code(code: u16) -> Option<Self> {
        Some(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            128 => Self::Rgb,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            1280 => Self::U64,
            2304 => Self::Rgba,
            _ => return None,
        })
    }

    fn bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::Rgb => 3,
            Self::U32 | Self::I32 | Self::F32 | Self::Rgba => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// What a data type is that is not read, in brackets; empty where the standard has none of this code.
fn name_of(code: u16) -> &'static str {
    match code {
        1 => " (single bits)",
        32 | 1792 | 2048 => " (complex numbers)",
        1536 => " (real numbers of 128 bits)",
        _ => "",
    }
}

/// What decoding needs of the header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Slices times further axes; `declared_frames` is checked against the limit before this is used.
    pub(crate) frames: u32,
    pub(crate) declared_frames: u64,
    pub(crate) number: Number,
    pub(crate) big_endian: bool,
    pub(crate) data_offset: u64,
    pub(crate) slope: f64,
    pub(crate) intercept: f64,
    pub(crate) flip_columns: bool,
    pub(crate) flip_rows: bool,
    description: Option<String>,
}

impl Header {
    /// True where the first bytes are a header of either version.
    pub(crate) fn is_one(head: &[u8]) -> bool {
        Fields::open(head).is_some()
    }

    pub(crate) fn read(head: &[u8]) -> Result<Self, ImagingError> {
        let fields = Fields::open(head)
            .ok_or_else(|| ImagingError::truncated(Format::Nifti, "its header is incomplete"))?;
        if fields.split {
            return Err(ImagingError::UnsupportedFormat {
                format: "the header half of a NIfTI pair (.hdr and .img)".to_owned(),
            });
        }
        let damaged = |detail: String| ImagingError::damaged(Format::Nifti, detail);
        let axes = fields.dimension(0);
        if !(1..=7).contains(&axes) {
            return Err(damaged(format!("it declares {axes} axes (dim[0]), and has to have 1 to 7")));
        }
        let length = |axis: usize| if axis as i64 <= axes { fields.dimension(axis) } else { 1 };
        if let Some(axis) = (1..=7).find(|axis| length(*axis) < 0) {
            return Err(damaged(format!("its axis {axis} has length {}", length(axis))));
        }
        let edge = |axis: usize| u32::try_from(length(axis)).unwrap_or(u32::MAX);
        let declared_frames = (3..=7).fold(1u64, |frames, axis| frames.saturating_mul(length(axis) as u64));
        let code = fields.u16(if fields.second { 12 } else { 70 });
        let number = Number::of_code(code).ok_or_else(|| ImagingError::UnsupportedPixels {
            format: Format::Nifti,
            detail: format!("voxels of data type {code}{}", name_of(code)),
        })?;
        if declared_frames == 0 {
            return Err(ImagingError::ZeroSized { width: edge(1), height: edge(2) });
        }
        let data_offset = fields
            .data_offset()
            .ok_or_else(|| damaged("its voxels begin at no place that can be (vox_offset)".to_owned()))?;
        // Colours are not scaled (nifti1.h).
        let coloured = matches!(number, Number::Rgb | Number::Rgba);
        let (slope, intercept) = if coloured { (1.0, 0.0) } else { fields.scaling()? };
        let [columns, rows] = fields.directions();
        Ok(Self {
            width: edge(1),
            height: edge(2),
            frames: u32::try_from(declared_frames).unwrap_or(u32::MAX),
            declared_frames,
            number,
            big_endian: fields.big_endian,
            data_offset,
            slope,
            intercept,
            // World axes point to the patient's right, front and top.
            flip_columns: columns.0 <= 1 && columns.1 > 0.0,
            flip_rows: rows.0 >= 1 && rows.1 > 0.0,
            description: fields.description(),
        })
    }

    /// Bytes of one slice.
    pub(crate) fn slice_bytes(&self) -> u64 {
        u64::from(self.width).saturating_mul(u64::from(self.height)).saturating_mul(self.number.bytes())
    }

    pub(crate) fn info(&self) -> ImageInfo {
        ImageInfo {
            format: Format::Nifti,
            width: self.width,
            height: self.height,
            frames: self.frames,
            transfer_syntax: None,
            attributes: ImageAttributes {
                description: self.description.clone(),
                ..ImageAttributes::default()
            },
        }
    }
}

/// Numbers at their places in either header.
struct Fields<'a> {
    head: &'a [u8],
    /// True for version 2.
    second: bool,
    /// True where the voxels lie in a file of their own.
    split: bool,
    big_endian: bool,
}

impl<'a> Fields<'a> {
    fn open(head: &'a [u8]) -> Option<Self> {
        let size = *head.first_chunk::<4>()?;
        let (length, big_endian) = match (u32::from_le_bytes(size), u32::from_be_bytes(size)) {
            (length @ (348 | 540), _) => (length, false),
            (_, length @ (348 | 540)) => (length, true),
            _ => return None,
        };
        let second = length == 540;
        let magic = head.get(if second { 4 } else { 344 }..)?.first_chunk::<4>()?;
        let split = match magic {
            b"n+1\0" | b"n+2\0" => false,
            b"ni1\0" | b"ni2\0" => true,
            _ => return None,
        };
        (head.len() >= length as usize).then_some(Self { head, second, split, big_endian })
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut word = self.head.get(at..).and_then(<[u8]>::first_chunk::<N>).copied().unwrap_or([0; N]);
        if self.big_endian {
            word.reverse();
        }
        word
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    /// A real number, of single precision in version 1 and double in version 2.
    fn real(&self, first: usize, second: usize) -> f64 {
        if self.second {
            f64::from_le_bytes(self.bytes(second))
        } else {
            f64::from(f32::from_le_bytes(self.bytes(first)))
        }
    }

    /// As [`Fields::real`]; 0 where it is not finite.
    fn finite(&self, first: usize, second: usize) -> f64 {
        let value = self.real(first, second);
        if value.is_finite() { value } else { 0.0 }
    }

    fn dimension(&self, axis: usize) -> i64 {
        if self.second {
            i64::from_le_bytes(self.bytes(16 + 8 * axis))
        } else {
            i64::from(i16::from_le_bytes(self.bytes(40 + 2 * axis)))
        }
    }

    /// Where the voxels begin, behind the header at least: some write 0. `None` for what is no number or negative.
    fn data_offset(&self) -> Option<u64> {
        if self.second {
            return u64::try_from(i64::from_le_bytes(self.bytes(168))).ok().map(|offset| offset.max(544));
        }
        let offset = f32::from_le_bytes(self.bytes(108));
        // `as` saturates, and what lies behind the file's end is refused when it is read.
        (offset.is_finite() && offset >= 0.0).then(|| (offset as u64).max(352))
    }

    /// Slope and intercept. A slope of 0 means that there is no scaling (nifti1.h), and so does NaN, which nibabel writes for it; the
    /// intercept is not looked at then. Any other that is not finite makes every value wrong, so it is refused.
    fn scaling(&self) -> Result<(f64, f64), ImagingError> {
        let slope = self.real(112, 176);
        if slope == 0.0 || slope.is_nan() {
            return Ok((1.0, 0.0));
        }
        let intercept = self.real(116, 184);
        for (name, value) in [("scl_slope", slope), ("scl_inter", intercept)] {
            if !value.is_finite() {
                let detail = format!(
                    "its {name} is {value}, by which no value can be computed (a scl_slope of 0 means no scaling)"
                );
                return Err(ImagingError::damaged(Format::Nifti, detail));
            }
        }
        Ok((slope, intercept))
    }

    fn description(&self) -> Option<String> {
        let bytes = self.head.get(if self.second { 240 } else { 148 }..)?.get(..80)?;
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// For columns (first axis) and rows (second): the world axis it is closest to, and its sign.
    fn directions(&self) -> [(usize, f64); 2] {
        let code = |first: usize, second: usize| {
            if self.second { u32::from_le_bytes(self.bytes(second)) as u16 } else { self.u16(first) }
        };
        let matrix = if code(254, 348) > 0 {
            [280, 296, 312].map(|first| {
                let second = 400 + (first - 280) * 2;
                [self.finite(first, second), self.finite(first + 4, second + 8)]
            })
        } else if code(252, 344) > 0 {
            let [b, c, d] = [0, 1, 2].map(|part| self.finite(256 + 4 * part, 352 + 8 * part));
            let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
            // The first two columns of the rotation matrix of a quaternion.
            [
                [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d)],
                [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d],
                [2.0 * (b * d - a * c), 2.0 * (c * d + a * b)],
            ]
        } else {
            // Without orientation the standard's oldest convention holds: right, front, top.
            [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
        };
        [0, 1].map(|column| {
            let along = |world: usize| matrix[world][column];
            let closest = (1..3)
                .fold(0, |best, world| if along(world).abs() > along(best).abs() { world } else { best });
            (closest, along(closest))
        })
    }
}
