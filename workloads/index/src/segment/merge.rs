//! Making one segment of the rows that are left of several.

use std::path::Path;

use half::f16;

use crate::entry::EntryKey;
use crate::filter::bitmap::Bitmap;
use crate::index::IndexError;
use crate::segment::attributes::AttributesBuilder;
use crate::segment::rows::{SEGMENT_KIND, SegmentAbout, VECTORS, rows_by_key};
use crate::segment::{Segment, SegmentId, SegmentView};
use crate::snapshot::section_file::{FileRecord, SectionWriter};

/// A segment to merge and the rows of it that are kept, as they were when the merge began.
pub(crate) struct Part {
    pub(crate) view: SegmentView,
    /// The rows kept.
    kept: Bitmap,
    /// The first row of this part in the merged segment.
    first: usize,
}

impl Part {
    /// The parts of a merge of `views`, and the rows they make together.
    pub(crate) fn of(views: &[SegmentView]) -> (Vec<Self>, usize) {
        let mut first = 0;
        let mut parts = Vec::with_capacity(views.len());
        for view in views {
            let kept = view.live_rows();
            let count = kept.count();
            parts.push(Self { view: view.clone(), kept, first });
            first += count;
        }
        (parts, first)
    }

    fn segment(&self) -> &Segment {
        &self.view.segment
    }

    /// The rows kept, ascending.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        // `ones` cannot be cloned cheaply and is rarely sparse here; a scan of the bits is as fast.
        (0..self.kept.len()).filter(|&row| self.kept.contains(row))
    }

    /// Where the row went in the merged segment; `None` when it was not kept.
    pub(crate) fn merged_row(&self, row: usize) -> Option<usize> {
        self.kept.contains(row).then(|| self.first + self.kept.count_range(0, row))
    }

    /// Rows removed since the merge began, as rows of the merged segment; `now` is the segment's view now.
    pub(crate) fn removed_since<'a>(&'a self, now: &'a SegmentView) -> impl Iterator<Item = usize> + 'a {
        let removed = now.removed.as_deref().map(|removed| &removed.rows);
        removed
            .into_iter()
            .flat_map(|removed| removed.ones().filter(|&row| self.kept.contains(row)))
            .filter_map(|row| self.merged_row(row))
    }
}

fn keys_of(parts: &[Part], rows: usize) -> Vec<EntryKey> {
    let mut keys = Vec::with_capacity(rows);
    for part in parts {
        keys.extend(part.rows().map(|row| part.segment().keys()[row]));
    }
    keys
}

fn attributes_of(parts: &[Part], rows: usize) -> AttributesBuilder {
    let mut attributes = AttributesBuilder::with_capacity(rows);
    for part in parts {
        attributes.extend(&part.segment().attributes, part.rows());
    }
    attributes
}

/// Merges small segments in memory.
pub(crate) fn merge_in_memory(id: SegmentId, dimension: usize, views: &[SegmentView]) -> Segment {
    let (parts, rows) = Part::of(views);
    let mut vectors: Vec<f16> = Vec::with_capacity(rows * dimension);
    for part in &parts {
        for row in part.rows() {
            vectors.extend_from_slice(part.segment().vector(row));
        }
    }
    Segment::from_columns(id, dimension, vectors, keys_of(&parts, rows), attributes_of(&parts, rows).build())
}

/// Writes the rows kept of `parts` (`rows` in all) as segment `id` to the file `path`.
pub(crate) fn write_merged(
    path: &Path,
    id: SegmentId,
    dimension: usize,
    parts: &[Part],
    rows: usize,
) -> Result<FileRecord, IndexError> {
    let mut writer = SectionWriter::create(path, SEGMENT_KIND)?;
    writer.begin(VECTORS)?;
    for part in parts {
        for row in part.rows() {
            writer.write(part.segment().vector(row))?;
        }
    }
    let keys = keys_of(parts, rows);
    writer.section("keys", &keys)?;
    writer.section("order", &rows_by_key(&keys))?;
    let attributes = attributes_of(parts, rows).build().write(&mut writer)?;
    let about = SegmentAbout { id, rows, dimension, attributes };
    let about = serde_json::to_value(about)
        .map_err(|source| IndexError::Write { path: path.to_owned(), source: source.into() })?;
    writer.finish(about)
}
