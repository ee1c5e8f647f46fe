//! JPEG-LS, lossless and near-lossless, 2 to 16 bits, every interleave mode (ITU-T T.87).
//!
//! Written here because `dicom-toolkit-codec` 0.5.0 approximates line interleaving and lacks sample interleaving.
//! Not read: colour transforms of HP (APP8) and mapping tables, which DICOM does not use.

use super::image_module::{ImageModule, damaged, unsupported};
use super::jpeg_header::JpegHeader;
use super::jpeg_ls_scan::{Coding, Scan};
use super::samples::Stored;
use crate::error::ImagingError;
use crate::format::Format;

const FRAME: u8 = 0xF7;

/// Decodes a frame to interleaved samples.
pub(crate) fn decode(stream: &[u8], module: &ImageModule) -> Result<Stored<'static>, ImagingError> {
    let header = JpegHeader::read(stream)?;
    header.check(module)?;
    let bits = u32::from(header.precision);
    if header.process != FRAME {
        return Err(damaged("a compressed frame is JPEG where its transfer syntax says JPEG-LS"));
    }
    if !(2..=16).contains(&bits) || bits > module.bits_allocated {
        return Err(damaged(format!("a JPEG-LS frame has {bits} bits per sample")));
    }
    let components = header.components.len();
    let mut values = vec![0u16; module.pixels() * components];
    let mut segments = Segments { stream, position: 2, coding: Coding::new(bits) };
    let mut filled = 0;
    while filled < components {
        let start = segments.next_scan()?;
        let width = module.columns as usize;
        let together = start.components;
        if together == 0 || filled + together > components || (together > 1 && start.interleave == 0) {
            return Err(damaged("a JPEG-LS scan lists components that its frame does not have"));
        }
        let data = &stream[start.data..];
        let mut scan = Scan::new(data, start.coding, width, together, start.interleave == 2);
        for line in values.chunks_exact_mut(width * components) {
            let decoded = scan.next_line()?;
            for component in 0..together {
                let places = line[filled + component..].iter_mut().step_by(components);
                for (place, value) in places.zip(scan_line(decoded, component, width)) {
                    *place = *value as u16;
                }
            }
        }
        segments.position = start.data + end_of_scan(data);
        filled += together;
    }
    let sample_bytes = if bits <= 8 { 1 } else { 2 };
    let bytes: Vec<u8> = if sample_bytes == 1 {
        values.iter().map(|value| *value as u8).collect()
    } else {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    Ok(Stored { bytes: bytes.into(), sample_bytes, bits, shift: 0, signed: module.signed, planar: false })
}

/// The values of one component in a line of a scan, without its borders.
fn scan_line(lines: &[Vec<i32>], component: usize, width: usize) -> &[i32] {
    &lines[component][1..=width]
}

/// Entropy-coded data ends at the first marker: 0xFF before a byte whose highest bit is set.
fn end_of_scan(data: &[u8]) -> usize {
    data.windows(2).position(|pair| pair[0] == 0xFF && pair[1] >= 0x80).unwrap_or(data.len())
}

/// Walks marker segments, keeping the coding parameters they set.
struct Segments<'a> {
    stream: &'a [u8],
    position: usize,
    coding: Coding,
}

struct ScanStart {
    components: usize,
    /// 0 none, 1 line, 2 sample.
    interleave: u8,
    coding: Coding,
    /// Where the entropy-coded data begins.
    data: usize,
}

impl Segments<'_> {
    fn next_scan(&mut self) -> Result<ScanStart, ImagingError> {
        let cut = || ImagingError::truncated(Format::Dicom, "a JPEG-LS frame ends before its last scan");
        loop {
            let rest = self.stream.get(self.position..).unwrap_or_default();
            let [mark, kind, high, low] = *rest.first_chunk::<4>().ok_or_else(cut)?;
            if mark != 0xFF {
                return Err(damaged("a JPEG-LS frame has no marker where one belongs"));
            }
            if kind == 0xFF {
                self.position += 1;
                continue;
            }
            let length = usize::from(u16::from_be_bytes([high, low])).max(2);
            let body = rest.get(4..2 + length).ok_or_else(cut)?;
            match kind {
                0xDA => {
                    let components = usize::from(*body.first().ok_or_else(cut)?);
                    let [near, interleave, transform] =
                        *body.get(1 + 2 * components..).and_then(<[u8]>::first_chunk::<3>).ok_or_else(cut)?;
                    if interleave > 2 || transform != 0 {
                        return Err(unsupported("JPEG-LS with a point transform"));
                    }
                    let coding = self.coding.with_near(i32::from(near))?;
                    let data = self.position + 2 + length;
                    return Ok(ScanStart { components, interleave, coding, data });
                }
                // LSE: preset coding parameters are of kind 1.
                0xF8 if body.first() == Some(&1) => {
                    let words =
                        body[1..].chunks_exact(2).map(|word| i32::from(word[0]) << 8 | i32::from(word[1]));
                    self.coding.preset(&words.collect::<Vec<i32>>())?;
                }
                0xF8 => return Err(unsupported("JPEG-LS with mapping tables")),
                0xE8 if body.starts_with(b"mrfx") && body.get(4) != Some(&0) => {
                    return Err(unsupported("JPEG-LS with a colour transform"));
                }
                0xDD => return Err(unsupported("JPEG-LS with restart markers")),
                0xD9 => return Err(cut()),
                _ => {}
            }
            self.position += 2 + length;
        }
    }
}
