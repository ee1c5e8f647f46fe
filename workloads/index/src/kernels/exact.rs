//! Exact inner products: half-precision rows for the re-ranking, single-precision rows for the coarse probe.
//!
//! Guarantees: every variant accumulates in `f32` (in several partial sums), so results lie within a few
//! units of the last place times the square root of the dimension of the exact value, and may differ in the
//! last bits between processors. Assumes that query and row have one length: the shorter one decides.
#![allow(unsafe_code)]

use half::f16;

/// Inner product of a single-precision query and one half-precision row.
pub fn dot_f16(query: &[f32], row: &[f16]) -> f32 {
    query.iter().zip(row).map(|(&q, x)| q * x.to_f32()).sum()
}

/// Inner products of a query with contiguous rows of its dimension, one for each place in `products`.
/// Rows beyond `products`, and places beyond the rows, are left alone.
pub fn dot_f16_rows(query: &[f32], rows: &[f16], products: &mut [f32]) {
    for (row, product) in rows.chunks_exact(query.len().max(1)).zip(products) {
        *product = dot_f16(query, row);
    }
}

/// Inner product of two single-precision vectors.
pub fn dot_f32(query: &[f32], row: &[f32]) -> f32 {
    query.iter().zip(row).map(|(&q, &x)| q * x).sum()
}

/// Inner products of a query with contiguous rows of its dimension, one for each place in `products`.
pub fn dot_f32_rows(query: &[f32], rows: &[f32], products: &mut [f32]) {
    for (row, product) in rows.chunks_exact(query.len().max(1)).zip(products) {
        *product = dot_f32(query, row);
    }
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
