//! The image store over the embedded store.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use medindex_proto::{RowKey, identity::row_prefix};
use redb::{ReadOnlyTable, ReadTransaction, StorageError};

use super::database::Problem;
use super::ordered::{Ascending, AscendingKeys, out_of_order};
use super::pieces::{PIECE_BYTES, piece_key, pieces, read_piece_key, remove_row, row_bounds, seal, unseal};
use super::store::EmbeddedStore;
use super::tables::{BLOB_LENGTHS, BLOBS, DATA, INFORMATION, Tables};
use crate::cells::{Cell, RowCells, is_needed, join_row, split_row};
use crate::image_store::{BlobInfo, Columns, ImageRow, ImageStore, ImageStoreError, Result, check_blob_name};

type CellTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

#[async_trait]
impl ImageStore for EmbeddedStore {
    async fn put_many(&self, rows: Vec<(RowKey, ImageRow)>) -> Result<()> {
        let count = rows.len();
        let mut split = Vec::with_capacity(count);
        for (row, values) in &rows {
            split.push((row.clone(), split_row(row, values)?));
        }
        let bytes = split.iter().map(|(_, cells)| size_of_cells(cells)).sum();
        self.write(
            bytes,
            move |tables| split.iter().try_for_each(|(row, cells)| put_row(tables, row, cells)),
            |()| (),
        )
        .await
        .map_err(|source| ImageStoreError::PutRows { rows: count, source })
    }

    async fn get_many(&self, rows: &[RowKey], columns: Columns) -> Result<Vec<Option<ImageRow>>> {
        let count = rows.len();
        let rows = rows.to_vec();
        self.read(move |transaction| {
            let reader = RowReader::open(transaction, columns)?;
            rows.into_iter().map(|row| Ok((reader.cells(&row)?, row))).collect::<Result<Vec<_>, Problem>>()
        })
        .await
        .map_err(|source| ImageStoreError::GetRows { rows: count, source })?
        .into_iter()
        .map(|(cells, row)| join_row(&row, cells))
        .collect()
    }

    async fn delete_many(&self, rows: &[RowKey]) -> Result<()> {
        let count = rows.len();
        let rows = rows.to_vec();
        let work = move |tables: &mut Tables<'_>| {
            for row in &rows {
                remove_row(&mut tables.data, row.as_str())?;
                remove_row(&mut tables.information, row.as_str())?;
            }
            Ok(())
        };
        let outcome = self.write(count * 64, work, |()| ()).await;
        outcome.map_err(|source| ImageStoreError::DeleteRows { rows: count, source })
    }

    async fn scan(
        &self,
        partition: u32,
        columns: Columns,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, ImageRow)>> {
        let after = after.cloned();
        let rows = self
            .read(move |transaction| {
                let reader = RowReader::open(transaction, columns)?;
                reader.scan(partition, after.as_ref(), limit)
            })
            .await
            .map_err(|source| ImageStoreError::ScanRows { partition, source })?;
        let joined = rows.into_iter().filter_map(|(row, cells)| {
            join_row(&row, cells).map(|values| values.map(|values| (row, values))).transpose()
        });
        joined.collect()
    }

    async fn keys(&self, partition: u32, after: Option<&RowKey>, limit: usize) -> Result<Vec<RowKey>> {
        let start = after.map(|row| row_bounds(row.as_str()).1);
        self.read(move |transaction| {
            let prefix = row_prefix(partition);
            let start = start.unwrap_or_else(|| prefix.clone().into_bytes());
            let mut rows = BTreeSet::new();
            for table in [DATA, INFORMATION] {
                rows.extend(next_rows(&transaction.open_table(table)?, &prefix, start.clone(), limit)?);
            }
            Ok(rows.into_iter().take(limit).collect())
        })
        .await
        .map_err(|source| ImageStoreError::ScanRows { partition, source })
    }

    async fn put_blob(&self, name: &str, bytes: Bytes) -> Result<()> {
        check_blob_name(name)?;
        let key = name.to_owned();
        self.write(bytes.len(), move |tables| put_blob(tables, &key, &bytes), |()| ())
            .await
            .map_err(|source| ImageStoreError::PutBlob { name: name.to_owned(), source })
    }

    async fn get_blob(&self, name: &str) -> Result<Option<Bytes>> {
        self.get_blob_range(name, 0, usize::MAX).await
    }

    async fn get_blob_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        check_blob_name(name)?;
        let key = name.to_owned();
        self.read(move |transaction| read_blob(transaction, &key, offset, length))
            .await
            .map_err(|source| ImageStoreError::GetBlob { name: name.to_owned(), source })
    }

    async fn delete_blob(&self, name: &str) -> Result<()> {
        check_blob_name(name)?;
        let key = name.to_owned();
        self.write(key.len(), move |tables| remove_blob(tables, &key), |()| ())
            .await
            .map_err(|source| ImageStoreError::DeleteBlob { name: name.to_owned(), source })
    }

    async fn list_blobs(&self, prefix: &str) -> Result<Vec<BlobInfo>> {
        let wanted = prefix.to_owned();
        self.read(move |transaction| list_blobs(transaction, &wanted))
            .await
            .map_err(|source| ImageStoreError::ListBlobs { prefix: prefix.to_owned(), source })
    }
}

fn size_of_cells(cells: &RowCells) -> usize {
    let all = cells.data.iter().chain(&cells.information).flatten();
    all.map(|cell| cell.value.len() + cell.qualifier.len() + 64).sum()
}

fn put_row(tables: &mut Tables<'_>, row: &RowKey, cells: &RowCells) -> Result<(), StorageError> {
    for (table, cells) in [(&mut tables.data, &cells.data), (&mut tables.information, &cells.information)] {
        let Some(cells) = cells else { continue };
        remove_row(table, row.as_str())?;
        for cell in cells {
            for (number, piece) in pieces(&cell.value) {
                let key = piece_key(row.as_str(), &cell.qualifier, number);
                table.insert(key.as_slice(), seal(piece).as_slice())?;
            }
        }
    }
    Ok(())
}

/// Reads rows in one transaction.
struct RowReader {
    columns: Columns,
    data: Option<CellTable>,
    information: Option<CellTable>,
}

impl RowReader {
    fn open(transaction: &ReadTransaction, columns: Columns) -> Result<Self, Problem> {
        let wants_data = columns.contains(Columns::BYTES);
        let wants_information = columns.intersects(Columns::INFORMATION);
        Ok(Self {
            columns,
            data: wants_data.then(|| transaction.open_table(DATA)).transpose()?,
            information: wants_information.then(|| transaction.open_table(INFORMATION)).transpose()?,
        })
    }

    fn is_needed(&self, qualifier: &str) -> bool {
        is_needed(qualifier, self.columns)
    }

    fn cells(&self, row: &RowKey) -> Result<RowCells, Problem> {
        let (first, end) = row_bounds(row.as_str());
        let read = |table: &CellTable, is_needed: &dyn Fn(&str) -> bool| -> Result<Vec<Cell>, Problem> {
            let (mut cells, mut order) = (CellReader::default(), AscendingKeys::new(&first, &end));
            for entry in table.range(first.as_slice()..end.as_slice())? {
                let (key, value) = entry?;
                order.check(key.value())?;
                let (_, qualifier, piece) = read_piece_key(key.value())?;
                if is_needed(qualifier) {
                    cells.push(row.as_str(), qualifier, piece, value.value())?;
                }
            }
            Ok(cells.finish())
        };
        let data = self.data.as_ref().map(|table| read(table, &|_| true)).transpose()?;
        let information = self.information.as_ref();
        let information = information.map(|table| read(table, &|name| self.is_needed(name))).transpose()?;
        Ok(RowCells { data, information })
    }

    /// The next `limit` rows of a partition that are in any of the tables asked for.
    fn scan(
        &self,
        partition: u32,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, RowCells)>, Problem> {
        let prefix = row_prefix(partition);
        let start = after.map_or_else(|| prefix.clone().into_bytes(), |row| row_bounds(row.as_str()).1);
        if start >= past_prefix(&prefix) {
            return Ok(Vec::new());
        }
        let mut rows = BTreeMap::<RowKey, RowCells>::new();
        if let Some(table) = &self.information {
            self.scan_information(table, &prefix, &start, limit, &mut rows)?;
        }
        if let Some(table) = &self.data {
            for row in next_rows(table, &prefix, start, limit)? {
                rows.entry(row).or_default();
            }
        }
        // Each table gave its first `limit` rows, so the first `limit` of both together are complete; the data
        // is read for these alone.
        let mut found = Vec::new();
        for (row, cells) in rows.into_iter().take(limit) {
            let cells = if self.data.is_some() { self.cells(&row)? } else { cells };
            found.push((row, cells));
        }
        Ok(found)
    }

    /// Reads whole rows one after the other: the way a search shard loads millions of them. Cells with impossible keys are passed over:
    /// one damaged key does not keep the other rows back, and reading its own row alone still tells.
    fn scan_information(
        &self,
        table: &CellTable,
        prefix: &str,
        start: &[u8],
        limit: usize,
        rows: &mut BTreeMap<RowKey, RowCells>,
    ) -> Result<(), Problem> {
        let mut current = String::new();
        let mut cells = CellReader::default();
        let past = past_prefix(prefix);
        let mut order = AscendingKeys::new(start, &past);
        for entry in table.range(start..past.as_slice())? {
            let (key, value) = entry?;
            order.check(key.value())?;
            let (row, qualifier, piece) = match read_piece_key(key.value()) {
                Ok(parts) => parts,
                Err(damage) => {
                    pass_over(&damage);
                    continue;
                }
            };
            if row != current {
                keep_row(rows, &current, std::mem::take(&mut cells));
                if rows.len() == limit {
                    return Ok(());
                }
                row.clone_into(&mut current);
            }
            if self.is_needed(qualifier) {
                cells.push(row, qualifier, piece, value.value())?;
            }
        }
        keep_row(rows, &current, cells);
        Ok(())
    }
}

fn keep_row(rows: &mut BTreeMap<RowKey, RowCells>, row: &str, cells: CellReader) {
    if row.is_empty() {
        return;
    }
    match parse_row(row) {
        Ok(row) => {
            rows.insert(row, RowCells { data: None, information: Some(cells.finish()) });
        }
        Err(damage) => pass_over(&damage),
    }
}

fn pass_over(damage: &StorageError) {
    tracing::warn!(%damage, "a row of the store cannot be read and is passed over");
}

/// What comes after every key that begins with `prefix`, which ends with a separator.
fn past_prefix(prefix: &str) -> Vec<u8> {
    let mut past = prefix.as_bytes().to_vec();
    if let Some(last) = past.last_mut() {
        *last = last.saturating_add(1);
    }
    past
}

/// Keys of the next rows of a table, jumping over their cells, and passing over impossible keys.
fn next_rows(
    table: &CellTable,
    prefix: &str,
    mut start: Vec<u8>,
    limit: usize,
) -> Result<Vec<RowKey>, Problem> {
    let mut rows = Vec::new();
    let past = past_prefix(prefix);
    while rows.len() < limit && start < past {
        let Some(entry) = table.range(start.as_slice()..past.as_slice())?.next() else { break };
        let (key, _) = entry?;
        if !(start.as_slice()..past.as_slice()).contains(&key.value()) {
            return Err(out_of_order().into());
        }
        match read_piece_key(key.value()).and_then(|(row, ..)| Ok((parse_row(row)?, row_bounds(row).1))) {
            Ok((row, next)) => {
                rows.push(row);
                start = next;
            }
            Err(damage) => {
                pass_over(&damage);
                start = key.value().to_vec();
                start.push(0);
            }
        }
    }
    Ok(rows)
}

fn parse_row(row: &str) -> Result<RowKey, StorageError> {
    RowKey::parse(row).map_err(|error| StorageError::Corrupted(error.to_string()))
}

/// Puts pieces, given in order, together to cells.
#[derive(Default)]
struct CellReader {
    done: Vec<Cell>,
    qualifier: String,
    value: BytesMut,
}

impl CellReader {
    fn push(&mut self, row: &str, qualifier: &str, piece: u16, sealed: &[u8]) -> Result<(), StorageError> {
        if piece == 0 {
            self.end_cell();
            qualifier.clone_into(&mut self.qualifier);
        }
        self.value.extend_from_slice(unseal(sealed, || format!("row {row}, column {qualifier}"))?);
        Ok(())
    }

    fn end_cell(&mut self) {
        if !self.qualifier.is_empty() {
            let value = std::mem::take(&mut self.value).freeze();
            self.done.push(Cell { qualifier: std::mem::take(&mut self.qualifier), value });
        }
    }

    fn finish(mut self) -> Vec<Cell> {
        self.end_cell();
        self.done
    }
}

fn put_blob(tables: &mut Tables<'_>, name: &str, bytes: &Bytes) -> Result<(), StorageError> {
    remove_blob(tables, name)?;
    for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        tables.blobs.insert((name, number as u64), seal(piece).as_slice())?;
    }
    tables.blob_lengths.insert(name, bytes.len() as u64)?;
    Ok(())
}

fn remove_blob(tables: &mut Tables<'_>, name: &str) -> Result<(), StorageError> {
    if tables.blob_lengths.remove(name)?.is_some() {
        tables.blobs.retain_in((name, 0)..=(name, u64::MAX), |_, _| false)?;
    }
    Ok(())
}

fn read_blob(
    transaction: &ReadTransaction,
    name: &str,
    offset: u64,
    length: usize,
) -> Result<Option<Bytes>, Problem> {
    let Some(total) = transaction.open_table(BLOB_LENGTHS)?.get(name)?.map(|total| total.value()) else {
        return Ok(None);
    };
    let start = offset.min(total);
    let end = start.saturating_add(length as u64).min(total);
    let mut bytes = BytesMut::with_capacity((end - start) as usize);
    if start < end {
        let table = transaction.open_table(BLOBS)?;
        let piece_bytes = PIECE_BYTES as u64;
        for number in start / piece_bytes..=(end - 1) / piece_bytes {
            let what = || format!("blob {name}, piece {number}");
            let sealed = table
                .get((name, number))?
                .ok_or_else(|| StorageError::Corrupted(format!("{} is missing", what())))?;
            let piece = unseal(sealed.value(), what)?;
            let base = number * piece_bytes;
            let from = start.saturating_sub(base).min(piece.len() as u64) as usize;
            let to = (end - base).min(piece.len() as u64) as usize;
            bytes.extend_from_slice(&piece[from..to]);
        }
    }
    Ok(Some(bytes.freeze()))
}

fn list_blobs(transaction: &ReadTransaction, prefix: &str) -> Result<Vec<BlobInfo>, Problem> {
    let table = transaction.open_table(BLOB_LENGTHS)?;
    let (mut blobs, mut order) = (Vec::new(), Ascending::new());
    for entry in table.range(prefix..)? {
        let (name, bytes) = entry?;
        order.check(name.value().to_owned())?;
        if !name.value().starts_with(prefix) {
            break;
        }
        blobs.push(BlobInfo { name: name.value().to_owned(), bytes: bytes.value() });
    }
    Ok(blobs)
}
