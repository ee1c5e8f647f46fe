//! JPEG 2000 and HTJ2K through `jpeg2k` and `openjp2` (`OpenJPEG` in Rust), with the header checked first (ITU-T T.800, annex A).
//!
//! `dicom-toolkit-codec` 0.5.0 was tried: it decodes one lossless sample of pydicom wrongly by 1, and streams whose last
//! bit planes were cut by up to 32 Hounsfield units, as it rebuilds them at the lower end of their interval.

use jpeg2k::{DecodeParameters, Image};

use super::image_module::{ImageModule, damaged, unsupported};
use super::jpeg_header::check_size;
use super::samples::Stored;
use crate::contain::contained;
use crate::error::ImagingError;
use crate::format::Format;

const DECODER: &str = "JPEG 2000 (openjp2)";
/// Start of codestream and of its size segment.
const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];
/// Most tiles (the standard's own bound) and precincts that are accepted: each costs the decoder memory.
const MAX_TILES: u64 = 65_535;
const MAX_PRECINCTS: u64 = 1 << 20;
/// Where the size segment lists its components: SOC, SIZ, length, and 36 bytes of geometry and count.
const COMPONENTS_AT: usize = 42;

/// Decodes a frame; true where a multi-component transform was undone, so that three components are RGB.
pub(crate) fn decode(stream: &[u8], module: &ImageModule) -> Result<(Stored<'static>, bool), ImagingError> {
    let start = stream
        .windows(4)
        .take(4096)
        .position(|window| window == START)
        .ok_or_else(|| damaged("a compressed frame has no JPEG 2000 codestream"))?;
    let codestream = &stream[start..];
    let header = Header::read(codestream)?;
    header.check(module)?;
    let (values, bits) = contained(DECODER, || decode_components(codestream, module))?;
    let sample_bytes = if bits <= 8 { 1 } else { 2 };
    // Values keep their low bits: whether those are signed is for the file's header to say, as streams may differ from it.
    let bytes: Vec<u8> = if sample_bytes == 1 {
        values.iter().map(|value| *value as u8).collect()
    } else {
        values.iter().flat_map(|value| (*value as u16).to_le_bytes()).collect()
    };
    let stored =
        Stored { bytes: bytes.into(), sample_bytes, bits, shift: 0, signed: module.signed, planar: false };
    Ok((stored, header.transformed))
}

/// Interleaved values of all components, and their bits.
fn decode_components(codestream: &[u8], module: &ImageModule) -> Result<(Vec<i32>, u32), ImagingError> {
    let image = Image::from_bytes_with(codestream, DecodeParameters::new().strict(true))
        .map_err(|error| ImagingError::decode(Format::Dicom, DECODER, &error))?;
    let components = image.components();
    if components.len() != module.samples as usize {
        return Err(damaged("a JPEG 2000 frame decoded to another number of components than it declares"));
    }
    let mut values = vec![0; module.pixels() * components.len()];
    for (index, component) in components.iter().enumerate() {
        let size = (component.width(), component.height());
        if size != (module.columns, module.rows) || component.data().len() != module.pixels() {
            return Err(damaged("a JPEG 2000 component decoded to another size than it declares"));
        }
        let places = values[index..].iter_mut().step_by(components.len());
        places.zip(component.data()).for_each(|(place, value)| *place = *value);
    }
    Ok((values, components.first().map_or(0, jpeg2k::ImageComponent::precision)))
}

/// What the SIZ and COD segments tell.
struct Header {
    width: u32,
    height: u32,
    /// Bits and sign of each component.
    components: Vec<(u32, bool)>,
    precincts: u64,
    /// True where a multi-component transform was applied.
    transformed: bool,
}

impl Header {
    fn read(codestream: &[u8]) -> Result<Self, ImagingError> {
        let cut = || ImagingError::truncated(Format::Dicom, "a JPEG 2000 frame ends inside its header");
        let word = |at: usize| {
            let bytes = codestream.get(at..).and_then(<[u8]>::first_chunk::<4>);
            bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or_else(cut)
        };
        let half = |at: usize| {
            let bytes = codestream.get(at..).and_then(<[u8]>::first_chunk::<2>);
            bytes.map(|bytes| usize::from(u16::from_be_bytes(*bytes))).ok_or_else(cut)
        };
        let (right, bottom, left, top) = (word(8)?, word(12)?, word(16)?, word(20)?);
        let (tile_width, tile_height) = (word(24)?, word(28)?);
        let count = half(40)?;
        if right <= left || bottom <= top || tile_width == 0 || tile_height == 0 {
            return Err(damaged("a JPEG 2000 frame declares a size without pixels"));
        }
        let listed = codestream.get(COMPONENTS_AT..COMPONENTS_AT + 3 * count).ok_or_else(cut)?;
        let subsampled = listed.chunks_exact(3).any(|component| component[1..] != [1, 1]);
        if subsampled {
            return Err(unsupported("JPEG 2000 with subsampled components"));
        }
        let components =
            listed.chunks_exact(3).map(|part| (u32::from(part[0] & 0x7F) + 1, part[0] & 0x80 != 0)).collect();
        let tiles = u64::from(right).div_ceil(u64::from(tile_width))
            * u64::from(bottom).div_ceil(u64::from(tile_height));
        if tiles > MAX_TILES {
            return Err(damaged(format!("a JPEG 2000 frame is cut into {tiles} tiles")));
        }
        let (width, height) = (right - left, bottom - top);
        let tile = (width.min(tile_width), height.min(tile_height));
        let (precincts, transformed) =
            read_coding_style(codestream, 4 + half(4)?, tile, tiles * count as u64).ok_or_else(cut)?;
        Ok(Self { width, height, components, precincts, transformed })
    }

    /// Refuses what the file's own header does not promise, before memory is taken.
    fn check(&self, module: &ImageModule) -> Result<(), ImagingError> {
        check_size(module, self.width, self.height, self.components.len())?;
        let Some(&(bits, signed)) = self.components.first() else {
            return Err(damaged("a JPEG 2000 frame has no component"));
        };
        if self.components.iter().any(|component| *component != (bits, signed)) {
            return Err(unsupported("JPEG 2000 with components of different depth"));
        }
        if !(1..=16).contains(&bits) || bits > module.bits_allocated {
            return Err(unsupported(format!("JPEG 2000 of {bits} bits")));
        }
        if self.precincts > MAX_PRECINCTS {
            return Err(damaged(format!("a JPEG 2000 frame is cut into {} precincts", self.precincts)));
        }
        Ok(())
    }
}

/// Finds the COD segment from `position` on; answers how many precincts there are, and whether components are transformed.
fn read_coding_style(
    codestream: &[u8],
    mut position: usize,
    tile: (u32, u32),
    tile_components: u64,
) -> Option<(u64, bool)> {
    loop {
        let [0xFF, marker, high, low] = *codestream.get(position..)?.first_chunk::<4>()? else { return None };
        let body = codestream.get(position + 4..)?;
        match marker {
            0x52 => {
                let transformed = *body.get(4)? != 0;
                let levels = u32::from(*body.get(5)?).min(32);
                let own_precincts = body.first()? & 1 != 0;
                let mut precincts = 0u64;
                for resolution in 0..=levels {
                    let size = if own_precincts { *body.get(10 + resolution as usize)? } else { 0xFF };
                    let scale = levels - resolution;
                    let along = |length: u32, exponent: u8| {
                        (u64::from(length) >> scale).max(1).div_ceil(1 << exponent)
                    };
                    precincts = precincts.saturating_add(along(tile.0, size & 15) * along(tile.1, size >> 4));
                }
                return Some((precincts.saturating_mul(tile_components), transformed));
            }
            0x90 | 0x93 | 0xD9 => return None,
            _ => position += 2 + usize::from(u16::from_be_bytes([high, low])).max(2),
        }
    }
}
