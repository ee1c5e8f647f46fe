//! The loops over the entries of lookup tables, compiled for wide vectors.
#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for wide vectors")]

use crate::kernels::{CodeShape, Loop};

/// Adds the inner products of a query's parts with all centroids to zeroed entries.
pub(super) struct Fill<'a> {
    /// Dimensions of a part.
    pub(super) part: usize,
    /// Centroids of a sub-quantizer.
    pub(super) k: usize,
    pub(super) query: &'a [f32],
    /// `M x part x k`.
    pub(super) columns: &'a [f32],
    /// `M x k`.
    pub(super) entries: &'a mut [f32],
}

impl Loop for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let parts = self.query.chunks_exact(self.part).zip(self.columns.chunks_exact(self.part * self.k));
        for (entries, (values, columns)) in self.entries.chunks_exact_mut(self.k).zip(parts) {
            // Sixteen sums at a time stay in a register over the components.
            for (sixteen, entries) in entries.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                let mut sums = [0.0_f32; 16];
                for (&value, column) in values.iter().zip(columns.chunks_exact(self.k)) {
                    let column = &column.as_chunks::<16>().0[sixteen];
                    for lane in 0..16 {
                        sums[lane] += value * column[lane];
                    }
                }
                *entries = sums;
            }
        }
    }
}

/// What the entries of a table span.
pub(super) struct Spans {
    /// Largest difference of two entries of one sub-quantizer.
    pub(super) largest: f32,
    /// Sum of those differences.
    pub(super) total: f32,
    /// Sum of the largest entries: the best inner product a code can have.
    pub(super) best: f32,
    /// Smallest and largest entry of each sub-quantizer.
    pub(super) ranges: [(f32, f32); CodeShape::MAX_SUB_QUANTIZERS],
}

/// Measures the [`Spans`] of a table.
pub(super) struct Measure<'a> {
    pub(super) k: usize,
    pub(super) entries: &'a [f32],
}

impl Loop for Measure<'_> {
    type Output = Spans;

    #[inline(always)]
    fn run(self) -> Spans {
        let ranges = [(0.0, 0.0); CodeShape::MAX_SUB_QUANTIZERS];
        let mut spans = Spans { largest: 0.0, total: 0.0, best: 0.0, ranges };
        for (entries, place) in self.entries.chunks_exact(self.k).zip(&mut spans.ranges) {
            let (low, high) = range(entries);
            *place = (low, high);
            spans.largest = spans.largest.max(high - low);
            spans.total += high - low;
            spans.best += high;
        }
        spans
    }
}

/// Writes entries as bytes `(max - entry) * scale`, rounded; gives the largest sum of bytes of any code, and
/// the largest byte.
pub(super) struct Quantize<'a> {
    pub(super) k: usize,
    pub(super) scale: f32,
    pub(super) ranges: &'a [(f32, f32)],
    pub(super) entries: &'a [f32],
    pub(super) bytes: &'a mut [u8],
}

impl Loop for Quantize<'_> {
    type Output = (u32, u8);

    #[inline(always)]
    fn run(self) -> (u32, u8) {
        let (mut sum, mut largest) = (0_u32, 0_u8);
        let tables = self.bytes.chunks_exact_mut(self.k).zip(self.entries.chunks_exact(self.k));
        for ((bytes, entries), &(low, high)) in tables.zip(self.ranges) {
            for (bytes, entries) in bytes.as_chunks_mut::<16>().0.iter_mut().zip(entries.as_chunks::<16>().0)
            {
                for lane in 0..16 {
                    bytes[lane] = round((high - entries[lane]) * self.scale);
                }
            }
            let span = round((high - low) * self.scale);
            sum += u32::from(span);
            largest = largest.max(span);
        }
        (sum, largest)
    }
}

/// The nearest integer to a value between 0 and 255.49, ties to even: beside 1.5 * 2^23 the last bits of an
/// `f32` count ones. Unlike a cast, this compiles to two vector instructions.
#[inline(always)]
fn round(value: f32) -> u8 {
    (value + 12_582_912.0).to_bits() as u8
}

/// Smallest and largest of the entries, whose number is a multiple of 16.
#[inline(always)]
fn range(entries: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16]);
    for entries in entries.as_chunks::<16>().0 {
        for lane in 0..16 {
            low[lane] = if entries[lane] < low[lane] { entries[lane] } else { low[lane] };
            high[lane] = if entries[lane] > high[lane] { entries[lane] } else { high[lane] };
        }
    }
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            low[lane] = if low[lane + width] < low[lane] { low[lane + width] } else { low[lane] };
            high[lane] = if high[lane + width] > high[lane] { high[lane + width] } else { high[lane] };
        }
    }
    (low[0], high[0])
}
