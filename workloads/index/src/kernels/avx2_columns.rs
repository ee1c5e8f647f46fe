//! 8-bit scan by 32-byte `pshufb` (AVX2): a 256-entry table is looked up in 16 steps of 16 entries.
//!
//! In step `i` the index less `16 i` is in range only for bytes that belong to it; a saturating addition of
//! 0x70 sets the top bit of all others, for which `pshufb` gives zero. Twice as fast as portable code.
#![allow(unsafe_code)]
#![allow(clippy::wildcard_imports, reason = "the names of intrinsics cannot be mistaken")]

use super::avx2::{at_most, hand_over};
use super::scan::{HitSink, Pass};
use std::arch::x86_64::*;

/// Scans a pass over codes in the `Columns` layout.
///
/// The caller has checked that the processor has AVX2.
pub(super) fn scan<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    // SAFETY: `CodeRun` of kernel `Avx2` or `Avx512` exists only where `Kernel::is_supported` has seen AVX2,
    // which every processor with AVX-512 has.
    unsafe { scan_words(pass, sink) }
}

#[target_feature(enable = "avx2")]
fn scan_words<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    for (index, block) in pass.run.blocks.chunks_exact(pass.run.shape.block_bytes()).enumerate() {
        for half in 0..2 {
            let word = index * 2 + half;
            if pass.allowed(word) == 0 {
                continue;
            }
            for query in 0..pass.queries.len() {
                let limit = pass.sum_threshold(sink, query);
                if limit == 0 {
                    continue;
                }
                let totals = sum_word(block, half, pass.queries[query].table.entries());
                let hits = at_most(totals, (limit - 1) as u16);
                if hits != 0 {
                    hand_over(pass, sink, query, word, totals, hits, limit);
                }
            }
        }
    }
}

/// Sums of the 32 codes of one half of a block, in code order.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_word(block: &[u8], half: usize, table: &[u8]) -> [__m256i; 2] {
    let (mut mixed, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (column, entries) in block.as_chunks::<64>().0.iter().zip(table.as_chunks::<256>().0) {
        // SAFETY: `half` is 0 or 1, so 32 bytes from `32 * half` lie within the 64 of the column.
        let mut index = unsafe { _mm256_loadu_si256(column.as_ptr().add(32 * half).cast()) };
        let mut looked_up = _mm256_setzero_si256();
        for step in entries.as_chunks::<16>().0 {
            // SAFETY: `step` has 16 bytes.
            let step = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(step.as_ptr().cast()) });
            let in_range = _mm256_adds_epu8(index, _mm256_set1_epi8(0x70));
            looked_up = _mm256_or_si256(looked_up, _mm256_shuffle_epi8(step, in_range));
            index = _mm256_sub_epi8(index, _mm256_set1_epi8(16));
        }
        mixed = _mm256_add_epi16(mixed, looked_up);
        odd = _mm256_add_epi16(odd, _mm256_srli_epi16::<8>(looked_up));
    }
    let even = _mm256_sub_epi16(mixed, _mm256_slli_epi16::<8>(odd));
    // Even codes 0, 2, .. and odd codes 1, 3, .. interleaved; the unpacking works within 128-bit lanes.
    let (first, second) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
    [_mm256_permute2x128_si256::<0x20>(first, second), _mm256_permute2x128_si256::<0x31>(first, second)]
}
