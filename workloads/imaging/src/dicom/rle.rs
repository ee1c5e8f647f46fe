//! RLE Lossless (PS3.5, annex G): one `PackBits` segment for each byte of each sample, most significant first.

use super::image_module::{ImageModule, damaged};
use super::samples::Stored;
use crate::error::ImagingError;
use crate::format::Format;

/// Decodes a frame to interleaved little endian samples.
pub(crate) fn decode(bytes: &[u8], module: &ImageModule) -> Result<Stored<'static>, ImagingError> {
    let sample_bytes = (module.bits_allocated / 8) as usize;
    let samples = module.samples as usize;
    let segments = sample_bytes * samples;
    let header = bytes
        .first_chunk::<64>()
        .ok_or_else(|| ImagingError::truncated(Format::Dicom, "its RLE header is cut"))?;
    let word =
        |at: usize| header[4 * at..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word)) as usize;
    if sample_bytes == 0 || word(0) != segments {
        return Err(damaged(format!("its RLE data has {} segments where {segments} belong", word(0))));
    }
    let mut out = vec![0; module.pixels() * segments];
    for segment in 0..segments {
        let start = word(segment + 1);
        let end = if segment + 1 < segments { word(segment + 2) } else { bytes.len() };
        let data = bytes
            .get(start..end)
            .ok_or_else(|| damaged(format!("RLE segment {segment} lies outside its frame")))?;
        let (sample, significance) = (segment / sample_bytes, segment % sample_bytes);
        let first = sample * sample_bytes + (sample_bytes - 1 - significance);
        unpack(data, out[first..].iter_mut().step_by(segments))?;
    }
    Ok(Stored {
        bytes: out.into(),
        sample_bytes,
        bits: module.bits_stored,
        shift: module.high_bit + 1 - module.bits_stored,
        signed: module.signed,
        planar: false,
    })
}

/// Unpacks one segment into every place of `out`; surplus bytes, which pad to an even length, are left.
fn unpack<'a>(data: &[u8], mut out: impl Iterator<Item = &'a mut u8>) -> Result<(), ImagingError> {
    let cut = || ImagingError::truncated(Format::Dicom, "an RLE segment ends before its last pixel");
    let mut next = out.next();
    let mut position = 0;
    while next.is_some() {
        let control = *data.get(position).ok_or_else(cut)?;
        position += 1;
        if control < 128 {
            let length = usize::from(control) + 1;
            let literal = data.get(position..position + length);
            // A literal may be cut where the last pixel is reached.
            let literal = literal.unwrap_or(&data[position.min(data.len())..]);
            position += length;
            for byte in literal {
                let Some(place) = next else { return Ok(()) };
                *place = *byte;
                next = out.next();
            }
        } else if control > 128 {
            let byte = *data.get(position).ok_or_else(cut)?;
            position += 1;
            for _ in 0..257 - usize::from(control) {
                let Some(place) = next else { return Ok(()) };
                *place = byte;
                next = out.next();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_runs_are_unpacked_and_a_cut_segment_refused() {
        let mut out = [0; 6];
        unpack(&[2, 1, 2, 3, 128, 254, 9, 0], out.iter_mut()).unwrap();
        assert_eq!(out, [1, 2, 3, 9, 9, 9]);
        assert_eq!(unpack(&[2, 1, 2, 3], out.iter_mut()).unwrap_err().code(), "truncated");
    }
}
