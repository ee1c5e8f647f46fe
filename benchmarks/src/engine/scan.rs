//! Scan speed: lookup tables, quantization, kernel and top-k over one long list of 32-byte codes.

use std::hint::black_box;

use medindex_index::collect::Collector;
use medindex_index::kernels::{CodeBits, CodeShape, HitSink, Kernel, PackedCodes, ScanQuery, scan};
use medindex_index::linear::Matrix;
use medindex_index::product::{LookupTable, ProductQuantizer, QuantizedLookupTable};

use super::clock::repeat;
use super::protocol::{ScanLoad, name_of};
use super::{EngineError, read_matrix, read_values};

/// Bytes of a code.
const CODE_BYTES: usize = 32;
/// Vectors that codebooks are learnt from, and iterations.
const SAMPLE: usize = 20_000;
const ITERATIONS: usize = 10;
/// Bytes of codes that all queries of a batch scan before the next: they stay in the second-level cache.
const TILE_BYTES: usize = 256 * 1024;

/// Codes to scan, and the quantizer they stand for.
#[derive(Debug)]
pub(crate) struct Scan {
    product: ProductQuantizer,
    packed: PackedCodes,
}

impl Scan {
    /// Learns codebooks and packs the codes.
    pub(crate) fn load(load: &ScanLoad) -> Result<Self, EngineError> {
        let bits = CodeBits::new(load.bits).map_err(EngineError::engine("take the bits"))?;
        let shape = CodeShape::new(CODE_BYTES * 8 / load.bits as usize, bits)
            .map_err(EngineError::engine("take the shape"))?;
        let sample = read_matrix(&load.sample, load.dimension, Some(SAMPLE))?;
        let product = ProductQuantizer::train(&sample, shape, ITERATIONS, 1)
            .map_err(EngineError::engine("learn codebooks"))?;
        let codes: Vec<u8> = read_values(&load.codes, Some(load.count * CODE_BYTES))?;
        let named = |name: &String| Kernel::available().into_iter().find(|kernel| name_of(*kernel) == *name);
        let kernel = load.kernel.as_ref().and_then(named).unwrap_or_else(Kernel::detect);
        let packed =
            PackedCodes::pack(kernel, shape, &codes).map_err(EngineError::engine("pack the codes"))?;
        Ok(Self { product, packed })
    }

    /// Processor seconds of a search of the first `batch` queries for `k` neighbours each.
    pub(crate) fn search_repeatedly(
        &self,
        queries: &Matrix,
        batch: usize,
        k: usize,
        seconds: f64,
    ) -> Result<f64, EngineError> {
        let mut tables = Tables::new(self.packed.shape(), batch);
        repeat(seconds, || {
            tables.fill(&self.product, queries)?;
            let mut collectors = Collectors(vec![Collector::new(k); batch]);
            self.scan_tiles(&tables.quantized, &mut collectors)?;
            for (collector, table) in collectors.0.into_iter().zip(&tables.quantized) {
                let found = collector.into_sorted();
                let hits: Vec<(f32, u32)> = found
                    .into_iter()
                    .map(|(distance, position)| (table.inner_product(distance as u16), position))
                    .collect();
                black_box(hits);
            }
            Ok(())
        })
    }

    /// Processor seconds of the kernel alone: tables are made before, and no code passes the threshold.
    pub(crate) fn run_kernel_repeatedly(
        &self,
        queries: &Matrix,
        batch: usize,
        seconds: f64,
    ) -> Result<f64, EngineError> {
        let mut tables = Tables::new(self.packed.shape(), batch);
        tables.fill(&self.product, queries)?;
        repeat(seconds, || self.scan_tiles(&tables.quantized, &mut Nothing))
    }

    fn scan_tiles<S: HitSink>(
        &self,
        tables: &[QuantizedLookupTable],
        sink: &mut S,
    ) -> Result<(), EngineError> {
        let queries: Vec<ScanQuery<'_>> = tables.iter().map(|table| ScanQuery { table, bias: 0 }).collect();
        let Some(run) = self.packed.list(0) else { return Ok(()) };
        let tile =
            if tables.len() == 1 { run.blocks() } else { TILE_BYTES / self.packed.shape().block_bytes() };
        for first in (0..run.blocks()).step_by(tile) {
            scan(run.block_range(first, first + tile), &queries, None, sink)
                .map_err(EngineError::engine("scan"))?;
        }
        Ok(())
    }
}

/// Tables of a batch, kept from search to search as a server would.
struct Tables {
    exact: LookupTable,
    quantized: Vec<QuantizedLookupTable>,
}

impl Tables {
    fn new(shape: CodeShape, batch: usize) -> Self {
        let exact = LookupTable::empty(shape);
        let quantized = vec![QuantizedLookupTable::new(&exact, 0.0, 0.0); batch];
        Self { exact, quantized }
    }

    fn fill(&mut self, product: &ProductQuantizer, queries: &Matrix) -> Result<(), EngineError> {
        for (table, query) in self.quantized.iter_mut().zip(queries.iter_rows()) {
            product
                .fill_lookup_table(query, &mut self.exact)
                .map_err(EngineError::engine("compute a lookup table"))?;
            table.update(&self.exact, 0.0, 0.0);
        }
        Ok(())
    }
}

/// A collector for each query.
struct Collectors(Vec<Collector<u32, u32>>);

impl HitSink for Collectors {
    #[inline]
    fn threshold(&self, query: usize) -> u32 {
        self.0[query].threshold()
    }

    #[inline]
    fn hit(&mut self, query: usize, position: u32, distance: u16) -> u32 {
        self.0[query].push(u32::from(distance), position)
    }
}

/// Wants only codes at the least possible distance, of which there are hardly any among random ones. A threshold
/// of 0 would let a kernel skip its work.
struct Nothing;

impl HitSink for Nothing {
    fn threshold(&self, _query: usize) -> u32 {
        1
    }

    fn hit(&mut self, _query: usize, _position: u32, _distance: u16) -> u32 {
        1
    }
}
