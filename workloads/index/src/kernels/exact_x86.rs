//! Inner products by AVX-512, and by AVX2 with FMA and F16C.
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]

use super::gather;
use half::f16;
use std::arch::x86_64::*;

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
}

/// The product, or `None` when this processor has neither instruction set.
#[inline]
pub(super) fn dot_f16(query: &[f32], row: &[f16]) -> Option<f32> {
    if has_avx512() {
        // SAFETY: the features of `dot_f16_avx512` have just been detected.
        Some(unsafe { dot_f16_avx512(query, row) })
    } else if has_avx2() {
        // SAFETY: the features of `dot_f16_avx2` have just been detected.
        Some(unsafe { dot_f16_avx2(query, row) })
    } else {
        None
    }
}

/// The product, or `None` when this processor has neither instruction set.
#[inline]
pub(super) fn dot_f32(query: &[f32], row: &[f32]) -> Option<f32> {
    if has_avx512() {
        // SAFETY: the features of `dot_f32_avx512` have just been detected.
        Some(unsafe { dot_f32_avx512(query, row) })
    } else if has_avx2() {
        // SAFETY: the features of `dot_f32_avx2` have just been detected.
        Some(unsafe { dot_f32_avx2(query, row) })
    } else {
        None
    }
}

/// Whether the gather was done: by AVX-512 only, the first that is worth a function of its own.
pub(super) fn gather_f16(query: &[f32], rows: &[f16], indices: &[u32], products: &mut [f32]) -> bool {
    let able = has_avx512();
    if able {
        // SAFETY: the features of `gather_f16_avx512` have just been detected.
        unsafe { gather_f16_avx512(query, rows, indices, products) };
    }
    able
}

/// As [`gather_f16`].
pub(super) fn gather_f32(query: &[f32], rows: &[f32], indices: &[u32], products: &mut [f32]) -> bool {
    let able = has_avx512();
    if able {
        // SAFETY: the features of `gather_f32_avx512` have just been detected.
        unsafe { gather_f32_avx512(query, rows, indices, products) };
    }
    able
}

#[target_feature(enable = "avx512f,avx512bw")]
fn gather_f16_avx512(query: &[f32], rows: &[f16], indices: &[u32], products: &mut [f32]) {
    gather(query, rows, indices, products, |query, row| dot_f16_avx512(query, row));
}

#[target_feature(enable = "avx512f,avx512bw")]
fn gather_f32_avx512(query: &[f32], rows: &[f32], indices: &[u32], products: &mut [f32]) {
    gather(query, rows, indices, products, |query, row| dot_f32_avx512(query, row));
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn dot_f16_avx512(query: &[f32], row: &[f16]) -> f32 {
    let length = query.len().min(row.len());
    let (query, row) = (&query[..length], &row[..length]);
    let mut sums = [_mm512_setzero_ps(); 4];
    let (query_blocks, query_rest) = query.as_chunks::<64>();
    let (row_blocks, row_rest) = row.as_chunks::<64>();
    for (q, x) in query_blocks.iter().zip(row_blocks) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `part < 4`, so 16 values from `16 * part` lie within the 64 of both arrays.
            let (q, x) = unsafe {
                (
                    _mm512_loadu_ps(q.as_ptr().add(part * 16)),
                    _mm256_loadu_si256(x.as_ptr().add(part * 16).cast()),
                )
            };
            *sum = _mm512_fmadd_ps(q, _mm512_cvtph_ps(x), *sum);
        }
    }
    let mut rest = 0.0;
    for (&q, x) in query_rest.iter().zip(row_rest) {
        rest += q * x.to_f32();
    }
    let [a, b, c, d] = sums;
    rest + _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn dot_f32_avx512(query: &[f32], row: &[f32]) -> f32 {
    let length = query.len().min(row.len());
    let (query, row) = (&query[..length], &row[..length]);
    let mut sums = [_mm512_setzero_ps(); 4];
    let (query_blocks, query_rest) = query.as_chunks::<64>();
    let (row_blocks, row_rest) = row.as_chunks::<64>();
    for (q, x) in query_blocks.iter().zip(row_blocks) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `part < 4`, so 16 values from `16 * part` lie within the 64 of both arrays.
            let (q, x) = unsafe {
                (_mm512_loadu_ps(q.as_ptr().add(part * 16)), _mm512_loadu_ps(x.as_ptr().add(part * 16)))
            };
            *sum = _mm512_fmadd_ps(q, x, *sum);
        }
    }
    let rest: f32 = query_rest.iter().zip(row_rest).map(|(q, x)| q * x).sum();
    let [a, b, c, d] = sums;
    rest + _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16_avx2(query: &[f32], row: &[f16]) -> f32 {
    let length = query.len().min(row.len());
    let (query, row) = (&query[..length], &row[..length]);
    let mut sums = [_mm256_setzero_ps(); 4];
    let (query_blocks, query_rest) = query.as_chunks::<32>();
    let (row_blocks, row_rest) = row.as_chunks::<32>();
    for (q, x) in query_blocks.iter().zip(row_blocks) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `part < 4`, so 8 values from `8 * part` lie within the 32 of both arrays.
            let (q, x) = unsafe {
                (_mm256_loadu_ps(q.as_ptr().add(part * 8)), _mm_loadu_si128(x.as_ptr().add(part * 8).cast()))
            };
            *sum = _mm256_fmadd_ps(q, _mm256_cvtph_ps(x), *sum);
        }
    }
    let mut rest = 0.0;
    for (&q, x) in query_rest.iter().zip(row_rest) {
        rest += q * x.to_f32();
    }
    rest + total(sums)
}

#[target_feature(enable = "avx2,fma")]
fn dot_f32_avx2(query: &[f32], row: &[f32]) -> f32 {
    let length = query.len().min(row.len());
    let (query, row) = (&query[..length], &row[..length]);
    let mut sums = [_mm256_setzero_ps(); 4];
    let (query_blocks, query_rest) = query.as_chunks::<32>();
    let (row_blocks, row_rest) = row.as_chunks::<32>();
    for (q, x) in query_blocks.iter().zip(row_blocks) {
        for (part, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `part < 4`, so 8 values from `8 * part` lie within the 32 of both arrays.
            let (q, x) = unsafe {
                (_mm256_loadu_ps(q.as_ptr().add(part * 8)), _mm256_loadu_ps(x.as_ptr().add(part * 8)))
            };
            *sum = _mm256_fmadd_ps(q, x, *sum);
        }
    }
    let rest: f32 = query_rest.iter().zip(row_rest).map(|(q, x)| q * x).sum();
    rest + total(sums)
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: [__m256; 4]) -> f32 {
    let [a, b, c, d] = sums;
    let sum = _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d));
    let mut parts = [0.0_f32; 8];
    // SAFETY: 8 values are written to an array of 8.
    unsafe { _mm256_storeu_ps(parts.as_mut_ptr(), sum) };
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn avx2_and_avx512_agree_with_double_precision_at_every_length() {
        for length in 0..200_usize {
            let query: Vec<f32> = (0..length).map(|i| ((i * 37 % 101) as f32 - 50.0) / 13.0).collect();
            let half: Vec<f16> =
                (0..length).map(|i| f16::from_f32(((i * 53 % 89) as f32 - 44.0) / 7.0)).collect();
            let single: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
            let pairs = query.iter().zip(&single);
            let expected: f64 = pairs.clone().map(|(&q, &x)| f64::from(q) * f64::from(x)).sum();
            let size: f64 = pairs.map(|(&q, &x)| (f64::from(q) * f64::from(x)).abs()).sum();
            let mut products = Vec::new();
            if has_avx512() {
                // SAFETY: the features have just been detected.
                products.extend(unsafe { [dot_f16_avx512(&query, &half), dot_f32_avx512(&query, &single)] });
            }
            if has_avx2() {
                // SAFETY: the features have just been detected.
                products.extend(unsafe { [dot_f16_avx2(&query, &half), dot_f32_avx2(&query, &single)] });
            }
            for product in products {
                assert!((f64::from(product) - expected).abs() <= 1e-6 * size, "length {length}");
            }
        }
    }
}
