//! What a search is asked and what it answers.

use serde::{Deserialize, Serialize};

use crate::entry::EntryKey;
use crate::filter::Filter;
use crate::search::Explain;

/// What at most one hit is returned of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// Every entry counts: frames of one image may all be hits.
    #[default]
    None,
    /// The best frame of each image.
    Image,
    /// The best entry of each study; an image without a study is a study of its own.
    Study,
    /// The best entry of each patient; an image without a patient is a patient of its own.
    Patient,
}

/// One question to an index.
///
/// Build it with [`SearchRequest::new`] and set the other fields by struct update.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// The query's embedding, `dimension` finite components, not all zero. It need not be normalised.
    pub vector: Vec<f32>,
    /// How many hits are wanted, at least 1. Where fewer entries (or groups) match, all of them are returned.
    pub k: usize,
    /// Which entries may be returned.
    pub filter: Filter,
    /// What at most one hit is returned of.
    pub group_by: GroupBy,
    /// How many coarse lists to probe, at least 1; `None` chooses by the number of lists. More are probed where
    /// a filter or grouping would otherwise find fewer than `k`.
    pub probes: Option<usize>,
    /// How many candidates to score again exactly, at least `k`; `None` chooses by `k`.
    pub rerank: Option<usize>,
    /// Scores every matching entry exactly, without codes: the answer the index approximates.
    pub exact: bool,
    /// An image that must not be returned, with all its frames: the one that is searched from.
    pub exclude: Option<[u8; 16]>,
    /// Whether this search may use several threads. One thread uses less processor time in all, several answer
    /// sooner. Small searches use one thread either way.
    pub parallel: bool,
}

impl SearchRequest {
    /// Asks for the `k` entries nearest to `vector`: no filter, no grouping, default effort, parallel.
    pub fn new(vector: Vec<f32>, k: usize) -> Self {
        Self {
            vector,
            k,
            filter: Filter::All,
            group_by: GroupBy::None,
            probes: None,
            rerank: None,
            exact: false,
            exclude: None,
            parallel: true,
        }
    }
}

/// One entry found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Which entry.
    pub key: EntryKey,
    /// 1 - cosine similarity of the raw embeddings, 0 (same direction) to 2 (opposite).
    pub distance: f32,
    /// The digest of its group; 0 without grouping. Hits of several indexes with one digest are of one group, so that answers can be merged.
    pub group: u64,
}

/// The answer to a [`SearchRequest`].
#[derive(Clone, Debug, Default)]
pub struct SearchResponse {
    /// The hits by ascending distance; equal distances are ordered by key.
    pub hits: Vec<Hit>,
    /// How the answer was found.
    pub explain: Explain,
}
