//! Keeping an index in shape: freezing the tail, merging segments, and taking snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::entry::LogPositions;
use crate::index::stored::Stored;
use crate::index::{Generation, Index, IndexError};
use crate::segment::lists::{EncodedRows, InvertedLists, has_codes};
use crate::segment::{Part, Segment, SegmentId, SegmentView, write_merged};
use crate::snapshot::manifest::SegmentRecord;

/// What [`Index::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Maintenance {
    /// Tail rows frozen into segments.
    pub frozen_rows: usize,
    /// Segments merged or rewritten.
    pub merged_segments: usize,
    /// Segments given inverted lists of the active generation.
    pub listed_segments: usize,
}

impl Index {
    /// Freezes the tail when it is large, merges segments of similar size, rewrites segments of which much is
    /// removed, and gives inverted lists of the active generation to segments that lack them. Searches and
    /// [`Index::apply`] go on meanwhile. One added entry never makes a large segment be rewritten.
    ///
    /// # Errors
    /// When a file cannot be written (a full disk): what was done before stays, the rest is tried again next time.
    pub fn maintain(&self) -> Result<Maintenance, IndexError> {
        let mut stored = self.stored.lock();
        let mut done = Maintenance { frozen_rows: self.freeze_large(&mut stored)?, ..Maintenance::default() };
        while let Some(group) = self.segments_to_merge() {
            self.merge(&mut stored, &group)?;
            done.merged_segments += group.len();
            self.commit(&mut stored)?;
        }
        let view = self.view.load_full();
        if let Some(generation) = &view.generation {
            for segment in view.segments.iter().filter(|segment| segment.lists.is_none()) {
                self.add_lists(&mut stored, segment, generation)?;
                done.listed_segments += 1;
                self.commit(&mut stored)?;
            }
        }
        Ok(done)
    }

    /// Freezes the tail when it is large, and does nothing else of [`Index::maintain`]: for whoever applies much at once. How many rows it froze.
    ///
    /// # Errors
    /// When a file cannot be written (a full disk).
    pub fn freeze_if_large(&self) -> Result<usize, IndexError> {
        if self.view.load().tail_rows() <= self.options.tail_rows {
            return Ok(0);
        }
        self.freeze_large(&mut self.stored.lock())
    }

    fn freeze_large(&self, stored: &mut Stored) -> Result<usize, IndexError> {
        if self.view.load().tail_rows() <= self.options.tail_rows {
            return Ok(0);
        }
        let rows = self.freeze(stored)?;
        self.commit(stored)?;
        Ok(rows)
    }

    /// Makes everything that was applied durable: freezes the tail and commits a manifest with the log positions.
    /// Returns these: the log before them is no longer needed by this index.
    ///
    /// # Errors
    /// When a file cannot be written (a full disk): the snapshot before stays.
    pub fn snapshot(&self) -> Result<LogPositions, IndexError> {
        let mut stored = self.stored.lock();
        self.freeze(&mut stored)?;
        self.commit(&mut stored)?;
        Ok(stored.manifest.positions.clone())
    }

    /// Writes the tail as one segment; how many rows it has.
    pub(crate) fn freeze(&self, stored: &mut Stored) -> Result<usize, IndexError> {
        let (tail, positions, generation) = {
            let mut writer = self.writer.lock();
            let view = self.view.load();
            writer.freezing = view.tail.len();
            (view.tail.clone(), writer.positions.clone(), view.generation.clone())
        };
        let frozen = self.store_merged(stored, &tail, generation.as_ref());
        let mut writer = self.writer.lock();
        writer.freezing = 0;
        let (parts, merged) = frozen?;
        let mut view = self.view.load().as_ref().clone();
        let newer = view.tail.split_off(tail.len());
        let now = std::mem::replace(&mut view.tail, newer);
        let rows = merged.as_ref().map_or(0, SegmentView::rows);
        view.segments.extend(merged.map(|merged| merged.without(removed_since(&parts, &now))));
        self.view.store(Arc::new(view));
        stored.manifest.positions = positions;
        Ok(rows)
    }

    /// Which segments to merge next, if any: one of which much is removed, or as many of similar size as the
    /// options say.
    fn segments_to_merge(&self) -> Option<Vec<SegmentView>> {
        let view = self.view.load();
        let too_removed = |segment: &&SegmentView| {
            segment.removed_count() as f32 > self.options.rewrite_share * segment.rows() as f32
        };
        if let Some(segment) = view.segments.iter().find(too_removed) {
            return Some(vec![segment.clone()]);
        }
        let mut tiers: BTreeMap<u32, Vec<SegmentView>> = BTreeMap::new();
        for segment in &view.segments {
            let times = segment.live() / self.options.tail_rows.max(1);
            let tier = times.checked_ilog(self.options.merge_segments).map_or(0, |tier| tier + 1);
            tiers.entry(tier).or_default().push(segment.clone());
        }
        tiers.into_values().find_map(|mut tier| {
            tier.truncate(self.options.merge_segments);
            let rows: usize = tier.iter().map(SegmentView::live).sum();
            (tier.len() == self.options.merge_segments && rows <= self.options.segment_rows).then_some(tier)
        })
    }

    /// Replaces the segments by one of the rows they have left.
    fn merge(&self, stored: &mut Stored, group: &[SegmentView]) -> Result<(), IndexError> {
        let generation = self.view.load().generation.clone();
        let (parts, merged) = self.store_merged(stored, group, generation.as_ref())?;
        let ids: Vec<SegmentId> = group.iter().map(|segment| segment.segment.id).collect();
        {
            let _writer = self.writer.lock();
            let mut view = self.view.load().as_ref().clone();
            let (now, others): (Vec<_>, Vec<_>) =
                view.segments.into_iter().partition(|segment| ids.contains(&segment.segment.id));
            view.segments = others;
            view.segments.extend(merged.map(|merged| merged.without(removed_since(&parts, &now))));
            self.view.store(Arc::new(view));
        }
        for id in ids {
            stored.discard_segment(id);
        }
        Ok(())
    }

    /// Writes the rows that are left of `group` as a segment with inverted lists; `None` when none are left.
    pub(crate) fn store_merged(
        &self,
        stored: &mut Stored,
        group: &[SegmentView],
        generation: Option<&Arc<Generation>>,
    ) -> Result<(Vec<Part>, Option<SegmentView>), IndexError> {
        let (parts, rows) = Part::of(group);
        if rows == 0 {
            return Ok((parts, None));
        }
        // Damage must not get a checksum that matches.
        group.iter().try_for_each(|segment| segment.segment.verify_vectors())?;
        let (id, dimension, data) = (stored.next_number(), self.options.dimension, self.folder.data());
        let record = write_merged(&data.join(format!("{id:010}.rows")), id, dimension, &parts, rows)?;
        let mut files = SegmentRecord { id, rows: record.clone(), lists: BTreeMap::new(), removed: None };
        let listed = Segment::open(data, &record, id, dimension, false).and_then(|segment| {
            let lists = generation
                .map(|generation| {
                    let encoded = encode_parts(generation, &parts, rows)?;
                    self.write_lists(&mut files, stored.next_number(), rows, generation, &encoded)
                })
                .transpose()?;
            Ok(SegmentView::new(Arc::new(segment), lists))
        });
        match listed {
            Ok(merged) => {
                stored.manifest.segments.push(files);
                Ok((parts, Some(merged)))
            }
            Err(error) => {
                // Give the space back at once: the disk may be full.
                self.folder.remove(&record.name)?;
                Err(error)
            }
        }
    }

    /// Writes and opens the inverted lists of a segment of `rows` rows.
    fn write_lists(
        &self,
        files: &mut SegmentRecord,
        file_number: u64,
        rows: usize,
        generation: &Generation,
        encoded: &EncodedRows,
    ) -> Result<Arc<InvertedLists>, IndexError> {
        let (id, number, data) = (files.id, generation.number(), self.folder.data());
        let path = data.join(format!("{id:010}.g{number}.{file_number:010}.lists"));
        let record =
            InvertedLists::write(&path, id, number, generation.lists(), generation.shape(), encoded)?;
        let lists = InvertedLists::open(data, &record, id, rows, number, generation.kernel)?;
        files.lists.insert(number, record);
        Ok(Arc::new(lists))
    }

    /// Gives a stored segment inverted lists of the active generation.
    fn add_lists(
        &self,
        stored: &mut Stored,
        segment: &SegmentView,
        generation: &Arc<Generation>,
    ) -> Result<(), IndexError> {
        let id = segment.segment.id;
        let encoded = generation.encode_segment(&segment.segment, &mut |_| ())?;
        let file_number = stored.next_number();
        let Some(files) = stored.segment_mut(id) else { return Ok(()) };
        let lists = self.write_lists(files, file_number, segment.rows(), generation, &encoded)?;
        self.replace_lists(|view| (view.segment.id == id).then(|| Some(Arc::clone(&lists))));
        Ok(())
    }

    /// Publishes other inverted lists for the stored segments for which `choose` names some.
    pub(crate) fn replace_lists(
        &self,
        mut choose: impl FnMut(&SegmentView) -> Option<Option<Arc<InvertedLists>>>,
    ) {
        let _writer = self.writer.lock();
        let mut view = self.view.load().as_ref().clone();
        for segment in &mut view.segments {
            if let Some(lists) = choose(segment) {
                *segment = segment.with_lists(lists);
            }
        }
        self.view.store(Arc::new(view));
    }
}

/// The lists of the rows kept of `parts`, with codes if a segment of all of them has codes.
fn encode_parts(generation: &Generation, parts: &[Part], rows: usize) -> Result<EncodedRows, IndexError> {
    let coded = has_codes(rows, generation.lists());
    let mut encoded = EncodedRows::default();
    for part in parts {
        generation.encode_part(part, coded, &mut encoded)?;
    }
    Ok(encoded)
}

/// The rows of the merged segment that were removed while it was written.
fn removed_since(parts: &[Part], now: &[SegmentView]) -> Vec<usize> {
    parts.iter().zip(now).flat_map(|(part, now)| part.removed_since(now)).collect()
}
