//! How a row is laid out in cells: the same for every image store, so that rows look alike wherever they lie.
//!
//! Family `MD` has the file in cells of [`CELL_BYTES`], `MD:0`, `MD:1` and so on, and its length in `MD:length`;
//! the length decides how many cells count, so a shorter file may be written over a longer one. Family `MI` has
//! `id`, `generation`, `frames` (numbers of the frames), `vector` and `code` (one frame after the other),
//! `meta`, and a column for each of the image's facts. Numbers are big-endian and texts UTF-8, as Phoenix reads them
//! (`docs/phoenix.md`); an unknown text is an empty cell, which SQL takes for NULL, because a cell left out would leave
//! that of a former put. Vectors are f16 little-endian, as processors read them.
//!
//! Pure functions without I/O. What is put together was split by [`split_row`], or is refused with the reason.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use half::f16;
use medindex_proto::RowKey;
use medindex_proto::names::{
    CELL_BYTES, COLUMN_BODY_PART, COLUMN_CODE, COLUMN_FORMAT, COLUMN_FRAMES, COLUMN_GENERATION, COLUMN_ID,
    COLUMN_IMAGE_TYPE, COLUMN_LABEL, COLUMN_LENGTH, COLUMN_META, COLUMN_MODALITY, COLUMN_NAME,
    COLUMN_ORGANISATION, COLUMN_RECEIVED, COLUMN_VECTOR,
};

use crate::image_store::{
    Columns, FrameVector, ImageFacts, ImageInformation, ImageRow, ImageStoreError, Result,
};

/// Columns of family `MI` that are read, in no particular order.
#[cfg(any(feature = "cluster", test))]
pub(crate) const READ_COLUMNS: [&str; 13] = [
    COLUMN_GENERATION,
    COLUMN_FRAMES,
    COLUMN_VECTOR,
    COLUMN_CODE,
    COLUMN_META,
    COLUMN_IMAGE_TYPE,
    COLUMN_MODALITY,
    COLUMN_BODY_PART,
    COLUMN_LABEL,
    COLUMN_ORGANISATION,
    COLUMN_NAME,
    COLUMN_FORMAT,
    COLUMN_RECEIVED,
];

/// One cell of a row, without its family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Name of the column inside its family.
    pub qualifier: String,
    /// Value.
    pub value: Bytes,
}

/// Cells of a row, by family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowCells {
    /// Family `MD`; `None` if it is not written or was not read.
    pub data: Option<Vec<Cell>>,
    /// Family `MI`; `None` if it is not written or was not read.
    pub information: Option<Vec<Cell>>,
}

/// Number of data cells of a file of `bytes` bytes.
pub fn data_cell_count(bytes: u64) -> u64 {
    bytes.div_ceil(CELL_BYTES as u64)
}

/// Splits a row into cells.
///
/// # Errors
/// [`ImageStoreError::SplitCells`] if vectors or codes differ in length, or frames are not ascending.
pub fn split_row(row: &RowKey, values: &ImageRow) -> Result<RowCells> {
    let data = values.bytes.as_ref().map(split_bytes);
    let information = values.information.as_ref().map(|each| split_information(row, each)).transpose()?;
    Ok(RowCells { data, information })
}

/// Splits a file into cells; they share its memory.
fn split_bytes(bytes: &Bytes) -> Vec<Cell> {
    let length = Bytes::copy_from_slice(&(bytes.len() as u64).to_be_bytes());
    let mut cells = vec![Cell { qualifier: COLUMN_LENGTH.to_owned(), value: length }];
    for (number, start) in (0..bytes.len()).step_by(CELL_BYTES).enumerate() {
        let end = bytes.len().min(start + CELL_BYTES);
        cells.push(Cell { qualifier: number.to_string(), value: bytes.slice(start..end) });
    }
    cells
}

fn split_information(row: &RowKey, information: &ImageInformation) -> Result<Vec<Cell>> {
    let refused = |reason: &str| ImageStoreError::SplitCells { row: row.clone(), reason: reason.to_owned() };
    let frames = &information.frames;
    if !frames.is_sorted_by(|one, other| one.frame < other.frame) {
        return Err(refused("its frames are not in ascending order"));
    }
    if let Some(first) = frames.first() {
        if frames.iter().any(|frame| frame.vector.len() != first.vector.len()) {
            return Err(refused("its vectors differ in length"));
        }
        if frames.iter().any(|frame| frame.code.len() != first.code.len()) {
            return Err(refused("its codes differ in length"));
        }
    }
    let mut numbers = BytesMut::with_capacity(frames.len() * 4);
    let mut vectors = BytesMut::new();
    let mut codes = BytesMut::new();
    for frame in frames {
        numbers.extend_from_slice(&frame.frame.to_be_bytes());
        vectors.extend(frame.vector.iter().flat_map(|value| value.to_le_bytes()));
        codes.extend_from_slice(&frame.code);
    }
    let cell = |qualifier: &str, value| Cell { qualifier: qualifier.to_owned(), value };
    let mut cells = vec![
        cell(COLUMN_ID, row.image_id().to_string().into()),
        cell(COLUMN_GENERATION, Bytes::copy_from_slice(&information.generation.to_be_bytes())),
        cell(COLUMN_FRAMES, numbers.freeze()),
        cell(COLUMN_VECTOR, vectors.freeze()),
        cell(COLUMN_CODE, codes.freeze()),
        cell(COLUMN_META, information.meta_json.clone().into()),
    ];
    cells.extend(split_facts(&information.facts));
    Ok(cells)
}

fn split_facts(facts: &ImageFacts) -> impl Iterator<Item = Cell> {
    let mut facts = facts.clone();
    let received = Bytes::copy_from_slice(&facts.received_ms.to_be_bytes());
    let texts = texts(&mut facts).map(|(qualifier, text)| (qualifier, Bytes::from(std::mem::take(text))));
    let all = texts.into_iter().chain([(COLUMN_RECEIVED, received)]);
    all.map(|(qualifier, value)| Cell { qualifier: qualifier.to_owned(), value })
}

/// The texts among the facts, each with its column.
fn texts(facts: &mut ImageFacts) -> [(&'static str, &mut String); 7] {
    let ImageFacts { image_type, modality, body_part, label, organisation, name, format, received_ms: _ } =
        facts;
    [
        (COLUMN_IMAGE_TYPE, image_type),
        (COLUMN_MODALITY, modality),
        (COLUMN_BODY_PART, body_part),
        (COLUMN_LABEL, label),
        (COLUMN_ORGANISATION, organisation),
        (COLUMN_NAME, name),
        (COLUMN_FORMAT, format),
    ]
}

/// Whether a column of family `MI` is needed to answer for `columns`.
pub fn is_needed(qualifier: &str, columns: Columns) -> bool {
    match qualifier {
        COLUMN_GENERATION | COLUMN_FRAMES => columns.intersects(Columns::INFORMATION),
        COLUMN_VECTOR => columns.contains(Columns::VECTORS),
        COLUMN_CODE => columns.contains(Columns::CODES),
        COLUMN_META | COLUMN_IMAGE_TYPE | COLUMN_MODALITY | COLUMN_BODY_PART | COLUMN_LABEL
        | COLUMN_ORGANISATION | COLUMN_NAME | COLUMN_FORMAT | COLUMN_RECEIVED => {
            columns.contains(Columns::META)
        }
        _ => false,
    }
}

/// Puts a row together; `None` if no cell is there. Cells not needed may be left out, others are ignored.
///
/// # Errors
/// [`ImageStoreError::JoinCells`] if a cell is missing or has an impossible length.
pub fn join_row(row: &RowKey, cells: RowCells) -> Result<Option<ImageRow>> {
    let bytes =
        cells.data.filter(|cells| !cells.is_empty()).map(|cells| join_bytes(row, cells)).transpose()?;
    let information = cells
        .information
        .filter(|cells| !cells.is_empty())
        .map(|cells| join_information(row, cells))
        .transpose()?;
    if bytes.is_none() && information.is_none() {
        return Ok(None);
    }
    Ok(Some(ImageRow { bytes, information }))
}

fn by_name(cells: Vec<Cell>) -> HashMap<String, Bytes> {
    cells.into_iter().map(|cell| (cell.qualifier, cell.value)).collect()
}

fn join_bytes(row: &RowKey, cells: Vec<Cell>) -> Result<Bytes> {
    let refused = |reason: String| ImageStoreError::JoinCells { row: row.clone(), reason };
    let mut cells = by_name(cells);
    let length = number(cells.get(COLUMN_LENGTH))
        .ok_or_else(|| refused(format!("MD:{COLUMN_LENGTH} is missing or no number")))?;
    let count = data_cell_count(length);
    let mut parts = Vec::new();
    for cell in 0..count {
        let expected = (length - cell * CELL_BYTES as u64).min(CELL_BYTES as u64);
        let part = cells.remove(&cell.to_string()).ok_or_else(|| refused(format!("MD:{cell} is missing")))?;
        if part.len() as u64 != expected {
            return Err(refused(format!("MD:{cell} has {} bytes, not {expected}", part.len())));
        }
        parts.push(part);
    }
    Ok(match parts.len() {
        0 => Bytes::new(),
        1 => parts.swap_remove(0),
        _ => parts.concat().into(),
    })
}

fn join_information(row: &RowKey, cells: Vec<Cell>) -> Result<ImageInformation> {
    let refused = |reason: String| ImageStoreError::JoinCells { row: row.clone(), reason };
    let cells = by_name(cells);
    let generation = number(cells.get(COLUMN_GENERATION))
        .ok_or_else(|| refused(format!("MI:{COLUMN_GENERATION} is missing or no number")))?;
    let numbers =
        cells.get(COLUMN_FRAMES).ok_or_else(|| refused(format!("MI:{COLUMN_FRAMES} is missing")))?;
    if numbers.len() % 4 != 0 {
        return Err(refused(format!("MI:{COLUMN_FRAMES} has {} bytes", numbers.len())));
    }
    let count = numbers.len() / 4;
    let vectors = share(cells.get(COLUMN_VECTOR), count, 2)
        .ok_or_else(|| refused(format!("MI:{COLUMN_VECTOR} does not divide into {count} vectors")))?;
    let codes = share(cells.get(COLUMN_CODE), count, 1)
        .ok_or_else(|| refused(format!("MI:{COLUMN_CODE} does not divide into {count} codes")))?;
    let frames = numbers.chunks_exact(4).enumerate().map(|(index, number)| FrameVector {
        frame: number.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)),
        vector: part(vectors, count, index).chunks_exact(2).map(half_from_bytes).collect(),
        code: part(codes, count, index).to_vec(),
    });
    let text = |qualifier: &str| {
        let value = cells.get(qualifier).map_or(&[][..], |value| &value[..]);
        String::from_utf8(value.to_vec()).map_err(|_| refused(format!("MI:{qualifier} is not UTF-8")))
    };
    let mut facts = ImageFacts::default();
    for (qualifier, place) in texts(&mut facts) {
        *place = text(qualifier)?;
    }
    if let Some(received) = cells.get(COLUMN_RECEIVED) {
        facts.received_ms =
            number(Some(received)).ok_or_else(|| refused(format!("MI:{COLUMN_RECEIVED} is no number")))?;
    }
    Ok(ImageInformation { generation, frames: frames.collect(), meta_json: text(COLUMN_META)?, facts })
}

/// The value of a cell, if it divides evenly into `count` parts of whole units; empty if it is not there.
fn share(cell: Option<&Bytes>, count: usize, unit: usize) -> Option<&[u8]> {
    let value = cell.map_or(&[][..], |value| &value[..]);
    let divides = if count == 0 { value.is_empty() } else { value.len().is_multiple_of(count * unit) };
    divides.then_some(value)
}

/// Part `index` of `count` equal parts.
fn part(value: &[u8], count: usize, index: usize) -> &[u8] {
    let length = value.len() / count;
    &value[index * length..(index + 1) * length]
}

fn half_from_bytes(bytes: &[u8]) -> f16 {
    f16::from_le_bytes([bytes[0], bytes[1]])
}

fn number(cell: Option<&Bytes>) -> Option<u64> {
    let bytes: [u8; 8] = cell?.as_ref().try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
