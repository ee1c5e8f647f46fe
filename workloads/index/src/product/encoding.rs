//! Nearest centroids of many residuals, 32 at a time.

use super::{ProductError, ProductQuantizer};
use crate::kernels::{TILE, nearest_in_tile};
use crate::linear::Matrix;
use rayon::prelude::*;

impl ProductQuantizer {
    /// The row-major code of one residual.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn encode(&self, residual: &[f32]) -> Result<Vec<u8>, ProductError> {
        self.check(residual, 0)?;
        let mut code = vec![0; self.shape.code_bytes()];
        self.encode_tile(residual, &mut code);
        Ok(code)
    }

    /// The row-major codes of `residuals` (`n x dimension`), in parallel: `n * code_bytes` bytes.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn encode_batch(&self, residuals: &Matrix) -> Result<Vec<u8>, ProductError> {
        if residuals.columns() != self.dimension {
            let (given, expected) = (residuals.columns(), self.dimension);
            return Err(ProductError::MatchDimension { given, expected });
        }
        if let Some(row) = residuals.first_row_not_finite() {
            return Err(ProductError::ReadVector { row });
        }
        let code_bytes = self.shape.code_bytes();
        let mut codes = vec![0; residuals.rows() * code_bytes];
        codes
            .par_chunks_mut(TILE * code_bytes)
            .zip(residuals.as_slice().par_chunks(TILE * self.dimension))
            .with_min_len(8)
            .for_each(|(codes, residuals)| self.encode_tile(residuals, codes));
        Ok(codes)
    }

    /// Encodes up to 32 residuals into zeroed codes.
    fn encode_tile(&self, residuals: &[f32], codes: &mut [u8]) {
        let (part, k) = (self.part(), self.shape.centroids());
        let mut tile = vec![[0.0_f32; TILE]; part];
        let (mut nearest, mut scores) = ([0; TILE], [0.0; TILE]);
        for m in 0..self.shape.sub_quantizers() {
            for (lane, residual) in residuals.chunks_exact(self.dimension).enumerate() {
                for (t, component) in tile.iter_mut().enumerate() {
                    component[lane] = residual[m * part + t];
                }
            }
            let codebook = &self.centroids[m * k * part..(m + 1) * k * part];
            let half_norms = &self.half_norms[m * k..(m + 1) * k];
            nearest_in_tile(&tile, codebook, half_norms, &mut nearest, &mut scores);
            for (code, &centroid) in codes.chunks_exact_mut(self.shape.code_bytes()).zip(&nearest) {
                self.shape.set(code, m, centroid as u8);
            }
        }
    }
}
