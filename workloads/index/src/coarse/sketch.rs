//! Short codes of the centroids themselves, so that a query need not be compared with all of them exactly.
//!
//! With some thousand lists, comparing a query with every centroid costs more than scanning the lists it
//! then chooses. The centroids are product-quantized like vectors, scanned by the same kernels, and only the
//! best few are compared exactly. The rank of a list is `penalty - cosine`, so each direction is extended by
//! its penalty and each query by -1.
//!
//! A sketch is made from the centroids when a quantizer is loaded; it is never stored.

use super::CoarseError;
use crate::collect::Reservoir;
use crate::kernels::{CodeBits, CodeShape, HitSink, Kernel, PackedCodes, ScanQuery, scan};
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
const CANDIDATES_A_LIST: usize = 4;
/// Candidates compared exactly beside those.
const CANDIDATES: usize = 96;

/// The codes of all centroids, in one list.
#[derive(Debug)]
pub(super) struct Sketch {
    quantizer: ProductQuantizer,
    codes: PackedCodes,
}

struct Nearest(Reservoir<u32, u32>);

impl HitSink for Nearest {
    fn threshold(&self, _query: usize) -> u32 {
        self.0.threshold()
    }

    fn hit(&mut self, _query: usize, position: u32, distance: u16) -> u32 {
        self.0.push(u32::from(distance), position)
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
        let mut nearest = Nearest(Reservoir::new(wanted));
        scan(run, &[ScanQuery { table: &table, bias: 0 }], None, &mut nearest)?;
        nearest.0.cut();
        Ok(Some(nearest.0.as_slice().iter().map(|&(_, list)| list).collect()))
    }
}
