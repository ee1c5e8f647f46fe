//! Making lookup tables with AVX-512: the loops of `product::table_loops`, which left to the compiler become
//! gathers and reversals of vectors.
//!
//! Guarantees: entries, ranges and bytes equal those of the portable loops bit for bit, because products, sums
//! and differences are rounded one by one in the same order.
//! Each function returns `None`, having done nothing, where the processor lacks AVX-512 F.
#![allow(unsafe_code)]
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]

use std::arch::x86_64::*;

/// Values in a register.
const LANES: usize = 16;

/// Writes the inner products of each part of `query` with its `k` centroids, of which `columns` holds
/// `parts x part x k` components; `k` is a multiple of 16.
pub(crate) fn fill(part: usize, k: usize, query: &[f32], columns: &[f32], entries: &mut [f32]) -> Option<()> {
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    // Invariants: whole parts, a column for each value of the query, and an entry for each centroid of a part.
    assert!(k.is_multiple_of(LANES) && query.len().is_multiple_of(part));
    assert!(columns.len() == query.len() * k && entries.len() * part == columns.len());
    // SAFETY: AVX-512 F has just been detected; the invariants are those it asks for.
    unsafe { fill_parts(part, k, query, columns, entries) };
    Some(())
}

/// [`fill`], where the compiler may use AVX-512.
///
/// # Safety
/// The invariants that [`fill`] checks.
#[target_feature(enable = "avx512f")]
unsafe fn fill_parts(part: usize, k: usize, query: &[f32], columns: &[f32], entries: &mut [f32]) {
    let values = query.chunks_exact(part).zip(columns.chunks_exact(part * k));
    for ((values, columns), entries) in values.zip(entries.chunks_exact_mut(k)) {
        let mut first = 0;
        while first < k {
            // SAFETY: `part` columns of `k` and `k` entries hold the 64 or 16 lanes from `first` on, because
            // `first` and `k` are multiples of 16.
            first += unsafe {
                if first + 4 * LANES <= k {
                    fill_lanes::<4>(k, first, values, columns, entries)
                } else {
                    fill_lanes::<1>(k, first, values, columns, entries)
                }
            };
        }
    }
}

/// Fills `COUNT` registers of entries from `first` on; returns how many entries that is.
///
/// # Safety
/// `first + 16 * COUNT` is at most `k`, `columns` holds `values.len() * k` values and `entries` `k`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn fill_lanes<const COUNT: usize>(
    k: usize,
    first: usize,
    values: &[f32],
    columns: &[f32],
    entries: &mut [f32],
) -> usize {
    let mut sums = [_mm512_setzero_ps(); COUNT];
    for (t, &value) in values.iter().enumerate() {
        let value = _mm512_set1_ps(value);
        for (index, sum) in sums.iter_mut().enumerate() {
            // SAFETY: within column `t`, by the contract.
            let column = unsafe { _mm512_loadu_ps(columns.as_ptr().add(t * k + first + index * LANES)) };
            // Not fused, so that every processor makes the same table.
            *sum = _mm512_add_ps(*sum, _mm512_mul_ps(value, column));
        }
    }
    for (index, sum) in sums.into_iter().enumerate() {
        // SAFETY: within the entries, by the contract.
        unsafe { _mm512_storeu_ps(entries.as_mut_ptr().add(first + index * LANES), sum) };
    }
    COUNT * LANES
}

/// Writes the smallest and the largest of each `k` entries; `k` is a multiple of 16.
pub(crate) fn ranges(k: usize, entries: &[f32], ranges: &mut [(f32, f32)]) -> Option<()> {
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    // SAFETY: AVX-512 F has just been detected.
    unsafe { ranges_of(k, entries, ranges) };
    Some(())
}

#[target_feature(enable = "avx512f")]
fn ranges_of(k: usize, entries: &[f32], ranges: &mut [(f32, f32)]) {
    for (entries, range) in entries.chunks_exact(k).zip(ranges) {
        *range = range_of(entries);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn range_of(entries: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = (_mm512_set1_ps(f32::INFINITY), _mm512_set1_ps(f32::NEG_INFINITY));
    for entries in entries.as_chunks::<LANES>().0 {
        // SAFETY: 16 values.
        let entries = unsafe { _mm512_loadu_ps(entries.as_ptr()) };
        low = _mm512_min_ps(low, entries);
        high = _mm512_max_ps(high, entries);
    }
    (_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high))
}

/// Writes `(high - entry) * scale`, rounded to the nearest integer, ties to even, of each entry of one
/// sub-quantizer; it lies between 0 and 255.49. As many bytes as entries, a multiple of 16.
pub(crate) fn quantize(
    k: usize,
    scale: f32,
    ranges: &[(f32, f32)],
    entries: &[f32],
    bytes: &mut [u8],
) -> Option<()> {
    if !is_x86_feature_detected!("avx512f") {
        return None;
    }
    // SAFETY: AVX-512 F has just been detected.
    unsafe { quantize_parts(k, scale, ranges, entries, bytes) };
    Some(())
}

#[target_feature(enable = "avx512f")]
fn quantize_parts(k: usize, scale: f32, ranges: &[(f32, f32)], entries: &[f32], bytes: &mut [u8]) {
    let tables = bytes.chunks_exact_mut(k).zip(entries.chunks_exact(k));
    for ((bytes, entries), &(_, high)) in tables.zip(ranges) {
        quantize_lanes(scale, high, entries, bytes);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn quantize_lanes(scale: f32, high: f32, entries: &[f32], bytes: &mut [u8]) {
    let (scale, high) = (_mm512_set1_ps(scale), _mm512_set1_ps(high));
    for (bytes, entries) in bytes.as_chunks_mut::<LANES>().0.iter_mut().zip(entries.as_chunks::<LANES>().0) {
        // SAFETY: 16 values.
        let entries = unsafe { _mm512_loadu_ps(entries.as_ptr()) };
        // Converts with the rounding mode of the process, which Rust keeps at nearest, ties to even.
        let whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_sub_ps(high, entries), scale));
        // SAFETY: 16 bytes.
        unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(whole)) };
    }
}
