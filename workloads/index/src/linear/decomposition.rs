//! Eigenvectors of symmetric matrices and the orthogonal Procrustes problem, in double precision.

use super::{LinearError, Matrix};
use faer::{Mat, Side};

/// Eigenvalues in descending order with their unit eigenvectors.
#[derive(Clone, Debug)]
pub struct Eigen {
    /// Eigenvalues, largest first.
    pub values: Vec<f64>,
    /// Row `i` is the unit eigenvector of `values[i]`.
    pub vectors: Matrix,
}

/// Eigen decomposition of the symmetric `matrix` (its lower triangle is read).
///
/// # Errors
/// When the matrix is not square or the solver does not converge.
pub fn symmetric_eigen(matrix: &Matrix) -> Result<Eigen, LinearError> {
    let size = require_square(matrix)?;
    let double = Mat::from_fn(size, size, |i, j| f64::from(matrix.row(i)[j]));
    let solved = double.self_adjoint_eigen(Side::Lower).map_err(|reason| LinearError::Decompose {
        what: "eigenvalue",
        size,
        reason: format!("{reason:?}"),
    })?;
    // faer gives ascending eigenvalues, one eigenvector a column.
    let values = (0..size).rev().map(|i| solved.S()[i]).collect();
    let mut vectors = Matrix::zeros(size, size);
    for i in 0..size {
        for (j, value) in vectors.row_mut(i).iter_mut().enumerate() {
            *value = solved.U()[(j, size - 1 - i)] as f32;
        }
    }
    Ok(Eigen { values, vectors })
}

/// The orthogonal matrix `R` that maximises `trace(R * transpose(correlation))`, where
/// `correlation = sum of (target outer source)`: the rotation that best brings each source vector onto its
/// target, `R * source ~ target` (Schönemann, Psychometrika 1966; used by Ge et al., PAMI 2014, section 3.1).
///
/// # Errors
/// When the matrix is not square or the solver does not converge.
pub fn orthogonal_procrustes(correlation: &Matrix) -> Result<Matrix, LinearError> {
    let size = require_square(correlation)?;
    let double = Mat::from_fn(size, size, |i, j| f64::from(correlation.row(i)[j]));
    let solved = double.svd().map_err(|reason| LinearError::Decompose {
        what: "singular value",
        size,
        reason: format!("{reason:?}"),
    })?;
    let rotation = solved.U() * solved.V().transpose();
    let mut result = Matrix::zeros(size, size);
    for i in 0..size {
        for (j, value) in result.row_mut(i).iter_mut().enumerate() {
            *value = rotation[(i, j)] as f32;
        }
    }
    Ok(result)
}

fn require_square(matrix: &Matrix) -> Result<usize, LinearError> {
    let (rows, columns) = (matrix.rows(), matrix.columns());
    if rows != columns {
        return Err(LinearError::Multiply { left: (rows, columns), right: (rows, columns) });
    }
    if matrix.first_row_not_finite().is_some() {
        return Err(LinearError::Decompose {
            what: "matrix",
            size: rows,
            reason: "it holds values that are not finite".to_owned(),
        });
    }
    Ok(rows)
}
