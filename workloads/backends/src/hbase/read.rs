//! Reading rows: by key, and a partition in key order.

use std::collections::HashMap;

use hbase_thrift::hbase::{ScannerID, THbaseSyncClient as _, TScan};
use medindex_proto::names::{CELL_BYTES, COLUMN_LENGTH, FAMILY_DATA};
use medindex_proto::{RowKey, identity::row_prefix};

use super::caller::{Table, Waits};
use super::columns::{ReadRow, column, fits_checksums, is_partial, number, read_row, value, wanted_columns};
use super::connection::Client;
use super::pace::{ANSWER_BYTES, Pace};
use crate::cells::{RowCells, data_cell_count, join_row};
use crate::fault::Fault;
use crate::image_store::{Columns, ImageRow, ImageStoreError, Result};

/// Why rows could not be read: the backend's fault, or the row's.
pub(crate) enum ReadError {
    Fault(Fault),
    Row(ImageStoreError),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl ReadError {
    /// The port's error, with the fault as the source of `what`.
    pub(crate) fn of(self, what: impl FnOnce(Fault) -> ImageStoreError) -> ImageStoreError {
        match self {
            Self::Fault(fault) => what(fault),
            Self::Row(error) => error,
        }
    }
}

/// Reads rows by their keys, in the order asked for.
pub(crate) async fn get_rows(
    table: &Table,
    rows: &[RowKey],
    columns: Columns,
) -> Result<Vec<Option<ImageRow>>, ReadError> {
    let mut found = HashMap::with_capacity(rows.len());
    let mut pace = Pace::new(columns.contains(Columns::BYTES));
    let mut rest = rows;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(pace.rows().min(rest.len()));
        rest = later;
        let read = get_cells(table, now, columns).await?;
        pace.learn(read.len(), read.iter().map(|row| row.bytes).sum());
        for row in read {
            let key = parse_key(table, &row.key)?;
            if let Some(values) = complete(table, &key, row.cells, columns).await? {
                found.insert(key, values);
            }
        }
    }
    Ok(rows.iter().map(|row| found.get(row).cloned()).collect())
}

/// The first cells of rows, in one request; rows that are not there are left out.
async fn get_cells(table: &Table, rows: &[RowKey], columns: Columns) -> Result<Vec<ReadRow>, Fault> {
    let name = table.wire_name();
    let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.as_str().into()).collect();
    let wanted = wanted_columns(columns);
    let call = move |client: &mut Client| {
        client.get_rows_with_columns(name.clone(), keys.clone(), wanted.clone(), [].into())
    };
    Ok(table.call(call).await?.into_iter().map(read_row).collect())
}

/// Makes a row out of its first cells: reads the others of a large file, and waits while the file is being replaced.
async fn complete(
    table: &Table,
    key: &RowKey,
    mut cells: RowCells,
    columns: Columns,
) -> Result<Option<ImageRow>, ReadError> {
    let mut waits = Waits::new(table.patience() / 4);
    loop {
        hide_unfinished(&mut cells);
        let Some(data) = &mut cells.data else { break };
        if is_partial(data) {
            let cell_count = data_cell_count(number(data, COLUMN_LENGTH).unwrap_or(0));
            let names: Vec<String> = (1..cell_count).map(|cell| cell.to_string()).collect();
            for names in names.chunks(ANSWER_BYTES / CELL_BYTES) {
                let row = get_more(table, key, names).await?;
                data.extend(row.cells.data.unwrap_or_default());
            }
        }
        if fits_checksums(data) {
            break;
        }
        if !waits.wait().await {
            let reason = "its data does not fit its checksums: a replacement broke off, or a cell is damaged";
            return Err(ReadError::Row(ImageStoreError::JoinCells {
                row: key.clone(),
                reason: reason.into(),
            }));
        }
        let again = get_cells(table, std::slice::from_ref(key), columns).await?;
        cells = again.into_iter().next().unwrap_or_default().cells;
    }
    join_row(key, cells).map_err(ReadError::Row)
}

/// A file without a length is still being written for the first time: it is not there yet.
fn hide_unfinished(cells: &mut RowCells) {
    if cells.data.as_ref().is_some_and(|data| value(data, COLUMN_LENGTH).is_none()) {
        cells.data = None;
    }
}

async fn get_more(table: &Table, key: &RowKey, cells: &[String]) -> Result<ReadRow, Fault> {
    let name = table.wire_name();
    let row: Vec<u8> = key.as_str().into();
    let wanted: Vec<Vec<u8>> = cells.iter().map(|cell| column(FAMILY_DATA, cell)).collect();
    let call = move |client: &mut Client| {
        client.get_row_with_columns(name.clone(), row.clone(), wanted.clone(), [].into())
    };
    Ok(table.call(call).await?.into_iter().next().map(read_row).unwrap_or_default())
}

/// Reads the next `limit` rows of a partition that have any of the columns.
pub(crate) async fn scan_rows(
    table: &Table,
    partition: u32,
    columns: Columns,
    after: Option<&RowKey>,
    limit: usize,
) -> Result<Vec<(RowKey, ImageRow)>, ReadError> {
    let prefix = row_prefix(partition);
    let mut start =
        after.map_or_else(|| prefix.clone().into_bytes(), |row| following(row.as_str().as_bytes()));
    let is_there = |row: &mut ReadRow| {
        hide_unfinished(&mut row.cells);
        row.cells.data.is_some() || row.cells.information.is_some()
    };
    let mut rows = Vec::new();
    // Again only where a row was deleted while its other cells were read: a page that is not full means the end.
    while rows.len() < limit {
        let stop = after_prefix(prefix.as_bytes());
        let range = Range { start, stop, columns: wanted_columns(columns) };
        let wanted = limit - rows.len();
        let page = scan_page(table, range, columns.contains(Columns::BYTES), wanted, is_there).await?;
        let is_last = page.len() < wanted;
        start = page.last().map(|row| following(&row.key)).unwrap_or_default();
        for row in page {
            // A row that no program of ours wrote keeps nobody from the others.
            let key = match parse_key(table, &row.key) {
                Ok(key) => key,
                Err(error) => {
                    tracing::warn!(%error, row = %row.key.escape_ascii(), "a row with an impossible key is passed over: see who writes to the table");
                    continue;
                }
            };
            if let Some(values) = complete(table, &key, row.cells, columns).await? {
                rows.push((key, values));
            }
        }
        if is_last {
            break;
        }
    }
    Ok(rows)
}

/// Rows to scan.
#[derive(Clone)]
pub(crate) struct Range {
    /// First row key.
    pub(crate) start: Vec<u8>,
    /// Row key after the last.
    pub(crate) stop: Vec<u8>,
    /// Columns, as Thrift names them; rows that have none of them are left out.
    pub(crate) columns: Vec<Vec<u8>>,
}

/// Reads up to `limit` rows of a range that `keep` holds for, with one scanner, which is closed again.
pub(crate) async fn scan_page(
    table: &Table,
    range: Range,
    with_data: bool,
    limit: usize,
    keep: impl Fn(&mut ReadRow) -> bool + Copy + Send + Sync + 'static,
) -> Result<Vec<ReadRow>, Fault> {
    let name = table.wire_name();
    let call = move |client: &mut Client| {
        let scan = TScan {
            start_row: Some(range.start.clone()),
            stop_row: Some(range.stop.clone()),
            timestamp: None,
            columns: Some(range.columns.clone()),
            caching: Some(limit.min(1000) as i32),
            filter_string: None,
            batch_size: None,
            sort_columns: None,
            reversed: None,
            cache_blocks: Some(false),
        };
        let scanner = client.scanner_open_with_scan(name.clone(), scan, [].into())?;
        let page = read_page(client, scanner, with_data, limit, keep);
        // Where the connection broke the server closes the scanner by itself, some time later.
        if matches!(page, Ok(_) | Err(thrift::Error::User(_))) {
            let closed = client.scanner_close(scanner);
            return page.and_then(|rows| closed.map(|()| rows));
        }
        page
    };
    table.call(call).await
}

fn read_page(
    client: &mut Client,
    scanner: ScannerID,
    with_data: bool,
    limit: usize,
    keep: impl Fn(&mut ReadRow) -> bool,
) -> thrift::Result<Vec<ReadRow>> {
    let mut page = Vec::new();
    let mut pace = Pace::new(with_data);
    while page.len() < limit {
        let asked = pace.rows().min(limit - page.len());
        let rows = client.scanner_get_list(scanner, asked as i32)?;
        let count = rows.len();
        let mut bytes = 0;
        for mut row in rows.into_iter().map(read_row) {
            bytes += row.bytes;
            if keep(&mut row) {
                page.push(row);
            }
        }
        pace.learn(count, bytes);
        if count < asked {
            break;
        }
    }
    Ok(page)
}

/// The smallest key after this one.
pub(crate) fn following(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// The smallest key after all that begin with `prefix`; empty, which means the table's end, when there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    while let Some(last) = key.pop() {
        if last < u8::MAX {
            key.push(last + 1);
            break;
        }
    }
    key
}

fn parse_key(table: &Table, key: &[u8]) -> Result<RowKey, Fault> {
    RowKey::parse(&String::from_utf8_lossy(key))
        .map_err(|error| Fault::Corrupted { place: table.place(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(after_prefix(b"0003|"), b"0003}");
        assert_eq!(after_prefix(b"a\xff"), b"b");
        assert_eq!(after_prefix(b"\xff\xff"), b"");
        assert_eq!(following(b"a"), b"a\0");
    }
}
