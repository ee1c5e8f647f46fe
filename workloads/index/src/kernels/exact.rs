//! Exact inner products: half-precision rows for the re-ranking, single-precision rows for the coarse probe.
//!
//! Guarantees: every variant accumulates in `f32`, in several partial sums; results lie within a few units of
//! the last place of the sum of absolute products, and may differ in the last bits between processors.
//! Assumes that query and row have one length: the shorter one decides.
#![allow(unsafe_code)]

use half::f16;

#[cfg(target_arch = "x86_64")]
#[path = "exact_x86.rs"]
mod x86;

/// Rows fetched ahead while gathering: enough to cover the latency of memory.
const ROWS_AHEAD: usize = 12;

/// Bytes of each row fetched ahead; the processor foresees the rest.
const FETCHED: usize = 256;

/// Inner product of a single-precision query and one half-precision row.
#[inline]
pub fn dot_f16(query: &[f32], row: &[f16]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(product) = x86::dot_f16(query, row) {
        return product;
    }
    portable(query.iter().copied(), row.iter().map(|x| x.to_f32()))
}

/// Inner products of a query with contiguous rows of its dimension, one for each place in `products`.
/// Rows beyond `products`, and places beyond the rows, are left alone.
pub fn dot_f16_rows(query: &[f32], rows: &[f16], products: &mut [f32]) {
    for (row, product) in rows.chunks_exact(query.len().max(1)).zip(products) {
        *product = dot_f16(query, row);
    }
}

/// Inner products of a query with the rows of its dimension that `indices` names, in that order, fetching
/// rows ahead: the re-ranking. A row that does not exist gives NaN.
pub fn dot_f16_gather(query: &[f32], rows: &[f16], indices: &[u32], products: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::gather_f16(query, rows, indices, products) {
        return;
    }
    gather(query, rows, indices, products, dot_f16);
}

/// [`dot_f16_gather`] over single-precision rows.
pub fn dot_f32_gather(query: &[f32], rows: &[f32], indices: &[u32], products: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::gather_f32(query, rows, indices, products) {
        return;
    }
    gather(query, rows, indices, products, dot_f32);
}

#[allow(clippy::inline_always, reason = "compiled again for each instruction set")]
#[inline(always)]
fn gather<T: bytemuck::NoUninit>(
    query: &[f32],
    rows: &[T],
    indices: &[u32],
    products: &mut [f32],
    dot: impl Fn(&[f32], &[T]) -> f32,
) {
    let row = |index: u32| {
        let first = (index as usize).checked_mul(query.len())?;
        rows.get(first..first.checked_add(query.len())?)
    };
    let fetch = |index: u32| {
        row(index).map(|row| prefetch(&bytemuck::cast_slice(row)[..FETCHED.min(size_of_val(row))]))
    };
    for &index in indices.iter().take(ROWS_AHEAD) {
        fetch(index);
    }
    for (place, (&index, product)) in indices.iter().zip(products).enumerate() {
        if let Some(&ahead) = indices.get(place + ROWS_AHEAD) {
            fetch(ahead);
        }
        *product = row(index).map_or(f32::NAN, |row| dot(query, row));
    }
}

/// Inner product of two single-precision vectors.
#[inline]
pub fn dot_f32(query: &[f32], row: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(product) = x86::dot_f32(query, row) {
        return product;
    }
    portable(query.iter().copied(), row.iter().copied())
}

/// Inner products of a query with contiguous rows of its dimension, one for each place in `products`.
pub fn dot_f32_rows(query: &[f32], rows: &[f32], products: &mut [f32]) {
    for (row, product) in rows.chunks_exact(query.len().max(1)).zip(products) {
        *product = dot_f32(query, row);
    }
}

/// Sixteen partial sums, so that the order of additions does not hold the processor up.
#[inline]
fn portable(query: impl Iterator<Item = f32>, row: impl Iterator<Item = f32>) -> f32 {
    let mut sums = [0.0_f32; 16];
    for (place, (q, x)) in query.zip(row).enumerate() {
        sums[place % 16] += q * x;
    }
    sums.iter().sum()
}

/// Asks for `bytes` to be brought into the cache; does nothing where that cannot be asked.
#[inline]
pub(crate) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and cannot fault; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_portable_sum_agrees_with_the_one_in_use() {
        let query: Vec<f32> = (0..131_u8).map(|i| f32::from(i % 17) - 8.0).collect();
        let row: Vec<f16> = (0..131_u8).map(|i| f16::from_f32(f32::from(i % 13) / 8.0)).collect();
        let expected = portable(query.iter().copied(), row.iter().map(|x| x.to_f32()));
        assert!((dot_f16(&query, &row) - expected).abs() < 1e-3);
        let single: Vec<f32> = row.iter().map(|x| x.to_f32()).collect();
        assert!((dot_f32(&query, &single) - expected).abs() < 1e-3);
    }
}
