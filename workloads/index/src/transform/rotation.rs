//! The rotation of optimized product quantization (Ge, He, Ke, Sun, PAMI 2014).

use super::TransformError;
use crate::kernels::CodeShape;
use crate::linear::{Matrix, gram, multiply_transposed, orthogonal_procrustes, symmetric_eigen};
use crate::product::ProductQuantizer;
use rayon::prelude::*;

/// Iterations of k-means before the first rotation is learned.
const FIRST_ITERATIONS: usize = 8;

/// Settings of [`learn_rotation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationParameters {
    /// Shape of the codes the rotation is for.
    pub shape: CodeShape,
    /// Rounds of alternation between rotation and codebooks; 0 keeps the parametric solution.
    pub iterations: usize,
    /// Seed of the codebooks' first centroids.
    pub seed: u64,
}

/// What [`learn_rotation`] learned.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The rotation, `d x d`.
    pub matrix: Matrix,
    /// Codebooks for rotated residuals, from which further iterations of k-means may go on.
    pub quantizer: ProductQuantizer,
}

/// Learns the rotation (`d x d`) under which product codes of `residuals` (`n x d`) lose least: the parametric
/// solution (section 3.2: principal components dealt out so that each part has the same product of
/// eigenvalues), then alternation (section 3.1: codebooks, and the orthogonal Procrustes problem for the
/// rotation). Calls `progress` with the round and the mean squared error after it.
///
/// # Errors
/// When the dimension cannot be cut, there are too few vectors, or a value is not finite.
pub fn learn_rotation(
    residuals: &Matrix,
    parameters: &RotationParameters,
    progress: &mut dyn FnMut(usize, f64),
) -> Result<Rotation, TransformError> {
    let shape = parameters.shape;
    let mut matrix = allocate_eigenvalues(residuals, shape)?;
    let mut rotated = multiply_transposed(residuals, &matrix)?;
    let mut quantizer = ProductQuantizer::train(&rotated, shape, FIRST_ITERATIONS, parameters.seed)?;
    for round in 1..=parameters.iterations {
        let decoded = quantizer.decode_batch(&quantizer.encode_batch(&rotated)?)?;
        progress(round, mean_squared_error(&rotated, &decoded));
        matrix = orthogonal_procrustes(&gram(&decoded, residuals)?)?;
        rotated = multiply_transposed(residuals, &matrix)?;
        quantizer.refine(&rotated, 1)?;
    }
    Ok(Rotation { matrix, quantizer })
}

/// Rows are principal directions, dealt out greedily: the next largest eigenvalue goes to the part with the
/// least product of eigenvalues so far that still has room.
fn allocate_eigenvalues(residuals: &Matrix, shape: CodeShape) -> Result<Matrix, TransformError> {
    let d = residuals.columns();
    let parts = shape.sub_quantizers();
    let room = crate::product::part_of(shape, d)?;
    let eigen = symmetric_eigen(&gram(residuals, residuals)?)?;
    let floor = eigen.values.first().copied().unwrap_or(0.0).max(f64::MIN_POSITIVE) * 1e-9;
    let mut members: Vec<Vec<usize>> = vec![Vec::with_capacity(room); parts];
    let mut logarithms = vec![0.0_f64; parts];
    for (index, &value) in eigen.values.iter().enumerate() {
        let open = (0..parts).filter(|&part| members[part].len() < room);
        let Some(part) = open.min_by(|&a, &b| logarithms[a].total_cmp(&logarithms[b])) else { break };
        members[part].push(index);
        // Relative to the floor, so that every factor raises the product.
        logarithms[part] += (value.max(floor) / floor).ln();
    }
    let order: Vec<usize> = members.into_iter().flatten().collect();
    Ok(eigen.vectors.select_rows(&order))
}

/// Mean over rows of the squared distance between two sets of vectors.
fn mean_squared_error(a: &Matrix, b: &Matrix) -> f64 {
    let rows = a.as_slice().par_chunks(a.columns()).zip(b.as_slice().par_chunks(b.columns()));
    let squared = |(x, y): (&[f32], &[f32])| x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f32>();
    let errors: Vec<f32> = rows.map(squared).collect();
    errors.iter().map(|&error| f64::from(error)).sum::<f64>() / a.rows().max(1) as f64
}
