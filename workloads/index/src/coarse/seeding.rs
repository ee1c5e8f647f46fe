//! First centroids: k-means++ drawn in batches, so that distances are updated by matrix products.

use super::{BATCH, CoarseError};
use crate::linear::{Matrix, multiply_transposed_into};
use crate::product::draw;
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

/// Candidates considered for each seed; k-means++ does not gain from more.
const CANDIDATES_A_SEED: usize = 16;
/// Fewest candidates considered.
const CANDIDATES: usize = 16_384;
/// Below this many clusters seeds are drawn one by one: plain k-means++.
const ONE_BY_ONE: usize = 64;

/// `clusters` rows of `vectors`, each drawn with probability proportional to its squared distance to those
/// drawn before (Arthur and Vassilvitskii, SODA 2007); for many clusters in rounds of a 64th of them, as in
/// k-means|| (Bahmani et al., VLDB 2012), half of the probability spread evenly.
pub(super) fn seed_centroids(vectors: &Matrix, clusters: usize, seed: u64) -> Result<Matrix, CoarseError> {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let wanted = (clusters * CANDIDATES_A_SEED).max(CANDIDATES);
    let candidates = if vectors.rows() > wanted {
        vectors.select_rows(&sample(&mut random, vectors.rows(), wanted).into_vec())
    } else {
        vectors.clone()
    };
    let norms: Vec<f32> = candidates.iter_rows().map(|row| row.iter().map(|x| x * x).sum()).collect();
    let mut distances = vec![f32::INFINITY; candidates.rows()];
    let round = if clusters <= ONE_BY_ONE { 1 } else { clusters.div_ceil(ONE_BY_ONE) };
    let mut chosen = vec![random.random_range(0..candidates.rows())];
    let mut updated = 0;
    while chosen.len() < clusters {
        let fresh = candidates.select_rows(&chosen[updated..]);
        updated = chosen.len();
        shorten(&candidates, &norms, &fresh, &mut distances)?;
        for &row in &chosen {
            distances[row] = 0.0;
        }
        for _ in 0..round.min(clusters - chosen.len()) {
            let weights = if round == 1 { distances.clone() } else { tempered(&distances) };
            let total = weights.iter().map(|&weight| f64::from(weight)).sum();
            let next = draw(&weights, total, &mut random);
            distances[next] = 0.0;
            chosen.push(next);
        }
    }
    Ok(candidates.select_rows(&chosen))
}

/// Half the distances, half their mean: with many clusters plain k-means++ spends seeds on outliers, and lists
/// seeded so find about a point fewer neighbours at the same number of codes. What was drawn stays at zero.
fn tempered(distances: &[f32]) -> Vec<f32> {
    let total: f64 = distances.iter().map(|&d| f64::from(d)).sum();
    let mean = (total / distances.len() as f64) as f32;
    distances.iter().map(|&d| if d > 0.0 { d + mean } else { 0.0 }).collect()
}

/// Lowers each distance to that of the nearest of the `fresh` centroids.
fn shorten(
    candidates: &Matrix,
    norms: &[f32],
    fresh: &Matrix,
    distances: &mut [f32],
) -> Result<(), CoarseError> {
    let d = candidates.columns();
    let fresh_norms: Vec<f32> = fresh.iter_rows().map(|row| row.iter().map(|x| x * x).sum()).collect();
    let batches = candidates.as_slice().par_chunks(BATCH * d);
    batches.zip(norms.par_chunks(BATCH)).zip(distances.par_chunks_mut(BATCH)).try_for_each(
        |((batch, norms), distances)| {
            let mut products = vec![0.0; distances.len() * fresh.rows()];
            multiply_transposed_into(&mut products, batch, d, fresh)?;
            for ((row, norm), distance) in products.chunks_exact(fresh.rows()).zip(norms).zip(distances) {
                for (product, fresh_norm) in row.iter().zip(&fresh_norms) {
                    *distance = distance.min((norm + fresh_norm - 2.0 * product).max(0.0));
                }
            }
            Ok(())
        },
    )
}
