//! Lookup tables of a query: exact in `f32`, and quantized to bytes for the scan.

use super::table_loops::{Fill, Quantize, Spans, measure};
use crate::kernels::{CodeBits, CodeShape};

/// Inner products of one query with every centroid: `M x centroids` values.
#[derive(Clone, Debug)]
pub struct LookupTable {
    shape: CodeShape,
    entries: Vec<f32>,
}

impl LookupTable {
    /// A table of zeros, to be filled by
    /// [`ProductQuantizer::fill_lookup_table`](super::ProductQuantizer::fill_lookup_table).
    pub fn empty(shape: CodeShape) -> Self {
        Self { shape, entries: vec![0.0; shape.sub_quantizers() * shape.centroids()] }
    }

    /// A table over given entries, `M x centroids`; `None` when their number does not fit.
    pub fn from_entries(shape: CodeShape, entries: Vec<f32>) -> Option<Self> {
        (entries.len() == shape.sub_quantizers() * shape.centroids()).then_some(Self { shape, entries })
    }

    pub(super) fn fill(&mut self, shape: CodeShape, query: &[f32], columns: &[f32]) {
        let k = shape.centroids();
        let part = query.len() / shape.sub_quantizers();
        self.shape = shape;
        self.entries.resize(shape.sub_quantizers() * k, 0.0);
        Fill { part, k, query, columns, entries: &mut self.entries }.best();
    }

    /// Shape of the codes it serves.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// All entries, `M x centroids`.
    pub fn entries(&self) -> &[f32] {
        &self.entries
    }

    /// Inner product of the query with the residual that a row-major code stands for.
    pub fn inner_product(&self, code: &[u8]) -> f32 {
        let k = self.shape.centroids();
        let entries = self.entries.chunks_exact(k).enumerate();
        entries.map(|(m, entries)| entries[usize::from(self.shape.get(code, m))]).sum()
    }
}

/// A lookup table in bytes, as distances to be minimised.
///
/// Entry `j` of sub-quantizer `m` is `(max_j - entry_j) * scale`, rounded, 0 to 255, with one scale for all
/// sub-quantizers (0 to 127 with 4 bits, where the seventh bit costs no recall but a seventh of the speed).
/// The distance of a code is the bias of its list plus the sum of its entries:
/// `(best possible inner product - inner product) * scale`.
/// The scale is chosen, and biases are clamped, so that no distance exceeds 65,535: with up to 256
/// sub-quantizers the entries sum to at most 65,280.
#[derive(Clone, Debug)]
pub struct QuantizedLookupTable {
    shape: CodeShape,
    /// `M x centroids` bytes, zero-padded to whole 64 bytes.
    entries: Vec<u8>,
    scale: f32,
    best: f32,
    best_centroid: f32,
    largest_sum: u16,
    largest_entry: u8,
}

impl QuantizedLookupTable {
    /// Quantizes `table`. `best_centroid` and `worst_centroid` are the largest and the smallest inner product
    /// of the query with the centroids of the lists to be scanned (both 0 when there is but one list without
    /// a centroid).
    pub fn new(table: &LookupTable, best_centroid: f32, worst_centroid: f32) -> Self {
        let mut quantized = Self {
            shape: table.shape,
            entries: Vec::new(),
            scale: 1.0,
            best: 0.0,
            best_centroid: 0.0,
            largest_sum: 0,
            largest_entry: 0,
        };
        quantized.update(table, best_centroid, worst_centroid);
        quantized
    }

    /// [`new`](Self::new) in place of a table used before, without a new allocation.
    pub fn update(&mut self, table: &LookupTable, best_centroid: f32, worst_centroid: f32) {
        let k = table.shape.centroids();
        self.shape = table.shape;
        self.entries.resize(table.entries.len().next_multiple_of(64), 0);
        self.entries[table.entries.len()..].fill(0);
        let Spans { largest: largest_span, total: total_span, best, ranges } = measure(k, &table.entries);
        let reach = total_span + (best_centroid - worst_centroid).max(0.0);
        // Rounding adds at most a half for each entry and for the bias.
        let room = 65_535.0 - 0.5 * (table.shape.sub_quantizers() + 1) as f32;
        self.scale = (largest_entry(self.shape.bits()) / largest_span).min(room / reach);
        if !self.scale.is_finite() {
            self.scale = 1.0;
        }
        self.best = best;
        self.best_centroid = best_centroid;
        let (scale, entries) = (self.scale, &table.entries);
        let (largest_sum, largest_entry) =
            Quantize { k, scale, ranges: &ranges, entries, bytes: &mut self.entries }.best();
        self.largest_sum = largest_sum.min(65_535) as u16;
        self.largest_entry = largest_entry;
    }

    /// A table over given bytes (`M x centroids`) with scale 1, for tests and benchmarks of the kernels;
    /// `None` when their number does not fit.
    pub fn from_bytes(shape: CodeShape, bytes: &[u8]) -> Option<Self> {
        let k = shape.centroids();
        if bytes.len() != shape.sub_quantizers() * k {
            return None;
        }
        let mut entries = bytes.to_vec();
        entries.resize(bytes.len().next_multiple_of(64), 0);
        let largest: u32 =
            bytes.chunks_exact(k).map(|part| part.iter().copied().max().map_or(0, u32::from)).sum();
        let largest_sum = u16::try_from(largest).ok()?;
        let largest_entry = bytes.iter().copied().max().unwrap_or(0);
        Some(Self { shape, entries, scale: 1.0, best: 0.0, best_centroid: 0.0, largest_sum, largest_entry })
    }

    /// Shape of the codes it serves.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Width of the sub-quantizers it serves.
    pub fn bits(&self) -> CodeBits {
        self.shape.bits()
    }

    /// Entries, `M x centroids`, followed by zeros up to a multiple of 64.
    pub fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// Largest entry; at most 127 in 4-bit tables made from a query, which lets kernels add two as bytes.
    pub fn largest_entry(&self) -> u8 {
        self.largest_entry
    }

    /// Largest sum of entries of any code.
    pub fn largest_sum(&self) -> u16 {
        self.largest_sum
    }

    /// What every code of a list adds, from the inner product of the query and the list's centroid. Clamped
    /// so that bias plus sum stays within 16 bits.
    pub fn bias(&self, centroid_inner_product: f32) -> u16 {
        let bias = (self.best_centroid - centroid_inner_product) * self.scale + 0.5;
        (bias as u16).min(u16::MAX - self.largest_sum)
    }

    /// The inner product that a distance stands for, to within the rounding of the entries.
    pub fn inner_product(&self, distance: u16) -> f32 {
        self.best_centroid + self.best - f32::from(distance) / self.scale
    }

    /// Table units a unit of inner product.
    pub fn scale(&self) -> f32 {
        self.scale
    }
}

/// Largest entry of a table: see [`QuantizedLookupTable::largest_entry`].
fn largest_entry(bits: CodeBits) -> f32 {
    match bits {
        CodeBits::Four => 127.0,
        CodeBits::Eight => 255.0,
    }
}
