//! A segment as a search sees it: its rows, its inverted lists, and which rows are removed.

use std::sync::Arc;

use crate::filter::bitmap::Bitmap;
use crate::segment::Segment;
use crate::segment::lists::InvertedLists;

/// The removed rows of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Removed {
    /// The removed rows.
    pub(crate) rows: Bitmap,
    /// The same by position in the inverted lists, where the segment has any.
    pub(crate) positions: Option<Bitmap>,
    /// How many they are.
    pub(crate) count: usize,
}

impl Removed {
    /// `rows` removed from a segment with `lists`.
    pub(crate) fn new(rows: Bitmap, lists: Option<&InvertedLists>) -> Self {
        let count = rows.count();
        let positions = lists.map(|lists| lists.positions_of(&rows));
        Self { rows, positions, count }
    }

    /// Removes one more row; whether it was there.
    pub(crate) fn remove(&mut self, row: usize, lists: Option<&InvertedLists>) -> bool {
        if self.rows.contains(row) {
            return false;
        }
        self.rows.insert(row);
        self.count += 1;
        if let (Some(positions), Some(lists)) = (&mut self.positions, lists) {
            positions.insert(lists.position(row));
        }
        true
    }
}

/// A segment at a moment. Cheap to clone; never changes.
#[derive(Clone, Debug)]
pub(crate) struct SegmentView {
    pub(crate) segment: Arc<Segment>,
    /// The inverted lists of the active generation; without them the segment is searched exactly.
    pub(crate) lists: Option<Arc<InvertedLists>>,
    /// `None` when no row is removed.
    pub(crate) removed: Option<Arc<Removed>>,
}

impl SegmentView {
    /// A segment of which nothing is removed.
    pub(crate) fn new(segment: Arc<Segment>, lists: Option<Arc<InvertedLists>>) -> Self {
        Self { segment, lists, removed: None }
    }

    pub(crate) fn rows(&self) -> usize {
        self.segment.rows()
    }

    pub(crate) fn removed_count(&self) -> usize {
        self.removed.as_ref().map_or(0, |removed| removed.count)
    }

    pub(crate) fn live(&self) -> usize {
        self.rows() - self.removed_count()
    }

    /// Whether the row is not removed.
    #[inline]
    pub(crate) fn is_live(&self, row: usize) -> bool {
        self.removed.as_ref().is_none_or(|removed| !removed.rows.contains(row))
    }

    /// The rows that are not removed.
    pub(crate) fn live_rows(&self) -> Bitmap {
        let mut live = Bitmap::all(self.rows());
        if let Some(removed) = &self.removed {
            live.and_not(&removed.rows);
        }
        live
    }

    /// The same segment with other inverted lists.
    pub(crate) fn with_lists(&self, lists: Option<Arc<InvertedLists>>) -> Self {
        let removed = self.removed.as_ref();
        let removed = removed.map(|removed| Arc::new(Removed::new(removed.rows.clone(), lists.as_deref())));
        Self { segment: Arc::clone(&self.segment), lists, removed }
    }

    /// The same segment with these rows removed too.
    pub(crate) fn without(&self, rows: impl IntoIterator<Item = usize>) -> Self {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return self.clone();
        }
        let lists = self.lists.as_deref();
        let mut removed = self
            .removed
            .as_deref()
            .map_or_else(|| Removed::new(Bitmap::none(self.rows()), lists), Clone::clone);
        for row in rows {
            removed.remove(row, lists);
        }
        Self { removed: (removed.count > 0).then(|| Arc::new(removed)), ..self.clone() }
    }

    /// Main memory held beside the mapped files, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let removed = self.removed.as_ref().map_or(0, |removed| {
            removed.rows.memory_bytes() + removed.positions.as_ref().map_or(0, Bitmap::memory_bytes)
        });
        self.segment.memory_bytes() + self.lists.as_ref().map_or(0, |lists| lists.memory_bytes()) + removed
    }

    /// Size of the mapped files, in bytes.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.segment.mapped_bytes() + self.lists.as_ref().map_or(0, |lists| lists.mapped_bytes())
    }
}
