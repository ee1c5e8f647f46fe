//! Retrieval quality of one query's ranking, and its mean over queries. Pure functions.
//!
//! P@k and average precision as in Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008), section 8.4.
//! Average precision divides by the number of relevant images that exist, not by the number found.

use serde::Serialize;

/// Share of the first `k` results that are relevant, 0 to 1. Results missing from a shorter list count as not relevant.
pub(crate) fn precision_at(k: usize, relevant: &[bool]) -> f64 {
    let found = relevant.iter().take(k).filter(|relevant| **relevant).count();
    found as f64 / k as f64
}

/// Mean over the `existing` relevant images of the precision at the rank where each was found; one that is not in
/// `relevant` at all adds 0. `None` when no relevant image exists: then there is nothing to find.
pub(crate) fn average_precision(relevant: &[bool], existing: usize) -> Option<f64> {
    if existing == 0 {
        return None;
    }
    let mut found = 0_usize;
    let mut sum = 0.0;
    for (position, _) in relevant.iter().enumerate().filter(|(_, relevant)| **relevant) {
        found += 1;
        sum += found as f64 / (position + 1) as f64;
    }
    Some(sum / existing as f64)
}

/// Quality of one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quality {
    pub(crate) precision_at_1: f64,
    pub(crate) precision_at_10: f64,
    pub(crate) average_precision: f64,
}

impl Quality {
    /// Quality of a ranking; `None` when no relevant image exists.
    pub(crate) fn of(relevant: &[bool], existing: usize) -> Option<Self> {
        Some(Self {
            precision_at_1: precision_at(1, relevant),
            precision_at_10: precision_at(10, relevant),
            average_precision: average_precision(relevant, existing)?,
        })
    }
}

/// Mean quality over queries, each figure 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct MeanQuality {
    /// Mean precision of the first result.
    pub(crate) p_at_1: f64,
    /// Mean precision of the first ten results.
    pub(crate) p_at_10: f64,
    /// Mean average precision over the whole ranking.
    pub(crate) map: f64,
    /// Queries.
    pub(crate) queries: usize,
}

/// The mean of `qualities`; `None` when there are none.
pub(crate) fn mean<'a>(qualities: impl IntoIterator<Item = &'a Quality>) -> Option<MeanQuality> {
    let mut sums = [0.0; 3];
    let mut queries = 0_usize;
    for quality in qualities {
        sums[0] += quality.precision_at_1;
        sums[1] += quality.precision_at_10;
        sums[2] += quality.average_precision;
        queries += 1;
    }
    if queries == 0 {
        return None;
    }
    let [p_at_1, p_at_10, map] = sums.map(|sum| sum / queries as f64);
    Some(MeanQuality { p_at_1, p_at_10, map, queries })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: f64 = 1e-12;

    #[test]
    fn precision_counts_the_relevant_of_the_first_k() {
        let relevant = [true, false, true, true];
        assert!((precision_at(1, &relevant) - 1.0).abs() < CLOSE);
        assert!((precision_at(3, &relevant) - 2.0 / 3.0).abs() < CLOSE);
    }

    #[test]
    fn a_short_list_counts_missing_results_as_not_relevant() {
        assert!((precision_at(10, &[true, true]) - 0.2).abs() < CLOSE);
    }

    #[test]
    fn average_precision_of_a_hand_computed_ranking() {
        // Relevant at ranks 1, 3 and 4 of 3 that exist: (1/1 + 2/3 + 3/4) / 3 = 29/36.
        let ap = average_precision(&[true, false, true, true, false], 3).unwrap();
        assert!((ap - 29.0 / 36.0).abs() < CLOSE);
    }

    #[test]
    fn relevant_images_that_were_not_found_lower_the_average_precision() {
        // Found at rank 2 of 4 that exist: (1/2) / 4.
        let ap = average_precision(&[false, true], 4).unwrap();
        assert!((ap - 0.125).abs() < CLOSE);
    }

    #[test]
    fn perfect_and_hopeless_rankings_are_the_ends_of_the_scale() {
        assert!((average_precision(&[true; 5], 5).unwrap() - 1.0).abs() < CLOSE);
        assert!(average_precision(&[false; 5], 5).unwrap().abs() < CLOSE);
        assert_eq!(average_precision(&[false; 5], 0), None);
    }

    #[test]
    fn the_mean_weighs_every_query_alike() {
        let first = Quality::of(&[true, false], 1).unwrap();
        let second = Quality::of(&[false, true], 1).unwrap();
        let mean = mean([&first, &second]).unwrap();
        assert_eq!(mean.queries, 2);
        assert!((mean.p_at_1 - 0.5).abs() < CLOSE);
        assert!((mean.p_at_10 - 0.1).abs() < CLOSE);
        assert!((mean.map - 0.75).abs() < CLOSE);
        assert_eq!(super::mean([]), None);
    }
}
