//! Searching by codes with a filter: lists are probed, nearest first, until enough matching rows were seen.
//!
//! Enough is what a search without a filter sees: so many matching rows that a filter costs no recall, however
//! rare its matches are and however far from the query they lie. Lists without a match are passed over.

use std::time::Instant;

use crate::coarse::Probe;
use crate::index::{Generation, IndexError, View};
use crate::product::LookupTable;
use crate::search::FilterPlan;
use crate::search::coded::{Coded, failed, microseconds, table_of};
use crate::search::lists::{Allowed, ListScan, Listed};
use crate::search::prepare::prepare;
use crate::search::query::Selection;

/// The range of inner products of unit vectors: how far the farthest list can lie behind the nearest.
const WIDEST_REACH: f32 = 2.0;

/// Searches for one query with a filter. Sees at least as many matching rows as `probes` lists have rows, and all
/// that there are when `exhaustive`.
pub(crate) fn search_filtered(
    view: &View,
    generation: &Generation,
    one: &mut Coded<'_, '_>,
    selection: &Selection,
    probes: usize,
    exhaustive: bool,
) -> Result<(), IndexError> {
    let quantizer = &generation.quantizer;
    let start = Instant::now();
    let prepared = prepare(generation, &[&one.query.unit])?.pop().unwrap_or_default();
    one.times.transform += microseconds(start);
    // Exactly: no list may be missed, and the first of a ranking must be those of a longer one.
    let rank = |count: usize| {
        let ranked = quantizer.coarse().probe_exactly(&prepared, count);
        ranked.map_err(|error| failed(generation, "ranking lists", &error))
    };
    let lists = generation.lists();
    let start = Instant::now();
    let share = one.query.selectivity().max(1e-6);
    let likely = if exhaustive { lists } else { ((probes as f32 / share * 1.5) as usize).clamp(1, lists) };
    let ranked = rank(likely)?;
    one.times.coarse += microseconds(start);

    let start = Instant::now();
    let best = ranked.first().map_or(0.0, |probe| probe.inner_product);
    let mut scratch = LookupTable::empty(generation.shape());
    let tables = [table_of(generation, &prepared, &mut scratch, (best, best - WIDEST_REACH))?];
    one.times.tables += microseconds(start);

    let start = Instant::now();
    let listed = Listed::of(view);
    let allowed = allowed_rows(&listed, selection, one.query.plan);
    let available: usize =
        listed.segments().iter().map(|&(index, ..)| selection.rows[index as usize].count()).sum();
    let enough = (listed.rows * probes / lists.max(1)).max(one.query.rerank);
    let wanted = if exhaustive { available } else { enough.min(available) };
    one.exhausted = wanted == available;
    let mut walk = Walk { scan: ListScan::new(&listed, &tables), allowed: &allowed, seen: 0, wanted };
    if !walk.go(one, &ranked) && likely < lists {
        let rest = rank(lists)?;
        walk.go(one, &rest[likely.min(rest.len())..]);
    }
    one.times.scan += microseconds(start);
    one.rerank(view);
    Ok(())
}

/// The matching rows by segment, as positions when they are few.
fn allowed_rows<'s>(listed: &Listed<'_>, selection: &'s Selection, plan: FilterPlan) -> Vec<Allowed<'s>> {
    let of_segment = |&(index, _, lists): &(u32, _, &crate::segment::lists::InvertedLists)| {
        let rows = &selection.rows[index as usize];
        if plan == FilterPlan::WidenedProbes {
            Allowed::Positions(lists.positions_of(rows))
        } else {
            Allowed::Rows(rows)
        }
    };
    listed.segments().iter().map(of_segment).collect()
}

/// A walk from list to list until enough matching rows were seen.
struct Walk<'v, 'l, 's> {
    scan: ListScan<'v, 'l>,
    allowed: &'l [Allowed<'s>],
    seen: usize,
    wanted: usize,
}

impl Walk<'_, '_, '_> {
    /// Goes on with these lists; whether enough was seen.
    fn go(&mut self, one: &mut Coded<'_, '_>, ranked: &[Probe]) -> bool {
        for probe in ranked {
            if self.seen >= self.wanted {
                return true;
            }
            let matching = self.scan.scan_filtered(probe.list, one, probe.inner_product, self.allowed);
            one.scanned.lists += usize::from(matching > 0);
            self.seen += matching;
        }
        self.seen >= self.wanted
    }
}
