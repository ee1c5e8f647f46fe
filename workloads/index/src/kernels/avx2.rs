//! 4-bit scan by 32-byte `pshufb` (AVX2); the layout and the sums are those of `avx512`, two lanes wide.
#![allow(unsafe_code)]
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]

use super::scan::{HitSink, Pass, report};
use std::arch::x86_64::*;

/// Most queries whose four sums each fit the registers.
const QUERIES: usize = 2;

/// Scans a pass over codes in the `Lanes` layout, in groups of up to two queries.
///
/// The caller has checked that the processor has AVX2.
pub(super) fn scan<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    for (index, queries) in pass.queries.chunks(QUERIES).enumerate() {
        let part = Pass { queries, first_query: pass.first_query + index * QUERIES, ..*pass };
        // SAFETY: `CodeRun` of kernel `Avx2` exists only where `Kernel::is_supported` has seen AVX2.
        unsafe {
            match queries.len() {
                1 => scan_queries::<1, S>(&part, sink),
                _ => scan_queries::<2, S>(&part, sink),
            }
        }
    }
}

#[target_feature(enable = "avx2")]
fn scan_queries<const NQ: usize, S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    let shape = pass.run.shape;
    let (groups, block_bytes) = (shape.sub_quantizers() / 2, shape.block_bytes());
    let mut limits = [0_u32; NQ];
    let mut tables = [std::ptr::null::<u8>(); NQ];
    for query in 0..NQ {
        let entries = pass.queries[query].table.entries();
        // Invariant 1: every table has at least 32 bytes for each two sub-quantizers.
        assert!(entries.len() >= groups * 32);
        tables[query] = entries.as_ptr();
        limits[query] = pass.sum_threshold(sink, query);
    }
    if limits.iter().all(|&limit| limit == 0) {
        return;
    }
    for (word, block) in pass.run.blocks.chunks_exact(block_bytes).enumerate() {
        if pass.masks.is_some() && pass.allowed(word) == 0 {
            continue;
        }
        let mut sums = [[_mm256_setzero_si256(); 4]; NQ];
        for group in 0..groups {
            // SAFETY: `group < sub_quantizers / 2`, and a block has `sub_quantizers * 16` bytes.
            let pair = unsafe { _mm256_loadu_si256(block.as_ptr().add(group * 32).cast()) };
            for query in 0..NQ {
                // SAFETY: invariant 1.
                let entries = unsafe { _mm256_loadu_si256(tables[query].add(group * 32).cast()) };
                add_group(&mut sums[query], pair, entries);
            }
        }
        for query in 0..NQ {
            let totals = add_lanes(&sums[query]);
            let hits = at_most(totals, limits[query].saturating_sub(1) as u16);
            if hits != 0 && limits[query] != 0 {
                limits[query] = hand_over(pass, sink, query, word, totals, hits, limits[query]);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_group(sums: &mut [__m256i; 4], pair: __m256i, entries: __m256i) {
    let nibble = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(entries, _mm256_and_si256(pair, nibble));
    let high = _mm256_shuffle_epi8(entries, _mm256_and_si256(_mm256_srli_epi16::<4>(pair), nibble));
    sums[0] = _mm256_add_epi16(sums[0], low);
    sums[1] = _mm256_add_epi16(sums[1], _mm256_srli_epi16::<8>(low));
    sums[2] = _mm256_add_epi16(sums[2], high);
    sums[3] = _mm256_add_epi16(sums[3], _mm256_srli_epi16::<8>(high));
}

/// The 32 totals in code order, 16 a register.
#[inline]
#[target_feature(enable = "avx2")]
fn add_lanes(sums: &[__m256i; 4]) -> [__m256i; 2] {
    let fold = |mixed, odd| {
        let even = _mm256_sub_epi16(mixed, _mm256_slli_epi16::<8>(odd));
        _mm256_add_epi16(_mm256_permute2x128_si256::<0x21>(even, odd), _mm256_blend_epi32::<0xF0>(even, odd))
    };
    [fold(sums[0], sums[1]), fold(sums[2], sums[3])]
}

/// One bit for each of 32 unsigned values that is at most `largest`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn at_most(values: [__m256i; 2], largest: u16) -> u32 {
    let largest = _mm256_set1_epi16(largest as i16);
    let below = |values| _mm256_cmpeq_epi16(_mm256_min_epu16(values, largest), values);
    let packed = _mm256_packs_epi16(below(values[0]), below(values[1]));
    _mm256_movemask_epi8(_mm256_permute4x64_epi64::<0xD8>(packed)) as u32
}

/// Reports the hits of one query that are allowed; returns its new limit.
#[cold]
#[target_feature(enable = "avx2")]
pub(super) fn hand_over<S: HitSink + ?Sized>(
    pass: &Pass<'_>,
    sink: &mut S,
    query: usize,
    word: usize,
    totals: [__m256i; 2],
    hits: u32,
    limit: u32,
) -> u32 {
    let hits = hits & pass.allowed(word);
    if hits == 0 {
        return limit;
    }
    let mut values = [0_u16; 32];
    for (half, totals) in totals.into_iter().enumerate() {
        // SAFETY: 16 values of 2 bytes are written to half of an array of 32.
        unsafe { _mm256_storeu_si256(values[half * 16..].as_mut_ptr().cast(), totals) };
    }
    report(pass, sink, query, hits, word, &values)
}
