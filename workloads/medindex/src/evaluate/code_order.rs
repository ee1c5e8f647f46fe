//! The whole ranking of every query in the order of the index's codes, for average precision.
//!
//! A search for all images would compare all of them exactly, because the index never re-ranks fewer than it returns, and so tell nothing about the
//! codes. Here images are ordered by their codes (the vector that list and code stand for, against the query in code space), and only the
//! best are put in exact order, as many as the product's default search re-ranks. The u8 rounding of the lookup tables is left out.

use medindex_index::linear::Matrix;
use medindex_index::quantizer::Quantizer;
use rayon::prelude::*;

use super::Vectors;
use super::corpus::Corpus;
use super::exact::rank_with;
use super::metrics::Quality;
use crate::failure::{Code, Failure};

/// Queries and images in code space.
#[derive(Debug)]
pub(crate) struct CodeOrder {
    prepared: Vectors,
    decoded: Vectors,
}

impl CodeOrder {
    /// Encodes all images and decodes them again.
    pub(crate) fn new(quantizer: &Quantizer, corpus: &Corpus) -> Result<Self, Failure> {
        let failed = |error: &dyn std::error::Error| {
            Failure::caused_by(Code::Other, "cannot encode the images", error)
        };
        let vectors = &corpus.vectors;
        let matrix = Matrix::new(vectors.len(), vectors.dimension, vectors.data.clone())
            .map_err(|error| failed(&error))?;
        let encoded = quantizer.encode_batch(&matrix).map_err(|error| failed(&error))?;
        let prepared = quantizer.transform().apply_batch(&matrix).map_err(|error| failed(&error))?;
        drop(matrix);
        let dimension = prepared.columns();
        let mut decoded = vec![0.0; vectors.len() * dimension];
        let codes = encoded.codes.par_chunks(quantizer.product().shape().code_bytes());
        decoded
            .par_chunks_mut(dimension)
            .zip(codes.zip(&encoded.lists))
            .try_for_each(|(into, (code, list))| {
                into.copy_from_slice(&quantizer.decode(*list, code)?);
                Ok(())
            })
            .map_err(|error: medindex_index::quantizer::QuantizerError| failed(&error))?;
        Ok(Self {
            prepared: Vectors { data: prepared.into_values(), dimension },
            decoded: Vectors { data: decoded, dimension },
        })
    }

    /// The quality of `queries` when the first `rerank` images by code are put in exact order.
    pub(crate) fn rank(
        &self,
        corpus: &Corpus,
        queries: &[usize],
        rerank: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Vec<Option<Quality>> {
        rank_with(corpus, &self.prepared, &self.decoded, queries, done, |query, mut ranking| {
            let best = rerank.min(ranking.len());
            order_exactly(&corpus.vectors, query, &mut ranking[..best]);
            ranking
        })
    }
}

/// Puts images in descending order of their inner product with image `query`.
fn order_exactly(vectors: &Vectors, query: usize, images: &mut [u32]) {
    let vector = vectors.row(query);
    let mut scored: Vec<(f32, u32)> = images
        .iter()
        .map(|image| {
            let other = vectors.row(*image as usize);
            (vector.iter().zip(other).map(|(a, b)| a * b).sum(), *image)
        })
        .collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    for (place, (_, image)) in images.iter_mut().zip(scored) {
        *place = image;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_put_in_exact_order() {
        let vectors = Vectors { data: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8, 0.8, 0.6], dimension: 2 };
        let mut images = [1, 2, 3];
        order_exactly(&vectors, 0, &mut images);
        assert_eq!(images, [3, 2, 1]);
    }
}
