//! The rotation of optimized product quantization (Ge, He, Ke, Sun, PAMI 2014).

use super::TransformError;
use crate::kernels::CodeShape;
use crate::linear::{Matrix, gram, multiply, multiply_transposed, orthogonal_procrustes, symmetric_eigen};
use crate::product::{ProductError, ProductQuantizer};

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
) -> Result<Matrix, TransformError> {
    let shape = parameters.shape;
    let mut rotation = allocate_eigenvalues(residuals, shape)?;
    if parameters.iterations == 0 {
        return Ok(rotation);
    }
    let mut rotated = multiply_transposed(residuals, &rotation)?;
    let mut quantizer = ProductQuantizer::train(&rotated, shape, 4, parameters.seed)?;
    for round in 1..=parameters.iterations {
        let decoded = decode_all(&quantizer, &quantizer.encode_batch(&rotated)?)?;
        progress(round, mean_squared_error(&rotated, &decoded));
        rotation = orthogonal_procrustes(&gram(&decoded, residuals)?)?;
        rotated = multiply_transposed(residuals, &rotation)?;
        quantizer.refine(&rotated, 1)?;
    }
    Ok(rotation)
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

fn decode_all(quantizer: &ProductQuantizer, codes: &[u8]) -> Result<Matrix, ProductError> {
    let code_bytes = quantizer.shape().code_bytes();
    let mut decoded = Matrix::zeros(codes.len() / code_bytes, quantizer.dimension());
    for (row, code) in codes.chunks_exact(code_bytes).enumerate() {
        quantizer.decode_into(code, decoded.row_mut(row))?;
    }
    Ok(decoded)
}

/// Mean over rows of the squared distance between two sets of vectors.
fn mean_squared_error(a: &Matrix, b: &Matrix) -> f64 {
    let pairs = a.as_slice().iter().zip(b.as_slice());
    pairs.map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>() / a.rows().max(1) as f64
}

/// The rows of `vectors` times the transpose of a rotation, kept here for callers that rotate centroids.
///
/// # Errors
/// When the shapes do not fit.
pub(crate) fn rotate_rows(vectors: &Matrix, rotation: &Matrix) -> Result<Matrix, TransformError> {
    Ok(multiply(vectors, &rotation.transposed())?)
}
