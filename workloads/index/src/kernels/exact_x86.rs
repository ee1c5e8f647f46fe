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
    dot_avx512(query, row, |values| {
        // SAFETY: 16 values of 2 bytes are read from an array of 16.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(values.as_ptr().cast()) })
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn dot_f32_avx512(query: &[f32], row: &[f32]) -> f32 {
    // SAFETY: 16 values are read from an array of 16.
    dot_avx512(query, row, |values| unsafe { _mm512_loadu_ps(values.as_ptr()) })
}

/// Four sums of 16 values each, so that no addition waits for the one before; `load` widens 16 values of the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn dot_avx512<T: Copy + Into<f32>>(query: &[f32], row: &[T], load: impl Fn(&[T; 16]) -> __m512) -> f32 {
    let length = query.len().min(row.len());
    let mut sums = [_mm512_setzero_ps(); 4];
    let (query_blocks, query_rest) = query[..length].as_chunks::<64>();
    let (row_blocks, row_rest) = row[..length].as_chunks::<64>();
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        for ((q, x), sum) in query.as_chunks::<16>().0.iter().zip(row.as_chunks::<16>().0).zip(&mut sums) {
            // SAFETY: 16 values are read from an array of 16.
            let q = unsafe { _mm512_loadu_ps(q.as_ptr()) };
            *sum = _mm512_fmadd_ps(q, load(x), *sum);
        }
    }
    let [a, b, c, d] = sums;
    dot_scalar(query_rest, row_rest)
        + _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)))
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f16_avx2(query: &[f32], row: &[f16]) -> f32 {
    dot_avx2(query, row, |values| {
        // SAFETY: 8 values of 2 bytes are read from an array of 8.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
    })
}

#[target_feature(enable = "avx2,fma,f16c")]
fn dot_f32_avx2(query: &[f32], row: &[f32]) -> f32 {
    // SAFETY: 8 values are read from an array of 8.
    dot_avx2(query, row, |values| unsafe { _mm256_loadu_ps(values.as_ptr()) })
}

/// As [`dot_avx512`], by 8 values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_avx2<T: Copy + Into<f32>>(query: &[f32], row: &[T], load: impl Fn(&[T; 8]) -> __m256) -> f32 {
    let length = query.len().min(row.len());
    let mut sums = [_mm256_setzero_ps(); 4];
    let (query_blocks, query_rest) = query[..length].as_chunks::<32>();
    let (row_blocks, row_rest) = row[..length].as_chunks::<32>();
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        for ((q, x), sum) in query.as_chunks::<8>().0.iter().zip(row.as_chunks::<8>().0).zip(&mut sums) {
            // SAFETY: 8 values are read from an array of 8.
            let q = unsafe { _mm256_loadu_ps(q.as_ptr()) };
            *sum = _mm256_fmadd_ps(q, load(x), *sum);
        }
    }
    dot_scalar(query_rest, row_rest) + total(sums)
}

/// What is left behind the last whole block.
#[inline]
fn dot_scalar<T: Copy + Into<f32>>(query: &[f32], row: &[T]) -> f32 {
    query.iter().zip(row).map(|(q, &x)| q * x.into()).sum()
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
