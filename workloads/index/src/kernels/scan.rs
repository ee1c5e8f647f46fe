//! The scan: one run of packed codes, the tables of several queries, hits handed to a sink.

#[cfg(target_arch = "x86_64")]
use super::Kernel;
#[cfg(target_arch = "x86_64")]
use super::layout::Layout;
use super::packing::CodeRun;
use super::scalar;
use crate::product::QuantizedLookupTable;

/// Most queries that share one pass over the codes, in the widest kernel; more are scanned in several passes.
pub const MAX_QUERIES_A_PASS: usize = 8;

/// Bytes of codes scanned by all queries before the next: half of a small second-level cache.
const STRETCH_BYTES: usize = 128 << 10;

/// What a scan refuses.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A table made for codes of another shape.
    #[error(
        "the lookup table of query {query} is for {table} sub-quantizers x {table_bits} bits, the codes are {codes} x {code_bits}: use a table of the same generation"
    )]
    MatchTable {
        /// Index of the query.
        query: usize,
        /// Sub-quantizers of the table.
        table: usize,
        /// Bits of the table.
        table_bits: u32,
        /// Sub-quantizers of the codes.
        codes: usize,
        /// Bits of the codes.
        code_bits: u32,
    },
    /// Masks that do not cover the run.
    #[error(
        "{given} mask words were given for a run of {codes} codes, which needs {needed}: one word for each 32 codes"
    )]
    MatchMasks {
        /// Words given.
        given: usize,
        /// Words needed.
        needed: usize,
        /// Codes of the run.
        codes: usize,
    },
}

/// One query of a scan.
#[derive(Clone, Copy)]
pub struct ScanQuery<'a> {
    /// Its quantized lookup table.
    pub table: &'a QuantizedLookupTable,
    /// What every code of this list adds: [`QuantizedLookupTable::bias`] of the list's centroid.
    pub bias: u16,
}

/// Takes the codes that pass the threshold; decides what the threshold is.
///
/// Distances are in table units: bias plus sum of entries, 0 to 65,535, smaller is nearer.
pub trait HitSink {
    /// Only codes whose distance is strictly below this are wanted for `query`; 65,536 or more wants all.
    fn threshold(&self, query: usize) -> u32;

    /// Takes the code at `position` of the list and returns the new threshold of `query`.
    fn hit(&mut self, query: usize, position: u32, distance: u16) -> u32;

    /// Takes all hits among 32 neighbouring codes and returns the new threshold of `query`. Calls
    /// [`hit`](Self::hit) for each that is still below the threshold; a sink that can do better overrides it.
    #[inline]
    fn hits(&mut self, query: usize, block: &BlockHits<'_>) -> u32 {
        let mut threshold = self.threshold(query);
        let mut hits = block.hits;
        while hits != 0 {
            let bit = hits.trailing_zeros();
            hits &= hits - 1;
            let distance = block.sums[bit as usize].saturating_add(block.bias);
            if u32::from(distance) < threshold {
                threshold = self.hit(query, block.first_position + bit, distance);
            }
        }
        threshold
    }
}

/// The hits among 32 neighbouring codes.
pub struct BlockHits<'a> {
    /// Position in the list of the first of the 32 codes.
    pub first_position: u32,
    /// Bit `i` is set when code `first_position + i` exists, is allowed, and was below the threshold.
    pub hits: u32,
    /// Sums of the table entries of all 32 codes.
    pub sums: &'a [u16; 32],
    /// What is to be added to each sum; together at most 65,535.
    pub bias: u16,
}

/// What one pass of a kernel works on; shapes have been checked.
pub(super) struct Pass<'a> {
    pub(super) run: CodeRun<'a>,
    pub(super) queries: &'a [ScanQuery<'a>],
    /// Index in the caller's slice of `queries[0]`.
    pub(super) first_query: usize,
    pub(super) masks: Option<&'a [u32]>,
}

impl Pass<'_> {
    /// Bits of the 32 codes of mask word `word` that exist and are not masked off.
    #[inline]
    pub(super) fn allowed(&self, word: usize) -> u32 {
        let left = self.run.codes.saturating_sub(word * 32);
        let existing = if left >= 32 { u32::MAX } else { (1 << left) - 1 };
        self.masks.map_or(existing, |masks| masks.get(word).map_or(0, |mask| mask & existing))
    }

    /// The largest sum of entries that is still a hit, plus one: the threshold less the bias.
    #[inline]
    pub(super) fn sum_threshold<S: HitSink + ?Sized>(&self, sink: &S, query: usize) -> u32 {
        let threshold = sink.threshold(self.first_query + query).min(65_536);
        threshold.saturating_sub(u32::from(self.queries[query].bias))
    }
}

/// Scans the codes of `run` for every query and hands `sink` those below its thresholds.
///
/// `masks`, when given, has one word for each 32 codes of the run, bit `i` of word `w` set when code
/// `32w + i` may be reported; blocks of no set bit are skipped. Hits of one query come in ascending position.
///
/// # Errors
/// When a table is of another shape than the codes, or the masks do not cover the run exactly.
pub fn scan<S: HitSink + ?Sized>(
    run: CodeRun<'_>,
    queries: &[ScanQuery<'_>],
    masks: Option<&[u32]>,
    sink: &mut S,
) -> Result<(), ScanError> {
    for (query, ScanQuery { table, .. }) in queries.iter().enumerate() {
        if table.shape() != run.shape {
            return Err(ScanError::MatchTable {
                query,
                table: table.shape().sub_quantizers(),
                table_bits: table.shape().bits().bits(),
                codes: run.shape.sub_quantizers(),
                code_bits: run.shape.bits().bits(),
            });
        }
    }
    if let Some(masks) = masks
        && masks.len() != run.mask_words()
    {
        let (given, needed, codes) = (masks.len(), run.mask_words(), run.codes);
        return Err(ScanError::MatchMasks { given, needed, codes });
    }
    if queries.len() <= MAX_QUERIES_A_PASS {
        if !queries.is_empty() {
            scan_pass(&Pass { run, queries, first_query: 0, masks }, sink);
        }
        return Ok(());
    }
    // Several passes: over a stretch that stays in the cache, then the next.
    let stretch = (STRETCH_BYTES / run.shape.block_bytes()).max(1);
    for first in (0..run.blocks()).step_by(stretch) {
        let part = run.block_range(first, first + stretch);
        let first_word = first * run.shape.block_words();
        let masks = masks.map(|masks| &masks[first_word..first_word + part.mask_words()]);
        for (pass, queries) in queries.chunks(MAX_QUERIES_A_PASS).enumerate() {
            let first_query = pass * MAX_QUERIES_A_PASS;
            scan_pass(&Pass { run: part, queries, first_query, masks }, sink);
        }
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn scan_pass<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    use super::{avx2, avx2_columns, avx512, vbmi, vbmi_columns};
    match (pass.run.kernel, pass.run.layout) {
        (Kernel::Avx512Vbmi, Layout::Quads) => vbmi::scan(pass, sink),
        (Kernel::Avx512Vbmi, Layout::Columns) => vbmi_columns::scan(pass, sink),
        (Kernel::Avx512, Layout::Lanes) => avx512::scan(pass, sink),
        (Kernel::Avx2, Layout::Lanes) => avx2::scan(pass, sink),
        (Kernel::Avx2 | Kernel::Avx512, Layout::Columns) => avx2_columns::scan(pass, sink),
        _ => scalar::scan(pass, sink),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn scan_pass<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    scalar::scan(pass, sink);
}

/// Hands the codes of `hits` to the sink; `sums` holds the sums of the 32 codes from `position` on.
/// Returns the new threshold of the sums. Out of the hot loop on purpose.
#[cold]
#[inline(never)]
pub(super) fn report<S: HitSink + ?Sized>(
    pass: &Pass<'_>,
    sink: &mut S,
    query: usize,
    hits: u32,
    word: usize,
    sums: &[u16; 32],
) -> u32 {
    let bias = pass.queries[query].bias;
    let first_position = pass.run.first_position + (word * 32) as u32;
    let threshold = sink.hits(pass.first_query + query, &BlockHits { first_position, hits, sums, bias });
    threshold.min(65_536).saturating_sub(u32::from(bias))
}
