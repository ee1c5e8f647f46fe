//! Topics as logs in the embedded store: appending, reading, committing, trimming inside transactions.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, StorageError};

use super::database::Problem;
use super::ordered::Ascending;
use super::pieces::{seal, unseal};
use super::tables::{MESSAGES, OFFSETS, POSITIONS, TOPICS, Tables};
use crate::queue::{Delivery, Message, Positions, QueueError};

/// Most bytes of payload that one read returns, after its first message.
const READ_BYTES: usize = 64 << 20;

/// First offset kept and next offset of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) end: u64,
}

/// Makes a topic, or checks its partitions.
pub(super) fn create_topic(
    tables: &mut Tables<'_>,
    topic: &str,
    wanted: u32,
) -> Result<Result<(), QueueError>, StorageError> {
    if let Some(found) = tables.topics.get(topic)?.map(|found| found.value()) {
        let same = found == wanted;
        let topic = topic.to_owned();
        return Ok(if same { Ok(()) } else { Err(QueueError::PartitionCount { topic, found, wanted }) });
    }
    tables.topics.insert(topic, wanted)?;
    // Of a new topic they are zero. One that damage took may have messages, and groups that are past them.
    restore_offsets(tables, topic)?;
    Ok(Ok(()))
}

/// Appends messages; returns their offsets. Nothing is written unless all can be.
pub(super) fn append(
    tables: &mut Tables<'_>,
    topic: &str,
    messages: &[Message],
    now_ms: i64,
) -> Result<Result<Vec<u64>, QueueError>, StorageError> {
    let Some(partitions) = tables.topics.get(topic)?.map(|found| found.value()) else {
        return Ok(Err(QueueError::UnknownTopic { topic: topic.to_owned() }));
    };
    if let Some(message) = messages.iter().find(|message| message.partition >= partitions) {
        let topic = topic.to_owned();
        return Ok(Err(QueueError::UnknownPartition { topic, partition: message.partition, partitions }));
    }
    let mut offsets = Vec::with_capacity(messages.len());
    for message in messages {
        let place = (topic, message.partition);
        let extent = tables.offsets.get(place)?.map(|extent| extent.value());
        let (first, end) = extent.ok_or_else(|| missing_offsets(topic, message.partition))?;
        let value = seal(&encode(message, now_ms));
        tables.messages.insert((topic, message.partition, end), value.as_slice())?;
        tables.offsets.insert(place, (first, end + 1))?;
        offsets.push(end);
    }
    Ok(Ok(offsets))
}

/// Keeps positions of a group. Those past a partition's end are refused, and nothing is written.
pub(super) fn commit(
    tables: &mut Tables<'_>,
    topic: &str,
    group: &str,
    positions: &Positions,
) -> Result<Result<(), QueueError>, StorageError> {
    for (&partition, &offset) in positions {
        let extent = tables.offsets.get((topic, partition))?.map(|extent| extent.value());
        let (first, end) = extent.ok_or_else(|| missing_offsets(topic, partition))?;
        if offset > end {
            return Ok(Err(QueueError::OutOfRange {
                topic: topic.to_owned(),
                partition,
                offset,
                first,
                end,
            }));
        }
    }
    for (&partition, &offset) in positions {
        tables.positions.insert((topic, group, partition), offset)?;
    }
    Ok(Ok(()))
}

/// Drops messages before an offset.
pub(super) fn trim(
    tables: &mut Tables<'_>,
    topic: &str,
    partition: u32,
    before: u64,
) -> Result<Result<(), QueueError>, StorageError> {
    let Some(partitions) = tables.topics.get(topic)?.map(|found| found.value()) else {
        return Ok(Err(QueueError::UnknownTopic { topic: topic.to_owned() }));
    };
    if partition >= partitions {
        return Ok(Err(QueueError::UnknownPartition { topic: topic.to_owned(), partition, partitions }));
    }
    let extent = tables.offsets.get((topic, partition))?.map(|extent| extent.value());
    let (first, end) = extent.ok_or_else(|| missing_offsets(topic, partition))?;
    let before = before.min(end);
    if before > first {
        tables.messages.retain_in((topic, partition, first)..(topic, partition, before), |_, _| false)?;
        tables.offsets.insert((topic, partition), (before, end))?;
    }
    Ok(Ok(()))
}

/// Writes the offsets of partitions again that lost them, from the messages that are there and the positions of groups.
pub(super) fn restore_offsets(tables: &mut Tables<'_>, topic: &str) -> Result<u32, StorageError> {
    let Some(partitions) = tables.topics.get(topic)?.map(|found| found.value()) else { return Ok(0) };
    let mut restored = 0;
    for partition in 0..partitions {
        if tables.offsets.get((topic, partition))?.is_some() {
            continue;
        }
        let mut messages = tables.messages.range((topic, partition, 0)..=(topic, partition, u64::MAX))?;
        let first = messages.next().transpose()?.map(|(key, _)| key.value().2);
        let last = messages.next_back().transpose()?.map(|(key, _)| key.value().2).or(first);
        drop(messages);
        // Groups never commit past the end, and all that they are past may be trimmed.
        let mut end = last.map_or(0, |last| last + 1);
        for entry in tables.positions.iter()? {
            let (key, position) = entry?;
            let (name, _, number) = key.value();
            if name == topic && number == partition {
                end = end.max(position.value());
            }
        }
        tables.offsets.insert((topic, partition), (first.unwrap_or(end), end))?;
        restored += 1;
    }
    Ok(restored)
}

/// Moves a group past messages that damage took at the end of partitions, which would be waited for for ever; returns of how many partitions.
pub(super) fn pass_lost(tables: &mut Tables<'_>, topic: &str, group: &str) -> Result<u32, StorageError> {
    let Some(partitions) = tables.topics.get(topic)?.map(|found| found.value()) else { return Ok(0) };
    let mut passed = 0;
    for partition in 0..partitions {
        let end = tables.offsets.get((topic, partition))?.map_or(0, |extent| extent.value().1);
        let key = (topic, group, partition);
        let position = tables.positions.get(key)?.map_or(0, |position| position.value());
        let rest = (topic, partition, position)..=(topic, partition, u64::MAX);
        if position < end && tables.messages.range(rest)?.next().is_none() {
            tables.positions.insert(key, end)?;
            passed += 1;
        }
    }
    Ok(passed)
}

/// Number of partitions of a topic.
pub(super) fn partitions(
    transaction: &ReadTransaction,
    topic: &str,
) -> Result<Result<u32, QueueError>, Problem> {
    let found = transaction.open_table(TOPICS)?.get(topic)?.map(|found| found.value());
    Ok(found.ok_or_else(|| QueueError::UnknownTopic { topic: topic.to_owned() }))
}

/// Extents of all partitions of a topic, by partition.
pub(super) fn extents(
    transaction: &ReadTransaction,
    topic: &str,
) -> Result<Result<Vec<Extent>, QueueError>, Problem> {
    let partitions = match partitions(transaction, topic)? {
        Ok(partitions) => partitions,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let mut found = std::collections::BTreeMap::new();
    for entry in transaction.open_table(OFFSETS)?.range((topic, 0)..=(topic, u32::MAX))? {
        let (key, extent) = entry?;
        let (first, end) = extent.value();
        found.insert(key.value().1, Extent { first, end });
    }
    let extents = (0..partitions)
        .map(|partition| found.remove(&partition).ok_or_else(|| missing_offsets(topic, partition)))
        .collect::<Result<_, _>>()?;
    Ok(Ok(extents))
}

/// Committed positions of a group.
pub(super) fn committed(
    transaction: &ReadTransaction,
    topic: &str,
    group: &str,
) -> Result<Positions, Problem> {
    let mut positions = Positions::new();
    for entry in transaction.open_table(POSITIONS)?.range((topic, group, 0)..=(topic, group, u32::MAX))? {
        let (key, offset) = entry?;
        positions.insert(key.value().2, offset.value());
    }
    Ok(positions)
}

/// Reads messages of several partitions in one transaction.
pub(super) struct LogReader {
    topic: Arc<str>,
    messages: ReadOnlyTable<(&'static str, u32, u64), &'static [u8]>,
    bytes: usize,
}

impl LogReader {
    pub(super) fn open(transaction: &ReadTransaction, topic: &Arc<str>) -> Result<Self, Problem> {
        Ok(Self { topic: Arc::clone(topic), messages: transaction.open_table(MESSAGES)?, bytes: 0 })
    }

    /// Appends messages of a partition from `offset` on, until `into` has `max` or enough bytes were read.
    pub(super) fn read(
        &mut self,
        partition: u32,
        offset: u64,
        max: usize,
        into: &mut Vec<Delivery>,
    ) -> Result<(), Problem> {
        if into.len() >= max || self.bytes >= READ_BYTES {
            return Ok(());
        }
        let topic = &*self.topic;
        let (range, mut order) =
            ((topic, partition, offset)..=(topic, partition, u64::MAX), Ascending::new());
        for entry in self.messages.range(range)? {
            let (key, value) = entry?;
            let offset = key.value().2;
            order.check(offset)?;
            let what = || format!("message {offset} of topic {topic}, partition {partition}");
            let content = unseal(value.value(), what)?;
            let (published_at_ms, key, payload) = decode(content)
                .ok_or_else(|| StorageError::Corrupted(format!("{} is no message", what())))?;
            self.bytes += payload.len();
            let topic = Arc::clone(&self.topic);
            into.push(Delivery { topic, partition, offset, published_at_ms, key, payload });
            if into.len() >= max || self.bytes >= READ_BYTES {
                break;
            }
        }
        Ok(())
    }
}

/// A message as stored: time, length of the key, key, payload.
fn encode(message: &Message, now_ms: i64) -> Vec<u8> {
    let mut content = Vec::with_capacity(10 + message.key.len() + message.payload.len());
    content.extend_from_slice(&now_ms.to_be_bytes());
    content.extend_from_slice(&(message.key.len() as u16).to_be_bytes());
    content.extend_from_slice(message.key.as_bytes());
    content.extend_from_slice(&message.payload);
    content
}

fn decode(content: &[u8]) -> Option<(i64, String, Bytes)> {
    let (time, rest) = content.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (key, payload) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let key = String::from_utf8(key.to_vec()).ok()?;
    Some((i64::from_be_bytes(*time), key, Bytes::copy_from_slice(payload)))
}

fn missing_offsets(topic: &str, partition: u32) -> StorageError {
    StorageError::Corrupted(format!("offsets of topic {topic}, partition {partition} are missing"))
}
