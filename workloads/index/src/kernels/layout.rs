//! Where each code lies, in rows and in packed blocks.

use super::Kernel;

/// What a code shape refuses.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShapeError {
    /// Bits other than 4 or 8.
    #[error("sub-quantizers of {bits} bits are not supported: use 4 (fast scan) or 8 (accuracy)")]
    ChooseBits {
        /// Bits asked for.
        bits: u32,
    },
    /// A number of sub-quantizers outside the range, or odd with 4 bits.
    #[error(
        "{sub_quantizers} sub-quantizers are not supported: use 1 to 256, and an even number with 4 bits"
    )]
    ChooseSubQuantizers {
        /// Number asked for.
        sub_quantizers: usize,
    },
}

/// Width of one sub-quantizer's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum CodeBits {
    /// 16 centroids: two codes a byte, the fastest scan.
    Four,
    /// 256 centroids: one code a byte, the best recall per byte.
    Eight,
}

impl CodeBits {
    /// From a number of bits.
    ///
    /// # Errors
    /// When `bits` is neither 4 nor 8.
    pub fn new(bits: u32) -> Result<Self, ShapeError> {
        match bits {
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            bits => Err(ShapeError::ChooseBits { bits }),
        }
    }

    /// Number of bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Number of centroids of a sub-quantizer: 16 or 256.
    pub fn centroids(self) -> usize {
        1 << self.bits()
    }

    /// Number of codes in a packed block: 32 or 64.
    pub fn block_codes(self) -> usize {
        match self {
            Self::Four => 32,
            Self::Eight => 64,
        }
    }
}

/// Shape of a code: how many sub-quantizers, of how many bits.
///
/// In a row-major code, 4-bit sub-quantizers `2i` and `2i + 1` are the low and the high half of byte `i`;
/// 8-bit sub-quantizer `i` is byte `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct CodeShape {
    sub_quantizers: usize,
    bits: CodeBits,
}

impl CodeShape {
    /// Most sub-quantizers of a code: 256 entries of 255 make 65,280, which fits the 16-bit sums.
    pub const MAX_SUB_QUANTIZERS: usize = 256;

    /// A shape of `sub_quantizers` (1 to 256, even with 4 bits) of `bits`.
    ///
    /// # Errors
    /// When the number is outside that range.
    pub fn new(sub_quantizers: usize, bits: CodeBits) -> Result<Self, ShapeError> {
        let odd = bits == CodeBits::Four && sub_quantizers % 2 == 1;
        if sub_quantizers == 0 || sub_quantizers > Self::MAX_SUB_QUANTIZERS || odd {
            return Err(ShapeError::ChooseSubQuantizers { sub_quantizers });
        }
        Ok(Self { sub_quantizers, bits })
    }

    /// Number of sub-quantizers.
    pub fn sub_quantizers(self) -> usize {
        self.sub_quantizers
    }

    /// Width of each sub-quantizer.
    pub fn bits(self) -> CodeBits {
        self.bits
    }

    /// Centroids of each sub-quantizer: 16 or 256.
    pub fn centroids(self) -> usize {
        self.bits.centroids()
    }

    /// Bytes of one row-major code.
    pub fn code_bytes(self) -> usize {
        match self.bits {
            CodeBits::Four => self.sub_quantizers / 2,
            CodeBits::Eight => self.sub_quantizers,
        }
    }

    /// Codes in one packed block: 32 or 64.
    pub fn block_codes(self) -> usize {
        self.bits.block_codes()
    }

    /// Bytes of one packed block: exactly its codes.
    pub fn block_bytes(self) -> usize {
        self.block_codes() * self.code_bytes()
    }

    /// Mask words of 32 codes in one block: 1 or 2.
    pub fn block_words(self) -> usize {
        self.block_codes() / 32
    }

    /// Reads sub-quantizer `m` of a row-major code.
    #[inline]
    pub fn get(self, code: &[u8], m: usize) -> u8 {
        match self.bits {
            CodeBits::Four => (code[m / 2] >> (4 * (m % 2))) & 15,
            CodeBits::Eight => code[m],
        }
    }

    /// Writes sub-quantizer `m` of a row-major code whose bits there are zero.
    #[inline]
    pub fn set(self, code: &mut [u8], m: usize, centroid: u8) {
        match self.bits {
            CodeBits::Four => code[m / 2] |= (centroid & 15) << (4 * (m % 2)),
            CodeBits::Eight => code[m] = centroid,
        }
    }
}

/// Order of bytes in a packed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Layout {
    /// 4 bits, for `pshufb`: 16 bytes a sub-quantizer; byte `2i` holds codes `i` (low half) and `16 + i`,
    /// byte `2i + 1` codes `8 + i` and `24 + i`. 16-bit lanes of even and odd bytes then come out in order.
    Lanes,
    /// 4 bits, for `vpermb`: 64 bytes for each four sub-quantizers; byte `4v + s` holds sub-quantizer `s` of
    /// code `v` (low half) and of code `16 + v`. A last pair has 32 bytes, byte `2v + s`.
    Quads,
    /// 8 bits: 64 bytes a sub-quantizer, byte `v` for code `v`.
    Columns,
}

impl Layout {
    pub(crate) fn of(kernel: Kernel, bits: CodeBits) -> Self {
        match (bits, kernel) {
            (CodeBits::Eight, _) => Self::Columns,
            (CodeBits::Four, Kernel::Avx512Vbmi) => Self::Quads,
            (CodeBits::Four, _) => Self::Lanes,
        }
    }

    /// Byte within a block, and shift within that byte, of sub-quantizer `m` of code `v` of the block.
    #[inline]
    pub(crate) fn position(self, shape: CodeShape, m: usize, v: usize) -> (usize, u32) {
        match self {
            Self::Lanes => {
                let half = v % 16;
                (m * 16 + 2 * (half % 8) + half / 8, 4 * (v / 16) as u32)
            }
            Self::Quads => {
                let (group, s) = (m / 4, m % 4);
                let stride = (shape.sub_quantizers - 4 * group).min(4);
                (group * 64 + stride * (v % 16) + s, 4 * (v / 16) as u32)
            }
            Self::Columns => (m * 64 + v, 0),
        }
    }
}
