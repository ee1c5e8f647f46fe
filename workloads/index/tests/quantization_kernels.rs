//! Every kernel equals the scalar oracle, bit for bit, and the oracle equals plain arithmetic.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use medindex_index::kernels::{CodeBits, CodeRun, CodeShape, HitSink, Kernel, PackedCodes, ScanQuery, scan};
use medindex_index::product::QuantizedLookupTable;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Records every hit below fixed or falling thresholds.
struct Recorder {
    thresholds: Vec<u32>,
    /// How much a hit lowers the threshold of its query.
    step: u32,
    hits: Vec<(usize, u32, u16)>,
}

impl HitSink for Recorder {
    fn threshold(&self, query: usize) -> u32 {
        self.thresholds[query]
    }

    fn hit(&mut self, query: usize, position: u32, distance: u16) -> u32 {
        self.hits.push((query, position, distance));
        self.thresholds[query] = self.thresholds[query].saturating_sub(self.step);
        self.thresholds[query]
    }
}

struct Case {
    shape: CodeShape,
    codes: Vec<u8>,
    tables: Vec<Vec<u8>>,
    biases: Vec<u16>,
    thresholds: Vec<u32>,
    masks: Option<Vec<u32>>,
    step: u32,
}

impl Case {
    fn random(
        bits: CodeBits,
        sub_quantizers: usize,
        n: usize,
        queries: usize,
        largest: u8,
        seed: u64,
    ) -> Self {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let shape = CodeShape::new(sub_quantizers, bits).unwrap();
        let codes = (0..n * shape.code_bytes()).map(|_| random.random()).collect();
        let entries = sub_quantizers * shape.centroids();
        let table = |random: &mut Pcg64Mcg| (0..entries).map(|_| random.random_range(0..=largest)).collect();
        let tables: Vec<Vec<u8>> = (0..queries).map(|_| table(&mut random)).collect();
        let middle = sub_quantizers as u32 * u32::from(largest) / 2;
        let thresholds = (0..queries).map(|_| middle + random.random_range(0..=100)).collect();
        let biases = (0..queries).map(|_| random.random_range(0..=100)).collect();
        let masks = random.random::<bool>().then(|| {
            let word = |random: &mut Pcg64Mcg| if random.random::<bool>() { random.random() } else { 0 };
            (0..n.div_ceil(32)).map(|_| word(&mut random)).collect()
        });
        Self { shape, codes, tables, biases, thresholds, masks, step: 0 }
    }

    fn tables(&self) -> Vec<QuantizedLookupTable> {
        self.tables.iter().map(|bytes| QuantizedLookupTable::from_bytes(self.shape, bytes).unwrap()).collect()
    }

    fn hits_of(&self, run: CodeRun<'_>) -> Vec<(usize, u32, u16)> {
        let tables = self.tables();
        let pairs = tables.iter().zip(&self.biases);
        let queries: Vec<ScanQuery<'_>> = pairs.map(|(table, &bias)| ScanQuery { table, bias }).collect();
        let mut sink = Recorder { thresholds: self.thresholds.clone(), step: self.step, hits: Vec::new() };
        scan(run, &queries, self.masks.as_deref(), &mut sink).unwrap();
        let mut hits = sink.hits;
        // Kernels differ in how they interleave queries; the hits of one query are always in order.
        hits.sort_by_key(|hit| hit.0);
        hits
    }

    fn hits(&self, kernel: Kernel) -> Vec<(usize, u32, u16)> {
        let packed = PackedCodes::pack(kernel, self.shape, &self.codes).unwrap();
        self.hits_of(packed.list(0).unwrap())
    }

    /// What must be reported, from row-major codes by plain arithmetic.
    fn expected(&self) -> Vec<(usize, u32, u16)> {
        let mut hits = Vec::new();
        for (query, table) in self.tables.iter().enumerate() {
            let mut threshold = self.thresholds[query];
            for (position, code) in self.codes.chunks_exact(self.shape.code_bytes()).enumerate() {
                let allowed =
                    self.masks.as_ref().is_none_or(|masks| masks[position / 32] >> (position % 32) & 1 == 1);
                let entries = table.chunks_exact(self.shape.centroids()).enumerate();
                let sum: u32 =
                    entries.map(|(m, part)| u32::from(part[usize::from(self.shape.get(code, m))])).sum();
                let distance = sum + u32::from(self.biases[query]);
                if allowed && distance < threshold {
                    hits.push((query, position as u32, u16::try_from(distance).unwrap()));
                    threshold = threshold.saturating_sub(self.step);
                }
            }
        }
        hits
    }

    fn check(&self) {
        let expected = self.expected();
        for kernel in Kernel::available() {
            assert_eq!(self.hits(kernel), expected, "{kernel:?} differs from plain arithmetic");
        }
    }
}

const EDGES: [usize; 14] = [0, 1, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 320];

#[test]
fn every_kernel_equals_the_oracle_at_the_edges_of_blocks() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for n in EDGES {
            for sub_quantizers in [2, 4, 6, 8, 12, 64] {
                Case::random(bits, sub_quantizers, n, 3, 127, n as u64).check();
                Case::random(bits, sub_quantizers, n, 1, 255, n as u64).check();
            }
        }
    }
}

#[test]
fn every_kernel_equals_the_oracle_for_every_number_of_sub_quantizers() {
    for sub_quantizers in 1..=256 {
        Case::random(CodeBits::Eight, sub_quantizers, 70, 2, 255, sub_quantizers as u64).check();
        if sub_quantizers % 2 == 0 {
            Case::random(CodeBits::Four, sub_quantizers, 70, 2, 127, sub_quantizers as u64).check();
            Case::random(CodeBits::Four, sub_quantizers, 70, 2, 255, sub_quantizers as u64).check();
        }
    }
}

#[test]
fn every_number_of_queries_is_scanned_in_one_call() {
    for queries in 0..=19 {
        for largest in [127, 255] {
            Case::random(CodeBits::Four, 16, 200, queries, largest, queries as u64).check();
            Case::random(CodeBits::Eight, 16, 200, queries, largest, queries as u64).check();
        }
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        let mut case = Case::random(bits, 256, 100, 2, 255, 1);
        case.masks = None;
        for table in &mut case.tables {
            table.fill(255);
        }
        case.biases = vec![255, 0];
        case.thresholds = vec![65_536, 65_281];
        assert_eq!(case.expected().len(), 200);
        assert_eq!(case.expected()[0].2, 65_535);
        case.check();
        case.thresholds = vec![65_535, 65_280];
        assert_eq!(case.expected().len(), 0);
        case.check();
    }
}

#[test]
fn zero_tables_put_every_code_at_the_bias() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        let mut case = Case::random(bits, 8, 65, 2, 0, 1);
        case.masks = None;
        case.biases = vec![7, 0];
        case.thresholds = vec![8, 0];
        assert_eq!(case.expected().len(), 65);
        case.check();
    }
}

#[test]
fn a_threshold_that_falls_while_scanning_is_followed() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        let mut case = Case::random(bits, 32, 3000, 5, 127, 3);
        case.step = 1;
        assert!(case.expected().len() > 20);
        case.check();
    }
}

#[test]
fn masked_codes_are_never_reported_and_all_others_are() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        let mut case = Case::random(bits, 16, 300, 2, 127, 9);
        case.thresholds = vec![u32::MAX; 2];
        case.masks = Some((0..10).map(|word| if word % 3 == 0 { 0 } else { 0x8000_0001 }).collect());
        let positions: Vec<u32> = case.expected().iter().map(|hit| hit.1).collect();
        assert_eq!(positions.len(), 2 * 12, "two codes in each of words 1, 2, 4, 5, 7, 8");
        case.check();
    }
}

#[test]
fn a_range_of_blocks_reports_positions_within_the_list() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        let mut case = Case::random(bits, 8, 300, 1, 127, 4);
        case.masks = None;
        let per_block = bits.block_codes() as u32;
        let expected: Vec<_> =
            case.expected().into_iter().filter(|hit| hit.1 >= per_block && hit.1 < 3 * per_block).collect();
        assert!(!expected.is_empty());
        for kernel in Kernel::available() {
            let packed = PackedCodes::pack(kernel, case.shape, &case.codes).unwrap();
            assert_eq!(case.hits_of(packed.list(0).unwrap().block_range(1, 3)), expected);
        }
    }
}

#[test]
fn packed_codes_read_back_and_take_no_more_than_whole_blocks() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for sub_quantizers in [2, 6, 64] {
            let shape = CodeShape::new(sub_quantizers, bits).unwrap();
            let lists: Vec<Vec<u8>> =
                EDGES.iter().map(|&n| Case::random(bits, sub_quantizers, n, 0, 0, n as u64).codes).collect();
            let slices: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
            for kernel in Kernel::available() {
                let packed = PackedCodes::pack_lists(kernel, shape, &slices).unwrap();
                let blocks: usize = EDGES.iter().map(|n| n.div_ceil(shape.block_codes())).sum();
                assert_eq!(packed.memory_bytes(), (blocks * shape.block_bytes()).next_multiple_of(64));
                for (index, codes) in lists.iter().enumerate() {
                    let run = packed.list(index).unwrap();
                    let read: Vec<u8> = (0..run.len()).flat_map(|i| run.code(i).unwrap()).collect();
                    assert_eq!(&read, codes);
                    assert_eq!(run.code(run.len()), None);
                }
                assert!(packed.list(lists.len()).is_none());
            }
        }
    }
}

#[test]
fn codes_cut_short_and_tables_or_masks_that_do_not_fit_are_refused() {
    let case = Case::random(CodeBits::Four, 16, 40, 1, 127, 5);
    let error = PackedCodes::pack(Kernel::Scalar, case.shape, &case.codes[1..]).unwrap_err();
    assert!(error.to_string().contains("319 bytes"), "{error}");
    let packed = PackedCodes::pack(Kernel::detect(), case.shape, &case.codes).unwrap();
    let run = packed.list(0).unwrap();
    let table = &case.tables()[0];
    let mut sink = Recorder { thresholds: vec![9], step: 0, hits: Vec::new() };
    let error = scan(run, &[ScanQuery { table, bias: 0 }], Some(&[1]), &mut sink).unwrap_err();
    assert!(error.to_string().contains("1 mask words were given for a run of 40 codes"), "{error}");
    let other = &Case::random(CodeBits::Eight, 16, 1, 1, 127, 5).tables()[0];
    let error = scan(run, &[ScanQuery { table: other, bias: 0 }], None, &mut sink).unwrap_err();
    assert!(error.to_string().contains("16 sub-quantizers x 8 bits"), "{error}");
}

#[test]
fn shapes_that_cannot_be_scanned_are_refused() {
    assert!(CodeBits::new(5).unwrap_err().to_string().contains("5 bits"));
    for (sub_quantizers, bits) in [(0, CodeBits::Eight), (257, CodeBits::Eight), (3, CodeBits::Four)] {
        let error = CodeShape::new(sub_quantizers, bits).unwrap_err();
        assert!(error.to_string().starts_with(&sub_quantizers.to_string()), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_kernel_equals_the_oracle_on_random_shapes(
        four in any::<bool>(),
        half in 1_usize..=48,
        n in 0_usize..400,
        queries in 1_usize..10,
        largest in any::<u8>(),
        step in 0_u32..3,
        seed in any::<u64>(),
    ) {
        let bits = if four { CodeBits::Four } else { CodeBits::Eight };
        let mut case = Case::random(bits, 2 * half, n, queries, largest, seed);
        case.step = step;
        case.check();
    }
}
