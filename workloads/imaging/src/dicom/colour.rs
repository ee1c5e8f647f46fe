//! Colour models: YBR to RGB (PS3.3 C.7.6.3.1.2) and palettes (C.7.6.3.1.5, C.7.9.2).

use super::data_set::{DataSet, Tag};
use super::image_module::damaged;
use crate::error::ImagingError;
use crate::frame::{Pixels, Samples};

const DESCRIPTORS: [Tag; 3] = [0x0028_1101, 0x0028_1102, 0x0028_1103];
const DATA: [Tag; 3] = [0x0028_1201, 0x0028_1202, 0x0028_1203];
const SEGMENTED_DATA: [Tag; 3] = [0x0028_1221, 0x0028_1222, 0x0028_1223];

/// `YBR_FULL`, interleaved, to RGB in place (ITU-R BT.601, full range).
pub(crate) fn ybr_full_to_rgb(values: &mut [u8]) {
    for pixel in values.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(f32::from);
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        // `as` saturates to 0..=255.
        let channel = |value: f32| (value + 0.5) as u8;
        *pixel = [
            channel(y + 1.402 * cr),
            channel(y - (0.114 * 1.772 / 0.587) * cb - (0.299 * 1.402 / 0.587) * cr),
            channel(y + 1.772 * cb),
        ];
    }
}

/// Uncompressed `YBR_FULL_422` (Y1 Y2 Cb Cr for two pixels) to `YBR_FULL`.
pub(crate) fn expand_422(values: &[u8]) -> Vec<u8> {
    let pairs = values.as_chunks::<4>().0.iter();
    pairs.flat_map(|[first, second, cb, cr]| [*first, *cb, *cr, *second, *cb, *cr]).collect()
}

/// The red, green and blue tables of a PALETTE COLOR file.
pub(crate) struct Palette {
    first: i64,
    /// One colour an entry, at least one.
    colours: Vec<[u8; 3]>,
}

impl Palette {
    /// Reads the three tables, plain or segmented; entries of 16 bits keep their upper eight.
    pub(crate) fn read(data_set: &DataSet<'_>, signed: bool) -> Result<Self, ImagingError> {
        let mut tables = Vec::with_capacity(3);
        let mut first_mapped = 0;
        for (channel, descriptor) in DESCRIPTORS.into_iter().enumerate() {
            let descriptor = data_set.u16s(descriptor);
            let Some(&[count, first, bits]) = descriptor.first_chunk::<3>() else {
                return Err(damaged(
                    "its photometric interpretation is PALETTE COLOR, but a palette is missing",
                ));
            };
            first_mapped = if signed { i64::from(first.cast_signed()) } else { i64::from(first) };
            let count = if count == 0 { 1 << 16 } else { usize::from(count) };
            tables.push(table(data_set, channel, count, bits)?);
        }
        let [red, green, blue] = &tables[..] else { return Err(damaged("a palette is missing")) };
        let colours = red.iter().zip(green).zip(blue).map(|((red, green), blue)| [*red, *green, *blue]);
        let colours: Vec<[u8; 3]> = colours.collect();
        if colours.is_empty() {
            return Err(damaged("its palette is empty"));
        }
        Ok(Self { first: first_mapped, colours })
    }

    /// The colours of indices; those outside take the ends.
    pub(crate) fn apply(&self, indices: &Samples) -> Pixels {
        let last = self.colours.len() as i64 - 1;
        let colour = |index: i64| self.colours[(index - self.first).clamp(0, last) as usize];
        Pixels::Rgb8(match indices {
            Samples::U8(values) => values.iter().flat_map(|index| colour(i64::from(*index))).collect(),
            Samples::U16(values) => values.iter().flat_map(|index| colour(i64::from(*index))).collect(),
            Samples::I16(values) => values.iter().flat_map(|index| colour(i64::from(*index))).collect(),
            other => other.to_f64().into_iter().flat_map(|index| colour(index as i64)).collect(),
        })
    }
}

fn table(data_set: &DataSet<'_>, channel: usize, count: usize, bits: u16) -> Result<Vec<u8>, ImagingError> {
    if let Some(value) = data_set.get(DATA[channel]) {
        if value.bytes.len() >= 2 * count {
            let entries = data_set.u16s(DATA[channel]);
            return Ok(entries.into_iter().take(count).map(|entry| upper_eight(entry, bits)).collect());
        }
        // Eight-bit entries packed two a word; the low byte comes first, also in big endian (PS3.3 C.7.6.3.1.6).
        let mut bytes = value.bytes.to_vec();
        if data_set.encoding.big_endian {
            bytes.chunks_exact_mut(2).for_each(<[u8]>::reverse);
        }
        bytes.truncate(count);
        return Ok(bytes);
    }
    if data_set.get(SEGMENTED_DATA[channel]).is_some() {
        let words = data_set.u16s(SEGMENTED_DATA[channel]);
        let entries = unfold_segments(&words, count)?;
        return Ok(entries.into_iter().map(|entry| upper_eight(entry, bits)).collect());
    }
    Err(damaged("its photometric interpretation is PALETTE COLOR, but a palette has no data"))
}

fn upper_eight(entry: u16, bits: u16) -> u8 {
    if bits > 8 { (entry >> 8) as u8 } else { entry as u8 }
}

/// Segmented tables (C.7.9.2): runs of values, lines between values, and repetitions of earlier segments.
fn unfold_segments(words: &[u16], count: usize) -> Result<Vec<u16>, ImagingError> {
    let mut entries: Vec<u16> = Vec::with_capacity(count);
    unfold(words, 0, usize::MAX, count, &mut entries, false)?;
    entries.truncate(count);
    Ok(entries)
}

fn unfold(
    words: &[u16],
    mut position: usize,
    segments: usize,
    count: usize,
    entries: &mut Vec<u16>,
    repeated: bool,
) -> Result<(), ImagingError> {
    let cut = || damaged("a segmented palette ends too early");
    let mut done = 0;
    while done < segments && position < words.len() && entries.len() < count {
        let [opcode, length] = *words.get(position..).and_then(<[u16]>::first_chunk::<2>).ok_or_else(cut)?;
        let length = usize::from(length);
        position += 2;
        match opcode {
            0 => {
                entries.extend(words.get(position..position + length).ok_or_else(cut)?);
                position += length;
            }
            1 => {
                let end = i32::from(*words.get(position).ok_or_else(cut)?);
                let start = i32::from(*entries.last().ok_or_else(cut)?);
                position += 1;
                let step = |at: usize| start + ((end - start) * at as i32) / length.max(1) as i32;
                entries.extend((1..=length.min(count)).map(|at| step(at) as u16));
            }
            2 if !repeated => {
                let [low, high] =
                    *words.get(position..).and_then(<[u16]>::first_chunk::<2>).ok_or_else(cut)?;
                position += 2;
                let offset = (usize::from(high) << 16 | usize::from(low)) / 2;
                unfold(words, offset, length, count, entries, true)?;
            }
            _ => return Err(damaged(format!("a segmented palette has a segment of kind {opcode}"))),
        }
        done += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ybr_becomes_rgb() {
        let mut pixels = [76, 85, 255, 255, 128, 128, 0, 128, 128];
        ybr_full_to_rgb(&mut pixels);
        assert_eq!(pixels, [254, 0, 0, 255, 255, 255, 0, 0, 0]);
    }

    #[test]
    fn segments_unfold_into_runs_lines_and_repetitions() {
        // Two values, a line of four to 50, then the first segment again.
        let words = [0, 2, 5, 10, 1, 4, 50, 2, 1, 0, 0];
        assert_eq!(unfold_segments(&words, 100).unwrap(), [5, 10, 20, 30, 40, 50, 5, 10]);
        assert!(unfold_segments(&[1, 4, 50], 100).is_err());
    }
}
