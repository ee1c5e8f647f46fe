//! Nearest centroid of many short vectors at once: the inner loop of product-quantizer training and encoding.

/// Vectors in a tile.
pub(crate) const TILE: usize = 32;

/// For each of the 32 vectors of a tile, the index of the centroid of largest `<x, c> - |c|^2 / 2`, which is
/// the one at the smallest Euclidean distance, and that score.
///
/// `tile[t]` holds component `t` of the 32 vectors. `centroids` holds `half_norms.len()` centroids of
/// `tile.len()` components each, and `half_norms` is `|c|^2 / 2`. Ties go to the lower index.
pub(crate) fn nearest_in_tile(
    tile: &[[f32; TILE]],
    centroids: &[f32],
    half_norms: &[f32],
    nearest: &mut [u32; TILE],
    scores: &mut [f32; TILE],
) {
    portable(tile, centroids, half_norms, nearest, scores);
}

#[inline(always)]
fn portable(
    tile: &[[f32; TILE]],
    centroids: &[f32],
    half_norms: &[f32],
    nearest: &mut [u32; TILE],
    scores: &mut [f32; TILE],
) {
    *nearest = [0; TILE];
    *scores = [f32::NEG_INFINITY; TILE];
    for (j, (centroid, &half_norm)) in centroids.chunks_exact(tile.len()).zip(half_norms).enumerate() {
        let mut score = [-half_norm; TILE];
        for (component, &weight) in tile.iter().zip(centroid) {
            for (score, &x) in score.iter_mut().zip(component) {
                *score += weight * x;
            }
        }
        for lane in 0..TILE {
            let better = score[lane] > scores[lane];
            scores[lane] = if better { score[lane] } else { scores[lane] };
            nearest[lane] = if better { j as u32 } else { nearest[lane] };
        }
    }
}
