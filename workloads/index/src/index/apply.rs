//! Applying changes: removed rows are marked, new ones appended to the tail.
//!
//! The tail is a run of segments in memory, each at least twice as large as the next, as in a binary counter:
//! an entry is copied only as often as the logarithm of the tail's size, and no reader ever waits.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use half::f16;

use crate::entry::{Change, Entry, EntryKey, LogPositions};
use crate::index::{Index, IndexError};
use crate::segment::{Segment, SegmentView, merge_in_memory};

/// A vector whose squared norm is this close to 1 is stored as it is.
const NORM_TOLERANCE: f32 = 2e-3;

/// What a run of changes comes to.
#[derive(Default)]
struct Batch<'a> {
    /// The entries that are left at the end, by key.
    entries: BTreeMap<EntryKey, Cow<'a, Entry>>,
    /// Keys that were written at some point: what was stored under them is replaced.
    replaced: BTreeSet<EntryKey>,
    /// Images that were removed at some point.
    removed: BTreeSet<[u8; 16]>,
}

impl<'a> Batch<'a> {
    fn of(changes: &'a [Change], dimension: usize) -> Result<Self, IndexError> {
        let mut batch = Self::default();
        for change in changes {
            match change {
                Change::Upsert(entry) => {
                    batch.replaced.insert(entry.key);
                    batch.entries.insert(entry.key, normalised(entry, dimension)?);
                }
                Change::Remove { id } => {
                    batch.removed.insert(*id);
                    let frames = EntryKey::new(*id, 0)..=EntryKey::new(*id, u32::MAX);
                    let keys: Vec<EntryKey> = batch.entries.range(frames).map(|(key, _)| *key).collect();
                    for key in keys {
                        batch.entries.remove(&key);
                    }
                }
            }
        }
        Ok(batch)
    }

    /// The segment without the rows that the batch replaces or removes.
    fn clear(&self, view: &SegmentView) -> SegmentView {
        let segment = &view.segment;
        let replaced = self.replaced.iter().filter_map(|&key| segment.find(key));
        let removed = self.removed.iter().flat_map(|&id| segment.find_image(id));
        let rows: Vec<usize> = replaced.chain(removed).filter(|&row| view.is_live(row)).collect();
        view.without(rows)
    }
}

impl Entry {
    /// Whether an index of vectors of this dimension takes it; [`Index::apply`] refuses all changes for the sake of one that it does not.
    ///
    /// # Errors
    /// [`IndexError::InvalidEntry`].
    pub fn check(&self, dimension: usize) -> Result<(), IndexError> {
        normalised(self, dimension).map(drop)
    }
}

/// The entry with a vector of norm 1.
fn normalised(entry: &Entry, dimension: usize) -> Result<Cow<'_, Entry>, IndexError> {
    let invalid = |reason: String| IndexError::InvalidEntry { key: entry.key, reason };
    if entry.vector.len() != dimension {
        let given = entry.vector.len();
        return Err(invalid(format!("it has {given} components, the index stores {dimension}")));
    }
    let square: f32 = entry.vector.iter().map(|value| value.to_f32() * value.to_f32()).sum();
    if !square.is_finite() {
        return Err(invalid("it has a component that is not a finite number".to_owned()));
    }
    if square == 0.0 {
        return Err(invalid("all its components are zero, so it has no direction to compare".to_owned()));
    }
    if (square - 1.0).abs() <= NORM_TOLERANCE {
        return Ok(Cow::Borrowed(entry));
    }
    let scale = square.sqrt().recip();
    let vector = entry.vector.iter().map(|value| f16::from_f32(value.to_f32() * scale)).collect();
    Ok(Cow::Owned(Entry { vector, ..entry.clone() }))
}

impl Index {
    /// Applies changes in their order. They can be found when this returns, and are durable once a snapshot was
    /// taken: until then the caller's log has them. `positions` says how far the log has been applied with
    /// these changes, for the partitions they came from.
    ///
    /// Call [`Index::maintain`] regularly beside it: the tail that new entries go to is held in memory and
    /// scored exactly.
    ///
    /// # Errors
    /// When an entry's vector has another dimension, is zero, or is not finite: then nothing was applied.
    pub fn apply(&self, changes: &[Change], positions: &LogPositions) -> Result<(), IndexError> {
        let dimension = self.options.dimension;
        let batch = Batch::of(changes, dimension)?;
        let mut writer = self.writer.lock();
        let mut view = self.view.load().as_ref().clone();
        if !batch.replaced.is_empty() || !batch.removed.is_empty() {
            for segment in view.segments.iter_mut().chain(&mut view.tail) {
                *segment = batch.clear(segment);
            }
        }
        if !batch.entries.is_empty() {
            let entries: Vec<&Entry> = batch.entries.values().map(AsRef::as_ref).collect();
            let segment = Segment::in_memory(writer.next_tail_segment(), dimension, &entries);
            view.tail.push(SegmentView::new(Arc::new(segment), None));
            while let Some(first) = last_to_merge(&view.tail[writer.freezing..], self.options.tail_rows) {
                let merged = view.tail.split_off(writer.freezing + first);
                let segment = merge_in_memory(writer.next_tail_segment(), dimension, &merged);
                view.tail.push(SegmentView::new(Arc::new(segment), None));
            }
        }
        writer.positions.extend(positions);
        self.view.store(Arc::new(view));
        Ok(())
    }
}

/// Where the last two segments of the tail begin, when they should become one.
fn last_to_merge(tail: &[SegmentView], most_rows: usize) -> Option<usize> {
    let [.., before, last] = tail else { return None };
    let small = before.rows() + last.rows() <= most_rows;
    (small && before.rows() < 2 * last.rows()).then_some(tail.len() - 2)
}
