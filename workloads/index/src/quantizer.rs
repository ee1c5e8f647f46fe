//! A generation: transform, coarse quantizer and product quantizer, learned together and used together.
//!
//! Guarantees: a saved quantizer loads to the same bits, so codes and distances agree on every shard; a file
//! that is cut short or changed is refused. Training with the same vectors and seed gives the same quantizer
//! on one machine (sums may differ in the last bits between processors, which is why it is saved and shared,
//! never learned twice).
//! Failure modes: unsuitable parameters, too few or unusable vectors, damaged files.

mod stored;
mod training;

pub use training::{TrainingParameters, TrainingStep, lists_for};

use crate::coarse::{CoarseError, CoarseQuantizer, Probe};
use crate::linear::Matrix;
use crate::product::{LookupTable, ProductError, ProductQuantizer};
use crate::transform::{Transform, TransformError};
use rayon::prelude::*;
use std::path::PathBuf;

/// What a quantizer refuses.
#[derive(Debug, thiserror::Error)]
pub enum QuantizerError {
    /// The transform failed.
    #[error("transforming vectors failed")]
    TransformVectors(#[from] TransformError),
    /// The coarse quantizer failed.
    #[error("assigning vectors to lists failed")]
    AssignLists(#[from] CoarseError),
    /// The product quantizer failed.
    #[error("encoding residuals failed")]
    EncodeResiduals(#[from] ProductError),
    /// Parts of different dimensions.
    #[error(
        "the transform gives {transform} dimensions, the lists have {coarse}, the codes {product}: they are not of one generation"
    )]
    JoinParts {
        /// Dimensions after the transform.
        transform: usize,
        /// Dimensions of the coarse centroids.
        coarse: usize,
        /// Dimensions of the product quantizer.
        product: usize,
    },
    /// A file could not be read.
    #[error("cannot read the quantizer {path}")]
    ReadFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write the quantizer {path}: check free space and permissions")]
    WriteFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Bytes that are not a quantizer, or not a whole one.
    #[error("the quantizer is not usable ({reason}): restore the file or train again")]
    DecodeFile {
        /// What is wrong.
        reason: String,
    },
}

/// A generation of the index.
#[derive(Clone, Debug)]
pub struct Quantizer {
    generation: u64,
    transform: Transform,
    coarse: CoarseQuantizer,
    product: ProductQuantizer,
}

/// List and code of one vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The inverted list.
    pub list: u32,
    /// The row-major code of the residual.
    pub code: Vec<u8>,
}

/// Lists and codes of many vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBatch {
    /// The inverted list of each vector.
    pub lists: Vec<u32>,
    /// Row-major codes, one after the other.
    pub codes: Vec<u8>,
}

/// Rows encoded at once, to bound memory.
const BATCH: usize = 16_384;

impl Quantizer {
    /// A generation from its parts.
    ///
    /// # Errors
    /// When their dimensions differ.
    pub fn from_parts(
        generation: u64,
        transform: Transform,
        coarse: CoarseQuantizer,
        product: ProductQuantizer,
    ) -> Result<Self, QuantizerError> {
        let dimensions = (transform.dimension(), coarse.dimension(), product.dimension());
        if dimensions.0 != dimensions.1 || dimensions.1 != dimensions.2 {
            let (transform, coarse, product) = dimensions;
            return Err(QuantizerError::JoinParts { transform, coarse, product });
        }
        Ok(Self { generation, transform, coarse, product })
    }

    /// Number of the generation.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same quantizer under another number.
    pub fn with_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    /// The transform from raw embeddings.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The coarse quantizer.
    pub fn coarse(&self) -> &CoarseQuantizer {
        &self.coarse
    }

    /// The product quantizer.
    pub fn product(&self) -> &ProductQuantizer {
        &self.product
    }

    /// Dimensions of raw embeddings.
    pub fn input_dimension(&self) -> usize {
        self.transform.input_dimension()
    }

    /// List and code of one raw embedding.
    ///
    /// # Errors
    /// When its dimension differs or it has no direction.
    pub fn encode(&self, vector: &[f32]) -> Result<Encoded, QuantizerError> {
        let mut transformed = self.transform.apply(vector)?;
        let list = self.coarse.assign(&transformed)?;
        self.coarse.subtract_centroid(&mut transformed, list);
        let code = self.product.encode(&transformed)?;
        Ok(Encoded { list, code })
    }

    /// Lists and codes of raw embeddings (`n x D`), in parallel.
    ///
    /// # Errors
    /// When the dimension differs or a vector has no direction.
    pub fn encode_batch(&self, vectors: &Matrix) -> Result<EncodedBatch, QuantizerError> {
        let mut encoded = EncodedBatch { lists: Vec::new(), codes: Vec::new() };
        encoded.lists.reserve(vectors.rows());
        encoded.codes.reserve(vectors.rows() * self.product.shape().code_bytes());
        let transformed = self.transform.apply_batch(vectors)?;
        for first in (0..vectors.rows()).step_by(BATCH) {
            let rows: Vec<usize> = (first..(first + BATCH).min(vectors.rows())).collect();
            let mut batch = transformed.select_rows(&rows);
            let lists = self.coarse.assign_batch(&batch)?;
            self.subtract_centroids(&mut batch, &lists);
            encoded.codes.extend(self.product.encode_batch(&batch)?);
            encoded.lists.extend(lists);
        }
        Ok(encoded)
    }

    fn subtract_centroids(&self, vectors: &mut Matrix, lists: &[u32]) {
        let d = vectors.columns();
        vectors
            .as_mut_slice()
            .par_chunks_mut(d)
            .zip(lists)
            .for_each(|(vector, &list)| self.coarse.subtract_centroid(vector, list));
    }

    /// The unit vector in code space that stands for a raw query: what [`probe`](Self::probe) and
    /// [`lookup_table`](Self::lookup_table) take.
    ///
    /// # Errors
    /// When its dimension differs or it has no direction.
    pub fn prepare(&self, query: &[f32]) -> Result<Vec<f32>, QuantizerError> {
        Ok(self.transform.apply(query)?)
    }

    /// The `count` lists nearest to a prepared query, nearest first.
    ///
    /// # Errors
    /// When its dimension differs or a value is not finite.
    pub fn probe(&self, prepared: &[f32], count: usize) -> Result<Vec<Probe>, QuantizerError> {
        Ok(self.coarse.probe(prepared, count)?)
    }

    /// The table of a prepared query.
    ///
    /// # Errors
    /// When its dimension differs or a value is not finite.
    pub fn lookup_table(&self, prepared: &[f32]) -> Result<LookupTable, QuantizerError> {
        Ok(self.product.lookup_table(prepared)?)
    }

    /// The vector in code space that a list and a code stand for.
    ///
    /// # Errors
    /// When the code has another length.
    pub fn decode(&self, list: u32, code: &[u8]) -> Result<Vec<f32>, QuantizerError> {
        let mut vector = self.product.decode(code)?;
        if (list as usize) < self.coarse.lists() {
            for (value, centroid) in vector.iter_mut().zip(self.coarse.centroids().row(list as usize)) {
                *value += centroid;
            }
        }
        Ok(vector)
    }
}
