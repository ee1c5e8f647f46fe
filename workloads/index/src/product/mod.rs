//! Product quantization of residuals (Jégou, Douze, Schmid, PAMI 2011), scored by inner product.
//!
//! A vector of `d` dimensions is cut into `M` parts of `d / M`; each part is replaced by the nearest of 16 or
//! 256 centroids. The inner product of a query with a decoded vector is then a sum of `M` entries of a table
//! that is made once a query and serves every coarse list.
//!
//! Guarantees: encoding is deterministic; a code decodes to the same vector on every machine.
//! Failure modes: dimensions that do not divide, values that are not finite and too few training vectors are
//! refused.

mod encoding;
mod table;
mod table_loops;
mod training;

pub(crate) use training::draw;

pub use table::{LookupTable, QuantizedLookupTable};

use crate::kernels::{CodeShape, ShapeError};
use crate::linear::Matrix;
use rayon::prelude::*;

/// What a product quantizer refuses.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// An unsupported shape of code.
    #[error("the shape of the code is not supported")]
    ShapeCode(#[from] ShapeError),
    /// A dimension that the sub-quantizers do not divide.
    #[error(
        "{dimension} dimensions cannot be cut into {sub_quantizers} equal parts: choose a number that divides the dimension"
    )]
    CutDimension {
        /// Dimensions of the vectors.
        dimension: usize,
        /// Sub-quantizers asked for.
        sub_quantizers: usize,
    },
    /// Fewer training vectors than centroids.
    #[error(
        "training {centroids} centroids needs at least {centroids} vectors and was given {given}: add vectors or use 4 bits"
    )]
    TrainFewVectors {
        /// Centroids of each sub-quantizer.
        centroids: usize,
        /// Vectors given.
        given: usize,
    },
    /// A vector of another dimension.
    #[error("a vector of {given} dimensions was given to a quantizer of {expected}")]
    MatchDimension {
        /// Dimensions given.
        given: usize,
        /// Dimensions of the quantizer.
        expected: usize,
    },
    /// A vector that holds NaN or an infinity.
    #[error("vector {row} holds a value that is not finite")]
    ReadVector {
        /// Which vector.
        row: usize,
    },
    /// A code of another length.
    #[error("a code of {given} bytes was given to a quantizer of {expected}-byte codes")]
    DecodeLength {
        /// Bytes given.
        given: usize,
        /// Bytes of a code.
        expected: usize,
    },
    /// Codebooks of a size that does not fit the shape.
    #[error(
        "the codebooks hold {given} values where the shape needs {expected}: the file is of another version or damaged"
    )]
    FillCodebooks {
        /// Values given.
        given: usize,
        /// Values needed.
        expected: usize,
    },
}

/// What turns residuals into codes of a [`CodeShape`] and queries into tables for them, so that another
/// quantizer than the product quantizer can feed the same scan.
pub trait ResidualQuantizer: Send + Sync {
    /// Shape of the codes.
    fn shape(&self) -> CodeShape;

    /// Dimensions of the vectors.
    fn dimension(&self) -> usize;

    /// Codes of `residuals` (`n x dimension`), row-major: `n * shape().code_bytes()` bytes.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    fn encode_batch(&self, residuals: &Matrix) -> Result<Vec<u8>, ProductError>;

    /// The residual that a code stands for.
    ///
    /// # Errors
    /// When the code has another length.
    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, ProductError>;

    /// Inner products of `query` with every centroid of every sub-quantizer.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    fn lookup_table(&self, query: &[f32]) -> Result<LookupTable, ProductError>;
}

/// A trained product quantizer.
#[derive(Clone, Debug)]
pub struct ProductQuantizer {
    shape: CodeShape,
    dimension: usize,
    /// `M x centroids x part`, the order in which codes index it.
    centroids: Vec<f32>,
    /// Half the squared norm of each centroid, `M x centroids`.
    half_norms: Vec<f32>,
    /// `M x part x centroids`, for tables.
    columns: Vec<f32>,
}

impl ProductQuantizer {
    /// A quantizer over given codebooks: `M x centroids x (dimension / M)` values.
    ///
    /// # Errors
    /// When the dimension cannot be cut or the number of values does not fit.
    pub fn from_codebooks(
        shape: CodeShape,
        dimension: usize,
        centroids: Vec<f32>,
    ) -> Result<Self, ProductError> {
        let part = part_of(shape, dimension)?;
        let expected = shape.centroids() * dimension;
        if centroids.len() != expected {
            return Err(ProductError::FillCodebooks { given: centroids.len(), expected });
        }
        let half_norms =
            centroids.chunks_exact(part).map(|c| c.iter().map(|x| x * x).sum::<f32>() / 2.0).collect();
        let k = shape.centroids();
        let mut columns = vec![0.0; centroids.len()];
        for (m, codebook) in centroids.chunks_exact(k * part).enumerate() {
            for (j, centroid) in codebook.chunks_exact(part).enumerate() {
                for (t, &value) in centroid.iter().enumerate() {
                    columns[(m * part + t) * k + j] = value;
                }
            }
        }
        Ok(Self { shape, dimension, centroids, half_norms, columns })
    }

    /// Shape of the codes.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Dimensions of the vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All centroids, `M x centroids x (dimension / M)`.
    pub fn codebooks(&self) -> &[f32] {
        &self.centroids
    }

    fn part(&self) -> usize {
        self.dimension / self.shape.sub_quantizers()
    }

    /// The residual that a row-major code stands for.
    ///
    /// # Errors
    /// When the code has another length.
    pub fn decode(&self, code: &[u8]) -> Result<Vec<f32>, ProductError> {
        let mut vector = vec![0.0; self.dimension];
        self.decode_into(code, &mut vector)?;
        Ok(vector)
    }

    /// [`decode`](Self::decode) into a vector of [`dimension`](Self::dimension) values.
    ///
    /// # Errors
    /// When the code or the vector has another length.
    pub fn decode_into(&self, code: &[u8], vector: &mut [f32]) -> Result<(), ProductError> {
        let expected = self.shape.code_bytes();
        if code.len() != expected {
            return Err(ProductError::DecodeLength { given: code.len(), expected });
        }
        if vector.len() != self.dimension {
            return Err(ProductError::MatchDimension { given: vector.len(), expected: self.dimension });
        }
        let part = self.part();
        for (m, values) in vector.chunks_exact_mut(part).enumerate() {
            let j = m * self.shape.centroids() + usize::from(self.shape.get(code, m));
            values.copy_from_slice(&self.centroids[j * part..(j + 1) * part]);
        }
        Ok(())
    }

    /// The residuals that row-major codes stand for, `n x dimension`, in parallel.
    ///
    /// # Errors
    /// When the bytes are not whole codes.
    pub fn decode_batch(&self, codes: &[u8]) -> Result<Matrix, ProductError> {
        let code_bytes = self.shape.code_bytes();
        if !codes.len().is_multiple_of(code_bytes) {
            return Err(ProductError::DecodeLength { given: codes.len(), expected: code_bytes });
        }
        let mut decoded = Matrix::zeros(codes.len() / code_bytes, self.dimension);
        let vectors = decoded.as_mut_slice().par_chunks_mut(self.dimension);
        vectors
            .zip(codes.par_chunks(code_bytes))
            .with_min_len(256)
            .try_for_each(|(vector, code)| self.decode_into(code, vector))?;
        Ok(decoded)
    }

    /// Inner products of `query` with every centroid of every sub-quantizer.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn lookup_table(&self, query: &[f32]) -> Result<LookupTable, ProductError> {
        let mut table = LookupTable::empty(self.shape);
        self.fill_lookup_table(query, &mut table)?;
        Ok(table)
    }

    /// [`lookup_table`](Self::lookup_table) into a table used before.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn fill_lookup_table(&self, query: &[f32], table: &mut LookupTable) -> Result<(), ProductError> {
        self.check(query, 0)?;
        table.fill(self.shape, query, &self.columns);
        Ok(())
    }

    fn check(&self, vector: &[f32], row: usize) -> Result<(), ProductError> {
        if vector.len() != self.dimension {
            return Err(ProductError::MatchDimension { given: vector.len(), expected: self.dimension });
        }
        // Without an early end the loop is one of vectors.
        let finite = vector.iter().fold(true, |finite, x| finite & x.is_finite());
        if finite { Ok(()) } else { Err(ProductError::ReadVector { row }) }
    }
}

impl ResidualQuantizer for ProductQuantizer {
    fn shape(&self) -> CodeShape {
        self.shape
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn encode_batch(&self, residuals: &Matrix) -> Result<Vec<u8>, ProductError> {
        ProductQuantizer::encode_batch(self, residuals)
    }

    fn decode(&self, code: &[u8]) -> Result<Vec<f32>, ProductError> {
        ProductQuantizer::decode(self, code)
    }

    fn lookup_table(&self, query: &[f32]) -> Result<LookupTable, ProductError> {
        ProductQuantizer::lookup_table(self, query)
    }
}

/// Dimensions of one part.
pub(crate) fn part_of(shape: CodeShape, dimension: usize) -> Result<usize, ProductError> {
    let sub_quantizers = shape.sub_quantizers();
    if dimension == 0 || !dimension.is_multiple_of(sub_quantizers) {
        return Err(ProductError::CutDimension { dimension, sub_quantizers });
    }
    Ok(dimension / sub_quantizers)
}
