//! Scanning one inverted list in every segment, for the queries that look into it.

use crate::filter::bitmap::Bitmap;
use crate::index::View;
use crate::kernels::{BlockHits, HitSink, MAX_QUERIES_A_PASS, ScanQuery, scan};
use crate::product::QuantizedLookupTable;
use crate::search::coded::Coded;
use crate::search::exact::{Asked, bits};
use crate::search::found::{Found, Place, group_of};
use crate::segment::SegmentView;
use crate::segment::lists::InvertedLists;

/// What a scan went over.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) lists: usize,
    pub(crate) blocks: usize,
    pub(crate) skipped: usize,
    pub(crate) codes: usize,
}

impl Scanned {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lists += other.lists;
        self.blocks += other.blocks;
        self.skipped += other.skipped;
        self.codes += other.codes;
    }
}

/// The segments that have inverted lists.
pub(crate) struct Listed<'v> {
    segments: Vec<(u32, &'v SegmentView, &'v InvertedLists)>,
    /// Rows of these segments.
    pub(crate) rows: usize,
    /// Lists of the generation.
    pub(crate) lists: usize,
}

impl<'v> Listed<'v> {
    pub(crate) fn of(view: &'v View) -> Self {
        let with_lists = |(index, segment): (usize, &'v SegmentView)| {
            segment.lists.as_deref().map(|lists| (index as u32, segment, lists))
        };
        let segments: Vec<_> = view.segments.iter().enumerate().filter_map(with_lists).collect();
        let rows = segments.iter().map(|(_, segment, _)| segment.rows()).sum();
        let lists = view.generation.as_ref().map_or(0, |generation| generation.lists());
        Self { segments, rows, lists }
    }

    /// The segments, each with its index in the view.
    pub(crate) fn segments(&self) -> &[(u32, &'v SegmentView, &'v InvertedLists)] {
        &self.segments
    }
}

/// The rows that a filter lets through, in the form that suits how many they are.
pub(crate) enum Allowed<'s> {
    /// Rows: looked up for each position that is scanned.
    Rows(&'s Bitmap),
    /// Positions: ready to be used as masks.
    Positions(Bitmap),
}

/// Scans lists; holds what is used again from list to list.
pub(crate) struct ListScan<'v, 'l> {
    listed: &'l Listed<'v>,
    /// The tables of the queries.
    tables: &'l [QuantizedLookupTable],
    masks: Vec<u32>,
}

impl<'v, 'l> ListScan<'v, 'l> {
    pub(crate) fn new(listed: &'l Listed<'v>, tables: &'l [QuantizedLookupTable]) -> Self {
        Self { listed, tables, masks: Vec::new() }
    }

    /// Scans list `list` for `members`: indexes of `coded` and of the tables, each with the inner product of its
    /// query and the list's centroid.
    pub(crate) fn scan(&mut self, list: u32, coded: &mut [Coded<'_, '_>], members: &[(usize, f32)]) {
        for &(index, segment, lists) in &self.listed.segments {
            let (start, end) = lists.bounds(list);
            if start == end {
                continue;
            }
            let removed = segment.removed.as_deref().and_then(|removed| removed.positions.as_ref());
            let masked = removed.is_some_and(|removed| removed.count_range(start, end) > 0);
            if masked {
                self.masks.clear();
                let live = |first: usize| !removed.map_or(0, |removed| removed.word32(first));
                self.masks.extend((start..end).step_by(32).map(live));
            }
            let masks = masked.then_some(self.masks.as_slice());
            scan_segment(
                Part { index, segment, lists, list, rows: &lists.row_of()[start..end] },
                masks,
                self.tables,
                coded,
                members,
            );
        }
    }

    /// Scans list `list` for one query with a filter; returns how many rows of the list match. `allowed` has an
    /// entry for each of [`Listed::segments`].
    pub(crate) fn scan_filtered(
        &mut self,
        list: u32,
        coded: &mut Coded<'_, '_>,
        product: f32,
        allowed: &[Allowed<'_>],
    ) -> usize {
        let mut matching = 0;
        for (&(index, segment, lists), allowed) in self.listed.segments.iter().zip(allowed) {
            let (start, end) = lists.bounds(list);
            if start == end {
                continue;
            }
            fill_masks(&mut self.masks, allowed, lists, start, end);
            let in_list: u32 = self.masks.iter().map(|mask| mask.count_ones()).sum();
            if in_list > 0 {
                matching += in_list as usize;
                let part = Part { index, segment, lists, list, rows: &lists.row_of()[start..end] };
                let coded = std::slice::from_mut(coded);
                scan_segment(part, Some(&self.masks), self.tables, coded, &[(0, product)]);
            }
        }
        matching
    }
}

/// A list of a segment.
#[derive(Clone, Copy)]
struct Part<'v> {
    index: u32,
    segment: &'v SegmentView,
    lists: &'v InvertedLists,
    list: u32,
    /// The row of each position of the list.
    rows: &'v [u32],
}

/// One mask for each 32 positions of `start..end`.
fn fill_masks(masks: &mut Vec<u32>, allowed: &Allowed<'_>, lists: &InvertedLists, start: usize, end: usize) {
    masks.clear();
    match allowed {
        Allowed::Positions(positions) => {
            masks.extend((start..end).step_by(32).map(|first| positions.word32(first)));
            // The last word may reach into the next list.
            if let Some(last) = masks.last_mut()
                && !(end - start).is_multiple_of(32)
            {
                *last &= (1 << ((end - start) % 32)) - 1;
            }
        }
        Allowed::Rows(rows) => masks.extend(lists.row_of()[start..end].chunks(32).map(|chunk| {
            let bit = |(bit, &row): (usize, &u32)| u32::from(rows.contains(row as usize)) << bit;
            chunk.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
        })),
    }
}

fn scan_segment(
    part: Part<'_>,
    masks: Option<&[u32]>,
    tables: &[QuantizedLookupTable],
    coded: &mut [Coded<'_, '_>],
    members: &[(usize, f32)],
) {
    let Some(run) = part.lists.packed().and_then(|packed| packed.list(part.list as usize)) else {
        for &(member, _) in members {
            score_exactly(part, masks, &mut coded[member].exact);
        }
        return;
    };
    let shape = run.shape();
    let skipped = masks.map_or(0, |masks| {
        masks.chunks(shape.block_words()).filter(|block| block.iter().all(|&word| word == 0)).count()
    });
    for members in members.chunks(MAX_QUERIES_A_PASS) {
        let mut places = [0; MAX_QUERIES_A_PASS];
        let mut queries = [ScanQuery { table: &tables[members[0].0], bias: 0 }; MAX_QUERIES_A_PASS];
        let mut count = 0;
        for &(member, product) in members {
            let one = &mut coded[member];
            let bias = tables[member].bias(product);
            // Nothing in this list can come below the threshold.
            if u32::from(bias) >= one.candidates.threshold() {
                one.scanned.skipped += run.blocks();
                continue;
            }
            one.scanned.blocks += run.blocks() - skipped;
            one.scanned.skipped += skipped;
            one.scanned.codes += part.rows.len().saturating_sub(skipped * shape.block_codes());
            places[count] = member;
            queries[count] = ScanQuery { table: &tables[member], bias };
            count += 1;
        }
        if count > 0 {
            let mut sink = CandidateSink { part, coded, places: &places[..count] };
            let scanned = scan(run, &queries[..count], masks, &mut sink);
            // Tables and codes are of one generation, and there is a mask for each 32 codes.
            debug_assert!(scanned.is_ok(), "{scanned:?}");
        }
    }
}

/// Scores the rows of a list that `masks` lets through exactly.
fn score_exactly(part: Part<'_>, masks: Option<&[u32]>, asked: &mut Asked<'_, '_>) {
    let Some(masks) = masks else { return asked.gather(part.segment, part.index, part.rows) };
    let allowed = |position: usize| masks[position / 32] >> (position % 32) & 1 == 1;
    let rows: Vec<u32> = part
        .rows
        .iter()
        .enumerate()
        .filter(|&(position, _)| allowed(position))
        .map(|(_, &row)| row)
        .collect();
    asked.gather(part.segment, part.index, &rows);
}

/// Hands the codes below the threshold to the candidates of their query.
struct CandidateSink<'s, 'v, 'q, 'a> {
    part: Part<'v>,
    coded: &'s mut [Coded<'q, 'a>],
    /// The indexes in `coded` of the queries of the pass.
    places: &'s [usize],
}

impl HitSink for CandidateSink<'_, '_, '_, '_> {
    #[inline]
    fn threshold(&self, query: usize) -> u32 {
        self.coded[self.places[query]].candidates.threshold()
    }

    #[inline]
    fn hit(&mut self, query: usize, position: u32, distance: u16) -> u32 {
        let one = &mut self.coded[self.places[query]];
        let row = self.part.rows[position as usize];
        if one.query.excludes(self.part.index, row) {
            return one.candidates.threshold();
        }
        let group_by = one.query.group_by();
        let group = || group_of(&self.part.segment.segment, row as usize, group_by);
        one.candidates.push(u32::from(distance), Place { segment: self.part.index, at: row }, group)
    }

    #[inline]
    fn hits(&mut self, query: usize, block: &BlockHits<'_>) -> u32 {
        let one = &mut self.coded[self.places[query]];
        let Found::Entries(entries) = &mut one.candidates else { return self.hits_one_by_one(query, block) };
        if one.query.has_exclusions() {
            return self.hits_one_by_one(query, block);
        }
        // The common case, without asking the same questions for each hit.
        let mut threshold = entries.threshold();
        for bit in bits(u64::from(block.hits)) {
            let distance = u32::from(block.sums[bit].saturating_add(block.bias));
            if distance < threshold {
                let at = self.part.rows[block.first_position as usize + bit];
                threshold = entries.push(distance, Place { segment: self.part.index, at });
            }
        }
        threshold
    }
}

impl CandidateSink<'_, '_, '_, '_> {
    fn hits_one_by_one(&mut self, query: usize, block: &BlockHits<'_>) -> u32 {
        let mut threshold = self.threshold(query);
        for bit in bits(u64::from(block.hits)) {
            let distance = block.sums[bit].saturating_add(block.bias);
            if u32::from(distance) < threshold {
                threshold = self.hit(query, block.first_position + bit as u32, distance);
            }
        }
        threshold
    }
}
