//! The portable scan, and the oracle of all the others.

use super::scan::{HitSink, Pass, report};

/// Scans every allowed code of the pass, in any layout.
pub(super) fn scan<S: HitSink + ?Sized>(pass: &Pass<'_>, sink: &mut S) {
    let shape = pass.run.shape;
    let words = shape.block_words();
    for (index, block) in pass.run.blocks.chunks_exact(shape.block_bytes()).enumerate() {
        for half in 0..words {
            let word = index * words + half;
            let allowed = pass.allowed(word);
            if allowed == 0 {
                continue;
            }
            for query in 0..pass.queries.len() {
                let threshold = pass.sum_threshold(sink, query);
                let sums = sum_block(pass, block, half, pass.queries[query].table.entries());
                let mut hits = 0;
                for (bit, &sum) in sums.iter().enumerate() {
                    hits |= u32::from(u32::from(sum) < threshold) << bit;
                }
                if hits & allowed != 0 {
                    report(pass, sink, query, hits & allowed, word, &sums);
                }
            }
        }
    }
}

/// Sums of the 32 codes of one half of a block; see [`QuantizedLookupTable`] for why 16 bits are enough.
///
/// [`QuantizedLookupTable`]: crate::product::QuantizedLookupTable
fn sum_block(pass: &Pass<'_>, block: &[u8], half: usize, table: &[u8]) -> [u16; 32] {
    let shape = pass.run.shape;
    let mask = (shape.centroids() - 1) as u8;
    let mut sums = [0_u16; 32];
    for (m, entries) in table.chunks_exact(shape.centroids()).take(shape.sub_quantizers()).enumerate() {
        for (v, sum) in sums.iter_mut().enumerate() {
            let (byte, shift) = pass.run.layout.position(shape, m, half * 32 + v);
            let centroid = (block[byte] >> shift) & mask;
            *sum += u16::from(entries[usize::from(centroid)]);
        }
    }
    sums
}
