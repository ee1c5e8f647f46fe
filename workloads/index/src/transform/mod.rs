//! From raw embeddings to the space the codes live in: normalise, project, rotate, normalise.
//!
//! The projection is an uncentred principal component analysis: vectors are scored by inner product, and the
//! leading eigenvectors of the second moment keep inner products best in the least-squares sense. The rotation
//! is learned by optimized product quantization. Both are one `d x D` matrix.
//!
//! Guarantees: outputs have length 1, so inner products are cosine similarities in the projected space.
//! Failure modes: zero vectors and values that are not finite are refused; so are dimensions that differ.

mod rotation;

pub use rotation::{Rotation, RotationParameters, learn_rotation};

use crate::kernels::exact::dot_f32_rows;
use crate::linear::{
    LinearError, Matrix, gram, multiply, multiply_transposed_into, normalize, symmetric_eigen,
};
use crate::product::ProductError;
use rayon::prelude::*;

/// What a transform refuses.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// More dimensions asked for than the vectors have, or none.
    #[error("vectors of {input} dimensions cannot be projected to {output}: choose 1 to {input}")]
    ChooseDimension {
        /// Dimensions of the vectors.
        input: usize,
        /// Dimensions asked for.
        output: usize,
    },
    /// Too few vectors to estimate the second moment.
    #[error(
        "a projection to {output} dimensions needs at least {output} vectors and was given {given}: add vectors or project to fewer dimensions"
    )]
    TrainFewVectors {
        /// Dimensions asked for.
        output: usize,
        /// Vectors given.
        given: usize,
    },
    /// A vector of another dimension.
    #[error("a vector of {given} dimensions was given to a transform of {expected}")]
    MatchDimension {
        /// Dimensions given.
        given: usize,
        /// Dimensions expected.
        expected: usize,
    },
    /// A vector without a direction.
    #[error("vector {row} is zero or holds a value that is not finite, so it has no direction")]
    NormalizeVector {
        /// Which vector.
        row: usize,
    },
    /// A matrix operation failed.
    #[error("the matrix computation of the transform failed")]
    Compute(#[from] LinearError),
    /// The codebooks of the rotation could not be learned.
    #[error("learning the rotation failed")]
    LearnRotation(#[from] ProductError),
}

/// A learned linear map `D -> d` between unit vectors.
#[derive(Clone, Debug)]
pub struct Transform {
    /// `d x D`.
    matrix: Matrix,
}

/// Rows transformed in one matrix product.
const BATCH: usize = 4096;

impl Transform {
    /// Learns the projection to `dimension` dimensions from raw `vectors` (`n x D`); see
    /// [`rotated`](Self::rotated) for the rotation.
    ///
    /// # Errors
    /// When `dimension` is not 1 to `D`, there are fewer vectors than dimensions, or a vector has no direction.
    pub fn train(vectors: &Matrix, dimension: usize) -> Result<Self, TransformError> {
        let input = vectors.columns();
        if dimension == 0 || dimension > input {
            return Err(TransformError::ChooseDimension { input, output: dimension });
        }
        if vectors.rows() < dimension {
            return Err(TransformError::TrainFewVectors { output: dimension, given: vectors.rows() });
        }
        let normalized = normalized_rows(vectors)?;
        let eigen = symmetric_eigen(&gram(&normalized, &normalized)?)?;
        let leading: Vec<usize> = (0..dimension).collect();
        Ok(Self { matrix: eigen.vectors.select_rows(&leading) })
    }

    /// A transform by a given `d x D` matrix.
    ///
    /// # Errors
    /// When `d` is 0 or above `D`, or a value is not finite.
    pub fn from_matrix(matrix: Matrix) -> Result<Self, TransformError> {
        if matrix.rows() == 0 || matrix.rows() > matrix.columns() {
            return Err(TransformError::ChooseDimension { input: matrix.columns(), output: matrix.rows() });
        }
        if let Some(row) = matrix.first_row_not_finite() {
            return Err(TransformError::NormalizeVector { row });
        }
        Ok(Self { matrix })
    }

    /// This transform followed by the `d x d` matrix `rotation`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn rotated(&self, rotation: &Matrix) -> Result<Self, TransformError> {
        Ok(Self { matrix: multiply(rotation, &self.matrix)? })
    }

    /// Dimensions of raw vectors, `D`.
    pub fn input_dimension(&self) -> usize {
        self.matrix.columns()
    }

    /// Dimensions of transformed vectors, `d`.
    pub fn dimension(&self) -> usize {
        self.matrix.rows()
    }

    /// The combined matrix, `d x D`.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// The transformed vector, of length 1.
    ///
    /// # Errors
    /// When the dimension differs, or the vector has no direction before or after the projection.
    pub fn apply(&self, vector: &[f32]) -> Result<Vec<f32>, TransformError> {
        self.check_dimension(vector.len())?;
        let mut input = vector.to_vec();
        normalize_row(&mut input, 0)?;
        let mut output = vec![0.0; self.dimension()];
        dot_f32_rows(&input, self.matrix.as_slice(), &mut output);
        normalize_row(&mut output, 0)?;
        Ok(output)
    }

    /// [`apply`](Self::apply) for each row of `vectors` (`n x D`), giving `n x d`.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), naming the row.
    pub fn apply_batch(&self, vectors: &Matrix) -> Result<Matrix, TransformError> {
        self.check_dimension(vectors.columns())?;
        let mut output = Matrix::zeros(vectors.rows(), self.dimension());
        let inputs = vectors.as_slice().chunks(BATCH * self.input_dimension());
        let outputs = output.as_mut_slice().chunks_mut(BATCH * self.matrix.rows());
        for (batch, (input, output)) in inputs.zip(outputs).enumerate() {
            // The projection is linear: normalising before it is scaling after it, done once at the end.
            multiply_transposed_into(output, input, self.input_dimension(), &self.matrix)?;
            output
                .par_chunks_mut(self.dimension())
                .enumerate()
                .try_for_each(|(row, vector)| normalize_row(vector, batch * BATCH + row))?;
        }
        Ok(output)
    }

    fn check_dimension(&self, given: usize) -> Result<(), TransformError> {
        let expected = self.input_dimension();
        if given == expected { Ok(()) } else { Err(TransformError::MatchDimension { given, expected }) }
    }
}

fn normalize_row(vector: &mut [f32], row: usize) -> Result<(), TransformError> {
    let norm = normalize(vector);
    if norm > 0.0 && norm.is_finite() { Ok(()) } else { Err(TransformError::NormalizeVector { row }) }
}

fn normalized_rows(vectors: &Matrix) -> Result<Matrix, TransformError> {
    let mut normalized = vectors.clone();
    normalized
        .as_mut_slice()
        .par_chunks_mut(vectors.columns())
        .enumerate()
        .try_for_each(|(row, vector)| normalize_row(vector, row))?;
    Ok(normalized)
}
