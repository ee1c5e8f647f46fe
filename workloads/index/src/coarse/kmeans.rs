//! Lloyd's algorithm for many centroids of many dimensions: assignment by matrix products.

use super::seeding::seed_centroids;
use super::{BATCH, CoarseError, best_of, half_norms};
use crate::linear::{Matrix, multiply_transposed_into};
use rayon::prelude::*;

/// Settings of k-means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KMeansParameters {
    /// Number of centroids.
    pub clusters: usize,
    /// Iterations of Lloyd's algorithm.
    pub iterations: usize,
    /// Seed of the random choices: the same seed and vectors give the same centroids.
    pub seed: u64,
}

/// Where Lloyd's algorithm stands after one assignment.
struct Assignment {
    nearest: Vec<u32>,
    /// Squared distance of each vector to its centroid, less the vector's own squared norm.
    relative: Vec<f32>,
}

/// Centroids (`clusters x d`) of `vectors` (`n x d`) by k-means, seeded by batched k-means++; a cluster that
/// falls empty takes half of the largest one.
///
/// # Errors
/// When there are fewer vectors than clusters, no cluster is asked for, or a value is not finite.
pub fn train_kmeans(vectors: &Matrix, parameters: &KMeansParameters) -> Result<Matrix, CoarseError> {
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
    for _ in 0..parameters.iterations {
        let assignment = assign(vectors, &centroids)?;
        let counts = update(vectors, &assignment.nearest, &mut centroids);
        split_largest(&mut centroids, counts);
        tracing::debug!(
            objective = f64::from(assignment.relative.iter().sum::<f32>()) / vectors.rows() as f64,
            "k-means iteration"
        );
    }
    Ok(centroids)
}

fn assign(vectors: &Matrix, centroids: &Matrix) -> Result<Assignment, CoarseError> {
    let (d, k) = (vectors.columns(), centroids.rows());
    let offsets = half_norms(centroids);
    let mut products = vec![0.0; BATCH.min(vectors.rows()) * k];
    let mut nearest = Vec::with_capacity(vectors.rows());
    let mut relative = Vec::with_capacity(vectors.rows());
    for batch in vectors.as_slice().chunks(BATCH * d) {
        let products = &mut products[..batch.len() / d * k];
        multiply_transposed_into(products, batch, d, centroids)?;
        let best: Vec<(u32, f32)> = products.par_chunks(k).map(|row| best_of(row, &offsets)).collect();
        nearest.extend(best.iter().map(|best| best.0));
        relative.extend(best.iter().map(|best| -2.0 * best.1));
    }
    Ok(Assignment { nearest, relative })
}

/// Moves each centroid to the mean of its vectors; returns how many it has. Parallel over centroids, with
/// members in order, so that the result does not depend on the number of threads.
fn update(vectors: &Matrix, nearest: &[u32], centroids: &mut Matrix) -> Vec<usize> {
    let (d, k) = (vectors.columns(), centroids.rows());
    let mut starts = vec![0_usize; k + 1];
    for &list in nearest {
        starts[list as usize + 1] += 1;
    }
    for list in 0..k {
        starts[list + 1] += starts[list];
    }
    let mut next = starts.clone();
    let mut members = vec![0_usize; nearest.len()];
    for (row, &list) in nearest.iter().enumerate() {
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
