//! The loops over the entries of lookup tables: by hand for AVX-512, else compiled for wide vectors.
#![allow(clippy::inline_always, reason = "what is not inlined is not compiled for wide vectors")]

#[cfg(target_arch = "x86_64")]
use crate::kernels::tables_avx512;
use crate::kernels::{CodeShape, Loop, vectorized};

/// Writes the inner products of a query's parts with all centroids.
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

impl Fill<'_> {
    /// Writes them by the fastest loop of this processor.
    pub(super) fn best(self) {
        #[cfg(target_arch = "x86_64")]
        if tables_avx512::fill(self.part, self.k, self.query, self.columns, self.entries).is_some() {
            return;
        }
        vectorized(self);
    }
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

/// The [`Spans`] of a table of `k` entries a sub-quantizer.
pub(super) fn measure(k: usize, entries: &[f32]) -> Spans {
    let ranges = [(0.0, 0.0); CodeShape::MAX_SUB_QUANTIZERS];
    let mut spans = Spans { largest: 0.0, total: 0.0, best: 0.0, ranges };
    let ranges = &mut spans.ranges[..entries.len() / k];
    best_ranges(k, entries, ranges);
    for &mut (low, high) in ranges {
        spans.largest = spans.largest.max(high - low);
        spans.total += high - low;
        spans.best += high;
    }
    spans
}

/// Finds them by the fastest loop of this processor.
fn best_ranges(k: usize, entries: &[f32], ranges: &mut [(f32, f32)]) {
    #[cfg(target_arch = "x86_64")]
    if tables_avx512::ranges(k, entries, ranges).is_some() {
        return;
    }
    vectorized(FindRanges { k, entries, ranges });
}

/// Writes the smallest and the largest entry of each sub-quantizer.
struct FindRanges<'a> {
    k: usize,
    entries: &'a [f32],
    ranges: &'a mut [(f32, f32)],
}

impl Loop for FindRanges<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (entries, place) in self.entries.chunks_exact(self.k).zip(self.ranges) {
            *place = range(entries);
        }
    }
}

/// Writes entries as bytes `(max - entry) * scale`, rounded.
pub(super) struct Quantize<'a> {
    pub(super) k: usize,
    pub(super) scale: f32,
    pub(super) ranges: &'a [(f32, f32)],
    pub(super) entries: &'a [f32],
    pub(super) bytes: &'a mut [u8],
}

impl Quantize<'_> {
    /// Writes them by the fastest loop of this processor; gives the largest sum of bytes of any code, and the
    /// largest byte.
    pub(super) fn best(self) -> (u32, u8) {
        let (mut sum, mut largest) = (0_u32, 0_u8);
        for &(low, high) in &self.ranges[..self.entries.len() / self.k] {
            let span = round((high - low) * self.scale);
            sum += u32::from(span);
            largest = largest.max(span);
        }
        #[cfg(target_arch = "x86_64")]
        if tables_avx512::quantize(self.k, self.scale, self.ranges, self.entries, self.bytes).is_some() {
            return (sum, largest);
        }
        vectorized(self);
        (sum, largest)
    }
}

impl Loop for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let tables = self.bytes.chunks_exact_mut(self.k).zip(self.entries.chunks_exact(self.k));
        for ((bytes, entries), &(_, high)) in tables.zip(self.ranges) {
            for (bytes, entries) in bytes.as_chunks_mut::<16>().0.iter_mut().zip(entries.as_chunks::<16>().0)
            {
                for lane in 0..16 {
                    bytes[lane] = round((high - entries[lane]) * self.scale);
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that use all bits, reproducible.
    fn values(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut value = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| value()).collect()
    }

    #[test]
    fn the_loops_by_hand_equal_the_portable_ones() {
        for (k, parts, part) in [(16, 1, 1), (16, 2, 3), (16, 64, 4), (256, 1, 1), (256, 3, 5), (256, 32, 8)]
        {
            let (query, columns) = (values(parts * part, 7), values(parts * part * k, 8));
            let (mut best, mut plain) = (vec![f32::NAN; parts * k], vec![f32::NAN; parts * k]);
            Fill { part, k, query: &query, columns: &columns, entries: &mut best }.best();
            Fill { part, k, query: &query, columns: &columns, entries: &mut plain }.run();
            assert_eq!(best, plain);
            let spans = measure(k, &best);
            let mut ranges = vec![(0.0, 0.0); parts];
            FindRanges { k, entries: &plain, ranges: &mut ranges }.run();
            assert_eq!(spans.ranges[..parts], ranges);
            let scale = 255.0 / spans.largest;
            let (mut bytes, mut plain_bytes) = (vec![7; parts * k], vec![9; parts * k]);
            let quantize = Quantize { k, scale, ranges: &ranges, entries: &best, bytes: &mut bytes };
            let (sum, largest) = quantize.best();
            Quantize { k, scale, ranges: &ranges, entries: &best, bytes: &mut plain_bytes }.run();
            assert_eq!(bytes, plain_bytes);
            assert_eq!(largest, 255);
            let largest_of = |table: &[u8]| table.iter().copied().max().map_or(0, u32::from);
            assert_eq!(sum, bytes.chunks_exact(k).map(largest_of).sum::<u32>());
        }
    }
}
