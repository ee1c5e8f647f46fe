//! Scoring rows exactly: the tail, segments without inverted lists, gathered rows, and everything when asked.

use rayon::prelude::*;

use crate::index::View;
use crate::kernels::exact::{dot_f16_gather, dot_f16_rows};
use crate::search::found::{Found, Place, group_of};
use crate::search::query::Query;
use crate::segment::SegmentView;

/// Rows of a bitmap's word.
const WORD: usize = 64;
/// Words that one task scores: 16,384 rows.
const WORDS_PER_TASK: usize = 256;
/// From this many wanted rows in a word on, all rows of the word are scored in one call.
const DENSE: u32 = 24;
/// Scattered rows that are scored in one call, which fetches rows ahead.
const GATHERED: usize = 512;
/// Below this many multiplications one thread is faster.
const SMALL_WORK: usize = 8_000_000;

/// 1 - cosine similarity from the inner product of unit vectors, within its range despite rounding.
#[inline]
fn distance_of(inner_product: f32) -> f32 {
    (1.0 - inner_product).clamp(0.0, 2.0)
}

/// A query and what it has found.
pub(crate) struct Asked<'q, 'a> {
    pub(crate) query: &'q Query<'a>,
    pub(crate) found: Found<f32>,
    /// Rows scored.
    pub(crate) scored: usize,
}

impl<'q, 'a> Asked<'q, 'a> {
    pub(crate) fn new(query: &'q Query<'a>) -> Self {
        Self { query, found: Found::new(query.group_by(), query.limit), scored: 0 }
    }

    /// Scores these rows of a segment.
    pub(crate) fn gather(&mut self, view: &SegmentView, segment: u32, rows: &[u32]) {
        let mut products = [0.0_f32; GATHERED + WORD];
        for rows in rows.chunks(products.len()) {
            let products = &mut products[..rows.len()];
            dot_f16_gather(&self.query.unit, view.segment.vectors(), rows, products);
            self.scored += rows.len();
            for (&row, &product) in rows.iter().zip(&*products) {
                self.take(view, segment, row, product);
            }
        }
    }

    /// Takes a row whose inner product with the query is known.
    #[inline]
    pub(crate) fn take(&mut self, view: &SegmentView, segment: u32, row: u32, inner_product: f32) {
        let distance = distance_of(inner_product);
        if distance < self.found.threshold() && !self.query.excludes(segment, row) {
            let group_by = self.query.group_by();
            let group = || group_of(&view.segment, row as usize, group_by);
            self.found.push(distance, Place { segment, at: row }, group);
        }
    }
}

/// The rows of one segment that a task scores.
#[derive(Clone, Copy)]
struct Task<'v> {
    index: usize,
    view: &'v SegmentView,
    first_word: usize,
    end_word: usize,
}

/// Scores the wanted rows of the segments for which `choose` holds, for every query.
pub(crate) fn score_segments(
    view: &View,
    choose: impl Fn(&SegmentView) -> bool,
    asked: &mut [Asked<'_, '_>],
    parallel: bool,
) {
    let mut tasks = Vec::new();
    for (index, segment) in view.all().enumerate().filter(|(_, segment)| choose(segment)) {
        let words = segment.rows().div_ceil(WORD);
        for first_word in (0..words).step_by(WORDS_PER_TASK) {
            let end_word = (first_word + WORDS_PER_TASK).min(words);
            tasks.push(Task { index, view: segment, first_word, end_word });
        }
    }
    let dimension = asked.first().map_or(0, |asked| asked.query.unit.len());
    let rows: usize = asked.iter().map(|asked| wanted_rows(asked.query, &tasks)).sum();
    if !parallel || tasks.len() < 2 || rows.saturating_mul(dimension) < SMALL_WORK {
        for task in &tasks {
            score_task(task, asked);
        }
        return;
    }
    let fresh = || asked.iter().map(|asked| Asked::new(asked.query)).collect::<Vec<_>>();
    let scored = tasks
        .par_iter()
        .fold(fresh, |mut asked, task| {
            score_task(task, &mut asked);
            asked
        })
        .reduce(fresh, merge);
    for (asked, other) in asked.iter_mut().zip(scored) {
        asked.scored += other.scored;
        asked.found.absorb(other.found);
    }
}

/// An upper bound of the rows that the tasks score for a query.
fn wanted_rows(query: &Query<'_>, tasks: &[Task<'_>]) -> usize {
    let rows: usize = tasks.iter().map(|task| (task.end_word - task.first_word) * WORD).sum();
    query.selection.as_ref().map_or(rows, |selection| selection.matching.min(rows))
}

fn merge<'q, 'a>(mut first: Vec<Asked<'q, 'a>>, second: Vec<Asked<'q, 'a>>) -> Vec<Asked<'q, 'a>> {
    for (first, second) in first.iter_mut().zip(second) {
        first.scored += second.scored;
        first.found.absorb(second.found);
    }
    first
}

/// Scores word after word of rows, each for every query while it is in the cache.
fn score_task(task: &Task<'_>, asked: &mut [Asked<'_, '_>]) {
    let removed = task.view.removed.as_deref().map(|removed| removed.rows.words());
    let rows = task.view.rows();
    let mut scattered: Vec<Vec<u32>> = vec![Vec::new(); asked.len()];
    for word in task.first_word..task.end_word {
        let in_word = (rows - word * WORD).min(WORD);
        let existing = u64::MAX >> (WORD - in_word);
        let live = existing & !removed.map_or(0, |removed| removed[word]);
        for (asked, scattered) in asked.iter_mut().zip(&mut scattered) {
            let selection = asked.query.selection.as_ref();
            // A selection has no removed rows.
            let wanted = selection.map_or(live, |selection| selection.rows[task.index].words()[word]);
            if wanted.count_ones() >= DENSE {
                score_word(task, word * WORD, in_word, wanted, asked);
            } else if wanted != 0 {
                scattered.extend(bits(wanted).map(|bit| (word * WORD + bit) as u32));
                if scattered.len() >= GATHERED {
                    asked.gather(task.view, task.index as u32, scattered);
                    scattered.clear();
                }
            }
        }
    }
    for (asked, scattered) in asked.iter_mut().zip(&scattered) {
        asked.gather(task.view, task.index as u32, scattered);
    }
}

/// The places of the bits that are set, ascending.
pub(crate) fn bits(word: u64) -> impl Iterator<Item = usize> {
    let mut rest = word;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let bit = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            bit
        })
    })
}

/// Scores all rows of a word and takes those that are wanted.
fn score_word(task: &Task<'_>, first: usize, in_word: usize, wanted: u64, asked: &mut Asked<'_, '_>) {
    let dimension = asked.query.unit.len();
    let mut products = [0.0_f32; WORD];
    let rows = &task.view.segment.vectors()[first * dimension..][..in_word * dimension];
    dot_f16_rows(&asked.query.unit, rows, &mut products[..in_word]);
    asked.scored += wanted.count_ones() as usize;
    for bit in bits(wanted) {
        asked.take(task.view, task.index as u32, (first + bit) as u32, products[bit]);
    }
}
