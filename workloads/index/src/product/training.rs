//! Codebooks by k-means in each part, the parts in parallel.

use super::{ProductError, ProductQuantizer, part_of};
use crate::kernels::{CodeShape, TILE, nearest_in_tile};
use crate::linear::Matrix;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

impl ProductQuantizer {
    /// Learns codebooks from `residuals` (`n x d`) by `iterations` of Lloyd's algorithm from k-means++ seeds.
    /// The same input gives the same codebooks.
    ///
    /// # Errors
    /// When `d` cannot be cut into the sub-quantizers, there are fewer vectors than centroids, or a value is
    /// not finite.
    pub fn train(
        residuals: &Matrix,
        shape: CodeShape,
        iterations: usize,
        seed: u64,
    ) -> Result<Self, ProductError> {
        let part = part_of(shape, residuals.columns())?;
        if residuals.rows() < shape.centroids() {
            return Err(ProductError::TrainFewVectors {
                centroids: shape.centroids(),
                given: residuals.rows(),
            });
        }
        if let Some(row) = residuals.first_row_not_finite() {
            return Err(ProductError::ReadVector { row });
        }
        let mut codebooks = vec![0.0; shape.centroids() * residuals.columns()];
        codebooks.par_chunks_mut(shape.centroids() * part).enumerate().for_each(|(m, codebook)| {
            let points = PartPoints::cut(residuals, m * part, part);
            points.seed(codebook, seed ^ (m as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            points.lloyd(codebook, iterations);
        });
        Self::from_codebooks(shape, residuals.columns(), codebooks)
    }

    /// Improves the codebooks by `iterations` of Lloyd's algorithm on `residuals`, from where they are.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn refine(&mut self, residuals: &Matrix, iterations: usize) -> Result<(), ProductError> {
        if residuals.columns() != self.dimension {
            let (given, expected) = (residuals.columns(), self.dimension);
            return Err(ProductError::MatchDimension { given, expected });
        }
        if let Some(row) = residuals.first_row_not_finite() {
            return Err(ProductError::ReadVector { row });
        }
        let part = self.part();
        let mut codebooks = std::mem::take(&mut self.centroids);
        codebooks.par_chunks_mut(self.shape.centroids() * part).enumerate().for_each(|(m, codebook)| {
            PartPoints::cut(residuals, m * part, part).lloyd(codebook, iterations);
        });
        *self = Self::from_codebooks(self.shape, self.dimension, codebooks)?;
        Ok(())
    }

    /// Mean squared distance between `residuals` (`n x d`) and what their codes stand for.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn mean_squared_error(&self, residuals: &Matrix) -> Result<f64, ProductError> {
        let codes = self.encode_batch(residuals)?;
        let mut decoded = vec![0.0; self.dimension];
        let mut total = 0.0_f64;
        for (row, code) in residuals.iter_rows().zip(codes.chunks_exact(self.shape.code_bytes())) {
            self.decode_into(code, &mut decoded)?;
            total += row.iter().zip(&decoded).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
        }
        Ok(total / residuals.rows().max(1) as f64)
    }
}

/// One part of all training vectors, in tiles of 32 with one row a component.
struct PartPoints {
    part: usize,
    count: usize,
    tiles: Vec<[f32; TILE]>,
}

impl PartPoints {
    fn cut(vectors: &Matrix, first: usize, part: usize) -> Self {
        let count = vectors.rows();
        let mut tiles = vec![[0.0; TILE]; count.div_ceil(TILE) * part];
        for (i, row) in vectors.iter_rows().enumerate() {
            for (t, &value) in row[first..first + part].iter().enumerate() {
                tiles[i / TILE * part + t][i % TILE] = value;
            }
        }
        Self { part, count, tiles }
    }

    fn point(&self, i: usize, point: &mut [f32]) {
        for (t, value) in point.iter_mut().enumerate() {
            *value = self.tiles[i / TILE * self.part + t][i % TILE];
        }
    }

    /// k-means++ (Arthur, Vassilvitskii, SODA 2007): each next seed with probability proportional to its
    /// squared distance to the seeds so far.
    fn seed(&self, codebook: &mut [f32], seed: u64) {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut distances = vec![f32::INFINITY; self.count];
        let mut next = random.random_range(0..self.count);
        for centroid in codebook.chunks_exact_mut(self.part) {
            self.point(next, centroid);
            let mut total = 0.0_f64;
            for (tile, distances) in self.tiles.chunks_exact(self.part).zip(distances.chunks_mut(TILE)) {
                let mut squared = [0.0_f32; TILE];
                for (component, &c) in tile.iter().zip(centroid.iter()) {
                    for (sum, &x) in squared.iter_mut().zip(component) {
                        *sum += (x - c) * (x - c);
                    }
                }
                for (distance, &squared) in distances.iter_mut().zip(&squared) {
                    *distance = distance.min(squared);
                    total += f64::from(*distance);
                }
            }
            next = draw(&distances, total, &mut random);
        }
    }

    fn lloyd(&self, codebook: &mut [f32], iterations: usize) {
        let k = codebook.len() / self.part;
        for _ in 0..iterations {
            let (sums, counts, worst) = self.accumulate(codebook, k);
            for (j, centroid) in codebook.chunks_exact_mut(self.part).enumerate() {
                if counts[j] == 0 {
                    continue;
                }
                for (value, &sum) in centroid.iter_mut().zip(&sums[j * self.part..]) {
                    *value = (sum / f64::from(counts[j])) as f32;
                }
            }
            self.repair(codebook, &counts, worst);
        }
    }

    /// Sums and counts of the points nearest to each centroid, and the points farthest from theirs.
    fn accumulate(&self, codebook: &[f32], k: usize) -> (Vec<f64>, Vec<u32>, Vec<(f32, usize)>) {
        let half_norms: Vec<f32> =
            codebook.chunks_exact(self.part).map(|c| c.iter().map(|x| x * x).sum::<f32>() / 2.0).collect();
        let mut sums = vec![0.0_f64; codebook.len()];
        let mut counts = vec![0_u32; k];
        let mut worst = Vec::new();
        let (mut nearest, mut scores) = ([0; TILE], [0.0; TILE]);
        for (index, tile) in self.tiles.chunks_exact(self.part).enumerate() {
            nearest_in_tile(tile, codebook, &half_norms, &mut nearest, &mut scores);
            let lanes = (self.count - index * TILE).min(TILE);
            let mut farthest = (f32::NEG_INFINITY, 0);
            for lane in 0..lanes {
                let j = nearest[lane] as usize;
                counts[j] += 1;
                let mut norm = 0.0;
                for (t, component) in tile.iter().enumerate() {
                    sums[j * self.part + t] += f64::from(component[lane]);
                    norm += component[lane] * component[lane];
                }
                let distance = norm - 2.0 * scores[lane];
                if distance > farthest.0 {
                    farthest = (distance, index * TILE + lane);
                }
            }
            worst.push(farthest);
        }
        (sums, counts, worst)
    }

    /// Moves each empty centroid onto one of the points farthest from theirs.
    fn repair(&self, codebook: &mut [f32], counts: &[u32], mut worst: Vec<(f32, usize)>) {
        if counts.iter().all(|&count| count > 0) {
            return;
        }
        worst.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut farthest = worst.into_iter();
        for (centroid, _) in codebook.chunks_exact_mut(self.part).zip(counts).filter(|(_, c)| **c == 0) {
            if let Some((_, point)) = farthest.next() {
                self.point(point, centroid);
            }
        }
    }
}

/// An index with probability proportional to its weight; uniform when all weights are zero.
pub(crate) fn draw(weights: &[f32], total: f64, random: &mut Pcg64Mcg) -> usize {
    if total <= 0.0 {
        return random.random_range(0..weights.len());
    }
    let mut left = random.random_range(0.0..total);
    for (index, &weight) in weights.iter().enumerate() {
        left -= f64::from(weight);
        if left < 0.0 {
            return index;
        }
    }
    weights.len() - 1
}
