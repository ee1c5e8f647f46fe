//! The portable scan, and the oracle of all the others.

use super::layout::Layout;
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
                let table = pass.queries[query].table.entries();
                let sums = match pass.run.layout {
                    Layout::Lanes => sum_lanes(block, table),
                    Layout::Quads => sum_quads(pass, block, table),
                    Layout::Columns => sum_columns(block, half, table),
                };
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

// Sums fit 16 bits: at most 256 entries of at most 255 are 65,280. Wrapping additions only spare the checks.

fn sum_lanes(block: &[u8], table: &[u8]) -> [u16; 32] {
    let mut lanes = [[0_u16; 16]; 2];
    for (bytes, entries) in block.as_chunks::<16>().0.iter().zip(table.as_chunks::<16>().0) {
        for (lane, &byte) in bytes.iter().enumerate() {
            let (low, high) = (entries[usize::from(byte & 15)], entries[usize::from(byte >> 4)]);
            lanes[0][lane] = lanes[0][lane].wrapping_add(u16::from(low));
            lanes[1][lane] = lanes[1][lane].wrapping_add(u16::from(high));
        }
    }
    // Byte `2i` holds code `i`, byte `2i + 1` code `8 + i`.
    std::array::from_fn(|code| lanes[code / 16][2 * (code % 8) + code % 16 / 8])
}

fn sum_columns(block: &[u8], half: usize, table: &[u8]) -> [u16; 32] {
    let mut sums = [0_u16; 32];
    for (column, entries) in block.as_chunks::<64>().0.iter().zip(table.as_chunks::<256>().0) {
        for (sum, &index) in sums.iter_mut().zip(&column[half * 32..]) {
            *sum = sum.wrapping_add(u16::from(entries[usize::from(index)]));
        }
    }
    sums
}

fn sum_quads(pass: &Pass<'_>, block: &[u8], table: &[u8]) -> [u16; 32] {
    let shape = pass.run.shape;
    let mut sums = [0_u16; 32];
    for m in 0..shape.sub_quantizers() {
        let entries = &table[m * 16..(m + 1) * 16];
        for (code, sum) in sums.iter_mut().enumerate() {
            let (byte, shift) = Layout::Quads.position(shape, m, code);
            *sum = sum.wrapping_add(u16::from(entries[usize::from(block[byte] >> shift & 15)]));
        }
    }
    sums
}
