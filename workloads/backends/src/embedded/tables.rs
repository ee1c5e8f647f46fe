//! Tables of `store.redb`.
//!
//! Values longer than a piece are kept in pieces ([`super::pieces`]), and every value carries a checksum, because
//! the database checks its own pages only when it repairs itself.

use redb::{
    ReadTransaction, ReadableTable, StorageError, Table, TableDefinition, TableError, WriteTransaction,
};

use super::database::{Contained, contain};

/// Version of this layout; a store with a higher one is refused.
pub(crate) const LAYOUT_VERSION: u64 = 1;

/// Key of the layout's version in [`ABOUT`].
pub(crate) const LAYOUT_KEY: &str = "layout";

/// Facts about the store itself.
pub(crate) const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");
/// Family `MD`: pieces of cells by row key, column, piece.
pub(crate) const DATA: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("image_info.MD");
/// Family `MI`: pieces of cells by row key, column, piece.
pub(crate) const INFORMATION: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("image_info.MI");
/// Blobs: pieces by name and piece.
pub(crate) const BLOBS: TableDefinition<'_, (&str, u64), &[u8]> = TableDefinition::new("index_segments");
/// Lengths of the blobs in bytes.
pub(crate) const BLOB_LENGTHS: TableDefinition<'_, &str, u64> = TableDefinition::new("index_segments.length");
/// Number of partitions of each topic.
pub(crate) const TOPICS: TableDefinition<'_, &str, u32> = TableDefinition::new("queue.topics");
/// Messages by topic, partition, offset.
pub(crate) const MESSAGES: TableDefinition<'_, (&str, u32, u64), &[u8]> =
    TableDefinition::new("queue.messages");
/// First offset kept and next offset, by topic and partition.
pub(crate) const OFFSETS: TableDefinition<'_, (&str, u32), (u64, u64)> =
    TableDefinition::new("queue.offsets");
/// Committed positions by topic, group, partition.
pub(crate) const POSITIONS: TableDefinition<'_, (&str, &str, u32), u64> =
    TableDefinition::new("queue.positions");

/// A table that can be dropped while a panic unwinds, even when its transaction cannot be used any more.
type OpenTable<'txn, K, V> = Contained<Table<'txn, K, V>>;

/// All tables, open in a write transaction.
pub(crate) struct Tables<'txn> {
    pub(crate) about: OpenTable<'txn, &'static str, u64>,
    pub(crate) data: OpenTable<'txn, &'static [u8], &'static [u8]>,
    pub(crate) information: OpenTable<'txn, &'static [u8], &'static [u8]>,
    pub(crate) blobs: OpenTable<'txn, (&'static str, u64), &'static [u8]>,
    pub(crate) blob_lengths: OpenTable<'txn, &'static str, u64>,
    pub(crate) topics: OpenTable<'txn, &'static str, u32>,
    pub(crate) messages: OpenTable<'txn, (&'static str, u32, u64), &'static [u8]>,
    pub(crate) offsets: OpenTable<'txn, (&'static str, u32), (u64, u64)>,
    pub(crate) positions: OpenTable<'txn, (&'static str, &'static str, u32), u64>,
}

fn open<'txn, K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &'txn WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<OpenTable<'txn, K, V>, TableError> {
    transaction.open_table(table).map(contain)
}

impl<'txn> Tables<'txn> {
    /// Opens all tables, making those that are missing.
    pub(crate) fn open(transaction: &'txn WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            about: open(transaction, ABOUT)?,
            data: open(transaction, DATA)?,
            information: open(transaction, INFORMATION)?,
            blobs: open(transaction, BLOBS)?,
            blob_lengths: open(transaction, BLOB_LENGTHS)?,
            topics: open(transaction, TOPICS)?,
            messages: open(transaction, MESSAGES)?,
            offsets: open(transaction, OFFSETS)?,
            positions: open(transaction, POSITIONS)?,
        })
    }

    /// Sets the layout's version in a new store; returns the version of this one.
    pub(crate) fn ensure_layout(&mut self) -> Result<u64, StorageError> {
        if let Some(version) = self.about.get(LAYOUT_KEY)? {
            return Ok(version.value());
        }
        self.about.insert(LAYOUT_KEY, LAYOUT_VERSION)?;
        Ok(LAYOUT_VERSION)
    }
}

/// Version of the layout in a store that may have been written by another release.
pub(crate) fn layout_version(transaction: &ReadTransaction) -> Result<u64, TableError> {
    let version = transaction.open_table(ABOUT)?.get(LAYOUT_KEY)?.map(|version| version.value());
    version.ok_or_else(|| StorageError::Corrupted("the layout's version is missing".into()).into())
}

/// What a missing or mistyped table means once the layout was checked: damage.
pub(crate) fn damaged(error: TableError) -> StorageError {
    match error {
        TableError::Storage(error) => error,
        other => StorageError::Corrupted(other.to_string()),
    }
}
