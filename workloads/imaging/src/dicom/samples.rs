//! From stored bytes to values: bit depth, sign, byte order, planes (PS3.5, section 8).

use std::borrow::Cow;

use super::image_module::{ImageModule, SampleKind};
use crate::frame::Samples;

/// Samples as bytes, little endian, before masks and sign.
pub(crate) struct Stored<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Bytes of a sample: 1, 2, 4 or 8.
    pub(crate) sample_bytes: usize,
    /// Significant bits.
    pub(crate) bits: u32,
    /// Unused bits below the significant ones.
    pub(crate) shift: u32,
    pub(crate) signed: bool,
    /// Planes one after the other, not interleaved.
    pub(crate) planar: bool,
}

impl<'a> Stored<'a> {
    /// An uncompressed frame of whole bytes, in little endian.
    pub(crate) fn native(bytes: Cow<'a, [u8]>, module: &ImageModule) -> Self {
        Self {
            bytes,
            sample_bytes: (module.bits_allocated / 8) as usize,
            bits: module.bits_stored,
            shift: module.high_bit + 1 - module.bits_stored,
            signed: module.signed,
            planar: module.planar,
        }
    }

    /// All values; `kind` tells whether the bits are a number in floating point.
    pub(crate) fn values(&self, kind: SampleKind) -> Samples {
        let values = match (kind, self.sample_bytes) {
            (SampleKind::Float, _) => {
                let words = self.bytes.as_chunks::<4>().0.iter();
                Samples::F32(words.map(|word| f32::from_le_bytes(*word)).collect())
            }
            (SampleKind::Double, _) => {
                let words = self.bytes.as_chunks::<8>().0.iter();
                Samples::F64(words.map(|word| f64::from_le_bytes(*word)).collect())
            }
            (SampleKind::Integer, 1) if !self.signed => {
                let mask = mask(self.bits) as u8;
                Samples::U8(self.bytes.iter().map(|byte| byte >> self.shift & mask).collect())
            }
            (SampleKind::Integer, 1) => {
                let signed = |byte: &u8| self.signed_value(u32::from(*byte)) as i16;
                Samples::I16(self.bytes.iter().map(signed).collect())
            }
            (SampleKind::Integer, 2) => {
                let words = self.bytes.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word));
                if self.signed {
                    Samples::I16(words.map(|word| self.signed_value(u32::from(word)) as i16).collect())
                } else {
                    let mask = mask(self.bits) as u16;
                    Samples::U16(words.map(|word| word >> self.shift & mask).collect())
                }
            }
            (SampleKind::Integer, _) => {
                let words = self.bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
                if self.signed {
                    Samples::I32(words.map(|word| self.signed_value(word)).collect())
                } else {
                    let mask = mask(self.bits);
                    Samples::U32(words.map(|word| word >> self.shift & mask).collect())
                }
            }
        };
        if self.planar { interleave(values) } else { values }
    }

    /// Sign-extends the significant bits of a word.
    fn signed_value(&self, word: u32) -> i32 {
        let unused = 32 - self.bits;
        (word >> self.shift << unused).cast_signed() >> unused
    }
}

fn mask(bits: u32) -> u32 {
    u32::MAX >> (32 - bits.clamp(1, 32))
}

/// Values of 1 bit, from the least significant bit of each byte on, beginning `first_bit` into the bytes.
pub(crate) fn unpack_bits(bytes: &[u8], first_bit: usize, count: usize) -> Samples {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (at % 8) & 1);
    Samples::U8((first_bit..first_bit + count).map(bit).collect())
}

/// From plane after plane to pixel after pixel, of three samples.
fn interleave(values: Samples) -> Samples {
    fn woven<T: Copy>(values: &[T]) -> Vec<T> {
        let plane = values.len() / 3;
        (0..plane).flat_map(|at| [values[at], values[plane + at], values[2 * plane + at]]).collect()
    }
    match values {
        Samples::U8(values) => Samples::U8(woven(&values)),
        Samples::U16(values) => Samples::U16(woven(&values)),
        Samples::I16(values) => Samples::I16(woven(&values)),
        Samples::U32(values) => Samples::U32(woven(&values)),
        Samples::I32(values) => Samples::I32(woven(&values)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8], sample_bytes: usize, bits: u32, shift: u32, signed: bool) -> Samples {
        let bytes = Cow::Borrowed(bytes);
        Stored { bytes, sample_bytes, bits, shift, signed, planar: false }.values(SampleKind::Integer)
    }

    #[test]
    fn odd_depths_are_masked_shifted_and_sign_extended() {
        // 12 bits in the upper part of 16: 0x800 and 0x7FF, with rubbish in the lowest four bits.
        let bytes = [0x0F, 0x80, 0xF3, 0x7F];
        assert_eq!(stored(&bytes, 2, 12, 4, true), Samples::I16(vec![-2048, 2047]));
        assert_eq!(stored(&bytes, 2, 12, 4, false), Samples::U16(vec![2048, 2047]));
        assert_eq!(stored(&[0xFF, 0x01], 1, 8, 0, true), Samples::I16(vec![-1, 1]));
        assert_eq!(stored(&[0xFF, 0x0F], 1, 5, 1, false), Samples::U8(vec![31, 7]));
        assert_eq!(stored(&[0xFE, 0xFF, 0xFF, 0xFF], 4, 32, 0, true), Samples::I32(vec![-2]));
    }

    #[test]
    fn bits_are_unpacked_from_the_least_significant_on() {
        assert_eq!(unpack_bits(&[0b1000_0010, 0b0000_0001], 1, 8), Samples::U8(vec![1, 0, 0, 0, 0, 0, 1, 1]));
    }
}
