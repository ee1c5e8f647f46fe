//! From requests to answers: which way each query goes, and putting together what was found.

use std::time::Instant;

use rayon::prelude::*;

use crate::index::{Generation, Index, IndexError, View};
use crate::search::coded::{Coded, QUERIES_AT_ONCE, default_probes, microseconds, search_together};
use crate::search::exact::{Asked, score_segments};
use crate::search::filtered::search_filtered;
use crate::search::found::group_of;
use crate::search::lists::Scanned;
use crate::search::query::Query;
use crate::search::{Explain, GroupBy, Hit, SearchRequest, SearchResponse, StepTimes};
use crate::segment::SegmentView;

impl Index {
    /// Finds the nearest entries. Sees everything that was applied before, and waits for nobody.
    ///
    /// # Errors
    /// When `k` is 0, the vector has another dimension, is zero or is not finite, `probes` is 0, or `rerank` is
    /// below `k`. That `k` exceeds what there is, or that nothing matches, is no error: all that matches is
    /// returned.
    pub fn search(&self, request: &SearchRequest) -> Result<SearchResponse, IndexError> {
        let mut responses = self.search_batch(std::slice::from_ref(request))?;
        Ok(responses.pop().unwrap_or_default())
    }

    /// Answers several requests at once, in their order, on one view: with many queries this takes less
    /// processor time than one after the other. Uses one thread when any request asks for that.
    ///
    /// # Errors
    /// As [`Index::search`], for the first request that is invalid.
    pub fn search_batch(&self, requests: &[SearchRequest]) -> Result<Vec<SearchResponse>, IndexError> {
        self.search_view(&self.view.load_full(), requests)
    }

    /// Answers requests on the given view.
    pub(crate) fn search_view(
        &self,
        view: &View,
        requests: &[SearchRequest],
    ) -> Result<Vec<SearchResponse>, IndexError> {
        let parallel = requests.iter().all(|request| request.parallel);
        let threads = rayon::current_num_threads();
        if !parallel || threads < 2 || requests.len() < threads {
            return self.answer_all(view, requests, parallel);
        }
        let share = requests.len().div_ceil(threads).min(QUERIES_AT_ONCE);
        let shares: Vec<Vec<SearchResponse>> = requests
            .par_chunks(share)
            .map(|requests| self.answer_all(view, requests, false))
            .collect::<Result<_, _>>()?;
        let batch = requests.len();
        let mut responses: Vec<SearchResponse> = shares.into_iter().flatten().collect();
        for response in &mut responses {
            response.explain.batch = batch;
        }
        Ok(responses)
    }

    fn answer_all(
        &self,
        view: &View,
        requests: &[SearchRequest],
        parallel: bool,
    ) -> Result<Vec<SearchResponse>, IndexError> {
        let mut responses = Vec::with_capacity(requests.len());
        for requests in requests.chunks(QUERIES_AT_ONCE) {
            responses.extend(self.answer(view, requests, parallel)?);
        }
        for response in &mut responses {
            response.explain.batch = requests.len();
        }
        Ok(responses)
    }

    /// Answers up to [`QUERIES_AT_ONCE`] requests.
    fn answer(
        &self,
        view: &View,
        requests: &[SearchRequest],
        parallel: bool,
    ) -> Result<Vec<SearchResponse>, IndexError> {
        let start = Instant::now();
        let mut queries: Vec<Query<'_>> = Vec::with_capacity(requests.len());
        let mut filter_times = Vec::with_capacity(requests.len());
        for request in requests {
            let start = Instant::now();
            let query = Query::new(request, queries.last(), view, &self.options)?;
            queries.push(query);
            filter_times.push(microseconds(start));
        }
        let mut answers: Vec<Answer<'_, '_>> = queries.iter().map(Answer::new).collect();
        for (answer, time) in answers.iter_mut().zip(filter_times) {
            answer.coded.times.filter = time;
        }
        search_by_codes(view, &mut answers, parallel)?;
        score_exactly(view, &mut answers, parallel);
        if let Some(generation) = &view.generation {
            search_further(view, generation, &mut answers, parallel)?;
        }
        let count = answers.len().max(1) as f32;
        let mut responses: Vec<SearchResponse> =
            answers.into_iter().map(|answer| answer.finish(view)).collect();
        let total = microseconds(start) / count;
        for response in &mut responses {
            response.explain.microseconds.total = total;
        }
        Ok(responses)
    }
}

/// A query on its way to its answer.
struct Answer<'q, 'a> {
    coded: Coded<'q, 'a>,
}

impl<'q, 'a> Answer<'q, 'a> {
    fn new(query: &'q Query<'a>) -> Self {
        Self { coded: Coded::new(query) }
    }

    fn query(&self) -> &'q Query<'a> {
        self.coded.query
    }

    fn by_codes(&self) -> bool {
        !self.query().exact && !self.query().is_hopeless()
    }

    fn finish(self, view: &View) -> SearchResponse {
        let start = Instant::now();
        let Coded { query, exact, scanned, mut times, reranked, .. } = self.coded;
        let Asked { found, scored, .. } = exact;
        let places = found.into_nearest();
        let group_by = query.request.group_by;
        let mut hits: Vec<Hit> = places
            .into_iter()
            .filter_map(|(distance, place)| {
                let (segment, row) = (&view.all().nth(place.segment as usize)?.segment, place.at as usize);
                let group = if group_by == GroupBy::None { 0 } else { group_of(segment, row, group_by) };
                Some(Hit { key: segment.keys()[row], distance, group })
            })
            .collect();
        hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.key.cmp(&b.key)));
        times.merge = microseconds(start);
        SearchResponse { hits, explain: explain(view, query, &scanned, scored, reranked, times) }
    }
}

fn explain(
    view: &View,
    query: &Query<'_>,
    scanned: &Scanned,
    exact_scored: usize,
    reranked: usize,
    microseconds: StepTimes,
) -> Explain {
    let generation = view.generation.as_deref();
    Explain {
        generation: generation.map_or(0, Generation::number),
        kernel: generation.filter(|_| scanned.codes > 0).map_or("", Generation::kernel_name).into(),
        segments: view.segments.len(),
        tail_rows: view.tail_rows(),
        entries: query.live,
        lists_total: generation.map_or(0, Generation::lists),
        lists_probed: scanned.lists,
        blocks_scanned: scanned.blocks,
        blocks_skipped: scanned.skipped,
        codes_scanned: scanned.codes,
        reranked,
        exact_scored,
        filter_plan: query.plan,
        filter_selectivity: query.selectivity(),
        batch: 1,
        microseconds,
    }
}

fn probes_of(query: &Query<'_>, generation: &Generation) -> usize {
    let lists = generation.lists();
    query.request.probes.map_or_else(|| default_probes(lists), |probes| probes.min(lists))
}

/// Searches the segments that have inverted lists.
fn search_by_codes(view: &View, answers: &mut [Answer<'_, '_>], parallel: bool) -> Result<(), IndexError> {
    let Some(generation) = &view.generation else { return Ok(()) };
    if view.segments.iter().all(|segment| segment.lists.is_none()) {
        return Ok(());
    }
    let (mut together, mut probes, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (place, answer) in answers.iter_mut().enumerate().filter(|(_, answer)| answer.by_codes()) {
        let query = answer.query();
        if let Some(selection) = &query.selection {
            let probes = probes_of(query, generation);
            search_filtered(view, generation, &mut answer.coded, selection, probes, false)?;
        } else {
            probes.push(probes_of(query, generation));
            together.push(std::mem::replace(&mut answer.coded, Coded::new(query)));
            places.push(place);
        }
    }
    if !together.is_empty() {
        search_together(view, generation, &mut together, &probes, parallel)?;
        for (place, coded) in places.into_iter().zip(together) {
            answers[place].coded = coded;
        }
    }
    Ok(())
}

/// Scores what has no inverted lists: the tail and the newest segments; for exact queries everything.
fn score_exactly(view: &View, answers: &mut [Answer<'_, '_>], parallel: bool) {
    let start = Instant::now();
    let without_lists = |segment: &SegmentView| segment.lists.is_none();
    for exact in [false, true] {
        if !exact && !view.all().any(without_lists) {
            continue;
        }
        let mut asked = Vec::new();
        let chosen = |answer: &Answer<'_, '_>| answer.query().exact == exact && !answer.query().is_hopeless();
        if !answers.iter().any(chosen) {
            continue;
        }
        for answer in answers.iter_mut().filter(|answer| chosen(answer)) {
            let fresh = Asked::new(answer.query());
            asked.push(std::mem::replace(&mut answer.coded.exact, fresh));
        }
        if exact {
            score_segments(view, |_| true, &mut asked, parallel);
        } else {
            score_segments(view, without_lists, &mut asked, parallel);
        }
        for (answer, asked) in answers.iter_mut().filter(|answer| chosen(answer)).zip(asked) {
            answer.coded.exact = asked;
        }
    }
    let share = microseconds(start) / answers.len().max(1) as f32;
    for answer in answers {
        answer.coded.times.exact += share;
    }
}

/// Searches all lists for queries that found fewer than there should be: fewer groups than asked in the lists
/// that were probed, or fewer entries than `k`. A search never returns less than exists.
fn search_further(
    view: &View,
    generation: &Generation,
    answers: &mut [Answer<'_, '_>],
    parallel: bool,
) -> Result<(), IndexError> {
    for answer in answers.iter_mut().filter(|answer| answer.by_codes()) {
        let query = answer.query();
        if answer.coded.exhausted || answer.coded.exact.found.count() >= query.limit {
            continue;
        }
        let times = answer.coded.times;
        let mut further = Coded::new(query);
        if let Some(selection) = &query.selection {
            search_filtered(view, generation, &mut further, selection, 1, true)?;
        } else {
            let all = [generation.lists()];
            search_together(view, generation, std::slice::from_mut(&mut further), &all, parallel)?;
        }
        answer.coded = further;
        score_exactly(view, std::slice::from_mut(answer), parallel);
        answer.coded.times.add(&times);
    }
    Ok(())
}
