//! Measuring how well a generation approximates exact search, on the index's own data.

use std::sync::Arc;

use serde::Serialize;

use crate::index::{Index, IndexError, View};
use crate::search::{SearchRequest, SearchResponse};

/// Distances that differ by less than this are equal: sums are taken in different orders.
const EQUAL: f32 = 1e-5;

/// How well the index approximates exact search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Recall {
    /// Queries measured.
    pub queries: usize,
    /// Hits of exact search that were compared, in all.
    pub expected: usize,
    /// Share of these that the index returned, 0 to 1; 1 when there was nothing to find. Another hit as near as
    /// the last one counts too.
    pub recall: f64,
}

impl Index {
    /// Answers the requests by `generation` and exactly, on the same entries, and compares. The generation may
    /// be the active one, the previous one, or one that is built and not yet active.
    ///
    /// # Errors
    /// When the generation is not kept, a file of it cannot be read, or a request is invalid.
    pub fn measure_recall(&self, generation: u64, requests: &[SearchRequest]) -> Result<Recall, IndexError> {
        let view = self.view_by(generation)?;
        let exactly: Vec<SearchRequest> =
            requests.iter().map(|request| SearchRequest { exact: true, ..request.clone() }).collect();
        let found = self.search_view(&view, requests)?;
        let expected = self.search_view(&view, &exactly)?;
        let mut recall = Recall { queries: requests.len(), ..Recall::default() };
        let mut hits = 0;
        for (found, expected) in found.iter().zip(&expected) {
            recall.expected += expected.hits.len();
            hits += near_enough(found, expected);
        }
        recall.recall = if recall.expected == 0 { 1.0 } else { hits as f64 / recall.expected as f64 };
        Ok(recall)
    }

    /// The present view with the inverted lists of `generation`.
    fn view_by(&self, generation: u64) -> Result<View, IndexError> {
        let active = self.view.load_full();
        if active.generation.as_ref().is_some_and(|active| active.number() == generation) {
            return Ok(active.as_ref().clone());
        }
        let generation = self.load_generation(generation)?;
        let mut stored = self.stored.lock();
        let mut view = self.view.load().as_ref().clone();
        for segment in &mut view.segments {
            let lists = self.open_lists(&mut stored, segment, &generation)?;
            *segment = segment.with_lists(lists);
        }
        view.generation = Some(Arc::clone(&generation));
        Ok(view)
    }
}

/// How many of the hits are as near as those expected.
fn near_enough(found: &SearchResponse, expected: &SearchResponse) -> usize {
    let Some(last) = expected.hits.last() else { return 0 };
    found.hits.iter().take(expected.hits.len()).filter(|hit| hit.distance <= last.distance + EQUAL).count()
}
