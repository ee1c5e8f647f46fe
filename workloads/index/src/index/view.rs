//! What a search sees: everything in the index at one moment.

use std::sync::Arc;

use crate::index::generation::Generation;
use crate::segment::SegmentView;

/// The index at one moment. Searches hold it for as long as they run; writers publish another.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The stored segments.
    pub(crate) segments: Vec<SegmentView>,
    /// The append tail: small segments in memory, oldest first.
    pub(crate) tail: Vec<SegmentView>,
    /// The active generation.
    pub(crate) generation: Option<Arc<Generation>>,
}

impl View {
    /// Every segment, stored ones first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &SegmentView> {
        self.segments.iter().chain(&self.tail)
    }

    /// Entries that can be found.
    pub(crate) fn live(&self) -> usize {
        self.all().map(SegmentView::live).sum()
    }

    /// Rows in the tail.
    pub(crate) fn tail_rows(&self) -> usize {
        self.tail.iter().map(SegmentView::rows).sum()
    }
}
