//! 4-bit scan by `vpermb` and `vpdpbusd` (AVX-512 VBMI and VNNI).
//!
//! One 64-byte register holds four sub-quantizers' indices of 16 codes, each byte with two bits that say which
//! of the four 16-entry tables it reads; `vpermb` looks all 64 up at once, and `vpdpbusd` adds each four
//! neighbours into the 32-bit sum of their code. When no entry exceeds 127, two groups of four are added as
//! bytes first, which spares every second `vpdpbusd`: the multiplier ports are what limits this loop.
//!
//! Sums start at minus the threshold, so a hit is a negative sum, and one `or` over all sums of all queries
//! tells whether the block has any. 32-bit sums cannot overflow: 256 entries of 255 are 65,280.
#![allow(unsafe_code)]
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]
#![allow(clippy::needless_range_loop, reason = "queries index several arrays and the tables alike")]

use super::scan::{HitSink, Pass, report};
use std::arch::x86_64::*;

/// Most queries whose sums fit the registers beside the indices.
const QUERIES: usize = 8;

/// Distance at which blocks are fetched ahead.
const PREFETCH_BYTES: usize = 4096;

/// Scans a pass over codes in the `Quads` layout, in groups of up to eight queries.
///
/// The caller has checked that the processor has the features of `Kernel::Avx512Vbmi`.
pub(super) fn scan<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    for (index, queries) in pass.queries.chunks(QUERIES).enumerate() {
        let part = Pass { queries, first_query: pass.first_query + index * QUERIES, ..*pass };
        let pairs = queries.iter().all(|query| query.table.largest_entry() <= 127);
        // SAFETY: `CodeRun` of kernel `Avx512Vbmi` exists only where `Kernel::is_supported` has seen
        // AVX-512 F, BW, VL, DQ, VBMI and VNNI, which is all the target features of `scan_queries`.
        unsafe {
            match (queries.len(), pairs) {
                (1, true) => scan_queries::<1, true, S>(&part, sink),
                (2, true) => scan_queries::<2, true, S>(&part, sink),
                (3, true) => scan_queries::<3, true, S>(&part, sink),
                (4, true) => scan_queries::<4, true, S>(&part, sink),
                (5, true) => scan_queries::<5, true, S>(&part, sink),
                (6, true) => scan_queries::<6, true, S>(&part, sink),
                (7, true) => scan_queries::<7, true, S>(&part, sink),
                (8, true) => scan_queries::<8, true, S>(&part, sink),
                (_, false) => scan_wide_entries(&part, sink),
                _ => {}
            }
        }
    }
}

/// Tables with entries above 127, at most four a pass.
fn scan_wide_entries<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    for (index, queries) in pass.queries.chunks(4).enumerate() {
        let part = Pass { queries, first_query: pass.first_query + index * 4, ..*pass };
        // SAFETY: reached from `scan` only, which states why the features exist.
        unsafe {
            match queries.len() {
                1 => scan_queries::<1, false, S>(&part, sink),
                2 => scan_queries::<2, false, S>(&part, sink),
                3 => scan_queries::<3, false, S>(&part, sink),
                _ => scan_queries::<4, false, S>(&part, sink),
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,avx512vnni")]
fn scan_queries<const NQ: usize, const PAIRS: bool, S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    let shape = pass.run.shape;
    let sub_quantizers = shape.sub_quantizers();
    let (groups, block_bytes) = (sub_quantizers / 4, shape.block_bytes());
    let mut limits = [0_i32; NQ];
    let mut tables = [std::ptr::null::<u8>(); NQ];
    for query in 0..NQ {
        let entries = pass.queries[query].table.entries();
        // Invariant 1: every table has at least `sub_quantizers * 16` bytes, rounded up to 64.
        assert!(entries.len() >= (sub_quantizers * 16).next_multiple_of(64));
        tables[query] = entries.as_ptr();
        limits[query] = pass.sum_threshold(sink, query) as i32;
    }
    if limits.iter().all(|&limit| limit == 0) {
        return;
    }
    let nibble = _mm512_set1_epi8(15);
    let place = _mm512_set1_epi32(0x3020_1000);
    let ones = _mm512_set1_epi8(1);
    for (word, block) in pass.run.blocks.chunks_exact(block_bytes).enumerate() {
        if pass.masks.is_some() && pass.allowed(word) == 0 {
            continue;
        }
        let mut sums = [[_mm512_setzero_si512(); 2]; NQ];
        for query in 0..NQ {
            sums[query] = [_mm512_set1_epi32(limits[query].wrapping_neg()); 2];
        }
        let codes = block.as_ptr();
        let ahead = codes.wrapping_add(PREFETCH_BYTES);
        let indices = |group: usize| {
            // SAFETY: invariant 2: `group < sub_quantizers / 4`, and a block has `sub_quantizers * 16` bytes.
            let pair = unsafe { _mm512_loadu_si512(codes.add(group * 64).cast()) };
            split(pair, nibble, place)
        };
        let entries = |query: usize, group: usize| {
            // SAFETY: invariant 1, with `group < ceil(sub_quantizers / 4)` and 64 bytes a group.
            unsafe { _mm512_loadu_si512(tables[query].add(group * 64).cast()) }
        };
        let mut group = 0;
        while PAIRS && group + 2 <= groups {
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(group * 64).cast());
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(group * 64 + 64).cast());
            let (first, second) = (indices(group), indices(group + 1));
            for query in 0..NQ {
                let (a, b) = (entries(query, group), entries(query, group + 1));
                for half in 0..2 {
                    let pair = _mm512_add_epi8(
                        _mm512_permutexvar_epi8(first[half], a),
                        _mm512_permutexvar_epi8(second[half], b),
                    );
                    sums[query][half] = _mm512_dpbusd_epi32(sums[query][half], pair, ones);
                }
            }
            group += 2;
        }
        while group < groups {
            let index = indices(group);
            for query in 0..NQ {
                add_group(&mut sums[query], index, entries(query, group), ones);
            }
            group += 1;
        }
        if sub_quantizers % 4 == 2 {
            // SAFETY: the last pair of sub-quantizers has 32 bytes, `groups * 64 + 32 = block_bytes`.
            let pair = unsafe { _mm256_loadu_si256(codes.add(groups * 64).cast()) };
            let index = split(_mm512_cvtepu16_epi32(pair), nibble, place);
            for query in 0..NQ {
                add_group(&mut sums[query], index, entries(query, groups), ones);
            }
        }
        let mut any = _mm512_setzero_si512();
        for [low, high] in sums {
            any = _mm512_ternarylogic_epi32::<0xFE>(any, low, high);
        }
        if _mm512_movepi32_mask(any) != 0 {
            // Mostly one of the queries: the others are not worth a call.
            for query in 0..NQ {
                let [low, high] = sums[query].map(|sum| u32::from(_mm512_movepi32_mask(sum)));
                let hits = low | high << 16;
                if hits != 0 {
                    limits[query] = hand_over(pass, sink, query, word, hits, sums[query], limits[query]);
                }
            }
        }
    }
}

/// Indices of the low and of the high halves of the bytes, each with its table's place in bits 4 and 5.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn split(pair: __m512i, nibble: __m512i, place: __m512i) -> [__m512i; 2] {
    [
        _mm512_ternarylogic_epi32::<0xEA>(pair, nibble, place),
        _mm512_ternarylogic_epi32::<0xEA>(_mm512_srli_epi16::<4>(pair), nibble, place),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn add_group(sums: &mut [__m512i; 2], index: [__m512i; 2], entries: __m512i, ones: __m512i) {
    for (sum, index) in sums.iter_mut().zip(index) {
        *sum = _mm512_dpbusd_epi32(*sum, _mm512_permutexvar_epi8(index, entries), ones);
    }
}

/// Reports those `hits`, the negative sums of one query, that are allowed; returns its new limit.
#[cold]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
fn hand_over<S: HitSink + ?Sized>(
    pass: &Pass<'_>,
    sink: &mut S,
    query: usize,
    word: usize,
    hits: u32,
    sums: [__m512i; 2],
    limit: i32,
) -> i32 {
    let hits = hits & pass.allowed(word);
    if hits == 0 {
        return limit;
    }
    let mut values = [0_u16; 32];
    for (half, sum) in sums.into_iter().enumerate() {
        let positive = _mm512_cvtepi32_epi16(_mm512_add_epi32(sum, _mm512_set1_epi32(limit)));
        // SAFETY: 16 values of 2 bytes are written to half of an array of 32.
        unsafe { _mm256_storeu_si256(values[half * 16..].as_mut_ptr().cast(), positive) };
    }
    report(pass, sink, query, hits, word, &values) as i32
}
