//! Names of columns, checksums of data cells, and what Thrift sends of a row.

use bytes::Bytes;
use hbase_thrift::hbase::{BatchMutation, Mutation, TRowResult};
use medindex_proto::names::{CELL_BYTES, COLUMN_LENGTH, FAMILY_DATA, FAMILY_INFORMATION};

use crate::cells::{Cell, READ_COLUMNS, RowCells, is_needed};
use crate::image_store::Columns;

/// Column of the data: CRC-32 of each cell, u32 big-endian one after the other. Written together with the length, so that a file whose
/// cells are being replaced is never taken for whole.
pub(crate) const COLUMN_CHECKSUMS: &str = "checksums";
/// Column of the data: u64 big-endian; while it is there, cells up to this number may be there beyond the file's length.
pub(crate) const COLUMN_EXTENT: &str = "extent";

/// A column as Thrift names it: family, colon, qualifier.
pub(crate) fn column(family: &str, qualifier: &str) -> Vec<u8> {
    format!("{family}:{qualifier}").into_bytes()
}

/// Columns to ask for: of a file the first cell alone, which is all of most; [`is_partial`] tells whether there is more.
pub(crate) fn wanted_columns(columns: Columns) -> Vec<Vec<u8>> {
    let mut wanted = Vec::new();
    if columns.contains(Columns::BYTES) {
        wanted.extend(["0", COLUMN_LENGTH, COLUMN_CHECKSUMS].map(|name| column(FAMILY_DATA, name)));
    }
    let needed = READ_COLUMNS.iter().filter(|name| is_needed(name, columns));
    wanted.extend(needed.map(|name| column(FAMILY_INFORMATION, name)));
    wanted
}

/// A cell to write.
pub(crate) fn write(family: &str, qualifier: &str, value: &Bytes) -> Mutation {
    Mutation {
        is_delete: Some(false),
        column: Some(column(family, qualifier)),
        value: Some(value.to_vec()),
        write_to_w_a_l: Some(true),
    }
}

/// A column, or without a qualifier a whole family, to delete.
pub(crate) fn erase(column: Vec<u8>) -> Mutation {
    Mutation { is_delete: Some(true), column: Some(column), value: None, write_to_w_a_l: Some(true) }
}

/// All of a row to delete.
pub(crate) fn erase_row(row: Vec<u8>) -> BatchMutation {
    let families = [FAMILY_DATA, FAMILY_INFORMATION].map(|family| erase(family.as_bytes().to_vec()));
    BatchMutation { row: Some(row), mutations: Some(families.into()) }
}

/// A row as it came.
#[derive(Debug, Default)]
pub(crate) struct ReadRow {
    /// Its key.
    pub(crate) key: Vec<u8>,
    /// Its cells by family.
    pub(crate) cells: RowCells,
    /// Bytes of its values and names.
    pub(crate) bytes: usize,
}

/// Sorts what Thrift sent of a row into families.
pub(crate) fn read_row(result: TRowResult) -> ReadRow {
    let mut row = ReadRow { key: result.row.unwrap_or_default(), ..ReadRow::default() };
    for (name, cell) in result.columns.unwrap_or_default() {
        let value = Bytes::from(cell.value.unwrap_or_default());
        row.bytes += name.len() + value.len();
        let name = String::from_utf8_lossy(&name);
        let Some((family, qualifier)) = name.split_once(':') else { continue };
        let cells = match family {
            FAMILY_DATA => &mut row.cells.data,
            FAMILY_INFORMATION => &mut row.cells.information,
            _ => continue,
        };
        cells.get_or_insert_default().push(Cell { qualifier: qualifier.to_owned(), value });
    }
    row
}

/// The value of one of the cells.
pub(crate) fn value<'a>(cells: &'a [Cell], qualifier: &str) -> Option<&'a Bytes> {
    cells.iter().find(|cell| cell.qualifier == qualifier).map(|cell| &cell.value)
}

/// A number of eight bytes in one of the cells.
pub(crate) fn number(cells: &[Cell], qualifier: &str) -> Option<u64> {
    let bytes: [u8; 8] = value(cells, qualifier)?.as_ref().try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// Whether a file has cells beyond the first.
pub(crate) fn is_partial(data: &[Cell]) -> bool {
    number(data, COLUMN_LENGTH).is_some_and(|length| length > CELL_BYTES as u64)
}

/// The cell of checksums over data cells in their order.
pub(crate) fn checksums<'a>(cells: impl Iterator<Item = &'a Cell>) -> Cell {
    let sums = cells.flat_map(|cell| crc32fast::hash(&cell.value).to_be_bytes());
    Cell { qualifier: COLUMN_CHECKSUMS.to_owned(), value: sums.collect::<Vec<u8>>().into() }
}

/// Whether a file's cells, all of them or the first ones, are those that its checksums were made over.
pub(crate) fn fits_checksums(data: &[Cell]) -> bool {
    let Some(sums) = value(data, COLUMN_CHECKSUMS) else { return false };
    let fits = |(number, sum): (usize, &[u8])| {
        let cell = value(data, &number.to_string());
        cell.is_some_and(|cell| crc32fast::hash(cell).to_be_bytes() == sum)
    };
    sums.chunks(4).enumerate().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_two_files_do_not_fit_one_another() {
        let cell =
            |name: &str, value: &[u8]| Cell { qualifier: name.to_owned(), value: value.to_vec().into() };
        let mut file = vec![cell("0", b"first"), cell("1", b"second")];
        file.push(checksums(file.clone().iter()));
        assert!(fits_checksums(&file));
        let mut torn = file.clone();
        torn[1] = cell("1", b"another");
        assert!(!fits_checksums(&torn));
        torn.remove(1);
        assert!(!fits_checksums(&torn));
        assert!(!fits_checksums(&file[..2]), "without checksums nothing is whole");
        assert!(fits_checksums(&[checksums([].iter())]), "an empty file is whole");
    }

    #[test]
    fn only_the_columns_that_answer_are_asked_for() {
        let names = |columns| {
            wanted_columns(columns)
                .into_iter()
                .map(|name| String::from_utf8(name).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(Columns::BYTES), ["MD:0", "MD:length", "MD:checksums"]);
        assert_eq!(names(Columns::CODES), ["MI:generation", "MI:frames", "MI:code"]);
    }
}
