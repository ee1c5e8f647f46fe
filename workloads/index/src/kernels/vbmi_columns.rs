//! 8-bit scan by `vpermi2b` (AVX-512 VBMI): 64 codes a block, one sub-quantizer a register.
//!
//! A 256-entry table is four registers; two `vpermi2b` look up its lower and upper half, and the top bit of
//! the index chooses between them. Four blocks share each load of a table. Bytes are added into 16-bit sums of
//! even and odd codes: the even sums are accumulated together with 256 times the odd ones, modulo 2^16, and
//! parted at the end, which is exact because no sum exceeds 256 * 255 = 65,280.
#![allow(unsafe_code)]
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]

use super::scan::{HitSink, Pass, report};
use std::arch::x86_64::*;

/// Blocks that share a load of a table.
const SHARE: usize = 4;

/// Distance at which blocks are fetched ahead. Blocks that share a load are read side by side, which the
/// processor does not foresee: fetched in the order of their addresses, codes in memory are scanned twice as fast.
/// Fetched in the order in which they are read, they are not.
const PREFETCH_BYTES: usize = 12 << 10;

/// Scans a pass over codes in the `Columns` layout.
///
/// The caller has checked that the processor has the features of `Kernel::Avx512Vbmi`.
pub(super) fn scan<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    // SAFETY: `CodeRun` of kernel `Avx512Vbmi` exists only where `Kernel::is_supported` has seen AVX-512 F,
    // BW, VL, DQ and VBMI, which is all the target features of `scan_blocks`.
    unsafe { scan_blocks(pass, sink) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn scan_blocks<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    let block_bytes = pass.run.shape.block_bytes();
    let mut first = 0;
    for blocks in pass.run.blocks.chunks(SHARE * block_bytes) {
        let count = blocks.len() / block_bytes;
        let wanted = |word: usize| pass.allowed(word) != 0;
        if pass.masks.is_none() || (2 * first..2 * (first + count)).any(wanted) {
            for query in 0..pass.queries.len() {
                match (count, query) {
                    // Once is enough for all queries of the pass.
                    (4, 0) => scan_share::<4, true, S>(pass, sink, query, first, blocks),
                    (4, _) => scan_share::<4, false, S>(pass, sink, query, first, blocks),
                    (3, _) => scan_share::<3, false, S>(pass, sink, query, first, blocks),
                    (2, _) => scan_share::<2, false, S>(pass, sink, query, first, blocks),
                    _ => scan_share::<1, false, S>(pass, sink, query, first, blocks),
                }
            }
        }
        first += count;
    }
}

/// Sums `COUNT` blocks, the first of which is block `first` of the run, and reports the hits. With `FETCH` the
/// blocks that follow are fetched.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn scan_share<const COUNT: usize, const FETCH: bool, S: HitSink + ?Sized>(
    pass: &Pass<'_>,
    sink: &mut S,
    query: usize,
    first: usize,
    blocks: &[u8],
) {
    let limit = pass.sum_threshold(sink, query);
    if limit == 0 {
        return;
    }
    let sub_quantizers = pass.run.shape.sub_quantizers();
    let table = pass.queries[query].table.entries();
    // Invariants: `COUNT` blocks of `sub_quantizers` columns, and a table of 256 bytes for each of them.
    assert!(blocks.len() == COUNT * sub_quantizers * 64 && table.len() >= sub_quantizers * 256);
    let ahead = blocks.as_ptr().wrapping_add(PREFETCH_BYTES);
    let mut sums = [[_mm512_setzero_si512(); 2]; COUNT];
    for m in 0..sub_quantizers {
        let mut quarters = [_mm512_setzero_si512(); 4];
        for (part, quarter) in quarters.iter_mut().enumerate() {
            // SAFETY: `m < sub_quantizers` and `part < 4`: within the table, by the invariant.
            *quarter = unsafe { _mm512_loadu_si512(table.as_ptr().add(m * 256 + part * 64).cast()) };
        }
        for (block, [mixed, odd]) in sums.iter_mut().enumerate() {
            if FETCH {
                _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add((m * COUNT + block) * 64).cast());
            }
            // SAFETY: `block < COUNT` and `m < sub_quantizers`: within the blocks, by the invariant.
            let column =
                unsafe { _mm512_loadu_si512(blocks.as_ptr().add((block * sub_quantizers + m) * 64).cast()) };
            let lower = _mm512_permutex2var_epi8(quarters[0], column, quarters[1]);
            let upper = _mm512_permutex2var_epi8(quarters[2], column, quarters[3]);
            let entry = _mm512_mask_blend_epi8(_mm512_movepi8_mask(column), lower, upper);
            *mixed = _mm512_add_epi16(*mixed, entry);
            *odd = _mm512_add_epi16(*odd, _mm512_srli_epi16::<8>(entry));
        }
    }
    let largest = _mm512_set1_epi16((limit - 1) as i16);
    for (block, [mixed, odd]) in sums.into_iter().enumerate() {
        let even = _mm512_sub_epi16(mixed, _mm512_slli_epi16::<8>(odd));
        let hits = _mm512_cmple_epu16_mask(even, largest) | _mm512_cmple_epu16_mask(odd, largest);
        if hits != 0 {
            hand_over(pass, sink, query, first + block, in_order(even, odd));
        }
    }
}

/// The sums of a block's two words of 32 codes, in order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn in_order(even: __m512i, odd: __m512i) -> [__m512i; 2] {
    // Within each 128-bit lane: the first eight and the last eight of its sixteen codes.
    let (first, last) = (_mm512_unpacklo_epi16(even, odd), _mm512_unpackhi_epi16(even, odd));
    let (low, high) =
        (_mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15));
    [_mm512_permutex2var_epi64(first, low, last), _mm512_permutex2var_epi64(first, high, last)]
}

/// Reports the hits of one block.
#[cold]
#[target_feature(enable = "avx512f,avx512bw")]
fn hand_over<S: HitSink + ?Sized>(
    pass: &Pass<'_>,
    sink: &mut S,
    query: usize,
    block: usize,
    words: [__m512i; 2],
) {
    for (half, sums) in words.into_iter().enumerate() {
        let word = block * 2 + half;
        let limit = pass.sum_threshold(sink, query);
        if limit == 0 {
            return;
        }
        let hits = _mm512_cmple_epu16_mask(sums, _mm512_set1_epi16((limit - 1) as i16)) & pass.allowed(word);
        if hits != 0 {
            let mut values = [0_u16; 32];
            // SAFETY: the array has 64 bytes.
            unsafe { _mm512_storeu_si512(values.as_mut_ptr().cast(), sums) };
            report(pass, sink, query, hits, word, &values);
        }
    }
}
