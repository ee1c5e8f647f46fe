//! The inverted lists of a segment for one generation of the quantizer.
//!
//! Positions count a segment's rows list by list. The file has the lists' offsets, the row of each position, the
//! position of each row, and, when the segment is large enough for whole blocks, the row-major codes by
//! position. Codes are packed for this processor's kernel when the file is opened: that is the only part in main
//! memory. A segment of few rows for each list has no codes: the rows of its probed lists are scored exactly.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::filter::bitmap::Bitmap;
use crate::index::IndexError;
use crate::kernels::{CodeShape, Kernel, PackedCodes};
use crate::segment::SegmentId;
use crate::snapshot::mapping::Column;
use crate::snapshot::section_file::{FileRecord, SectionFile, SectionWriter};

/// The kind of a file of inverted lists.
const LISTS_KIND: &str = "inverted lists";

/// Rows for each list from which on a segment has codes. Below, blocks of 32 codes would be nearly empty.
const CODED_ROWS_PER_LIST: usize = 4;

/// Whether a segment of `rows` rows has codes in `lists` lists.
pub(crate) fn has_codes(rows: usize, lists: usize) -> bool {
    rows >= lists.saturating_mul(CODED_ROWS_PER_LIST)
}

#[derive(Serialize, Deserialize)]
struct ListsAbout {
    segment: SegmentId,
    generation: u64,
    rows: usize,
    lists: usize,
    shape: CodeShape,
    coded: bool,
}

/// The list and the code of each row, in the order of rows.
#[derive(Debug, Default)]
pub(crate) struct EncodedRows {
    pub(crate) lists: Vec<u32>,
    /// Row-major codes; empty when no codes are wanted.
    pub(crate) codes: Vec<u8>,
}

/// Inverted lists, with packed codes unless the segment is small.
#[derive(Debug)]
pub(crate) struct InvertedLists {
    pub(crate) generation: u64,
    offsets: Vec<u32>,
    rows: Column<u32>,
    positions: Column<u32>,
    codes: Option<(Column<u8>, usize)>,
    packed: Option<PackedCodes>,
    mapped_bytes: u64,
}

impl InvertedLists {
    /// Writes the lists of a segment whose rows were encoded by `generation` of `lists` lists.
    pub(crate) fn write(
        path: &Path,
        segment: SegmentId,
        generation: u64,
        lists: usize,
        shape: CodeShape,
        encoded: &EncodedRows,
    ) -> Result<FileRecord, IndexError> {
        let rows = encoded.lists.len();
        let mut offsets = vec![0_u32; lists + 1];
        for &list in &encoded.lists {
            offsets[list as usize + 1] += 1;
        }
        for list in 0..lists {
            offsets[list + 1] += offsets[list];
        }
        let mut next = offsets.clone();
        let (mut row_of, mut position_of) = (vec![0_u32; rows], vec![0_u32; rows]);
        for (row, &list) in encoded.lists.iter().enumerate() {
            let position = next[list as usize];
            next[list as usize] += 1;
            row_of[position as usize] = row as u32;
            position_of[row] = position;
        }
        let mut writer = SectionWriter::create(path, LISTS_KIND)?;
        writer.section("offsets", &offsets)?;
        writer.section("rows", &row_of)?;
        writer.section("positions", &position_of)?;
        let coded = !encoded.codes.is_empty();
        if coded {
            writer.begin("codes")?;
            for &row in &row_of {
                writer.write(&encoded.codes[row as usize * shape.code_bytes()..][..shape.code_bytes()])?;
            }
        }
        let about = ListsAbout { segment, generation, rows, lists, shape, coded };
        let about = serde_json::to_value(about)
            .map_err(|source| IndexError::Write { path: path.to_owned(), source: source.into() })?;
        writer.finish(about)
    }

    /// Opens and verifies the lists of `generation` of a segment of `rows` rows and packs its codes.
    pub(crate) fn open(
        folder: &Path,
        record: &FileRecord,
        segment: SegmentId,
        rows: usize,
        generation: u64,
        kernel: Kernel,
    ) -> Result<Self, IndexError> {
        let file = SectionFile::open(folder, record, LISTS_KIND)?;
        let about: ListsAbout = file.about()?;
        if about.segment != segment || about.rows != rows || about.generation != generation {
            return Err(file.corrupt(format!(
                "it has {} rows of segment {} in generation {}, not {rows} of {segment} in {generation}",
                about.rows, about.segment, about.generation
            )));
        }
        file.verify(|_| true)?;
        let offsets: Column<u32> = file.column("offsets", about.lists.saturating_add(1))?;
        let row_of: Column<u32> = file.column("rows", rows)?;
        let positions: Column<u32> = file.column("positions", rows)?;
        let outside = |column: &[u32]| column.iter().any(|&number| number as usize >= rows);
        if !offsets.is_sorted() || offsets.last().is_none_or(|&end| end as usize != rows) {
            return Err(file.corrupt("its lists do not add up to its rows"));
        }
        if outside(&row_of) || outside(&positions) {
            return Err(file.corrupt("it names a row that the segment does not have"));
        }
        let bytes = about.shape.code_bytes();
        let codes = if about.coded {
            let codes: Column<u8> = file.column("codes", rows.saturating_mul(bytes))?;
            Some((codes, bytes))
        } else {
            None
        };
        let packed = match &codes {
            Some((codes, bytes)) => {
                let list = |ends: &[u32]| codes.get(ends[0] as usize * bytes..ends[1] as usize * bytes);
                let lists: Vec<&[u8]> = offsets.windows(2).filter_map(list).collect();
                let packed = PackedCodes::pack_lists(kernel, about.shape, &lists);
                Some(packed.map_err(|error| file.corrupt(format!("its codes cannot be packed: {error}")))?)
            }
            None => None,
        };
        let mapped_bytes = file.bytes();
        Ok(Self {
            generation,
            offsets: offsets.to_vec(),
            rows: row_of,
            positions,
            codes,
            packed,
            mapped_bytes,
        })
    }

    /// Compares every checksum of a file of lists.
    pub(crate) fn verify(folder: &Path, record: &FileRecord) -> Result<(), IndexError> {
        SectionFile::open(folder, record, LISTS_KIND)?.verify(|_| true)
    }

    /// Number of lists.
    pub(crate) fn lists(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The first position of list `list` and the one after its last.
    #[inline]
    pub(crate) fn bounds(&self, list: u32) -> (usize, usize) {
        (self.offsets[list as usize] as usize, self.offsets[list as usize + 1] as usize)
    }

    /// The row of each position.
    #[inline]
    pub(crate) fn row_of(&self) -> &[u32] {
        &self.rows
    }

    /// The position of row `row`.
    #[inline]
    pub(crate) fn position(&self, row: usize) -> usize {
        self.positions[row] as usize
    }

    /// The packed codes; `None` when the segment is scored exactly, list by list.
    pub(crate) fn packed(&self) -> Option<&PackedCodes> {
        self.packed.as_ref()
    }

    /// A set of rows as a set of positions.
    pub(crate) fn positions_of(&self, rows: &Bitmap) -> Bitmap {
        let position_of: &[u32] = &self.positions;
        let mut positions = Bitmap::none(rows.len());
        for row in rows.ones() {
            positions.insert(position_of[row] as usize);
        }
        positions
    }

    /// The list, and the code where there are codes, of each row.
    pub(crate) fn encoded(&self) -> EncodedRows {
        let rows = self.rows.len();
        let mut encoded = EncodedRows { lists: vec![0; rows], codes: Vec::new() };
        for list in 0..self.lists() {
            let (start, end) = self.bounds(list as u32);
            for &row in &self.rows[start..end] {
                encoded.lists[row as usize] = list as u32;
            }
        }
        if let Some((codes, bytes)) = &self.codes {
            encoded.codes.reserve(codes.len());
            for &position in self.positions.iter() {
                encoded.codes.extend_from_slice(&codes[position as usize * bytes..][..*bytes]);
            }
        }
        encoded
    }

    /// Main memory held beside the mapped file, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let packed = self.packed.as_ref().map_or(0, |packed| packed.memory_bytes() + packed.lists() * 16);
        (packed + self.offsets.capacity() * 4) as u64
    }

    /// Size of the mapped file, in bytes.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }
}
