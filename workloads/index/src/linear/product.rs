//! Matrix products through faer, parallel on rayon's current pool.

use super::{LinearError, Matrix};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

fn view(matrix: &Matrix) -> MatRef<'_, f32> {
    MatRef::from_row_major_slice(matrix.as_slice(), matrix.rows(), matrix.columns())
}

/// Products below this many multiplications run on the calling thread.
const PARALLEL_FROM: usize = 1 << 20;

fn parallelism(multiplications: usize) -> Par {
    if multiplications < PARALLEL_FROM { Par::Seq } else { Par::rayon(0) }
}

/// `left * right`: `(n x k) * (k x m) = n x m`.
///
/// # Errors
/// When the inner sizes differ.
pub fn multiply(left: &Matrix, right: &Matrix) -> Result<Matrix, LinearError> {
    let mut product = Matrix::zeros(left.rows(), right.columns());
    multiply_into(product.as_mut_slice(), left, right)?;
    Ok(product)
}

/// [`multiply`] into a slice of `n * m` values, row-major.
///
/// # Errors
/// When the inner sizes or the size of `product` do not fit.
pub fn multiply_into(product: &mut [f32], left: &Matrix, right: &Matrix) -> Result<(), LinearError> {
    let (n, k, m) = (left.rows(), left.columns(), right.columns());
    if k != right.rows() || product.len() != n * m {
        return Err(LinearError::Multiply { left: (n, k), right: (right.rows(), m) });
    }
    let product = MatMut::from_row_major_slice_mut(product, n, m);
    matmul(product, Accum::Replace, view(left), view(right), 1.0, parallelism(n * k * m));
    Ok(())
}

/// `left * transpose(right)`: `(n x k) * (m x k)^T = n x m`; all inner products of two sets of vectors.
///
/// # Errors
/// When the vectors differ in length.
pub fn multiply_transposed(left: &Matrix, right: &Matrix) -> Result<Matrix, LinearError> {
    let mut product = Matrix::zeros(left.rows(), right.rows());
    multiply_transposed_into(product.as_mut_slice(), left.as_slice(), left.columns(), right)?;
    Ok(product)
}

/// [`multiply_transposed`] for the vectors of `dimension` values that lie in `left`, into `product`,
/// which holds one row of `right.rows()` inner products for each of them.
///
/// # Errors
/// When the vectors differ in length or `product` does not fit.
pub fn multiply_transposed_into(
    product: &mut [f32],
    left: &[f32],
    dimension: usize,
    right: &Matrix,
) -> Result<(), LinearError> {
    let n = left.len() / dimension.max(1);
    let (m, k) = (right.rows(), right.columns());
    if k != dimension || n * k != left.len() || product.len() != n * m {
        return Err(LinearError::Multiply { left: (n, dimension), right: (k, m) });
    }
    let left = MatRef::from_row_major_slice(left, n, k);
    let product = MatMut::from_row_major_slice_mut(product, n, m);
    matmul(product, Accum::Replace, left, view(right).transpose(), 1.0, parallelism(n * k * m));
    Ok(())
}

/// `transpose(left) * right`: `(n x p)^T * (n x q) = p x q`, the sum over vectors of their outer products.
///
/// # Errors
/// When the numbers of vectors differ.
pub fn gram(left: &Matrix, right: &Matrix) -> Result<Matrix, LinearError> {
    let (n, p, q) = (left.rows(), left.columns(), right.columns());
    if n != right.rows() {
        return Err(LinearError::Multiply { left: (p, n), right: (right.rows(), q) });
    }
    let mut product = Matrix::zeros(p, q);
    let target = MatMut::from_row_major_slice_mut(product.as_mut_slice(), p, q);
    matmul(target, Accum::Replace, view(left).transpose(), view(right), 1.0, parallelism(n * p * q));
    Ok(product)
}
