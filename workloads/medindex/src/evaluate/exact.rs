//! The whole ranking of every query by exact cosine: scores of a block of queries by one matrix product, then one sort a query.
//!
//! Memory beside the vectors: [`BLOCK`] x images scores. Every score is computed once for each side, which costs less than keeping them.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::Vectors;
use super::corpus::Corpus;
use super::metrics::Quality;

/// Queries in one matrix product.
const BLOCK: usize = 128;

/// The quality of each of `queries` when all images are ranked by the inner product of `vectors`, which are normalised. `done` is
/// called with the number of queries behind.
pub(crate) fn rank_all(
    corpus: &Corpus,
    vectors: &Vectors,
    queries: &[usize],
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Option<Quality>> {
    rank_with(corpus, vectors, vectors, queries, done, |_, ranking| ranking)
}

/// Like [`rank_all`], with queries and images represented differently, and `reorder` applied to each query's ranking.
pub(crate) fn rank_with(
    corpus: &Corpus,
    query_vectors: &Vectors,
    image_vectors: &Vectors,
    queries: &[usize],
    done: &(dyn Fn(usize) + Sync),
    reorder: impl Fn(usize, Vec<u32>) -> Vec<u32> + Sync,
) -> Vec<Option<Quality>> {
    let (images, dimension) = (image_vectors.len(), image_vectors.dimension);
    let all = MatRef::from_row_major_slice(&image_vectors.data, images, dimension);
    let mut qualities = Vec::with_capacity(queries.len());
    let mut scores = vec![0.0_f32; BLOCK * images];
    for block in queries.chunks(BLOCK) {
        let rows: Vec<f32> = block.iter().flat_map(|query| query_vectors.row(*query)).copied().collect();
        let rows = MatRef::from_row_major_slice(&rows, block.len(), dimension);
        let scores = &mut scores[..block.len() * images];
        let into = MatMut::from_row_major_slice_mut(scores, block.len(), images);
        matmul(into, Accum::Replace, rows, all.transpose(), 1.0, Par::rayon(0));
        let judged = scores.par_chunks(images).zip(block).map(|(scores, query)| {
            let ranking = reorder(*query, ranking_of(*query, scores));
            judge(corpus, *query, &ranking)
        });
        qualities.par_extend(judged);
        done(qualities.len());
    }
    qualities
}

/// The images in descending order of `scores` without the query; equal scores in the order of the images.
fn ranking_of(query: usize, scores: &[f32]) -> Vec<u32> {
    let others = scores.iter().enumerate().filter(|(image, _)| *image != query);
    // One integer an image sorts faster than a comparison of floats: the score's order above, the image below.
    let mut keys: Vec<u64> =
        others.map(|(image, score)| (u64::from(descending(*score)) << 32) | image as u64).collect();
    keys.sort_unstable();
    keys.into_iter().map(|key| key as u32).collect()
}

/// A number that is the smaller the greater `score` is.
fn descending(score: f32) -> u32 {
    let bits = score.to_bits();
    let ascending = if bits >> 31 == 0 { bits | (1 << 31) } else { !bits };
    !ascending
}

/// The quality of a ranking of image numbers.
pub(crate) fn judge(corpus: &Corpus, query: usize, ranking: &[u32]) -> Option<Quality> {
    let label = corpus.labels[query];
    let relevant: Vec<bool> = ranking.iter().map(|image| corpus.labels[*image as usize] == label).collect();
    Quality::of(&relevant, corpus.relevant_count(query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::mean;

    #[test]
    fn scores_sort_from_the_greatest() {
        let scores = [0.5, -1.0, 1.0, 0.0, -0.25];
        assert_eq!(ranking_of(9, &scores), [2, 0, 3, 4, 1]);
        assert_eq!(ranking_of(2, &scores), [0, 3, 4, 1], "the query is left out");
    }

    #[test]
    fn separated_labels_are_ranked_perfectly() {
        let corpus = Corpus::of(&[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]], vec![0, 0, 1, 1]);
        let found = rank_all(&corpus, &corpus.vectors, &[0, 1, 2, 3], &|_| {});
        let qualities: Vec<Quality> = found.into_iter().flatten().collect();
        // Image 1 lies 0.8 from image 0 and 0.6 from image 2, so every first neighbour has the query's label.
        let mean = mean(&qualities).unwrap();
        assert!((mean.map - 1.0).abs() < 1e-9, "{mean:?}");
        assert_eq!(mean.queries, 4);
    }

    #[test]
    fn a_hand_computed_ranking() {
        // From image 0: image 2 (b) is nearest, then image 1 (a), then image 3 (b): AP = 1/2.
        let corpus = Corpus::of(&[[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]], vec![0, 0, 1, 1]);
        let quality = rank_all(&corpus, &corpus.vectors, &[0], &|_| {})[0].unwrap();
        assert!((quality.average_precision - 0.5).abs() < 1e-9);
        assert!(quality.precision_at_1.abs() < 1e-9);
    }
}
