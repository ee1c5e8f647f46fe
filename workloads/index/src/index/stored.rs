//! The stored side of an index: the manifest as it should be, and bringing the disk to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::warn;

use crate::entry::LogPositions;
use crate::index::{Index, IndexError};
use crate::segment::{Removed, SegmentId};
use crate::snapshot::manifest::{Manifest, SegmentRecord};
use crate::snapshot::removed_rows;
use crate::snapshot::section_file::FileRecord;

/// What is stored. Every segment of the current view is in the manifest, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The manifest to commit next. It runs ahead of the disk while a commit has failed.
    pub(crate) manifest: Manifest,
    /// The removed rows that each segment's file holds.
    pub(crate) removed: BTreeMap<SegmentId, Arc<Removed>>,
    /// Files that the manifest on disk may still name, but the next one does not.
    obsolete: Vec<String>,
}

/// What the manifest on disk says, for those who cannot wait for `Stored`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed {
    pub(crate) positions: LogPositions,
    pub(crate) previous: Option<u64>,
    pub(crate) built: Option<u64>,
}

impl Committed {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let Manifest { previous, built, .. } = *manifest;
        Self { positions: manifest.positions.clone(), previous, built }
    }
}

impl Stored {
    pub(crate) fn new(manifest: Manifest) -> Self {
        Self { manifest, ..Self::default() }
    }

    /// A number for a new file, never used before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.manifest.next_number += 1;
        self.manifest.next_number
    }

    /// Marks a file to be removed after the next commit.
    pub(crate) fn discard(&mut self, file: FileRecord) {
        self.obsolete.push(file.name);
    }

    /// Takes a segment out of the manifest and marks its files.
    pub(crate) fn discard_segment(&mut self, id: SegmentId) {
        let Some(at) = self.manifest.segments.iter().position(|segment| segment.id == id) else { return };
        let SegmentRecord { rows, lists, removed, .. } = self.manifest.segments.remove(at);
        self.removed.remove(&id);
        for file in std::iter::once(rows).chain(lists.into_values()).chain(removed) {
            self.discard(file);
        }
    }

    /// The files of a segment.
    pub(crate) fn segment_mut(&mut self, id: SegmentId) -> Option<&mut SegmentRecord> {
        self.manifest.segments.iter_mut().find(|segment| segment.id == id)
    }
}

impl Index {
    /// Writes the removed rows that changed, then the manifest, then removes files that are no longer named.
    pub(crate) fn commit(&self, stored: &mut Stored) -> Result<(), IndexError> {
        let view = self.view.load_full();
        for segment in &view.segments {
            let Some(removed) = &segment.removed else { continue };
            let id = segment.segment.id;
            // Rows are only ever added to the removed ones: an equal count is an equal set.
            if stored.removed.get(&id).is_some_and(|written| written.count == removed.count) {
                continue;
            }
            let name = format!("{id:010}.{:010}.removed", stored.next_number());
            let record = removed_rows::write(&self.folder.data().join(name), id, &removed.rows)?;
            let replaced = stored.segment_mut(id).and_then(|segment| segment.removed.replace(record));
            if let Some(replaced) = replaced {
                stored.discard(replaced);
            }
            stored.removed.insert(id, Arc::clone(removed));
        }
        self.folder.commit(&stored.manifest)?;
        self.writer.lock().committed = Committed::of(&stored.manifest);
        for name in std::mem::take(&mut stored.obsolete) {
            if let Err(error) = self.folder.remove(&name) {
                // The next open removes it; the index is right either way.
                warn!(file = name, %error, "cannot remove a file that is no longer needed");
            }
        }
        Ok(())
    }
}
