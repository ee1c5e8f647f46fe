//! JPEG Extended of 12 bits (process 4): sequential, Huffman-coded, one component (ITU-T T.81, annexes A, F).
//!
//! Written here because `jpeg-decoder` reads 8 bits only. Colour of 12 bits is not read; DICOM files hardly have it.

use super::image_module::{ImageModule, damaged, unsupported};
use super::jpeg_header::JpegHeader;
use crate::error::ImagingError;
use crate::format::Format;

/// Places of the 64 coefficients in their zigzag order (figure A.6).
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Decodes a frame to 12-bit values, row by row.
pub(crate) fn decode(
    stream: &[u8],
    header: &JpegHeader,
    module: &ImageModule,
) -> Result<Vec<u16>, ImagingError> {
    if header.components.len() != 1 || !matches!(header.process, 0xC0 | 0xC1) {
        return Err(unsupported("12-bit lossy JPEG in colour, or progressive"));
    }
    let (tables, data) = Tables::read(stream)?;
    let missing = || damaged("a 12-bit JPEG frame uses a table that it does not define");
    let quantization = tables.quantization[tables.quantization_used].ok_or_else(missing)?;
    let dc = tables.huffman[0][tables.scanned.0].as_ref().ok_or_else(missing)?;
    let ac = tables.huffman[1][tables.scanned.1].as_ref().ok_or_else(missing)?;
    let (width, height) = (module.columns as usize, module.rows as usize);
    let cosines = cosines();
    let mut values = vec![0u16; width * height];
    let mut bits = Bits { data, position: 0, held: 0, count: 0 };
    let mut predicted = 0;
    let mut until_restart = tables.restart_interval;
    for top in (0..height).step_by(8) {
        for left in (0..width).step_by(8) {
            if tables.restart_interval > 0 {
                if until_restart == 0 {
                    bits.restart()?;
                    predicted = 0;
                    until_restart = tables.restart_interval;
                }
                until_restart -= 1;
            }
            let mut block = [0.0f32; 64];
            read_block(&mut bits, dc, ac, &quantization, &mut predicted, &mut block)?;
            inverse_cosine(&mut block, &cosines);
            for (line, row) in values.chunks_exact_mut(width).skip(top).take(8).zip(block.chunks_exact(8)) {
                for (place, value) in line[left..].iter_mut().zip(row) {
                    *place = (value + 2048.5).clamp(0.0, 4095.0) as u16;
                }
            }
        }
    }
    Ok(values)
}

/// Decodes and dequantizes one block (F.2.2).
fn read_block(
    bits: &mut Bits<'_>,
    dc: &Huffman,
    ac: &Huffman,
    quantization: &[u16; 64],
    predicted: &mut i32,
    block: &mut [f32; 64],
) -> Result<(), ImagingError> {
    let size = u32::from(dc.decode(bits)?);
    *predicted = predicted.wrapping_add(bits.signed(size)?);
    block[0] = *predicted as f32 * f32::from(quantization[0]);
    let mut at = 1;
    while at < 64 {
        let code = ac.decode(bits)?;
        let (zeros, size) = (usize::from(code >> 4), u32::from(code & 15));
        if size == 0 {
            if zeros < 15 {
                break;
            }
            at += 16;
            continue;
        }
        at += zeros;
        let value = bits.signed(size)?;
        let place =
            *ZIGZAG.get(at).ok_or_else(|| damaged("a 12-bit JPEG block has too many coefficients"))?;
        block[place] = value as f32 * f32::from(quantization[at]);
        at += 1;
    }
    Ok(())
}

/// Values of the basis functions: `cosines[frequency][position]` (A.3.3).
fn cosines() -> [[f32; 8]; 8] {
    std::array::from_fn(|frequency| {
        std::array::from_fn(|position| {
            let norm = if frequency == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
            let angle = (2 * position + 1) as f64 * frequency as f64 * std::f64::consts::PI / 16.0;
            (norm * angle.cos() / 2.0) as f32
        })
    })
}

/// Inverse cosine transform, rows and then columns.
fn inverse_cosine(block: &mut [f32; 64], cosines: &[[f32; 8]; 8]) {
    let mut rows = [0.0f32; 64];
    for (line, out) in block.chunks_exact(8).zip(rows.chunks_exact_mut(8)) {
        for (position, value) in out.iter_mut().enumerate() {
            *value = (0..8).map(|frequency| line[frequency] * cosines[frequency][position]).sum();
        }
    }
    for (index, value) in block.iter_mut().enumerate() {
        let (position, column) = (index / 8, index % 8);
        *value = (0..8).map(|frequency| rows[frequency * 8 + column] * cosines[frequency][position]).sum();
    }
}

/// What the marker segments define.
struct Tables {
    quantization: [Option<[u16; 64]>; 4],
    quantization_used: usize,
    /// DC and AC tables.
    huffman: [[Option<Huffman>; 4]; 2],
    scanned: (usize, usize),
    restart_interval: usize,
}

impl Tables {
    /// Reads the segments up to the scan; answers the entropy-coded data too.
    fn read(stream: &[u8]) -> Result<(Self, &[u8]), ImagingError> {
        let cut = || ImagingError::truncated(Format::Dicom, "a 12-bit JPEG frame ends inside its header");
        let mut tables = Self {
            quantization: [None; 4],
            quantization_used: 0,
            huffman: [const { [const { None }; 4] }; 2],
            scanned: (0, 0),
            restart_interval: 0,
        };
        let mut position = 2;
        loop {
            let rest = stream.get(position..).unwrap_or_default();
            let [mark, kind, high, low] = *rest.first_chunk::<4>().ok_or_else(cut)?;
            if mark != 0xFF {
                return Err(damaged("a 12-bit JPEG frame has no marker where one belongs"));
            }
            if kind == 0xFF {
                position += 1;
                continue;
            }
            let length = usize::from(u16::from_be_bytes([high, low])).max(2);
            let body = rest.get(4..2 + length).ok_or_else(cut)?;
            match kind {
                0xDB => tables.read_quantization(body).ok_or_else(cut)?,
                0xC4 => tables.read_huffman(body)?,
                0xC0 | 0xC1 => tables.quantization_used = usize::from(body.get(8).ok_or_else(cut)? & 3),
                0xDD => {
                    let interval = body.first_chunk::<2>().ok_or_else(cut)?;
                    tables.restart_interval = usize::from(u16::from_be_bytes(*interval));
                }
                0xDA => {
                    let selected = body.get(2).ok_or_else(cut)?;
                    tables.scanned = (usize::from(selected >> 4 & 3), usize::from(selected & 3));
                    return Ok((tables, &rest[2 + length..]));
                }
                _ => {}
            }
            position += 2 + length;
        }
    }

    fn read_quantization(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((head, rest)) = body.split_first() {
            let bytes = if head >> 4 == 0 { 1 } else { 2 };
            let values = rest.get(..64 * bytes)?;
            let value = |at: usize| match bytes {
                1 => u16::from(values[at]),
                _ => u16::from_be_bytes([values[2 * at], values[2 * at + 1]]),
            };
            self.quantization[usize::from(head & 3)] = Some(std::array::from_fn(value));
            body = &rest[64 * bytes..];
        }
        Some(())
    }

    fn read_huffman(&mut self, mut body: &[u8]) -> Result<(), ImagingError> {
        let cut = || ImagingError::truncated(Format::Dicom, "a Huffman table of a JPEG frame is cut");
        while let Some((head, rest)) = body.split_first() {
            let counts = rest.first_chunk::<16>().ok_or_else(cut)?;
            let total: usize = counts.iter().map(|count| usize::from(*count)).sum();
            let symbols = rest.get(16..16 + total).ok_or_else(cut)?;
            let table = Huffman::new(counts, symbols)?;
            self.huffman[usize::from(head >> 4 & 1)][usize::from(head & 3)] = Some(table);
            body = &rest[16 + total..];
        }
        Ok(())
    }
}

/// A Huffman table as in F.2.2.3: per length the greatest code and where its symbols begin.
struct Huffman {
    /// Greatest code of each length, −1 where there is none.
    greatest: [i32; 16],
    /// Adding this to a code of a length gives the place of its symbol.
    offset: [i32; 16],
    symbols: Vec<u8>,
}

impl Huffman {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, ImagingError> {
        let (mut greatest, mut offset) = ([-1; 16], [0; 16]);
        let (mut code, mut place) = (0i32, 0i32);
        for (length, count) in counts.iter().enumerate() {
            let count = i32::from(*count);
            if code + count > 1 << (length + 1) {
                return Err(damaged("a Huffman table of a JPEG frame has more codes than fit"));
            }
            offset[length] = place - code;
            code += count;
            place += count;
            if count > 0 {
                greatest[length] = code - 1;
            }
            code <<= 1;
        }
        Ok(Self { greatest, offset, symbols: symbols.to_vec() })
    }

    fn decode(&self, bits: &mut Bits<'_>) -> Result<u8, ImagingError> {
        let mut code = 0;
        for length in 0..16 {
            code = code << 1 | bits.read(1)?;
            if code <= self.greatest[length] {
                return self
                    .symbols
                    .get((code + self.offset[length]) as usize)
                    .copied()
                    .ok_or_else(|| damaged("a JPEG code has no symbol"));
            }
        }
        Err(damaged("a JPEG frame has a code that its table does not have"))
    }
}

/// Bits of the entropy-coded data, without the zero that follows each 0xFF.
struct Bits<'a> {
    data: &'a [u8],
    position: usize,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn read(&mut self, bits: u32) -> Result<i32, ImagingError> {
        while self.count < bits {
            let byte = match self.data.get(self.position..) {
                Some([0xFF, 0, ..]) => {
                    self.position += 2;
                    0xFF
                }
                Some([0xFF, ..] | []) | None => {
                    return Err(ImagingError::truncated(
                        Format::Dicom,
                        "a 12-bit JPEG frame ends before its last pixel",
                    ));
                }
                Some([byte, ..]) => {
                    self.position += 1;
                    *byte
                }
            };
            self.held = self.held << 8 | u32::from(byte);
            self.count += 8;
        }
        self.count -= bits;
        Ok((self.held >> self.count & ((1 << bits) - 1)).cast_signed())
    }

    /// A difference of a given size (table F.1).
    fn signed(&mut self, size: u32) -> Result<i32, ImagingError> {
        if size == 0 {
            return Ok(0);
        }
        if size > 16 {
            return Err(damaged("a JPEG difference is larger than 16 bits"));
        }
        let value = self.read(size)?;
        Ok(if value < 1 << (size - 1) { value - (1 << size) + 1 } else { value })
    }

    /// Moves behind the next restart marker.
    fn restart(&mut self) -> Result<(), ImagingError> {
        (self.held, self.count) = (0, 0);
        match self.data.get(self.position..) {
            Some([0xFF, 0xD0..=0xD7, ..]) => {
                self.position += 2;
                Ok(())
            }
            _ => Err(damaged("a JPEG frame has no restart marker where one belongs")),
        }
    }
}
