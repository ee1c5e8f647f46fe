//! Penalties that keep lists from growing too long.
//!
//! The time of a probe is that of the lists it scans, and long lists are scanned more often than short ones:
//! uneven lists cost speed at the same recall. Each list that holds more than its share of the training
//! vectors gets a penalty, added to squared distances, until none exceeds the limit or a few rounds are over.

use super::{CoarseError, CoarseQuantizer};
use crate::linear::Matrix;

/// Longest list allowed on training vectors, as a multiple of the mean.
pub const LONGEST_LIST: f32 = 3.0;

/// Most rounds of raising penalties.
const ROUNDS: usize = 12;

/// Raises penalties until no list holds more than `longest` times the mean, or the rounds are over.
pub(super) fn balance(
    quantizer: &mut CoarseQuantizer,
    vectors: &Matrix,
    longest: f32,
) -> Result<(), CoarseError> {
    let mean = vectors.rows() as f32 / quantizer.lists() as f32;
    for round in 0..ROUNDS {
        let assigned = quantizer.assign_with_scores(vectors)?;
        let (sizes, spread) = sizes_and_spread(quantizer, vectors, &assigned);
        let largest = sizes.iter().copied().max().unwrap_or(0) as f32 / mean;
        tracing::debug!(round, largest, "list balance");
        if largest <= longest {
            break;
        }
        let mut penalties = quantizer.penalties().to_vec();
        for (penalty, &size) in penalties.iter_mut().zip(&sizes) {
            let excess = size as f32 / (longest * mean);
            if excess > 1.0 {
                *penalty += 0.1 * spread * excess.ln().clamp(0.2, 2.0);
            }
        }
        quantizer.set_penalties(penalties);
    }
    Ok(())
}

/// Sizes of all lists, and the mean squared distance of vectors to their centroids.
fn sizes_and_spread(
    quantizer: &CoarseQuantizer,
    vectors: &Matrix,
    assigned: &[(u32, f32)],
) -> (Vec<usize>, f32) {
    let mut sizes = vec![0_usize; quantizer.lists()];
    let mut total = 0.0_f64;
    for (row, &(list, score)) in vectors.iter_rows().zip(assigned) {
        sizes[list as usize] += 1;
        let norm: f32 = row.iter().map(|x| x * x).sum();
        total += f64::from(norm - 2.0 * score - quantizer.penalties()[list as usize]);
    }
    (sizes, (total / assigned.len().max(1) as f64).max(0.0) as f32)
}
