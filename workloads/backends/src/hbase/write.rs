//! Writing and deleting rows.
//!
//! HBase applies what one request puts into one row at once, readers see all of it or nothing; that holds for rows of up to
//! [`REQUEST_BYTES`], which go in one request. The cells of a larger file go one by one and its length and checksums, with the
//! information, last: until then the former length and checksums are there, which do not fit, so readers wait; a new file without a
//! length is not there yet. A request puts before it deletes and not at once, so cells of a longer former file are deleted afterwards,
//! and `MD:extent` remembers how many there may be, should the process die in between.

use std::collections::HashMap;

use bytes::Bytes;
use hbase_thrift::hbase::{BatchMutation, Mutation, THbaseSyncClient as _};
use medindex_proto::RowKey;
use medindex_proto::names::{COLUMN_LENGTH, FAMILY_DATA, FAMILY_INFORMATION};

use super::caller::Table;
use super::columns::{COLUMN_EXTENT, checksums, column, erase, erase_row, number, read_row, write};
use crate::cells::{Cell, RowCells, data_cell_count, split_row};
use crate::fault::Fault;
use crate::image_store::{ImageRow, Result};

/// Most bytes of values in one request: one row may have as many, and two data cells fit.
pub(crate) const REQUEST_BYTES: usize = 8 << 20;
/// What a cell costs beside its value.
const CELL_OVERHEAD: usize = 128;
/// Most rows in one request.
const REQUEST_ROWS: usize = 1000;

/// One row to write.
#[derive(Debug)]
pub(crate) struct RowWrite {
    key: Vec<u8>,
    /// Cells of the file, then its length and checksums.
    file: Option<FileWrite>,
    information: Vec<Cell>,
}

#[derive(Debug)]
struct FileWrite {
    cells: Vec<Cell>,
    ends: [Cell; 2],
    former: Former,
}

/// What a row's data had before.
#[derive(Debug, Clone, Copy, Default)]
struct Former {
    /// Number of the cell after the last that may be there.
    cells: u64,
    /// Whether [`COLUMN_EXTENT`] is there.
    has_extent: bool,
}

/// Splits rows into cells; of several values for one row each part's last counts.
///
/// # Errors
/// `ImageStoreError::SplitCells`; then nothing is to be written.
pub(crate) fn split_rows(rows: Vec<(RowKey, ImageRow)>) -> Result<Vec<RowWrite>> {
    let mut places = HashMap::with_capacity(rows.len());
    let mut merged: Vec<(RowKey, ImageRow)> = Vec::with_capacity(rows.len());
    for (row, values) in rows {
        // Each is checked by itself, whatever replaces it.
        split_row(&row, &ImageRow { bytes: None, information: values.information.clone() })?;
        let place = *places.entry(row.clone()).or_insert(merged.len());
        match merged.get_mut(place) {
            None => merged.push((row, values)),
            Some((_, former)) => {
                former.bytes = values.bytes.or(former.bytes.take());
                former.information = values.information.or(former.information.take());
            }
        }
    }
    let split = |(row, values): &(RowKey, ImageRow)| {
        let RowCells { data, information } = split_row(row, values)?;
        let file = data.map(split_file);
        Ok(RowWrite { key: row.as_str().into(), file, information: information.unwrap_or_default() })
    };
    merged.iter().map(split).collect()
}

fn split_file(data: Vec<Cell>) -> FileWrite {
    let (length, cells): (Vec<Cell>, Vec<Cell>) =
        data.into_iter().partition(|cell| cell.qualifier == COLUMN_LENGTH);
    let sums = checksums(cells.iter());
    let length = length
        .into_iter()
        .next()
        .unwrap_or_else(|| Cell { qualifier: COLUMN_LENGTH.to_owned(), value: Bytes::from_static(&[0; 8]) });
    FileWrite { cells, ends: [length, sums], former: Former::default() }
}

impl RowWrite {
    fn size(&self) -> usize {
        let file = self.file.iter().flat_map(|file| file.cells.iter().chain(&file.ends));
        file.chain(&self.information).map(|cell| cell.value.len() + CELL_OVERHEAD).sum()
    }

    fn is_empty(&self) -> bool {
        self.file.is_none() && self.information.is_empty()
    }

    /// The row in one request.
    fn whole(&self) -> BatchMutation {
        let mut mutations = Vec::new();
        if let Some(file) = &self.file {
            mutations.extend(file.cells.iter().map(|cell| write(FAMILY_DATA, &cell.qualifier, &cell.value)));
            if file.outlives_cells() {
                mutations.push(file.extent());
            }
        }
        mutations.extend(self.ends());
        BatchMutation { row: Some(self.key.clone()), mutations: Some(mutations) }
    }

    /// What makes the row readable: the file's length and checksums, and the information.
    fn ends(&self) -> Vec<Mutation> {
        let ends = self.file.iter().flat_map(|file| &file.ends);
        let ends = ends.map(|cell| write(FAMILY_DATA, &cell.qualifier, &cell.value));
        let information = self.information.iter();
        ends.chain(information.map(|cell| write(FAMILY_INFORMATION, &cell.qualifier, &cell.value))).collect()
    }

    /// What is to be deleted after the row was written.
    fn leftovers(&self, was_in_parts: bool) -> Option<BatchMutation> {
        let file = self.file.as_ref()?;
        let first = file.cells.len() as u64;
        let stale = (first..file.former.cells).map(|cell| erase(column(FAMILY_DATA, &cell.to_string())));
        let mut mutations: Vec<Mutation> = stale.collect();
        if was_in_parts || file.former.has_extent || !mutations.is_empty() {
            mutations.push(erase(column(FAMILY_DATA, COLUMN_EXTENT)));
        }
        let row = BatchMutation { row: Some(self.key.clone()), mutations: Some(mutations) };
        row.mutations.as_ref().is_some_and(|all| !all.is_empty()).then_some(row)
    }
}

impl FileWrite {
    /// Whether cells of the former file lie beyond this one's.
    fn outlives_cells(&self) -> bool {
        self.former.cells > self.cells.len() as u64
    }

    fn extent(&self) -> Mutation {
        let extent = self.former.cells.max(self.cells.len() as u64);
        write(FAMILY_DATA, COLUMN_EXTENT, &Bytes::copy_from_slice(&extent.to_be_bytes()))
    }
}

/// Writes rows; all are durable on return.
pub(crate) async fn put_rows(table: &Table, mut rows: Vec<RowWrite>) -> Result<(), Fault> {
    rows.retain(|row| !row.is_empty());
    learn_former(table, &mut rows).await?;
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut leftovers = Vec::new();
    for row in &rows {
        let size = row.size();
        if size > REQUEST_BYTES {
            put_in_parts(table, row).await?;
        } else {
            if bytes + size > REQUEST_BYTES || batch.len() == REQUEST_ROWS {
                mutate(table, std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push(row.whole());
        }
        leftovers.extend(row.leftovers(size > REQUEST_BYTES));
    }
    mutate(table, batch).await?;
    mutate(table, leftovers).await
}

/// Writes one large row: a request for each cell, then one for what makes them readable.
async fn put_in_parts(table: &Table, row: &RowWrite) -> Result<(), Fault> {
    let one = |mutations| vec![BatchMutation { row: Some(row.key.clone()), mutations: Some(mutations) }];
    for (number, cell) in row.file.iter().flat_map(|file| file.cells.iter().enumerate()) {
        let mut mutations = vec![write(FAMILY_DATA, &cell.qualifier, &cell.value)];
        if number == 0 {
            mutations.extend(row.file.iter().map(FileWrite::extent));
        }
        mutate(table, one(mutations)).await?;
    }
    mutate(table, one(row.ends())).await
}

/// Looks up how many data cells the rows have that get a file. Rows that are new cost a look into Bloom filters.
async fn learn_former(table: &Table, rows: &mut [RowWrite]) -> Result<(), Fault> {
    let mut places: HashMap<Vec<u8>, usize> = HashMap::new();
    for (place, row) in rows.iter().enumerate().filter(|(_, row)| row.file.is_some()) {
        places.insert(row.key.clone(), place);
    }
    let keys: Vec<Vec<u8>> = places.keys().cloned().collect();
    let columns = [COLUMN_LENGTH, COLUMN_EXTENT].map(|name| column(FAMILY_DATA, name)).to_vec();
    for keys in keys.chunks(REQUEST_ROWS) {
        let (name, keys, columns) = (table.wire_name(), keys.to_vec(), columns.clone());
        let found = table
            .call(move |client| {
                client.get_rows_with_columns(name.clone(), keys.clone(), columns.clone(), [].into())
            })
            .await?;
        for row in found.into_iter().map(read_row) {
            let data = row.cells.data.unwrap_or_default();
            let extent = number(&data, COLUMN_EXTENT);
            let cells = number(&data, COLUMN_LENGTH).map_or(0, data_cell_count).max(extent.unwrap_or(0));
            let file = places.get(&row.key).and_then(|place| rows[*place].file.as_mut());
            if let Some(file) = file {
                file.former = Former { cells, has_extent: extent.is_some() };
            }
        }
    }
    Ok(())
}

/// Deletes rows whole; those that are not there are no error.
pub(crate) async fn delete_rows(table: &Table, keys: impl Iterator<Item = Vec<u8>>) -> Result<(), Fault> {
    let rows: Vec<BatchMutation> = keys.map(erase_row).collect();
    for rows in rows.chunks(REQUEST_ROWS) {
        mutate(table, rows.to_vec()).await?;
    }
    Ok(())
}

/// Puts, or deletes, in one request; not both, because a request is not one change then.
pub(crate) async fn mutate(table: &Table, rows: Vec<BatchMutation>) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let name = table.wire_name();
    table.call(move |client| client.mutate_rows(name.clone(), rows.clone(), [].into())).await
}

#[cfg(test)]
mod tests {
    use medindex_proto::ImageId;

    use super::*;
    use crate::image_store::ImageInformation;

    fn row(bytes: usize) -> (RowKey, ImageRow) {
        let key = RowKey::new(&ImageId::new(), 9);
        (key, ImageRow { bytes: Some(vec![7; bytes].into()), information: None })
    }

    fn names(row: &BatchMutation) -> Vec<String> {
        let names = row.mutations.iter().flatten().filter_map(|mutation| mutation.column.clone());
        names.map(|name| String::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn of_two_values_for_one_row_each_part_is_the_last_that_was_given() {
        let (key, first) = row(10);
        let information = Some(ImageInformation { generation: 3, ..ImageInformation::default() });
        let second = ImageRow { bytes: None, information };
        let third = ImageRow { bytes: Some(Bytes::from_static(b"new")), information: None };
        let rows = [first, second, third].map(|values| (key.clone(), values)).to_vec();
        let rows = split_rows(rows).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(rows[0].file.as_ref().unwrap().cells[0].value == "new" && !rows[0].information.is_empty());
    }

    #[test]
    fn a_shorter_file_deletes_the_cells_that_it_does_not_replace() {
        let mut rows = split_rows(vec![row(100)]).unwrap();
        assert!(rows[0].leftovers(false).is_none(), "a new row leaves nothing to delete");
        rows[0].file.as_mut().unwrap().former = Former { cells: 3, has_extent: false };
        assert_eq!(names(&rows[0].whole()), ["MD:0", "MD:extent", "MD:length", "MD:checksums"]);
        assert_eq!(names(&rows[0].leftovers(false).unwrap()), ["MD:1", "MD:2", "MD:extent"]);
    }
}
