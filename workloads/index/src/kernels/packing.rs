//! Codes packed into blocks in the byte order that a kernel reads.

use super::layout::Layout;
use super::memory::Blocks;
use super::{CodeBits, CodeShape, Kernel};
use rayon::prelude::*;

/// What packing refuses.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Row-major bytes that are not whole codes.
    #[error(
        "list {list} has {bytes} bytes, not a multiple of the {code_bytes} bytes of a code: the codes are of another shape or cut short"
    )]
    SplitCodes {
        /// Which list.
        list: usize,
        /// Its bytes.
        bytes: usize,
        /// Bytes of one code.
        code_bytes: usize,
    },
    /// A kernel that this processor cannot run.
    #[error("this processor cannot run the {kernel:?} kernel: use one of Kernel::available()")]
    ChooseKernel {
        /// The kernel asked for.
        kernel: Kernel,
    },
    /// No memory for the blocks.
    #[error("cannot reserve {bytes} bytes for packed codes: give the process more memory or shard the index")]
    ReserveMemory {
        /// Bytes needed.
        bytes: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// More codes in a list than a position can count.
    #[error("list {list} has {codes} codes; at most {} fit one list: split it", u32::MAX)]
    CountCodes {
        /// Which list.
        list: usize,
        /// Its codes.
        codes: usize,
    },
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first_byte: usize,
    codes: usize,
}

/// The codes of many lists in blocks of 32 (4 bits) or 64 (8 bits) codes, each list from a fresh block.
///
/// Memory is exactly the codes, each list rounded up to whole blocks. The unused places of a last block hold
/// zeros and are masked off by [`scan`](super::scan).
pub struct PackedCodes {
    kernel: Kernel,
    layout: Layout,
    shape: CodeShape,
    lists: Vec<Span>,
    blocks: Blocks,
}

impl std::fmt::Debug for PackedCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedCodes")
            .field("kernel", &self.kernel)
            .field("shape", &self.shape)
            .field("lists", &self.lists.len())
            .field("bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

impl PackedCodes {
    /// Packs one list of row-major codes (`n * shape.code_bytes()` bytes) for `kernel`.
    ///
    /// # Errors
    /// When the bytes are not whole codes, or there are 2^32 or more.
    pub fn pack(kernel: Kernel, shape: CodeShape, codes: &[u8]) -> Result<Self, PackError> {
        Self::pack_lists(kernel, shape, &[codes])
    }

    /// Packs many lists of row-major codes into one allocation, in parallel.
    ///
    /// # Errors
    /// When the bytes of a list are not whole codes, or a list has 2^32 codes or more.
    pub fn pack_lists(kernel: Kernel, shape: CodeShape, lists: &[&[u8]]) -> Result<Self, PackError> {
        if !kernel.is_supported() {
            return Err(PackError::ChooseKernel { kernel });
        }
        let mut spans = Vec::with_capacity(lists.len());
        let mut end = 0;
        for (list, rows) in lists.iter().enumerate() {
            if rows.len() % shape.code_bytes() != 0 {
                let (bytes, code_bytes) = (rows.len(), shape.code_bytes());
                return Err(PackError::SplitCodes { list, bytes, code_bytes });
            }
            let codes = rows.len() / shape.code_bytes();
            if u32::try_from(codes).is_err() {
                return Err(PackError::CountCodes { list, codes });
            }
            spans.push(Span { first_byte: end, codes });
            end += codes.div_ceil(shape.block_codes()) * shape.block_bytes();
        }
        let layout = Layout::of(kernel, shape.bits());
        let blocks = Blocks::zeroed(end).map_err(|source| PackError::ReserveMemory { bytes: end, source })?;
        let mut packed = Self { kernel, layout, shape, lists: spans, blocks };
        packed.fill(lists);
        Ok(packed)
    }

    fn fill(&mut self, lists: &[&[u8]]) {
        let (layout, shape) = (self.layout, self.shape);
        let mut rest = self.blocks.as_mut_slice();
        let mut parts = Vec::with_capacity(lists.len());
        for rows in lists {
            let blocks = (rows.len() / shape.code_bytes()).div_ceil(shape.block_codes());
            let (part, after) = std::mem::take(&mut rest).split_at_mut(blocks * shape.block_bytes());
            parts.push((part, *rows));
            rest = after;
        }
        let block_rows = shape.block_codes() * shape.code_bytes();
        parts.into_par_iter().for_each(|(part, rows)| {
            part.par_chunks_mut(shape.block_bytes())
                .zip(rows.par_chunks(block_rows))
                .with_min_len(64)
                .for_each(|(block, rows)| pack_block(layout, shape, block, rows));
        });
    }

    /// The kernel the codes are packed for; [`scan`](super::scan) uses it.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Shape of the codes.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Number of lists.
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// Bytes of the packed blocks.
    pub fn memory_bytes(&self) -> usize {
        self.blocks.as_slice().len()
    }

    /// The codes of list `index`, or `None` when there is no such list.
    #[inline]
    pub fn list(&self, index: usize) -> Option<CodeRun<'_>> {
        let span = self.lists.get(index)?;
        let bytes = span.codes.div_ceil(self.shape.block_codes()) * self.shape.block_bytes();
        Some(CodeRun {
            kernel: self.kernel,
            layout: self.layout,
            shape: self.shape,
            first_position: 0,
            codes: span.codes,
            blocks: &self.blocks.as_slice()[span.first_byte..span.first_byte + bytes],
        })
    }
}

/// A contiguous run of packed blocks: a whole list, or some blocks of it.
#[derive(Clone, Copy)]
pub struct CodeRun<'a> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "there is only the portable kernel"))]
    pub(super) kernel: Kernel,
    pub(super) layout: Layout,
    pub(super) shape: CodeShape,
    pub(super) first_position: u32,
    pub(super) codes: usize,
    pub(super) blocks: &'a [u8],
}

impl CodeRun<'_> {
    /// Number of codes.
    pub fn len(&self) -> usize {
        self.codes
    }

    /// Whether there are no codes.
    pub fn is_empty(&self) -> bool {
        self.codes == 0
    }

    /// Shape of the codes.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Number of blocks of [`CodeShape::block_codes`] codes, the last perhaps part-filled.
    pub fn blocks(&self) -> usize {
        self.codes.div_ceil(self.shape.block_codes())
    }

    /// Mask words of 32 codes that cover the run: `len / 32` rounded up.
    pub fn mask_words(&self) -> usize {
        self.codes.div_ceil(32)
    }

    /// Asks for the first bytes of the run to be brought into the cache, for a caller that scans it next.
    #[inline]
    pub fn prefetch(&self) {
        super::exact::prefetch(&self.blocks[..self.blocks.len().min(1024)]);
    }

    /// The same codes to be read by another kernel of the same layout, for tests and comparisons; `None`
    /// when `kernel` reads another layout or is not supported here.
    pub fn with_kernel(self, kernel: Kernel) -> Option<Self> {
        let fits = Layout::of(kernel, self.shape.bits()) == self.layout || kernel == Kernel::Scalar;
        (fits && kernel.is_supported()).then_some(Self { kernel, ..self })
    }

    /// The blocks from `first` up to but not including `end`, cut to what exists; reported positions stay
    /// those within the list.
    pub fn block_range(self, first: usize, end: usize) -> Self {
        let end = end.min(self.blocks());
        let first = first.min(end);
        let per_block = self.shape.block_codes();
        Self {
            first_position: self.first_position + (first * per_block) as u32,
            codes: self.codes.min(end * per_block) - first * per_block,
            blocks: &self.blocks[first * self.shape.block_bytes()..end * self.shape.block_bytes()],
            ..self
        }
    }

    /// Reads code `index` of the run back into row-major bytes; `None` past the end.
    pub fn code(&self, index: usize) -> Option<Vec<u8>> {
        if index >= self.codes {
            return None;
        }
        let per_block = self.shape.block_codes();
        let block = &self.blocks[index / per_block * self.shape.block_bytes()..];
        let mut code = vec![0; self.shape.code_bytes()];
        for m in 0..self.shape.sub_quantizers() {
            let (byte, shift) = self.layout.position(self.shape, m, index % per_block);
            let value = block[byte] >> shift;
            self.shape.set(&mut code, m, value);
        }
        Some(code)
    }
}

/// Fills one zeroed block from up to [`CodeShape::block_codes`] row-major codes.
fn pack_block(layout: Layout, shape: CodeShape, block: &mut [u8], rows: &[u8]) {
    for (v, row) in rows.chunks_exact(shape.code_bytes()).enumerate() {
        match shape.bits() {
            CodeBits::Four => {
                for (i, &pair) in row.iter().enumerate() {
                    let (low, shift) = layout.position(shape, 2 * i, v);
                    let (high, _) = layout.position(shape, 2 * i + 1, v);
                    block[low] |= (pair & 15) << shift;
                    block[high] |= (pair >> 4) << shift;
                }
            }
            CodeBits::Eight => {
                for (m, &value) in row.iter().enumerate() {
                    block[m * 64 + v] = value;
                }
            }
        }
    }
}
