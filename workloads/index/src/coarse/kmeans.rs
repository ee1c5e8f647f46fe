//! Spherical k-means (Dhillon, Modha, Machine Learning 2001) for many centroids: assignment by matrix
//! products, and penalties that keep clusters from growing too large.
//!
//! The time of a probe is that of the lists it scans, and long lists are probed more often than short ones, so
//! uneven lists cost speed at the same recall. From the middle of the iterations on, each cluster that holds
//! more than its share gets a penalty, subtracted from the cosines of its vectors.

use super::seeding::seed_centroids;
use super::{BATCH, CoarseError, best_of, directions};
use crate::linear::{Matrix, multiply_transposed_into};
use rayon::prelude::*;

/// Settings of [`train_kmeans`].
#[derive(Clone, Debug, PartialEq)]
pub struct KMeansParameters {
    /// Number of centroids.
    pub clusters: usize,
    /// Iterations of Lloyd's algorithm.
    pub iterations: usize,
    /// Seed of the random choices: the same seed and vectors give the same centroids.
    pub seed: u64,
    /// Vectors a cluster may hold before it is penalised, as a multiple of the mean.
    pub largest_cluster: f32,
}

impl Default for KMeansParameters {
    fn default() -> Self {
        Self { clusters: 1, iterations: 10, seed: 1, largest_cluster: 3.0 }
    }
}

/// Rounds after the last iteration in which only penalties move.
const FINAL_ROUNDS: usize = 3;

/// Means of the clusters (`clusters x d`) of unit vectors (`n x d`), and what is subtracted from the cosine
/// of a vector and each mean when the vector is assigned. A cluster that falls empty takes half of the
/// largest.
///
/// # Errors
/// When there are fewer vectors than clusters, no cluster is asked for, or a value is not finite.
pub fn train_kmeans(
    vectors: &Matrix,
    parameters: &KMeansParameters,
) -> Result<(Matrix, Vec<f32>), CoarseError> {
    let lists = parameters.clusters;
    if lists == 0 || vectors.columns() == 0 {
        return Err(CoarseError::ChooseLists { lists, dimension: vectors.columns() });
    }
    if vectors.rows() < lists {
        return Err(CoarseError::TrainFewVectors { lists, given: vectors.rows() });
    }
    if let Some(row) = vectors.first_row_not_finite() {
        return Err(CoarseError::ReadVector { row });
    }
    let mut centroids = seed_centroids(vectors, lists, parameters.seed)?;
    let mut penalties = vec![0.0; lists];
    for iteration in 0..parameters.iterations {
        let assigned = assign(vectors, &centroids, &penalties)?;
        let counts = update(vectors, &assigned, &mut centroids);
        if 2 * iteration >= parameters.iterations {
            penalize(&mut penalties, &counts, &assigned, parameters.largest_cluster);
        }
        split_largest(&mut centroids, counts);
        let mean = assigned.iter().map(|best| f64::from(best.1)).sum::<f64>() / vectors.rows() as f64;
        tracing::debug!(iteration, mean_cosine = mean, "k-means");
    }
    for _ in 0..FINAL_ROUNDS {
        let assigned = assign(vectors, &centroids, &penalties)?;
        let mut counts = vec![0; lists];
        for best in &assigned {
            counts[best.0 as usize] += 1;
        }
        if !penalize(&mut penalties, &counts, &assigned, parameters.largest_cluster) {
            break;
        }
    }
    Ok((centroids, penalties))
}

/// Cluster of each vector, and its cosine less the penalty.
fn assign(vectors: &Matrix, centroids: &Matrix, penalties: &[f32]) -> Result<Vec<(u32, f32)>, CoarseError> {
    let (d, k) = (vectors.columns(), centroids.rows());
    let directions = directions(centroids);
    let mut products = vec![0.0; BATCH.min(vectors.rows()) * k];
    let mut assigned = Vec::with_capacity(vectors.rows());
    for batch in vectors.as_slice().chunks(BATCH * d) {
        let products = &mut products[..batch.len() / d * k];
        multiply_transposed_into(products, batch, d, &directions)?;
        assigned.par_extend(products.par_chunks(k).map(|row| best_of(row, penalties)));
    }
    Ok(assigned)
}

/// Raises the penalty of each cluster of more than `largest` times the mean, by about a tenth of the mean
/// distance for each doubling; says whether there was any.
fn penalize(penalties: &mut [f32], counts: &[usize], assigned: &[(u32, f32)], largest: f32) -> bool {
    let allowed = largest * assigned.len() as f32 / counts.len() as f32;
    let spread = assigned.iter().map(|best| 1.0 - f64::from(best.1)).sum::<f64>() / assigned.len() as f64;
    let mut any = false;
    for (penalty, &count) in penalties.iter_mut().zip(counts) {
        let excess = count as f32 / allowed;
        if excess > 1.0 {
            *penalty += 0.1 * spread as f32 * excess.log2().clamp(0.25, 3.0);
            any = true;
        }
    }
    any
}

/// Moves each centroid to the mean of its vectors; returns how many it has. Parallel over centroids, with
/// members in order, so that the result does not depend on the number of threads.
fn update(vectors: &Matrix, nearest: &[(u32, f32)], centroids: &mut Matrix) -> Vec<usize> {
    let (d, k) = (vectors.columns(), centroids.rows());
    let mut starts = vec![0_usize; k + 1];
    for &(list, _) in nearest {
        starts[list as usize + 1] += 1;
    }
    for list in 0..k {
        starts[list + 1] += starts[list];
    }
    let mut next = starts.clone();
    let mut members = vec![0_usize; nearest.len()];
    for (row, &(list, _)) in nearest.iter().enumerate() {
        members[next[list as usize]] = row;
        next[list as usize] += 1;
    }
    centroids.as_mut_slice().par_chunks_mut(d).enumerate().for_each(|(list, centroid)| {
        let members = &members[starts[list]..starts[list + 1]];
        if members.is_empty() {
            return;
        }
        centroid.fill(0.0);
        for &row in members {
            for (sum, value) in centroid.iter_mut().zip(vectors.row(row)) {
                *sum += value;
            }
        }
        let inverse = 1.0 / members.len() as f32;
        for value in centroid {
            *value *= inverse;
        }
    });
    starts.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Each centroid without vectors becomes a twin of the one that has most, both moved apart by a little.
fn split_largest(centroids: &mut Matrix, mut counts: Vec<usize>) {
    const APART: f32 = 1.0 / 1024.0;
    for empty in 0..counts.len() {
        if counts[empty] > 0 {
            continue;
        }
        let Some(largest) = (0..counts.len()).max_by_key(|&list| counts[list]) else { return };
        let source = centroids.row(largest).to_vec();
        for (t, &value) in source.iter().enumerate() {
            let sign = if t % 2 == 0 { APART } else { -APART };
            centroids.row_mut(empty)[t] = value * (1.0 + sign);
            centroids.row_mut(largest)[t] = value * (1.0 - sign);
        }
        counts[empty] = counts[largest] / 2;
        counts[largest] -= counts[empty];
    }
}
