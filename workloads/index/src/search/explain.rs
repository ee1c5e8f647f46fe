//! How an answer was found: counters and times of one search.

use std::borrow::Cow;

use serde::Serialize;

/// How a filter was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterPlan {
    /// There was no filter.
    #[default]
    None,
    /// No entry matches, so nothing was scanned.
    Empty,
    /// Matching entries were masked in the scan of the nearest lists.
    InScan,
    /// More lists were probed until enough matching entries were seen.
    WidenedProbes,
    /// The few matching entries were gathered and scored exactly.
    Gather,
    /// Every matching entry was scored exactly: asked for, or no quantizer is trained yet.
    Exact,
}

/// Wall time of each step of a search, in microseconds.
///
/// In a batch, steps that were done once for the batch count an equal share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StepTimes {
    /// Evaluating the filter.
    pub filter: f32,
    /// Transforming the query.
    pub transform: f32,
    /// Finding the nearest coarse lists.
    pub coarse: f32,
    /// Computing and quantizing the lookup tables.
    pub tables: f32,
    /// Scanning codes.
    pub scan: f32,
    /// Scoring candidates exactly.
    pub rerank: f32,
    /// Scoring the tail, small segments and gathered entries exactly.
    pub exact: f32,
    /// Merging and ordering.
    pub merge: f32,
    /// All of it.
    pub total: f32,
}

impl StepTimes {
    /// Adds the times of a first attempt.
    pub(crate) fn add(&mut self, other: &Self) {
        self.filter += other.filter;
        self.transform += other.transform;
        self.coarse += other.coarse;
        self.tables += other.tables;
        self.scan += other.scan;
        self.rerank += other.rerank;
        self.exact += other.exact;
        self.merge += other.merge;
    }
}

/// How an answer was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explain {
    /// The quantizer's generation; 0 when none is active yet.
    pub generation: u64,
    /// The kernel that scanned codes, such as `avx512-vbmi`; empty when no codes were scanned.
    pub kernel: Cow<'static, str>,
    /// Immutable segments searched.
    pub segments: usize,
    /// Rows in the append tail.
    pub tail_rows: usize,
    /// Entries that could be found: all, less removed ones.
    pub entries: usize,
    /// Coarse lists of the generation.
    pub lists_total: usize,
    /// Coarse lists probed.
    pub lists_probed: usize,
    /// Blocks of 32 codes scanned.
    pub blocks_scanned: usize,
    /// Blocks of 32 codes in probed lists that were skipped, because no entry in them may be returned.
    pub blocks_skipped: usize,
    /// Codes scanned.
    pub codes_scanned: usize,
    /// Candidates scored again exactly.
    pub reranked: usize,
    /// Entries scored exactly without codes: the tail, small segments, gathered entries.
    pub exact_scored: usize,
    /// How the filter was applied.
    pub filter_plan: FilterPlan,
    /// Share of the entries that the filter lets through, 0 to 1; 1 without a filter.
    pub filter_selectivity: f32,
    /// Queries that were answered together with this one, itself included.
    pub batch: usize,
    /// Where the time went.
    pub microseconds: StepTimes,
}
