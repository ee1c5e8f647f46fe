//! Searching by codes: the nearest lists are scanned, the best candidates scored again exactly.

use std::time::Instant;

use rayon::prelude::*;

use crate::coarse::Probe;
use crate::index::generation::describe;
use crate::index::{Generation, IndexError, View};
use crate::kernels::exact::dot_f16_gather;
use crate::product::{LookupTable, QuantizedLookupTable};
use crate::search::StepTimes;
use crate::search::exact::Asked;
use crate::search::found::Found;
use crate::search::lists::{ListScan, Listed, Scanned};
use crate::search::prepare::prepare;
use crate::search::query::Query;

/// Codes from which on several threads share the scan of one query.
const MANY_CODES: usize = 400_000;
/// Queries of a batch whose tables are held at once.
pub(crate) const QUERIES_AT_ONCE: usize = 64;

/// Lists to probe when the request does not say: enough for a recall@10 above .95 at some 250 rows a list.
pub(crate) fn default_probes(lists: usize) -> usize {
    (lists.isqrt() + 4).min(lists)
}

/// A query that is searched by codes.
pub(crate) struct Coded<'q, 'a> {
    pub(crate) query: &'q Query<'a>,
    pub(crate) candidates: Found<u32>,
    /// Takes rows that are scored exactly at once, in segments without codes.
    pub(crate) exact: Asked<'q, 'a>,
    pub(crate) scanned: Scanned,
    pub(crate) times: StepTimes,
    /// Candidates scored again.
    pub(crate) reranked: usize,
    /// Whether everything that matches was looked at, so that there is nothing more to find.
    pub(crate) exhausted: bool,
}

impl<'q, 'a> Coded<'q, 'a> {
    pub(crate) fn new(query: &'q Query<'a>) -> Self {
        Self {
            query,
            candidates: Found::candidates(query.group_by(), query.rerank),
            exact: Asked::new(query),
            scanned: Scanned::default(),
            times: StepTimes::default(),
            reranked: 0,
            exhausted: false,
        }
    }

    fn absorb(&mut self, other: Self) {
        self.candidates.absorb(other.candidates);
        self.exact.scored += other.exact.scored;
        self.exact.found.absorb(other.exact.found);
        self.scanned.add(&other.scanned);
    }

    /// Scores the candidates again and adds them to what was scored exactly.
    pub(crate) fn rerank(&mut self, view: &View) {
        let start = Instant::now();
        let replaced = Found::new(self.query.group_by(), 1);
        let candidates = std::mem::replace(&mut self.candidates, replaced).into_candidates();
        self.reranked = candidates.len();
        let mut rows = Vec::with_capacity(candidates.len());
        let mut products = Vec::new();
        for (index, segment) in (0..).zip(&view.segments).filter(|(_, segment)| segment.lists.is_some()) {
            rows.clear();
            rows.extend(
                candidates.iter().filter(|(_, place)| place.segment == index).map(|(_, place)| place.at),
            );
            products.clear();
            products.resize(rows.len(), f32::NAN);
            dot_f16_gather(&self.query.unit, segment.segment.vectors(), &rows, &mut products);
            for (&row, &product) in rows.iter().zip(&products) {
                self.exact.take(segment, index, row, product);
            }
        }
        self.times.rerank += microseconds(start);
    }
}

pub(crate) fn microseconds(start: Instant) -> f32 {
    start.elapsed().as_secs_f32() * 1e6
}

pub(crate) fn failed(
    generation: &Generation,
    action: &'static str,
    error: &dyn std::error::Error,
) -> IndexError {
    IndexError::Quantize { generation: generation.number(), action, reason: describe(error) }
}

/// Searches for up to [`QUERIES_AT_ONCE`] queries without filters, `probes` lists each. Queries that look into
/// the same list share a pass over its codes.
pub(crate) fn search_together(
    view: &View,
    generation: &Generation,
    coded: &mut [Coded<'_, '_>],
    probes: &[usize],
    parallel: bool,
) -> Result<(), IndexError> {
    let (ranked, tables) = rank_lists(generation, coded, probes)?;
    let listed = Listed::of(view);
    let start = Instant::now();
    let pairs: usize = ranked.iter().map(Vec::len).sum();
    if coded.len() > 1 && pairs >= QUERIES_A_LIST * listed.lists {
        scan_shared(&listed, &tables, coded, &ranked);
    } else {
        for ((one, table), ranked) in coded.iter_mut().zip(&tables).zip(&ranked) {
            scan_one(&listed, std::slice::from_ref(table), one, ranked, parallel);
        }
    }
    let share = microseconds(start) / coded.len().max(1) as f32;
    for one in coded.iter_mut() {
        one.times.scan += share;
        one.rerank(view);
    }
    Ok(())
}

/// Transforms the queries, ranks the lists for them and fills their tables. Each query ranks for itself: with many
/// lists the sketch of the centroids is quicker than a matrix product, and a batch probes the lists that
/// each of its queries would probe alone.
fn rank_lists(
    generation: &Generation,
    coded: &mut [Coded<'_, '_>],
    probes: &[usize],
) -> Result<(Vec<Vec<Probe>>, Vec<QuantizedLookupTable>), IndexError> {
    let start = Instant::now();
    let units: Vec<&[f32]> = coded.iter().map(|one| one.query.unit.as_slice()).collect();
    let prepared = prepare(generation, &units)?;
    let transform = microseconds(start) / coded.len().max(1) as f32;
    let mut scratch = LookupTable::empty(generation.shape());
    let mut ranked = Vec::with_capacity(coded.len());
    let mut tables = Vec::with_capacity(coded.len());
    for ((one, prepared), &probes) in coded.iter_mut().zip(&prepared).zip(probes) {
        let start = Instant::now();
        let lists = generation.quantizer.probe(prepared, probes);
        let lists = lists.map_err(|error| failed(generation, "ranking lists", &error))?;
        let ranking = microseconds(start);
        tables.push(table_of(generation, prepared, &mut scratch, reach_of(&lists))?);
        one.times.transform += transform;
        one.times.coarse += ranking;
        one.times.tables += microseconds(start) - ranking;
        one.scanned.lists += lists.len();
        one.exhausted = lists.len() >= generation.lists();
        ranked.push(lists);
    }
    Ok((ranked, tables))
}

/// The table of a prepared query for lists whose centroids have inner products from `worst` to `best`.
pub(crate) fn table_of(
    generation: &Generation,
    prepared: &[f32],
    scratch: &mut LookupTable,
    (best, worst): (f32, f32),
) -> Result<QuantizedLookupTable, IndexError> {
    let filled = generation.quantizer.product().fill_lookup_table(prepared, scratch);
    filled.map_err(|error| failed(generation, "computing lookup tables", &error))?;
    Ok(QuantizedLookupTable::new(scratch, best, worst))
}

/// The largest and the smallest inner product among ranked lists.
fn reach_of(ranked: &[Probe]) -> (f32, f32) {
    let products = ranked.iter().map(|probe| probe.inner_product);
    let (low, high) = products.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), product| {
        (low.min(product), high.max(product))
    });
    if low <= high { (high, low) } else { (0.0, 0.0) }
}

/// Scans the lists of one query, nearest first, so that the threshold tightens early.
fn scan_one(
    listed: &Listed<'_>,
    tables: &[QuantizedLookupTable],
    one: &mut Coded<'_, '_>,
    ranked: &[Probe],
    parallel: bool,
) {
    let threads = rayon::current_num_threads();
    let codes = listed.rows * ranked.len() / listed.lists.max(1);
    if !parallel || threads < 2 || codes < MANY_CODES {
        let mut scan = ListScan::new(listed, tables);
        for probe in ranked {
            scan.scan(probe.list, std::slice::from_mut(one), &[(0, probe.inner_product)]);
        }
        return;
    }
    let query = one.query;
    let parts: Vec<Coded<'_, '_>> = (0..threads)
        .into_par_iter()
        .map(|thread| {
            let mut part = Coded::new(query);
            let mut scan = ListScan::new(listed, tables);
            for probe in ranked.iter().skip(thread).step_by(threads) {
                scan.scan(probe.list, std::slice::from_mut(&mut part), &[(0, probe.inner_product)]);
            }
            part
        })
        .collect();
    for part in parts {
        one.absorb(part);
    }
}

/// Scans list after list, each for all queries that look into it. The nearest lists of every query come first,
/// in a round of their own, so that the thresholds are tight in the second round.
fn scan_shared(
    listed: &Listed<'_>,
    tables: &[QuantizedLookupTable],
    coded: &mut [Coded<'_, '_>],
    ranked: &[Vec<Probe>],
) {
    let mut pairs: Vec<(bool, u32, u32, f32)> = Vec::with_capacity(ranked.iter().map(Vec::len).sum());
    for (query, ranked) in ranked.iter().enumerate() {
        for (rank, probe) in ranked.iter().enumerate() {
            pairs.push((rank >= NEAREST_LISTS, probe.list, query as u32, probe.inner_product));
        }
    }
    pairs.sort_unstable_by_key(|&(later, list, query, _)| (later, list, query));
    let mut scan = ListScan::new(listed, tables);
    let mut members = Vec::new();
    for same in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        members.clear();
        members.extend(same.iter().map(|&(_, _, query, product)| (query as usize, product)));
        scan.scan(same[0].1, coded, &members);
    }
}

/// Queries that must look into a list on average before a batch shares passes. With fewer, hardly two meet in a
/// list, and going from the nearest list on, query by query, gains more: the threshold is tight sooner.
const QUERIES_A_LIST: usize = 2;
/// Lists of each query that are scanned in the first round of a batch.
const NEAREST_LISTS: usize = 2;
