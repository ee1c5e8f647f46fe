//! The coarse quantizer: which of the inverted lists a vector belongs to, and which lists a query looks into.
//!
//! Guarantees: assignment is deterministic and agrees between single vectors and batches up to ties of the
//! last bit; penalties keep every list's share of the training vectors near the mean.
//! Assumes unit-length vectors, and ranks lists by the cosine to their centroids: at the same number of codes
//! scanned that finds more neighbours than the Euclidean distance. Residuals are relative to the centroid
//! itself, the mean of its vectors.
//! Failure modes: too few training vectors, values that are not finite, dimensions that differ.

mod kmeans;
mod seeding;
mod sketch;

pub use kmeans::{KMeansParameters, train_kmeans};

use crate::kernels::exact::{dot_f32_gather, dot_f32_rows};
use crate::kernels::{PackError, ScanError};
use crate::linear::{LinearError, Matrix, multiply_transposed_into, normalize};
use crate::product::ProductError;
use rayon::prelude::*;
use std::sync::Arc;

use sketch::Sketch;

/// What the coarse quantizer refuses.
#[derive(Debug, thiserror::Error)]
pub enum CoarseError {
    /// Fewer training vectors than lists.
    #[error(
        "training {lists} lists needs at least {lists} vectors and was given {given}: add vectors or ask for fewer lists"
    )]
    TrainFewVectors {
        /// Lists asked for.
        lists: usize,
        /// Vectors given.
        given: usize,
    },
    /// No list or no dimension asked for.
    #[error("{lists} lists of {dimension} dimensions were asked for: both must be at least 1")]
    ChooseLists {
        /// Lists asked for.
        lists: usize,
        /// Dimensions of the vectors.
        dimension: usize,
    },
    /// A vector that holds NaN or an infinity.
    #[error("vector {row} holds a value that is not finite")]
    ReadVector {
        /// Which vector.
        row: usize,
    },
    /// A vector of another dimension.
    #[error("a vector of {given} dimensions was given to a coarse quantizer of {expected}")]
    MatchDimension {
        /// Dimensions given.
        given: usize,
        /// Dimensions of the quantizer.
        expected: usize,
    },
    /// Penalties that do not match the centroids.
    #[error("{given} penalties were given for {expected} centroids")]
    MatchPenalties {
        /// Penalties given.
        given: usize,
        /// Centroids.
        expected: usize,
    },
    /// The codes of the centroids could not be made or scanned.
    #[error("sketching the centroids failed")]
    SketchCentroids(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A matrix product failed.
    #[error("comparing vectors with centroids failed")]
    CompareVectors(#[from] LinearError),
}

impl From<ProductError> for CoarseError {
    fn from(error: ProductError) -> Self {
        Self::SketchCentroids(Box::new(error))
    }
}

impl From<PackError> for CoarseError {
    fn from(error: PackError) -> Self {
        Self::SketchCentroids(Box::new(error))
    }
}

impl From<ScanError> for CoarseError {
    fn from(error: ScanError) -> Self {
        Self::SketchCentroids(Box::new(error))
    }
}

/// A list a query looks into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Index of the list.
    pub list: u32,
    /// Inner product of the query and the list's centroid.
    pub inner_product: f32,
}

/// Centroids of the inverted lists, each with a penalty that keeps its list from growing too long.
///
/// A vector `x` belongs to the list of largest `<x, c> / |c| - penalty`.
#[derive(Clone, Debug)]
pub struct CoarseQuantizer {
    centroids: Matrix,
    penalties: Vec<f32>,
    /// The centroids at length 1.
    directions: Matrix,
    /// Their former lengths.
    norms: Vec<f32>,
    /// Made when the quantizer is complete.
    sketch: Option<Arc<Sketch>>,
}

/// Rows compared with all centroids in one matrix product.
const BATCH: usize = 1024;

impl CoarseQuantizer {
    /// Learns `parameters.clusters` lists from unit vectors (`n x d`) by k-means, then balances them. One
    /// list has the zero vector as its centroid, so that residuals are the vectors themselves.
    ///
    /// # Errors
    /// When there are fewer vectors than lists or a value is not finite.
    pub fn train(vectors: &Matrix, parameters: &KMeansParameters) -> Result<Self, CoarseError> {
        if parameters.clusters == 1 {
            return Self::single(vectors.columns());
        }
        let (centroids, penalties) = train_kmeans(vectors, parameters)?;
        Self::from_parts(centroids, penalties)
    }

    /// The exhaustive case: one list, whose centroid is the origin.
    ///
    /// # Errors
    /// When `dimension` is 0.
    pub fn single(dimension: usize) -> Result<Self, CoarseError> {
        Self::from_parts(Matrix::zeros(1, dimension), vec![0.0])
    }

    /// A quantizer over given centroids (`lists x d`) and penalties (one a list).
    ///
    /// # Errors
    /// When either is empty, their numbers differ, or a value is not finite.
    pub fn from_parts(centroids: Matrix, penalties: Vec<f32>) -> Result<Self, CoarseError> {
        let (lists, dimension) = (centroids.rows(), centroids.columns());
        if lists == 0 || dimension == 0 {
            return Err(CoarseError::ChooseLists { lists, dimension });
        }
        if penalties.len() != lists {
            return Err(CoarseError::MatchPenalties { given: penalties.len(), expected: lists });
        }
        if let Some(row) = centroids.first_row_not_finite() {
            return Err(CoarseError::ReadVector { row });
        }
        if let Some(row) = penalties.iter().position(|penalty| !penalty.is_finite()) {
            return Err(CoarseError::ReadVector { row });
        }
        let directions = directions(&centroids);
        let norms = centroids.iter_rows().map(norm).collect();
        let sketch = Sketch::new(&directions, &penalties)?.map(Arc::new);
        Ok(Self { centroids, penalties, directions, norms, sketch })
    }

    /// Number of lists.
    pub fn lists(&self) -> usize {
        self.centroids.rows()
    }

    /// Dimensions of the vectors.
    pub fn dimension(&self) -> usize {
        self.centroids.columns()
    }

    /// Centroids, `lists x d`.
    pub fn centroids(&self) -> &Matrix {
        &self.centroids
    }

    /// What is subtracted from the cosine to each centroid when a vector is assigned.
    pub fn penalties(&self) -> &[f32] {
        &self.penalties
    }

    /// The list `vector` belongs to.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn assign(&self, vector: &[f32]) -> Result<u32, CoarseError> {
        self.check(vector)?;
        let mut products = vec![0.0; self.lists()];
        dot_f32_rows(vector, self.directions.as_slice(), &mut products);
        Ok(best_of(&products, &self.penalties).0)
    }

    /// The lists the rows of `vectors` belong to.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn assign_batch(&self, vectors: &Matrix) -> Result<Vec<u32>, CoarseError> {
        if vectors.columns() != self.dimension() {
            let (given, expected) = (vectors.columns(), self.dimension());
            return Err(CoarseError::MatchDimension { given, expected });
        }
        if let Some(row) = vectors.first_row_not_finite() {
            return Err(CoarseError::ReadVector { row });
        }
        if self.lists() == 1 {
            return Ok(vec![0; vectors.rows()]);
        }
        let mut assigned = Vec::with_capacity(vectors.rows());
        let mut products = vec![0.0; BATCH.min(vectors.rows()) * self.lists()];
        for batch in vectors.as_slice().chunks(BATCH * self.dimension()) {
            let products = &mut products[..batch.len() / self.dimension() * self.lists()];
            multiply_transposed_into(products, batch, self.dimension(), &self.directions)?;
            let best = products.par_chunks(self.lists()).map(|row| best_of(row, &self.penalties).0);
            assigned.par_extend(best);
        }
        Ok(assigned)
    }

    /// The `count` lists nearest to the query, nearest first, each with its inner product. With many lists and
    /// few probes the lists are chosen by a sketch of the centroids and then ranked exactly, so a list at the
    /// end of the ranking may be missed; [`probe_exactly`](Self::probe_exactly) never misses one.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn probe(&self, query: &[f32], count: usize) -> Result<Vec<Probe>, CoarseError> {
        self.check(query)?;
        let sketch = self.sketch.as_ref().map(|sketch| sketch.candidates(query, count)).transpose()?;
        let Some(candidates) = sketch.flatten() else { return self.probe_exactly(query, count) };
        let mut products = vec![0.0; candidates.len()];
        dot_f32_gather(query, self.directions.as_slice(), &candidates, &mut products);
        Ok(self.rank(candidates.into_iter().zip(products), count))
    }

    /// [`probe`](Self::probe) by comparison with every centroid.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn probe_exactly(&self, query: &[f32], count: usize) -> Result<Vec<Probe>, CoarseError> {
        self.check(query)?;
        let mut products = vec![0.0; self.lists()];
        dot_f32_rows(query, self.directions.as_slice(), &mut products);
        Ok(self.rank((0..).zip(products), count))
    }

    /// [`probe_exactly`](Self::probe_exactly) for each row of `queries`, by matrix products of 1,024 rows.
    ///
    /// # Errors
    /// When the dimension differs or a value is not finite.
    pub fn probe_batch(&self, queries: &Matrix, count: usize) -> Result<Vec<Vec<Probe>>, CoarseError> {
        if queries.columns() != self.dimension() {
            let (given, expected) = (queries.columns(), self.dimension());
            return Err(CoarseError::MatchDimension { given, expected });
        }
        if let Some(row) = queries.first_row_not_finite() {
            return Err(CoarseError::ReadVector { row });
        }
        let mut probes = Vec::with_capacity(queries.rows());
        for batch in queries.as_slice().chunks(BATCH * self.dimension()) {
            let mut products = vec![0.0; batch.len() / self.dimension() * self.lists()];
            multiply_transposed_into(&mut products, batch, self.dimension(), &self.directions)?;
            let ranked =
                products.par_chunks(self.lists()).map(|row| self.rank((0..).zip(row.iter().copied()), count));
            probes.par_extend(ranked);
        }
        Ok(probes)
    }

    /// The best `count` of lists with their cosines.
    fn rank(&self, cosines: impl Iterator<Item = (u32, f32)>, count: usize) -> Vec<Probe> {
        let mut ranked: Vec<(f32, Probe)> = cosines
            .map(|(list, cosine)| {
                let inner_product = cosine * self.norms[list as usize];
                (self.penalties[list as usize] - cosine, Probe { list, inner_product })
            })
            .collect();
        let count = count.min(ranked.len());
        let nearest = |a: &(f32, Probe), b: &(f32, Probe)| a.0.total_cmp(&b.0).then(a.1.list.cmp(&b.1.list));
        if count < ranked.len() {
            ranked.select_nth_unstable_by(count, nearest);
            ranked.truncate(count);
        }
        ranked.sort_unstable_by(nearest);
        ranked.into_iter().map(|(_, probe)| probe).collect()
    }

    /// `vector` less the centroid of `list`, in place; a list that does not exist leaves it as it is.
    pub fn subtract_centroid(&self, vector: &mut [f32], list: u32) {
        if (list as usize) < self.lists() {
            for (value, centroid) in vector.iter_mut().zip(self.centroids.row(list as usize)) {
                *value -= centroid;
            }
        }
    }

    fn check(&self, vector: &[f32]) -> Result<(), CoarseError> {
        if vector.len() != self.dimension() {
            return Err(CoarseError::MatchDimension { given: vector.len(), expected: self.dimension() });
        }
        if vector.iter().all(|x| x.is_finite()) { Ok(()) } else { Err(CoarseError::ReadVector { row: 0 }) }
    }
}

fn norm(row: &[f32]) -> f32 {
    row.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// The rows at length 1; a zero row stays zero.
fn directions(rows: &Matrix) -> Matrix {
    let mut directions = rows.clone();
    for row in 0..directions.rows() {
        normalize(directions.row_mut(row));
    }
    directions
}

/// Index and value of the largest `product - offset`; ties go to the lower index.
fn best_of(products: &[f32], offsets: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for ((&product, &offset), index) in products.iter().zip(offsets).zip(0..) {
        let score = product - offset;
        if score > best.1 {
            best = (index, score);
        }
    }
    best
}
