//! Short codes of the centroids themselves, so that a query need not be compared with all of them exactly.
//!
//! With some thousand lists, comparing a query with every centroid costs more than scanning the lists it
//! then chooses. The centroids are product-quantized like vectors, scanned by the same kernels, and only the
//! best few are compared exactly. The rank of a list is `penalty - cosine`, so each direction is extended by
//! its penalty and each query by -1.
//!
//! A sketch is made from the centroids when a quantizer is loaded; it is never stored.

use super::CoarseError;
use crate::kernels::{
    BlockHits, CodeBits, CodeShape, HitSink, Kernel, Loop, PackedCodes, ScanQuery, scan, vectorized,
};
use crate::linear::Matrix;
use crate::product::{ProductQuantizer, QuantizedLookupTable};

/// Dimensions of one part of a sketch code.
const PART: usize = 4;
/// Parts that hold the penalty: one would do, but their number must be even.
const PENALTY_PARTS: usize = 2;
/// Fewest lists for which a sketch is made.
const LISTS: usize = 512;
/// Iterations of k-means for the sketch's codebooks.
const ITERATIONS: usize = 6;
/// Candidates compared exactly, for each list asked for.
const CANDIDATES_A_LIST: usize = 3;
/// Candidates compared exactly beside those.
const CANDIDATES: usize = 64;

/// The codes of all centroids, in one list.
#[derive(Debug)]
pub(super) struct Sketch {
    quantizer: ProductQuantizer,
    codes: PackedCodes,
}

/// Takes the distances of all codes as they come: with so few codes for each one wanted, a running threshold
/// would be crossed too often to save anything.
struct Distances(Vec<u16>);

impl HitSink for Distances {
    fn threshold(&self, _query: usize) -> u32 {
        u32::MAX
    }

    fn hit(&mut self, _query: usize, position: u32, distance: u16) -> u32 {
        self.0[position as usize] = distance;
        u32::MAX
    }

    fn hits(&mut self, _query: usize, block: &BlockHits<'_>) -> u32 {
        let places = &mut self.0[block.first_position as usize..];
        let count = places.len().min(32);
        places[..count].copy_from_slice(&block.sums[..count]);
        u32::MAX
    }
}

/// The `count`-th smallest of `values` or a little more, by halving the range it lies in.
struct Bound<'a> {
    values: &'a [u16],
    count: usize,
}

impl Loop for Bound<'_> {
    type Output = u16;

    #[allow(clippy::inline_always, reason = "what is not inlined is not compiled for wide vectors")]
    #[inline(always)]
    fn run(self) -> u16 {
        let (mut low, mut high) = (0, u16::MAX);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut within = 0_usize;
            for values in self.values.chunks(1 << 12) {
                let below =
                    values.iter().fold(0_u16, |sum, &value| sum.wrapping_add(u16::from(value <= middle)));
                within += usize::from(below);
            }
            if within < self.count {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl Sketch {
    /// A sketch of `directions` (`lists x d`) with their penalties; `None` when there are too few lists for it to
    /// pay, or the dimension cannot be cut.
    pub(super) fn new(directions: &Matrix, penalties: &[f32]) -> Result<Option<Self>, CoarseError> {
        let (lists, d) = (directions.rows(), directions.columns());
        if lists < LISTS || d % (2 * PART) != 0 {
            return Ok(None);
        }
        let Ok(shape) = CodeShape::new(d / PART + PENALTY_PARTS, CodeBits::Four) else { return Ok(None) };
        let mut extended = Matrix::zeros(lists, d + PENALTY_PARTS * PART);
        for (list, (direction, &penalty)) in directions.iter_rows().zip(penalties).enumerate() {
            let row = extended.row_mut(list);
            row[..d].copy_from_slice(direction);
            row[d] = penalty;
        }
        let quantizer = ProductQuantizer::train(&extended, shape, ITERATIONS, 1)?;
        let codes = PackedCodes::pack(Kernel::detect(), shape, &quantizer.encode_batch(&extended)?)?;
        Ok(Some(Self { quantizer, codes }))
    }

    /// Lists that are likely to hold the `count` nearest; `None` when it is no less work to look at all.
    pub(super) fn candidates(&self, query: &[f32], count: usize) -> Result<Option<Vec<u32>>, CoarseError> {
        let wanted = count.saturating_mul(CANDIDATES_A_LIST).saturating_add(CANDIDATES);
        let Some(run) = self.codes.list(0).filter(|run| wanted * 2 <= run.len()) else { return Ok(None) };
        let mut extended = query.to_vec();
        extended.push(-1.0);
        extended.resize(self.quantizer.dimension(), 0.0);
        let table = QuantizedLookupTable::new(&self.quantizer.lookup_table(&extended)?, 0.0, 0.0);
        let mut distances = Distances(vec![0; run.len()]);
        scan(run, &[ScanQuery { table: &table, bias: 0 }], None, &mut distances)?;
        let bound = vectorized(Bound { values: &distances.0, count: wanted });
        let within = distances.0.iter().zip(0..).filter(|&(&distance, _)| distance <= bound);
        Ok(Some(within.map(|(_, list)| list).collect()))
    }
}
