//! 4-bit scan by 64-byte `pshufb` (AVX-512 BW), for processors without VBMI.
//!
//! A 128-bit lane holds one sub-quantizer: its 16-entry table, and 16 bytes with the indices of 32 codes.
//! Looked-up bytes are added into 16-bit sums of even and odd bytes (see `vbmi_columns`), and the four lanes
//! are added at the end of the block.
#![allow(unsafe_code)]
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]

use super::scan::{HitSink, Pass, report};
use std::arch::x86_64::*;

/// Most queries whose four sums each fit the registers.
const QUERIES: usize = 4;

/// Scans a pass over codes in the `Lanes` layout, in groups of up to four queries.
///
/// The caller has checked that the processor has the features of `Kernel::Avx512`.
pub(super) fn scan<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    for (index, queries) in pass.queries.chunks(QUERIES).enumerate() {
        let part = Pass { queries, first_query: pass.first_query + index * QUERIES, ..*pass };
        // SAFETY: `CodeRun` of kernel `Avx512` exists only where `Kernel::is_supported` has seen AVX-512 F,
        // BW, VL and DQ, which is all the target features of `scan_queries`.
        unsafe {
            match queries.len() {
                1 => scan_queries::<1, S>(&part, sink),
                2 => scan_queries::<2, S>(&part, sink),
                3 => scan_queries::<3, S>(&part, sink),
                _ => scan_queries::<4, S>(&part, sink),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn scan_queries<const NQ: usize, S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    let shape = pass.run.shape;
    let sub_quantizers = shape.sub_quantizers();
    let (groups, block_bytes) = (sub_quantizers / 4, shape.block_bytes());
    let mut limits = [0_u32; NQ];
    let mut tables = [std::ptr::null::<u8>(); NQ];
    for query in 0..NQ {
        let entries = pass.queries[query].table.entries();
        // Invariant 1: every table has at least `sub_quantizers * 16` bytes, rounded up to 64.
        assert!(entries.len() >= (sub_quantizers * 16).next_multiple_of(64));
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
        let mut sums = [[_mm512_setzero_si512(); 4]; NQ];
        for group in 0..groups {
            // SAFETY: `group < sub_quantizers / 4`, and a block has `sub_quantizers * 16` bytes.
            let pair = unsafe { _mm512_loadu_si512(block.as_ptr().add(group * 64).cast()) };
            for query in 0..NQ {
                // SAFETY: invariant 1.
                let entries = unsafe { _mm512_loadu_si512(tables[query].add(group * 64).cast()) };
                add_group(&mut sums[query], pair, entries);
            }
        }
        if sub_quantizers % 4 == 2 {
            // SAFETY: the last pair of sub-quantizers has 32 bytes, `groups * 64 + 32 = block_bytes`.
            let half = unsafe { _mm256_loadu_si256(block.as_ptr().add(groups * 64).cast()) };
            for query in 0..NQ {
                // SAFETY: invariant 1; the upper half of this group is zeros, so it adds nothing.
                let entries = unsafe { _mm512_loadu_si512(tables[query].add(groups * 64).cast()) };
                add_group(&mut sums[query], _mm512_zextsi256_si512(half), entries);
            }
        }
        for query in 0..NQ {
            let totals = add_lanes(&sums[query]);
            let largest = _mm512_set1_epi16(limits[query].saturating_sub(1) as i16);
            let hits = _mm512_cmple_epu16_mask(totals, largest);
            if hits != 0 && limits[query] != 0 {
                limits[query] = hand_over(pass, sink, query, word, totals, hits, limits[query]);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_group(sums: &mut [__m512i; 4], pair: __m512i, entries: __m512i) {
    let nibble = _mm512_set1_epi8(15);
    let low = _mm512_shuffle_epi8(entries, _mm512_and_si512(pair, nibble));
    let high = _mm512_shuffle_epi8(entries, _mm512_and_si512(_mm512_srli_epi16::<4>(pair), nibble));
    sums[0] = _mm512_add_epi16(sums[0], low);
    sums[1] = _mm512_add_epi16(sums[1], _mm512_srli_epi16::<8>(low));
    sums[2] = _mm512_add_epi16(sums[2], high);
    sums[3] = _mm512_add_epi16(sums[3], _mm512_srli_epi16::<8>(high));
}

/// The 32 totals in code order: each of the four sums added over its four lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add_lanes(sums: &[__m512i; 4]) -> __m512i {
    let part = |mixed, odd| _mm512_sub_epi16(mixed, _mm512_slli_epi16::<8>(odd));
    let fold =
        |a, b| _mm512_add_epi16(_mm512_mask_blend_epi64(0xF0, a, b), _mm512_shuffle_i64x2::<0x4E>(a, b));
    let low = fold(part(sums[0], sums[1]), sums[1]);
    let high = fold(part(sums[2], sums[3]), sums[3]);
    _mm512_add_epi16(_mm512_shuffle_i64x2::<0x88>(low, high), _mm512_shuffle_i64x2::<0xDD>(low, high))
}

/// Reports the hits of one query that are allowed; returns its new limit.
#[cold]
#[target_feature(enable = "avx512f,avx512bw")]
fn hand_over<S: HitSink + ?Sized>(
    pass: &Pass<'_>,
    sink: &mut S,
    query: usize,
    word: usize,
    totals: __m512i,
    hits: u32,
    limit: u32,
) -> u32 {
    let hits = hits & pass.allowed(word);
    if hits == 0 {
        return limit;
    }
    let mut values = [0_u16; 32];
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), totals) };
    report(pass, sink, query, hits, word, &values)
}
