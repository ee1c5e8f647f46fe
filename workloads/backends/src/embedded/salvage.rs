//! Saving what can be read of a store whose pages are damaged.
//!
//! A damaged page of a search tree hides what lies under it from reading in order, and makes writing beside it fail. So everything that can be read
//! goes to a new file: rows by the keys that others know (the catalog) and by those that are found from both ends of the tables, messages by their offsets.
//! Guarantees: the damaged file is never written to and is kept under another name; a row is saved whole or not at all; a salvage that is cut off leaves
//! the store as it was. It needs as much space as the store has.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use medindex_proto::RowKey;
use medindex_proto::names::MAX_PARTITIONS;
use redb::{
    Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition,
};

use super::aside::set_aside;
use super::database::{
    Problem, discard, guard, io_fault, open_or_create, remove_if_there, sync_folder, write,
};
use super::extent::corrected_extent;
use super::mended::{open_mended, open_unchanged};
use super::ordered::{Ascending, AscendingKeys, out_of_order};
use super::pieces::{read_piece_key, row_bounds};
use super::store::{EmbeddedStore, STORE_FILE, StoreOptions, lock_folder, run_blocking};
use super::tables::{BLOB_LENGTHS, BLOBS, DATA, INFORMATION, MESSAGES, OFFSETS, POSITIONS, TOPICS};
use crate::fault::Fault;

/// Name of the new file until it is whole.
const NEW_FILE: &str = "store.salvaged";
/// Bytes of content in one transaction of the new file.
const BATCH_BYTES: usize = 64 << 20;
/// Messages that are read together where nothing is damaged.
const MESSAGES_TOGETHER: u64 = 256;

/// Bytes that a message takes at least: its key and its sealed value.
const LEAST_MESSAGE_BYTES: u64 = 32;

/// After so many that cannot be read nothing more comes of a partition: no page but the root of a tree hides more messages.
const MOST_LOST_IN_A_ROW: u64 = 1 << 20;

/// What a salvage saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Where the damaged file is kept.
    pub kept: PathBuf,
    /// Rows that are in the new file.
    pub rows: u64,
    /// Rows that are known and could not be read.
    pub lost_rows: u64,
    /// Messages that are in the new file.
    pub messages: u64,
    /// Messages that could not be read.
    pub lost_messages: u64,
}

impl EmbeddedStore {
    /// What is damaged of the store in `folder`, which nobody may have open: compares the checksums of all pages, so it reads the store whole.
    /// `None` where there is no store.
    ///
    /// # Errors
    /// [`Fault::InUse`], [`Fault::Inaccessible`], [`Fault::NewerSchema`].
    pub async fn find_damage(
        folder: impl AsRef<Path>,
        options: StoreOptions,
    ) -> Result<Option<String>, Fault> {
        let folder = folder.as_ref().to_owned();
        run_blocking(move || {
            let _lock = lock_folder(&folder)?;
            let path = folder.join(STORE_FILE);
            finish_salvage(&path).map_err(|error| io_fault(path.display().to_string(), error))?;
            match look_for_damage(&path, &options) {
                Ok(()) => Ok(None),
                Err(problem) if problem.is_damage() => Ok(Some(problem.to_string())),
                Err(problem) => Err(problem.into_fault(&folder)),
            }
        })
        .await
    }

    /// Moves everything that can be read of the store in `folder`, which nobody may have open, to a new file that takes its place. `known` are rows
    /// that the store should have, in any order. Of a store that cannot be opened at all, nothing can be read.
    ///
    /// # Errors
    /// [`Fault::InUse`], [`Fault::Inaccessible`], [`Fault::NewerSchema`], [`Fault::DiskFull`]; the store is as it was then.
    pub async fn salvage(
        folder: impl AsRef<Path>,
        options: StoreOptions,
        known: Vec<RowKey>,
    ) -> Result<Salvaged, Fault> {
        let folder = folder.as_ref().to_owned();
        run_blocking(move || {
            let _lock = lock_folder(&folder)?;
            salvage(&folder, &options, &known).map_err(|problem| problem.into_fault(&folder))
        })
        .await
    }
}

/// Gives the new file of a salvage its name that was cut off after the damaged one was set aside: only a whole one comes so far.
fn finish_salvage(path: &Path) -> std::io::Result<()> {
    let new_path = path.with_file_name(NEW_FILE);
    if path.try_exists()? || !new_path.try_exists()? {
        return Ok(());
    }
    std::fs::rename(&new_path, path)?;
    sync_folder(path)
}

/// Fails with what is damaged. The file stays as it is: opening it in earnest could write to it before it fails.
fn look_for_damage(path: &Path, options: &StoreOptions) -> Result<(), Problem> {
    if !path.try_exists().map_err(StorageError::Io)? {
        return Ok(());
    }
    let mut database = open_unchanged(path, options)?;
    // What it repairs is how the file's space is used, and stays in memory.
    let checked = guard(|| database.check_integrity().map_err(|error: DatabaseError| error.into()));
    discard(database);
    checked.map(|_| ())
}

fn salvage(folder: &Path, options: &StoreOptions, known: &[RowKey]) -> Result<Salvaged, Problem> {
    let (path, new_path) = (folder.join(STORE_FILE), folder.join(NEW_FILE));
    // What is left of a salvage that was cut off.
    remove_if_there(&new_path)?;
    let counts = match copy(&path, &new_path, options, known) {
        Ok(counts) => counts,
        Err(problem) => {
            if let Err(left) = remove_if_there(&new_path) {
                tracing::warn!(%left, path = %new_path.display(), "the unfinished new store cannot be removed");
            }
            return Err(problem);
        }
    };
    let kept = set_aside(&path, &[]).map_err(StorageError::Io)?;
    std::fs::rename(&new_path, &path).and_then(|()| sync_folder(&path)).map_err(StorageError::Io)?;
    let Counts { rows, lost_rows, messages, lost_messages } = counts;
    Ok(Salvaged { kept, rows, lost_rows, messages, lost_messages })
}

/// Makes the new file.
fn copy(path: &Path, new_path: &Path, options: &StoreOptions, known: &[RowKey]) -> Result<Counts, Problem> {
    let old = open_mended(path, options);
    let new = open_or_create(new_path, options.cache_bytes)?;
    let old = match old {
        Err(problem) if problem.is_damage() => {
            tracing::warn!(%problem, "nothing of the store can be read");
            return Ok(Counts { lost_rows: known.len() as u64, ..Counts::default() });
        }
        opened => scopeguard::guard(opened?, discard),
    };
    let transaction = guard(|| Ok(old.begin_read()?))?;
    let most_messages = path.metadata().map_err(StorageError::Io)?.len() / LEAST_MESSAGE_BYTES;
    let mut copy = Copy { old: transaction, new: &new, most_messages, counts: Counts::default() };
    let copied = copy.rows(known).and_then(|()| copy.queue()).and_then(|()| copy.blobs());
    copied.map(|()| copy.counts)
}

#[derive(Default)]
struct Counts {
    rows: u64,
    lost_rows: u64,
    messages: u64,
    lost_messages: u64,
}

/// Pieces of a row: keys and sealed values as they are stored.
type RawCells = Vec<(Vec<u8>, Vec<u8>)>;
type CellTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// One salvage on its way.
struct Copy<'a> {
    old: ReadTransaction,
    new: &'a Database,
    /// More messages than this have no room in the store.
    most_messages: u64,
    counts: Counts,
}

impl Copy<'_> {
    /// Copies every row that is known or can be found.
    fn rows(&mut self, known: &[RowKey]) -> Result<(), Problem> {
        let open = |definition| guard(|| Ok(self.old.open_table(definition)?));
        let (data, information) = match (open(DATA), open(INFORMATION)) {
            (Ok(data), Ok(information)) => (data, information),
            // Without one of them no row is whole.
            (Err(problem), _) | (_, Err(problem)) if problem.is_damage() => {
                self.counts.lost_rows = known.len() as u64;
                return Ok(());
            }
            (Err(problem), _) | (_, Err(problem)) => return Err(problem),
        };
        let mut keys: BTreeSet<String> = known.iter().map(|row| row.as_str().to_owned()).collect();
        for table in [&data, &information] {
            find_rows(table, &mut keys);
        }
        let mut batch: Vec<[RawCells; 2]> = Vec::new();
        let mut bytes = 0;
        for key in keys {
            let read = guard(|| Ok([raw_cells(&data, &key)?, raw_cells(&information, &key)?]));
            match read {
                Ok([data, information]) if data.is_empty() && information.is_empty() => {}
                Ok(cells) => {
                    bytes +=
                        cells.iter().flatten().map(|(key, value)| key.len() + value.len()).sum::<usize>();
                    batch.push(cells);
                    self.counts.rows += 1;
                }
                Err(problem) if problem.is_damage() => self.counts.lost_rows += 1,
                Err(problem) => return Err(problem),
            }
            if bytes > BATCH_BYTES {
                self.write_rows(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.write_rows(&batch)
    }

    fn write_rows(&self, rows: &[[RawCells; 2]]) -> Result<(), Problem> {
        write(self.new, |tables| {
            for [data, information] in rows {
                for (table, cells) in [(&mut tables.data, data), (&mut tables.information, information)] {
                    for (key, value) in cells {
                        table.insert(key.as_slice(), value.as_slice())?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Copies topics, positions and messages. Offsets of partitions that cannot be read are made again from the messages when the store is repaired, topics
    /// that cannot be when they are asked for.
    fn queue(&mut self) -> Result<(), Problem> {
        let mut topics = self.entries(TOPICS, |name, partitions| (name.to_owned(), partitions))?;
        topics.retain(|_, partitions| (1..=MAX_PARTITIONS).contains(partitions));
        let mut extents =
            self.entries(OFFSETS, |(topic, partition), extent| ((topic.to_owned(), partition), extent))?;
        let mut positions = self.entries(POSITIONS, |(topic, group, partition), position| {
            ((topic.to_owned(), group.to_owned(), partition), position)
        })?;
        for ((topic, partition), extent) in &mut extents {
            if let Some(corrected) = self.corrected_extent(topic, *partition, Some(*extent))? {
                *extent = corrected;
            }
        }
        // A group that is past the end would never see what comes next.
        for ((topic, _, partition), position) in &mut positions {
            if let Some((_, end)) = extents.get(&(topic.clone(), *partition)) {
                *position = (*position).min(*end);
            }
        }
        write(self.new, |tables| {
            for (name, partitions) in &topics {
                tables.topics.insert(name.as_str(), partitions)?;
            }
            for ((topic, partition), extent) in &extents {
                tables.offsets.insert((topic.as_str(), *partition), *extent)?;
            }
            for ((topic, group, partition), position) in &positions {
                tables.positions.insert((topic.as_str(), group.as_str(), *partition), position)?;
            }
            Ok(())
        })?;
        for (topic, partitions) in topics {
            for partition in 0..partitions {
                if let Entry::Vacant(place) = extents.entry((topic.clone(), partition))
                    && let Some(extent) = self.corrected_extent(&topic, partition, None)?
                {
                    place.insert(extent);
                }
            }
        }
        for ((topic, partition), (first, end)) in extents {
            self.messages(&topic, partition, first, end)?;
        }
        Ok(())
    }

    fn corrected_extent(
        &self,
        topic: &str,
        partition: u32,
        recorded: Option<(u64, u64)>,
    ) -> Result<Option<(u64, u64)>, Problem> {
        let least = self.outermost_offset(topic, partition, false)?;
        let greatest = self.outermost_offset(topic, partition, true)?;
        Ok(corrected_extent(recorded, least, greatest, self.most_messages))
    }

    /// Offset of the first or the last message of a partition; `None` where there is none or damage lies before it.
    fn outermost_offset(&self, topic: &str, partition: u32, last: bool) -> Result<Option<u64>, Problem> {
        let found = guard(|| {
            let table = self.old.open_table(MESSAGES)?;
            let mut messages = table.range((topic, partition, 0)..=(topic, partition, u64::MAX))?;
            let found = if last { messages.next_back() } else { messages.next() }.transpose()?;
            Ok(found.map(|(key, _)| offset_of(key.value(), topic, partition)).transpose()?)
        });
        match found {
            Err(problem) if problem.is_damage() => Ok(None),
            found => found,
        }
    }

    /// The entries of a small table until its end or until damage; what was read before that counts.
    fn entries<K, V, Name, Content>(
        &self,
        table: TableDefinition<'static, K, V>,
        own: impl for<'a> Fn(K::SelfType<'a>, V::SelfType<'a>) -> (Name, Content),
    ) -> Result<BTreeMap<Name, Content>, Problem>
    where
        K: redb::Key + 'static,
        V: redb::Value + 'static,
        Name: Ord,
    {
        let mut found = BTreeMap::new();
        let read = guard(|| {
            for entry in self.old.open_table(table)?.iter()? {
                let (name, content) = entry?;
                let (name, content) = own(name.value(), content.value());
                if found.last_key_value().is_some_and(|(last, _)| *last >= name) {
                    return Err(out_of_order().into());
                }
                found.insert(name, content);
            }
            Ok(())
        });
        match read {
            Err(problem) if !problem.is_damage() => Err(problem),
            _ => Ok(found),
        }
    }

    /// Copies the messages of a partition, many together, and one by one where they cannot be read together.
    fn messages(&mut self, topic: &str, partition: u32, first: u64, end: u64) -> Result<(), Problem> {
        let Ok(table) = guard(|| Ok(self.old.open_table(MESSAGES)?)) else { return Ok(()) };
        let read = |from: u64, to: u64| {
            guard(|| {
                let (mut found, mut order) = (Vec::new(), Ascending::new());
                for entry in table.range((topic, partition, from)..(topic, partition, to))? {
                    let (key, value) = entry?;
                    let offset = offset_of(key.value(), topic, partition)?;
                    if !(from..to).contains(&offset) {
                        return Err(out_of_order().into());
                    }
                    order.check(offset)?;
                    found.push((offset, value.value().to_vec()));
                }
                Ok(found)
            })
        };
        let (mut from, mut lost_in_a_row) = (first, 0);
        while from < end && lost_in_a_row < MOST_LOST_IN_A_ROW {
            let to = end.min(from + MESSAGES_TOGETHER);
            let mut found = Vec::new();
            match read(from, to) {
                Ok(messages) => found = messages,
                Err(problem) if !problem.is_damage() => return Err(problem),
                Err(_) => {
                    for offset in from..to {
                        match read(offset, offset + 1) {
                            Ok(message) => found.extend(message),
                            Err(problem) if !problem.is_damage() => return Err(problem),
                            Err(_) => lost_in_a_row += 1,
                        }
                    }
                }
            }
            self.counts.messages += found.len() as u64;
            if !found.is_empty() {
                self.counts.lost_messages += std::mem::take(&mut lost_in_a_row);
                write(self.new, |tables| {
                    for (offset, value) in &found {
                        tables.messages.insert((topic, partition, *offset), value.as_slice())?;
                    }
                    Ok(())
                })?;
            }
            from = to;
        }
        self.counts.lost_messages += lost_in_a_row;
        Ok(())
    }

    /// Copies the blobs that are whole.
    fn blobs(&mut self) -> Result<(), Problem> {
        let names = self.entries(BLOB_LENGTHS, |name, length| (name.to_owned(), length))?;
        for (name, length) in names {
            let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
            let read = guard(|| {
                let (table, mut order) = (self.old.open_table(BLOBS)?, Ascending::new());
                for entry in table.range((name.as_str(), 0)..=(name.as_str(), u64::MAX))? {
                    let (key, value) = entry?;
                    order.check(key.value().1)?;
                    pieces.push((key.value().1, value.value().to_vec()));
                }
                Ok(())
            });
            match read {
                Ok(()) => write(self.new, |tables| {
                    for (number, piece) in &pieces {
                        tables.blobs.insert((name.as_str(), *number), piece.as_slice())?;
                    }
                    tables.blob_lengths.insert(name.as_str(), length)?;
                    Ok(())
                })?,
                Err(problem) if problem.is_damage() => tracing::warn!(name, "a damaged blob is left out"),
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }
}

/// The offset of a message, which is one of this partition.
fn offset_of(key: (&str, u32, u64), topic: &str, partition: u32) -> Result<u64, StorageError> {
    let (of_topic, of_partition, offset) = key;
    if (of_topic, of_partition) == (topic, partition) { Ok(offset) } else { Err(out_of_order()) }
}

/// Every piece of a row in a table.
fn raw_cells(table: &CellTable, row: &str) -> Result<RawCells, Problem> {
    let (first, end) = row_bounds(row);
    let (mut cells, mut order) = (Vec::new(), AscendingKeys::new(&first, &end));
    for entry in table.range(first.as_slice()..end.as_slice())? {
        let (key, value) = entry?;
        order.check(key.value())?;
        cells.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(cells)
}

/// Adds the rows of a table that can be reached from its beginning and from its end.
fn find_rows(table: &CellTable, rows: &mut BTreeSet<String>) {
    let mut start: Vec<u8> = Vec::new();
    while let Ok(Some(key)) = guard(|| Ok(table.range(start.as_slice()..)?.next().transpose()?.map(key_of))) {
        // Pages that lead back would lead round for ever.
        if key < start {
            break;
        }
        start = match row_of(&key) {
            Some(row) => {
                let next = row_bounds(&row).1;
                rows.insert(row);
                next
            }
            None => [key, vec![0]].concat(),
        };
    }
    let mut end: Option<Vec<u8>> = None;
    loop {
        let last = guard(|| {
            let last = match &end {
                Some(end) => table.range(start.as_slice()..end.as_slice())?.next_back(),
                None => table.range(start.as_slice()..)?.next_back(),
            };
            Ok(last.transpose()?.map(key_of))
        });
        let Ok(Some(key)) = last else { return };
        if key < start || end.as_ref().is_some_and(|end| key >= *end) {
            return;
        }
        end = Some(match row_of(&key) {
            Some(row) => {
                let first = row_bounds(&row).0;
                rows.insert(row);
                first
            }
            None => key,
        });
    }
}

type RawEntry = (redb::AccessGuard<'static, &'static [u8]>, redb::AccessGuard<'static, &'static [u8]>);

fn key_of((key, _): RawEntry) -> Vec<u8> {
    key.value().to_vec()
}

fn row_of(key: &[u8]) -> Option<String> {
    let (row, ..) = read_piece_key(key).ok()?;
    RowKey::parse(row).ok().map(|row| row.as_str().to_owned())
}
