//! Blobs in the table of segments.
//!
//! A blob has a head, the row `head|NAME` with the cell `MI:head` (version and length), and data rows
//! `CHECKSUM|NAME|VERSION|NUMBER` with 4 MiB each. A put writes data rows under a new version, then swaps the head if it is still the
//! one that was there at the beginning, then deletes older versions: readers that followed the old head meanwhile follow the new one,
//! and of two writers at a time one begins again. A version's number is higher than the one that it replaces and never less than the
//! milliseconds since 1970, so a slow writer deletes nothing that came after it. What a crash left is deleted by the next put of the
//! name, or by [`sweep`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use hbase_thrift::hbase::{BatchMutation, THbaseSyncClient as _};
use medindex_proto::names::{CELL_BYTES, FAMILY_DATA, FAMILY_INFORMATION};
use rand::RngExt as _;

use super::caller::Table;
use super::columns::{COLUMN_CHECKSUMS, ReadRow, checksums, column, fits_checksums, read_row, value, write};
use super::pace::ANSWER_BYTES;
use super::read::{Range, after_prefix, following, scan_page};
use super::write::{delete_rows, mutate};
use crate::cells::{Cell, data_cell_count};
use crate::fault::Fault;
use crate::image_store::BlobInfo;

const COLUMN_HEAD: &str = "head";
const HEAD_PREFIX: &str = "head|";
/// How often a put begins again because another writer was faster, and a read because the blob was replaced meanwhile.
const ATTEMPTS: usize = 8;
/// Keys looked at in one request.
const KEYS: usize = 1000;

/// A version of a blob. Higher numbers are later; the salt tells versions of the same number apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    number: u64,
    salt: u64,
}

impl Version {
    fn after(base: Option<&Head>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let number = base.map_or(now, |base| now.max(base.version.number.saturating_add(1)));
        Self { number, salt: rand::rng().random() }
    }
}

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    version: Version,
    length: u64,
}

impl Head {
    fn to_bytes(self) -> Vec<u8> {
        [self.version.number, self.version.salt, self.length]
            .iter()
            .flat_map(|part| part.to_be_bytes())
            .collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 24] = bytes.try_into().ok()?;
        let part =
            |index: usize| bytes[index * 8..][..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Some(Self { version: Version { number: part(0), salt: part(1) }, length: part(2) })
    }
}

/// What all data rows of a blob begin with. The checksum spreads blobs over the regions.
fn data_prefix(name: &str) -> String {
    format!("{:08x}|{name}|", crc32fast::hash(name.as_bytes()))
}

fn data_key(name: &str, version: Version, cell: u64) -> Vec<u8> {
    format!("{}{:016x}{:016x}|{cell:08x}", data_prefix(name), version.number, version.salt).into_bytes()
}

/// The blob's name and version in the key of a data row.
fn read_data_key(key: &[u8]) -> Option<(String, Version)> {
    let key = std::str::from_utf8(key).ok()?;
    let mut parts = key.split('|').skip(1);
    let (name, version) = (parts.next()?, parts.next()?);
    let (number, salt) = version.split_at_checked(16)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    Some((name.to_owned(), Version { number, salt: u64::from_str_radix(salt, 16).ok()? }))
}

fn head_key(name: &str) -> Vec<u8> {
    format!("{HEAD_PREFIX}{name}").into_bytes()
}

/// Writes a blob, replacing one of its name.
pub(crate) async fn put(table: &Table, name: &str, bytes: &Bytes) -> Result<(), Fault> {
    for _ in 0..ATTEMPTS {
        let base = read_head(table, name).await?;
        let version = Version::after(base.as_ref());
        let head = Head { version, length: bytes.len() as u64 };
        for (number, start) in (0..bytes.len()).step_by(CELL_BYTES).enumerate() {
            let end = bytes.len().min(start + CELL_BYTES);
            let row = data_row(data_key(name, version, number as u64), bytes.slice(start..end));
            mutate(table, vec![row]).await?;
        }
        if swap_head(table, name, base, head).await? {
            sweep_name(table, name, version.number, Some(version)).await;
            return Ok(());
        }
        let count = data_cell_count(head.length);
        delete_rows(table, (0..count).map(|cell| data_key(name, version, cell))).await?;
        tracing::debug!(blob = name, "another writer was faster; begun again");
    }
    let source = format!("blob {name} was replaced by others {ATTEMPTS} times while it was written");
    Err(Fault::Unavailable { place: table.place(), source: source.into() })
}

fn data_row(key: Vec<u8>, content: Bytes) -> BatchMutation {
    let cell = Cell { qualifier: "0".to_owned(), value: content };
    let sum = checksums(std::iter::once(&cell));
    let mutations = [&cell, &sum].map(|cell| write(FAMILY_DATA, &cell.qualifier, &cell.value));
    BatchMutation { row: Some(key), mutations: Some(mutations.into()) }
}

/// Puts `head` in the place of `base`; whether it is there now.
async fn swap_head(table: &Table, name: &str, base: Option<Head>, head: Head) -> Result<bool, Fault> {
    let (table_name, key) = (table.wire_name(), head_key(name));
    let mutation = write(FAMILY_INFORMATION, COLUMN_HEAD, &head.to_bytes().into());
    // HBase takes a cell that is not there for an empty one.
    let expected = base.map_or_else(Vec::new, Head::to_bytes);
    let swapped = table
        .call(move |client| {
            let column = column(FAMILY_INFORMATION, COLUMN_HEAD);
            let (table, key, expected) = (table_name.clone(), key.clone(), expected.clone());
            client.check_and_put(table, key, column, expected, mutation.clone(), [].into())
        })
        .await?;
    // A first try whose answer was lost may have done it.
    Ok(swapped || read_head(table, name).await? == Some(head))
}

async fn read_head(table: &Table, name: &str) -> Result<Option<Head>, Fault> {
    let (table_name, key) = (table.wire_name(), head_key(name));
    let rows = table
        .call(move |client| {
            let columns = vec![column(FAMILY_INFORMATION, COLUMN_HEAD)];
            client.get_row_with_columns(table_name.clone(), key.clone(), columns, [].into())
        })
        .await?;
    rows.into_iter().next().map(|row| head_of(table, name, &read_row(row))).transpose()
}

fn head_of(table: &Table, name: &str, row: &ReadRow) -> Result<Head, Fault> {
    let information = row.cells.information.as_deref().unwrap_or_default();
    value(information, COLUMN_HEAD)
        .and_then(|head| Head::from_bytes(head))
        .ok_or_else(|| corrupted(table, format!("the head of blob {name} is none")))
}

fn corrupted(table: &Table, reason: String) -> Fault {
    Fault::Corrupted { place: table.place(), source: reason.into() }
}

/// Reads up to `length` bytes of a blob from `offset`.
pub(crate) async fn get(
    table: &Table,
    name: &str,
    offset: u64,
    length: usize,
) -> Result<Option<Bytes>, Fault> {
    let mut former = None;
    for _ in 0..ATTEMPTS {
        let Some(head) = read_head(table, name).await? else { return Ok(None) };
        if former == Some(head) {
            return Err(corrupted(
                table,
                format!("data of blob {name} is missing or does not fit its checksums"),
            ));
        }
        if let Some(bytes) = read_range(table, name, head, offset, length).await? {
            return Ok(Some(bytes));
        }
        // Replaced meanwhile, if the head has changed.
        former = Some(head);
    }
    let source = format!("blob {name} was replaced {ATTEMPTS} times while it was read");
    Err(Fault::Unavailable { place: table.place(), source: source.into() })
}

/// Reads a range of one version; `None` if a part of it is not there.
async fn read_range(
    table: &Table,
    name: &str,
    head: Head,
    offset: u64,
    length: usize,
) -> Result<Option<Bytes>, Fault> {
    let start = offset.min(head.length);
    let end = start.saturating_add(length as u64).min(head.length);
    let mut bytes = BytesMut::with_capacity((end - start) as usize);
    let cell_bytes = CELL_BYTES as u64;
    let mut cell = start / cell_bytes;
    while cell * cell_bytes < end && start < end {
        let last = (cell + (ANSWER_BYTES / CELL_BYTES) as u64).min(end.div_ceil(cell_bytes));
        let keys: Vec<Vec<u8>> = (cell..last).map(|cell| data_key(name, head.version, cell)).collect();
        let mut found = read_cells(table, keys.clone()).await?;
        for key in keys {
            let Some(content) = found.remove(&key) else { return Ok(None) };
            let base = cell * cell_bytes;
            let from = start.saturating_sub(base).min(content.len() as u64) as usize;
            let to = (end - base).min(content.len() as u64) as usize;
            bytes.extend_from_slice(&content[from..to]);
            cell += 1;
        }
    }
    let is_whole = bytes.len() as u64 == end - start;
    Ok(is_whole.then(|| bytes.freeze()))
}

/// Contents of data rows by key; those that are not there, or damaged, are left out.
async fn read_cells(table: &Table, keys: Vec<Vec<u8>>) -> Result<BTreeMap<Vec<u8>, Bytes>, Fault> {
    let name = table.wire_name();
    let rows = table
        .call(move |client| {
            let columns = vec![FAMILY_DATA.as_bytes().to_vec()];
            client.get_rows_with_columns(name.clone(), keys.clone(), columns, [].into())
        })
        .await?;
    let content = |row: ReadRow| {
        let data = row.cells.data.unwrap_or_default();
        let content = value(&data, "0").filter(|_| fits_checksums(&data))?.clone();
        Some((row.key, content))
    };
    Ok(rows.into_iter().map(read_row).filter_map(content).collect())
}

/// Deletes a blob.
pub(crate) async fn delete(table: &Table, name: &str) -> Result<(), Fault> {
    if let Some(head) = read_head(table, name).await? {
        delete_rows(table, std::iter::once(head_key(name))).await?;
        sweep_name(table, name, head.version.number, None).await;
    }
    Ok(())
}

/// Blobs whose names begin with `prefix`, by name.
pub(crate) async fn list(table: &Table, prefix: &str) -> Result<Vec<BlobInfo>, Fault> {
    let mut start = head_key(prefix);
    let stop = after_prefix(&start);
    let mut blobs = Vec::new();
    loop {
        let columns = vec![column(FAMILY_INFORMATION, COLUMN_HEAD)];
        let range = Range { start: start.clone(), stop: stop.clone(), columns };
        let page = scan_page(table, range, false, KEYS, |_| true).await?;
        for row in &page {
            let name = String::from_utf8_lossy(&row.key[HEAD_PREFIX.len().min(row.key.len())..]).into_owned();
            let bytes = head_of(table, &name, row)?.length;
            blobs.push(BlobInfo { name, bytes });
        }
        match page.last() {
            Some(last) if page.len() == KEYS => start = following(&last.key),
            _ => return Ok(blobs),
        }
    }
}

/// Deletes data rows of versions of one blob up to a number, but for one version. What fails here is done by the next put or [`sweep`].
async fn sweep_name(table: &Table, name: &str, up_to: u64, keep: Option<Version>) {
    let range_start = data_prefix(name).into_bytes();
    let stale =
        |found: &str, version: Version| found == name && version.number <= up_to && Some(version) != keep;
    if let Err(fault) = sweep_range(table, range_start.clone(), after_prefix(&range_start), stale).await {
        tracing::warn!(blob = name, %fault, "former versions of a blob stay until the next sweep");
    }
}

/// Deletes data rows of a range whose blob and version are `stale`; how many.
async fn sweep_range(
    table: &Table,
    mut start: Vec<u8>,
    stop: Vec<u8>,
    stale: impl Fn(&str, Version) -> bool,
) -> Result<usize, Fault> {
    let mut deleted = 0;
    loop {
        let page = data_keys(table, start, stop.clone()).await?;
        let is_stale =
            |key: &&Vec<u8>| read_data_key(key).is_some_and(|(name, version)| stale(&name, version));
        let keys: Vec<Vec<u8>> = page.iter().filter(is_stale).cloned().collect();
        deleted += keys.len();
        delete_rows(table, keys.into_iter()).await?;
        match page.last() {
            Some(last) if page.len() == KEYS => start = following(last),
            _ => return Ok(deleted),
        }
    }
}

/// Keys of the next data rows of a range; of the rows themselves only the checksums are read.
async fn data_keys(table: &Table, start: Vec<u8>, stop: Vec<u8>) -> Result<Vec<Vec<u8>>, Fault> {
    let range = Range { start, stop, columns: vec![column(FAMILY_DATA, COLUMN_CHECKSUMS)] };
    let page = scan_page(table, range, false, KEYS, |_| true).await?;
    Ok(page.into_iter().map(|row| row.key).collect())
}

/// Deletes data rows that no head leads to and that are older than `age`, which must be longer than a put takes; how many.
pub(crate) async fn sweep(table: &Table, age: Duration) -> Result<usize, Fault> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let up_to = now.saturating_sub(age).as_millis() as u64;
    let stop = HEAD_PREFIX.as_bytes().to_vec();
    let mut start = Vec::new();
    let mut deleted = 0;
    loop {
        let page = data_keys(table, start, stop.clone()).await?;
        let found: Vec<(&Vec<u8>, String, Version)> = page
            .iter()
            .filter_map(|key| read_data_key(key).map(|(name, version)| (key, name, version)))
            .filter(|(_, _, version)| version.number <= up_to)
            .collect();
        let names: BTreeSet<&str> = found.iter().map(|(_, name, _)| name.as_str()).collect();
        let mut heads = BTreeMap::new();
        // After the data rows were seen: a version that was being written then, and has its head by now, stays.
        for name in names {
            heads.insert(name.to_owned(), read_head(table, name).await?.map(|head| head.version));
        }
        let stale = found.iter().filter(|(_, name, version)| heads.get(name) != Some(&Some(*version)));
        let keys: Vec<Vec<u8>> = stale.map(|(key, ..)| (*key).clone()).collect();
        deleted += keys.len();
        delete_rows(table, keys.into_iter()).await?;
        match page.last() {
            Some(last) if page.len() == KEYS => start = following(last),
            _ => return Ok(deleted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_data_rows_are_read_back_and_sort_by_version_then_number() {
        let version = |number| Version { number, salt: u64::MAX - number };
        let keys = [(1, 0), (1, 1), (1, 300), (2, 0), (1 << 40, 0)]
            .map(|(number, cell)| data_key("segments/0/a", version(number), cell));
        assert!(keys.is_sorted());
        assert_eq!(read_data_key(&keys[2]), Some(("segments/0/a".to_owned(), version(1))));
        assert_eq!(read_data_key(b"head|segments/0/a"), None);
        // Heads come after all data rows, so that a sweep over data sees none.
        assert!(keys.iter().all(|key| key.as_slice() < HEAD_PREFIX.as_bytes()));
    }

    #[test]
    fn heads_are_read_back_and_versions_only_rise() {
        let far = Version { number: u64::MAX - 1, salt: 7 };
        let head = Head { version: far, length: 1 << 33 };
        assert_eq!(Head::from_bytes(&head.to_bytes()), Some(head));
        assert_eq!(Head::from_bytes(b"short"), None);
        assert_eq!(Version::after(Some(&head)).number, u64::MAX);
        assert!(Version::after(None).number > 1_700_000_000_000);
    }
}
