//! A request made ready: checked, normalised, and with the rows it may return.

use std::sync::Arc;

use crate::filter::Filter;
use crate::filter::bitmap::Bitmap;
use crate::filter::evaluate::{Matching, evaluate};
use crate::index::{IndexError, IndexOptions, View};
use crate::search::found::Place;
use crate::search::{FilterPlan, GroupBy, SearchRequest};
use crate::segment::SegmentView;

/// Up to this many matching rows are gathered and scored exactly: that costs no more than a scan.
const GATHER_ROWS: usize = 4_096;
/// Or up to one in this many rows.
const GATHER_SHARE: usize = 1_000;
/// From one in this many rows on, matching rows are dense enough for masks in the scan.
const IN_SCAN_SHARE: usize = 10;
/// Candidates to score again for each hit, and the fewest.
const RERANK_FACTOR: usize = 10;
const FEWEST_RERANKED: usize = 100;
/// The most candidates that are collected: beyond, scoring everything exactly is cheaper.
const MOST_RERANKED: usize = 1 << 20;

/// The rows that a filter lets through.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// By segment in the order of [`View::all`]: the rows that match and are not removed.
    pub(crate) rows: Vec<Arc<Bitmap>>,
    /// How many they are.
    pub(crate) matching: usize,
}

impl Selection {
    fn of(filter: &Filter, view: &View) -> Self {
        let live = |segment: &SegmentView| {
            let mut rows = match evaluate(filter, &segment.segment) {
                Matching::All => Bitmap::all(segment.rows()),
                Matching::Rows(rows) => rows,
            };
            if let Some(removed) = &segment.removed {
                rows.and_not(&removed.rows);
            }
            Arc::new(rows)
        };
        let rows: Vec<Arc<Bitmap>> = view.all().map(live).collect();
        let matching = rows.iter().map(|rows| rows.count()).sum();
        Self { rows, matching }
    }
}

/// A request made ready.
#[derive(Clone, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) request: &'a SearchRequest,
    /// The vector, of norm 1.
    pub(crate) unit: Vec<f32>,
    /// Hits to return at most: `k`, or fewer where fewer entries match.
    pub(crate) limit: usize,
    /// Candidates to score again exactly.
    pub(crate) rerank: usize,
    /// `None` without a filter.
    pub(crate) selection: Option<Selection>,
    /// Entries that could be found.
    pub(crate) live: usize,
    pub(crate) plan: FilterPlan,
    /// Whether everything that matches is scored exactly.
    pub(crate) exact: bool,
    /// Rows that must not be returned.
    excluded: Vec<Place>,
}

impl<'a> Query<'a> {
    /// Makes a request ready. `before` is another query on the same view, whose filter may be the same.
    pub(crate) fn new(
        request: &'a SearchRequest,
        before: Option<&Self>,
        view: &View,
        options: &IndexOptions,
    ) -> Result<Self, IndexError> {
        let unit = check(request, options)?;
        let live = view.live();
        let selection = match before.filter(|before| before.request.filter == request.filter) {
            Some(before) => before.selection.clone(),
            None => (request.filter != Filter::All).then(|| Selection::of(&request.filter, view)),
        };
        let matching = selection.as_ref().map_or(live, |selection| selection.matching);
        let exact = request.exact || view.generation.is_none();
        let plan = match (&selection, exact) {
            (None, _) => FilterPlan::None,
            (Some(_), _) if matching == 0 => FilterPlan::Empty,
            (Some(_), true) => FilterPlan::Exact,
            (Some(_), false) if matching <= GATHER_ROWS || matching <= live / GATHER_SHARE => {
                FilterPlan::Gather
            }
            (Some(_), false) if matching >= live / IN_SCAN_SHARE => FilterPlan::InScan,
            (Some(_), false) => FilterPlan::WidenedProbes,
        };
        let limit = request.k.min(matching);
        let rerank = request.rerank.unwrap_or_else(|| (RERANK_FACTOR * limit).max(FEWEST_RERANKED));
        Ok(Self {
            request,
            unit,
            limit,
            rerank: rerank.min(MOST_RERANKED).max(limit),
            selection,
            live,
            plan,
            exact: exact || plan == FilterPlan::Gather || limit > MOST_RERANKED,
            excluded: request.exclude.map_or_else(Vec::new, |id| places_of(id, view)),
        })
    }

    /// Share of the entries that the filter lets through.
    pub(crate) fn selectivity(&self) -> f32 {
        match &self.selection {
            Some(selection) if self.live > 0 => selection.matching as f32 / self.live as f32,
            Some(_) => 0.0,
            None => 1.0,
        }
    }

    pub(crate) fn group_by(&self) -> GroupBy {
        self.request.group_by
    }

    /// Whether there are entries that must not be returned.
    pub(crate) fn has_exclusions(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// Whether the entry must not be returned.
    #[inline]
    pub(crate) fn excludes(&self, segment: u32, row: u32) -> bool {
        !self.excluded.is_empty() && self.excluded.contains(&Place { segment, at: row })
    }

    /// Whether nothing can be found.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.limit == 0
    }
}

fn places_of(id: [u8; 16], view: &View) -> Vec<Place> {
    let in_segment = |(index, segment): (usize, &SegmentView)| {
        let rows: Vec<usize> = segment.segment.find_image(id).collect();
        rows.into_iter().map(move |row| Place { segment: index as u32, at: row as u32 })
    };
    view.all().enumerate().flat_map(in_segment).collect()
}

/// Checks a request and returns its vector at norm 1.
fn check(request: &SearchRequest, options: &IndexOptions) -> Result<Vec<f32>, IndexError> {
    let invalid = |reason: String| Err(IndexError::InvalidRequest { reason });
    let vector = &request.vector;
    if request.k == 0 {
        return invalid("k is 0; ask for at least 1 hit".to_owned());
    }
    if vector.len() != options.dimension {
        let (given, stored) = (vector.len(), options.dimension);
        return invalid(format!(
            "the query has {given} components, the index stores {stored}; use the model of the index"
        ));
    }
    if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
        return invalid(format!("component {at} of the query is {}, not a finite number", vector[at]));
    }
    if request.probes == Some(0) {
        return invalid("probes is 0; probe at least 1 list".to_owned());
    }
    if request.rerank.is_some_and(|rerank| rerank < request.k) {
        return invalid("rerank is below k; score at least k candidates again".to_owned());
    }
    // In double precision, so that no finite vector overflows or vanishes.
    let norm = vector.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return invalid("all components of the query are zero, so it has no direction to compare".to_owned());
    }
    Ok(vector.iter().map(|&value| (f64::from(value) / norm) as f32).collect())
}
