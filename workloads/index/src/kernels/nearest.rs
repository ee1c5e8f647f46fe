//! Nearest centroid of many short vectors at once: the inner loop of product-quantizer training and encoding.

use super::vectorize::{Loop, vectorized};

/// Vectors in a tile.
pub(crate) const TILE: usize = 32;

/// Vectors whose running best stays in registers: half a tile.
const LANES: usize = 16;

/// For each of the 32 vectors of a tile, the index of the centroid of largest `<x, c> - |c|^2 / 2`, which is
/// the one at the smallest Euclidean distance, and that score.
///
/// `tile[t]` holds component `t` of the 32 vectors. `centroids` holds `half_norms.len()` centroids of
/// `tile.len()` components each, and `half_norms` is `|c|^2 / 2`. Ties go to the lower index. Products and
/// sums are rounded one by one in a fixed order, so the choice is the same on every processor.
pub(crate) fn nearest_in_tile(
    tile: &[[f32; TILE]],
    centroids: &[f32],
    half_norms: &[f32],
    nearest: &mut [u32; TILE],
    scores: &mut [f32; TILE],
) {
    vectorized(Nearest { tile, centroids, half_norms, indices: nearest, scores });
}

struct Nearest<'a> {
    tile: &'a [[f32; TILE]],
    centroids: &'a [f32],
    half_norms: &'a [f32],
    indices: &'a mut [u32; TILE],
    scores: &'a mut [f32; TILE],
}

impl Loop for Nearest<'_> {
    type Output = ();

    #[allow(clippy::inline_always, reason = "what is not inlined is not compiled for wide vectors")]
    #[inline(always)]
    fn run(self) {
        for first in [0, LANES] {
            let mut best = [f32::NEG_INFINITY; LANES];
            let mut index = [0_u32; LANES];
            let centroids = self.centroids.chunks_exact(self.tile.len());
            for ((centroid, &half_norm), j) in centroids.zip(self.half_norms).zip(0_u32..) {
                let mut score = [-half_norm; LANES];
                for (component, &weight) in self.tile.iter().zip(centroid) {
                    for lane in 0..LANES {
                        score[lane] += weight * component[first + lane];
                    }
                }
                for lane in 0..LANES {
                    let better = score[lane] > best[lane];
                    best[lane] = if better { score[lane] } else { best[lane] };
                    index[lane] = if better { j } else { index[lane] };
                }
            }
            self.scores[first..first + LANES].copy_from_slice(&best);
            self.indices[first..first + LANES].copy_from_slice(&index);
        }
    }
}
