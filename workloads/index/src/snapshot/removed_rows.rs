//! The file of a segment's removed rows: one bit a row, replaced as a whole when it changes.

use std::path::Path;

use serde_json::json;

use crate::filter::bitmap::Bitmap;
use crate::index::IndexError;
use crate::segment::SegmentId;
use crate::snapshot::mapping::Column;
use crate::snapshot::section_file::{FileRecord, SectionFile, SectionWriter};

const KIND: &str = "removed rows";

/// Writes the removed rows of a segment.
pub(crate) fn write(path: &Path, segment: SegmentId, rows: &Bitmap) -> Result<FileRecord, IndexError> {
    let mut writer = SectionWriter::create(path, KIND)?;
    writer.section("words", rows.words())?;
    writer.finish(json!({ "segment": segment, "rows": rows.len() }))
}

/// Reads and verifies the removed rows of a segment of `rows` rows.
pub(crate) fn read(
    folder: &Path,
    record: &FileRecord,
    segment: SegmentId,
    rows: usize,
) -> Result<Bitmap, IndexError> {
    let file = SectionFile::open(folder, record, KIND)?;
    file.verify(|_| true)?;
    if file.about::<serde_json::Value>()? != json!({ "segment": segment, "rows": rows }) {
        return Err(file.corrupt(format!("it is not of segment {segment} with {rows} rows")));
    }
    let words: Column<u64> = file.column("words", rows.div_ceil(64))?;
    Bitmap::from_words(words.to_vec(), rows)
        .ok_or_else(|| file.corrupt("it names a row that the segment does not have"))
}

/// Compares every checksum of a file of removed rows.
pub(crate) fn verify(folder: &Path, record: &FileRecord) -> Result<(), IndexError> {
    SectionFile::open(folder, record, KIND)?.verify(|_| true)
}
