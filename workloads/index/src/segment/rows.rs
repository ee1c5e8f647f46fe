//! The rows of one segment.

use std::path::{Path, PathBuf};

use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::entry::{Entry, EntryKey};
use crate::index::IndexError;
use crate::segment::attributes::{AttributeColumns, AttributesAbout, AttributesBuilder};
use crate::snapshot::mapping::Column;
use crate::snapshot::section_file::{FileRecord, SectionFile};

/// Names a segment within its index; numbers are never used again.
pub(crate) type SegmentId = u64;

/// What the footer of a segment's file says beside its sections.
#[derive(Serialize, Deserialize)]
pub(crate) struct SegmentAbout {
    pub(crate) id: SegmentId,
    pub(crate) rows: usize,
    pub(crate) dimension: usize,
    pub(crate) attributes: AttributesAbout,
}

/// The kind of a segment's file.
pub(crate) const SEGMENT_KIND: &str = "segment rows";

/// The section of the vectors, by far the largest.
pub(crate) const VECTORS: &str = "vectors";

/// Immutable rows: a vector, a key and attributes each.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    dimension: usize,
    vectors: Column<f16>,
    /// The file of a stored segment, for errors, and the checksum of its vectors.
    stored: Option<(PathBuf, u32)>,
    keys: Column<EntryKey>,
    /// The rows by ascending key. Binary search in it replaces a hash map, and takes no memory when mapped.
    order: Column<u32>,
    pub(crate) attributes: AttributeColumns,
    bounds: Option<(EntryKey, EntryKey)>,
    mapped_bytes: u64,
}

impl Segment {
    /// A segment in memory.
    pub(crate) fn in_memory(id: SegmentId, dimension: usize, entries: &[&Entry]) -> Self {
        let mut attributes = AttributesBuilder::with_capacity(entries.len());
        let mut vectors = Vec::with_capacity(entries.len() * dimension);
        for entry in entries {
            attributes.push(&entry.key.id, &entry.attributes);
            vectors.extend_from_slice(&entry.vector);
        }
        let keys = entries.iter().map(|entry| entry.key).collect();
        Self::from_columns(id, dimension, vectors, keys, attributes.build())
    }

    pub(crate) fn from_columns(
        id: SegmentId,
        dimension: usize,
        vectors: Vec<f16>,
        keys: Vec<EntryKey>,
        attributes: AttributeColumns,
    ) -> Self {
        let order = rows_by_key(&keys);
        let bounds = bounds_of(&keys, &order);
        Self {
            id,
            dimension,
            vectors: Column::Owned(vectors),
            stored: None,
            keys: Column::Owned(keys),
            order: Column::Owned(order),
            attributes,
            bounds,
            mapped_bytes: 0,
        }
    }

    /// Opens the segment's file and verifies its checksums; those of the vectors only when `verify_vectors`.
    pub(crate) fn open(
        folder: &Path,
        record: &FileRecord,
        id: SegmentId,
        dimension: usize,
        verify_vectors: bool,
    ) -> Result<Self, IndexError> {
        let file = SectionFile::open(folder, record, SEGMENT_KIND)?;
        let about: SegmentAbout = file.about()?;
        if about.id != id || about.dimension != dimension {
            return Err(file.corrupt(format!(
                "it is segment {} of {} components, not segment {id} of {dimension}",
                about.id, about.dimension
            )));
        }
        file.verify(|section| verify_vectors || section != VECTORS)?;
        let rows = about.rows;
        let keys: Column<EntryKey> = file.column("keys", rows)?;
        let order: Column<u32> = file.column("order", rows)?;
        if order.iter().any(|&row| row as usize >= rows) {
            return Err(file.corrupt("its order names a row that it does not have"));
        }
        let bounds = bounds_of(&keys, &order);
        Ok(Self {
            id,
            dimension,
            vectors: file.column(VECTORS, rows.saturating_mul(dimension))?,
            stored: Some((folder.join(&record.name), file.checksum(VECTORS)?)),
            keys,
            order,
            attributes: AttributeColumns::open(&file, about.attributes, rows)?,
            bounds,
            mapped_bytes: file.bytes(),
        })
    }

    /// Compares the checksum of the vectors, which opening may have left out. Takes as long as the disk needs.
    pub(crate) fn verify_vectors(&self) -> Result<(), IndexError> {
        let Some((path, checksum)) = &self.stored else { return Ok(()) };
        if crc32fast::hash(bytemuck::cast_slice(self.vectors())) == *checksum {
            return Ok(());
        }
        let reason = format!("the checksum of section {VECTORS} does not match");
        Err(IndexError::Corrupt { path: path.clone(), reason })
    }

    /// Compares the checksums of the segment's file, those of the vectors only with `vectors`.
    pub(crate) fn verify(folder: &Path, record: &FileRecord, vectors: bool) -> Result<(), IndexError> {
        SectionFile::open(folder, record, SEGMENT_KIND)?.verify(|section| vectors || section != VECTORS)
    }

    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// The vector of row `row`.
    #[inline]
    pub(crate) fn vector(&self, row: usize) -> &[f16] {
        &self.vectors[row * self.dimension..][..self.dimension]
    }

    /// All vectors, row by row.
    #[inline]
    pub(crate) fn vectors(&self) -> &[f16] {
        &self.vectors
    }

    /// All keys.
    #[inline]
    pub(crate) fn keys(&self) -> &[EntryKey] {
        &self.keys
    }

    /// The rows by ascending key, from the first that is not below `key`.
    fn rows_from(&self, key: EntryKey) -> &[u32] {
        let keys = self.keys();
        let order: &[u32] = &self.order;
        let start = order.partition_point(|&row| keys[row as usize] < key);
        &order[start..]
    }

    /// The row with this key.
    pub(crate) fn find(&self, key: EntryKey) -> Option<usize> {
        if self.bounds.is_none_or(|(first, last)| key < first || last < key) {
            return None;
        }
        let row = *self.rows_from(key).first()? as usize;
        (self.keys[row] == key).then_some(row)
    }

    /// The rows of every frame of the image.
    pub(crate) fn find_image(&self, id: [u8; 16]) -> impl Iterator<Item = usize> + '_ {
        let inside = self.bounds.is_some_and(|(first, last)| first.id <= id && id <= last.id);
        let rows = if inside { self.rows_from(EntryKey { id, frame: 0 }) } else { &[] };
        let keys = self.keys();
        rows.iter().map(|&row| row as usize).take_while(move |&row| keys[row].id == id)
    }

    /// Main memory held beside the mapped file, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.vectors.memory_bytes()
            + self.keys.memory_bytes()
            + self.order.memory_bytes()
            + self.attributes.memory_bytes()
    }

    /// Size of the mapped file, in bytes.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }
}

/// The rows by ascending key; keys are unique.
pub(crate) fn rows_by_key(keys: &[EntryKey]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    if !keys.is_sorted() {
        order.par_sort_unstable_by_key(|&row| keys[row as usize]);
    }
    order
}

fn bounds_of(keys: &[EntryKey], order: &[u32]) -> Option<(EntryKey, EntryKey)> {
    Some((keys[*order.first()? as usize], keys[*order.last()? as usize]))
}
