//! Retrieval quality of the stored, labelled images: leave-one-out, every image a query against all the others.
//!
//! Three rankings are measured: raw pixels (what no model at all would find), exact comparison of the stored vectors, and the index as
//! the product runs it. Assumes that the vectors of all images fit in memory as f32, and labels are the truth.

pub(crate) mod baselines;
pub(crate) mod code_order;
pub(crate) mod corpus;
pub(crate) mod exact;
pub(crate) mod metrics;
pub(crate) mod pixels;
pub(crate) mod plot;
pub(crate) mod report;
pub(crate) mod sample;
pub(crate) mod through_index;

/// Row-major vectors of equal length.
#[derive(Debug, Clone)]
pub(crate) struct Vectors {
    /// Components, one vector after the other.
    pub(crate) data: Vec<f32>,
    /// Components of a vector.
    pub(crate) dimension: usize,
}

impl Vectors {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.data.len() / self.dimension
    }

    /// Vector number `index`.
    pub(crate) fn row(&self, index: usize) -> &[f32] {
        &self.data[index * self.dimension..(index + 1) * self.dimension]
    }
}

/// Scales a vector to length 1; one of zeros stays as it is.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        for component in vector {
            *component /= length;
        }
    }
}
