//! Dense row-major matrices of `f32` and the few products and decompositions that training needs.
//!
//! Guarantees: a [`Matrix`] always holds `rows * columns` values. Products run on rayon's current pool.
//! Assumes vectors are rows: `n` vectors of `d` dimensions are an `n x d` matrix.
//! Failure modes: shapes that do not fit are an error, never a panic; a decomposition that does not
//! converge is reported with the solver's own reason.

mod decomposition;
mod product;

pub use decomposition::{Eigen, orthogonal_procrustes, symmetric_eigen};
pub use product::{gram, multiply, multiply_into, multiply_transposed, multiply_transposed_into};

/// What a matrix operation refuses.
#[derive(Debug, thiserror::Error)]
pub enum LinearError {
    /// The values given do not fill the shape asked for.
    #[error("a {rows} x {columns} matrix needs {} values and was given {given}", rows * columns)]
    FillShape {
        /// Rows asked for.
        rows: usize,
        /// Columns asked for.
        columns: usize,
        /// Values given.
        given: usize,
    },
    /// A row of another length.
    #[error("row {row} has {given} values where the others have {expected}: give vectors of one length")]
    AppendRow {
        /// Which row.
        row: usize,
        /// Its length.
        given: usize,
        /// The length of the first row.
        expected: usize,
    },
    /// Two matrices that cannot be multiplied.
    #[error("cannot multiply {left:?} by {right:?} (rows, columns): the inner sizes differ")]
    Multiply {
        /// Shape of the left operand.
        left: (usize, usize),
        /// Shape of the right operand.
        right: (usize, usize),
    },
    /// An eigen or singular value decomposition did not converge.
    #[error(
        "the {what} decomposition of a {size} x {size} matrix failed ({reason}): look for NaN or infinite values in the vectors"
    )]
    Decompose {
        /// Which decomposition.
        what: &'static str,
        /// Order of the matrix.
        size: usize,
        /// What the solver said.
        reason: String,
    },
}

/// A row-major matrix of `f32`; a set of vectors is one vector a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// A matrix of the given shape over `values`, row by row.
    ///
    /// # Errors
    /// When `values` does not hold exactly `rows * columns` numbers.
    pub fn new(rows: usize, columns: usize, values: Vec<f32>) -> Result<Self, LinearError> {
        if rows.checked_mul(columns) != Some(values.len()) {
            return Err(LinearError::FillShape { rows, columns, given: values.len() });
        }
        Ok(Self { rows, columns, values })
    }

    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// The identity matrix of order `size`.
    pub fn identity(size: usize) -> Self {
        let mut matrix = Self::zeros(size, size);
        for i in 0..size {
            matrix.row_mut(i)[i] = 1.0;
        }
        matrix
    }

    /// One row for each vector given; no vectors give a 0 x 0 matrix.
    ///
    /// # Errors
    /// When the vectors differ in length.
    pub fn from_rows<R: AsRef<[f32]>>(vectors: &[R]) -> Result<Self, LinearError> {
        let expected = vectors.first().map_or(0, |first| first.as_ref().len());
        let mut values = Vec::with_capacity(vectors.len() * expected);
        for (row, vector) in vectors.iter().enumerate() {
            let vector = vector.as_ref();
            if vector.len() != expected {
                return Err(LinearError::AppendRow { row, given: vector.len(), expected });
            }
            values.extend_from_slice(vector);
        }
        Self::new(vectors.len(), expected, values)
    }

    /// Number of rows (vectors).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (dimensions).
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Row `index`, of [`columns`](Self::columns) values.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.columns..(index + 1) * self.columns]
    }

    /// Row `index`, to be written.
    pub fn row_mut(&mut self, index: usize) -> &mut [f32] {
        &mut self.values[index * self.columns..(index + 1) * self.columns]
    }

    /// All rows in order.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &[f32]> + Clone {
        (0..self.rows).map(|index| self.row(index))
    }

    /// All values, row by row.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// All values, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values, row by row, without a copy.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The rows named by `indices`, in that order.
    pub fn select_rows(&self, indices: &[usize]) -> Self {
        let mut values = Vec::with_capacity(indices.len() * self.columns);
        for &index in indices {
            values.extend_from_slice(self.row(index));
        }
        Self { rows: indices.len(), columns: self.columns, values }
    }

    /// The matrix with rows and columns exchanged.
    pub fn transposed(&self) -> Self {
        let mut transposed = Self::zeros(self.columns, self.rows);
        for (i, row) in self.iter_rows().enumerate() {
            for (j, &value) in row.iter().enumerate() {
                transposed.values[j * self.rows + i] = value;
            }
        }
        transposed
    }

    /// First row that holds a NaN or an infinity, if any.
    pub fn first_row_not_finite(&self) -> Option<usize> {
        self.iter_rows().position(|row| !row.iter().all(|value| value.is_finite()))
    }
}

/// Scales `vector` to length 1 and returns its former length; a vector of length 0 or of values that
/// are not finite is left as it is.
pub fn normalize(vector: &mut [f32]) -> f32 {
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32;
    if norm > 0.0 && norm.is_finite() {
        let inverse = 1.0 / norm;
        for value in vector {
            *value *= inverse;
        }
    }
    norm
}
