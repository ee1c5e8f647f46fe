//! Learning a generation from a sample of raw embeddings.

use super::{Quantizer, QuantizerError};
use crate::coarse::{CoarseQuantizer, KMeansParameters};
use crate::kernels::{CodeBits, CodeShape};
use crate::linear::{Matrix, multiply_transposed};
use crate::product::{ProductError, part_of};
use crate::transform::{RotationParameters, Transform, TransformError, learn_rotation};
use rand::SeedableRng;
use rand::seq::index::sample as sample_indices;
use rand_pcg::Pcg64Mcg;

/// Settings of [`Quantizer::train`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingParameters {
    /// Number of the generation to be learned.
    pub generation: u64,
    /// Dimensions after the projection; sub-quantizers must divide it.
    pub dimension: usize,
    /// Sub-quantizers of a code.
    pub sub_quantizers: usize,
    /// Bits of a sub-quantizer: 4 or 8.
    pub bits: u32,
    /// Inverted lists; `None` chooses [`lists_for`] the expected number of vectors.
    pub lists: Option<usize>,
    /// How many vectors the index is expected to hold; at least the sample.
    pub expected_vectors: usize,
    /// Iterations of k-means for the lists.
    pub coarse_iterations: usize,
    /// Rounds of optimized product quantization.
    pub rotation_iterations: usize,
    /// Iterations of k-means for the final codebooks.
    pub product_iterations: usize,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for TrainingParameters {
    fn default() -> Self {
        Self {
            generation: 1,
            dimension: 256,
            sub_quantizers: 64,
            bits: 4,
            lists: None,
            expected_vectors: 0,
            coarse_iterations: 10,
            rotation_iterations: 20,
            product_iterations: 10,
            seed: 1,
        }
    }
}

/// What training is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TrainingStep {
    /// Learning the projection.
    Project,
    /// Learning the inverted lists.
    Lists {
        /// How many.
        lists: usize,
    },
    /// A round of the rotation is done.
    Rotate {
        /// Which round, from 1.
        round: usize,
        /// Of how many.
        rounds: usize,
        /// Mean squared error of the residuals before the round's rotation.
        error: f64,
    },
    /// Learning the final codebooks.
    Codebooks,
    /// Training is done.
    Done {
        /// Mean squared error of the decoded sample, between 0 (exact) and about 1.
        error: f64,
    },
}

/// Vectors an index needs before lists pay: below, one list is scanned whole.
const EXHAUSTIVE_BELOW: usize = 20_000;
/// Training vectors a list, at least, when the number of lists is chosen here.
const VECTORS_A_LIST: usize = 32;
/// Most vectors used for rotation and codebooks.
const RESIDUAL_SAMPLE: usize = 32_768;
/// Most vectors used for the projection.
const PROJECTION_SAMPLE: usize = 131_072;

/// Number of inverted lists that suits `vectors` vectors: four times the square root, or 1 below 20,000.
pub fn lists_for(vectors: usize) -> usize {
    if vectors < EXHAUSTIVE_BELOW { 1 } else { (4.0 * (vectors as f64).sqrt()).round() as usize }
}

impl Quantizer {
    /// Learns a generation from a sample of raw embeddings (`n x D`): projection, lists, then rotation and
    /// codebooks on the residuals to the lists' centroids. `progress` is called as steps begin.
    ///
    /// # Errors
    /// When a parameter does not suit, there are too few vectors, or a vector has no direction.
    pub fn train(
        sample: &Matrix,
        parameters: &TrainingParameters,
        progress: &dyn Fn(TrainingStep),
    ) -> Result<Self, QuantizerError> {
        let bits = CodeBits::new(parameters.bits).map_err(ProductError::from)?;
        let shape = CodeShape::new(parameters.sub_quantizers, bits).map_err(ProductError::from)?;
        part_of(shape, parameters.dimension)?;
        progress(TrainingStep::Project);
        let some = subsample(sample, PROJECTION_SAMPLE, parameters.seed);
        let projection = Transform::train(some.as_ref().unwrap_or(sample), parameters.dimension)?;
        let vectors = projection.apply_batch(sample)?;

        let lists = parameters.lists.unwrap_or_else(|| {
            let wanted = lists_for(parameters.expected_vectors.max(sample.rows()));
            wanted.min(sample.rows() / VECTORS_A_LIST).max(1)
        });
        progress(TrainingStep::Lists { lists });
        let means = KMeansParameters {
            clusters: lists,
            iterations: parameters.coarse_iterations,
            seed: parameters.seed,
            ..KMeansParameters::default()
        };
        let coarse = CoarseQuantizer::train(&vectors, &means)?;

        let some = subsample(&vectors, RESIDUAL_SAMPLE, parameters.seed ^ 1);
        let mut residuals = some.unwrap_or(vectors);
        let assigned = coarse.assign_batch(&residuals)?;
        for (row, &list) in assigned.iter().enumerate() {
            coarse.subtract_centroid(residuals.row_mut(row), list);
        }
        let rounds = parameters.rotation_iterations;
        let settings = RotationParameters { shape, iterations: rounds, seed: parameters.seed };
        let learned = learn_rotation(&residuals, &settings, &mut |round, error| {
            progress(TrainingStep::Rotate { round, rounds, error });
        })?;
        progress(TrainingStep::Codebooks);
        let rotation = learned.matrix;
        let rotated = multiply_transposed(&residuals, &rotation).map_err(TransformError::from)?;
        let mut product = learned.quantizer;
        product.refine(&rotated, parameters.product_iterations)?;
        progress(TrainingStep::Done { error: product.mean_squared_error(&rotated)? });
        let centroids = multiply_transposed(coarse.centroids(), &rotation).map_err(TransformError::from)?;
        let coarse = CoarseQuantizer::from_parts(centroids, coarse.penalties().to_vec())?;
        Self::from_parts(parameters.generation, projection.rotated(&rotation)?, coarse, product)
    }
}

/// A random choice of `most` rows, in ascending order; `None` when there are no more than that.
fn subsample(vectors: &Matrix, most: usize, seed: u64) -> Option<Matrix> {
    if vectors.rows() <= most {
        return None;
    }
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut rows = sample_indices(&mut random, vectors.rows(), most).into_vec();
    rows.sort_unstable();
    Some(vectors.select_rows(&rows))
}
