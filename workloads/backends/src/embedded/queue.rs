//! The queue over the embedded store.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use medindex_proto::names::MAX_PARTITIONS;

use super::consumer::{EmbeddedConsumer, EmbeddedFollower};
use super::log::{self, Extent, LogReader};
use super::store::EmbeddedStore;
use super::tables::Tables;
use crate::fault::Fault;
use crate::queue::{
    Consumer, Delivery, Follower, Message, Positions, Queue, QueueError, Result, check_message, check_name,
};

#[async_trait]
impl Queue for EmbeddedStore {
    async fn create_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        check_name(topic)?;
        let failed = |source| QueueError::CreateTopic { topic: topic.to_owned(), source };
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            let reason = format!("{partitions} partitions cannot be used: choose 1 to {MAX_PARTITIONS}");
            return Err(failed(Fault::Failed { place: "the queue".into(), source: reason.into() }));
        }
        let name = topic.to_owned();
        let work = move |tables: &mut Tables<'_>| log::create_topic(tables, &name, partitions);
        self.write(partitions as usize * 32, work, |_| ()).await.map_err(failed)?
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        let name = topic.to_owned();
        let found = self.read(move |transaction| log::partitions(transaction, &name)).await;
        found.map_err(|source| read_error(topic, source))?
    }

    async fn publish_many(&self, topic: &str, messages: Vec<Message>) -> Result<Vec<u64>> {
        messages.iter().try_for_each(|message| check_message(topic, message))?;
        let bytes = messages.iter().map(|message| message.payload.len() + message.key.len() + 64).sum();
        let name: Arc<str> = topic.into();
        let grown = Arc::clone(&name);
        let shared = Arc::downgrade(&self.shared);
        let work = move |tables: &mut Tables<'_>| log::append(tables, &name, &messages, now_ms());
        let wake = move |outcome: &Result<Vec<u64>>| {
            if let (Ok(_), Some(shared)) = (outcome, shared.upgrade()) {
                shared.wake_topic(&grown);
            }
        };
        let outcome = self.write(bytes, work, wake).await;
        outcome.map_err(|source| QueueError::Publish { topic: topic.to_owned(), source })?
    }

    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>> {
        check_name(group)?;
        let partitions = self.partitions(topic).await?;
        Ok(Box::new(EmbeddedConsumer::join(self.clone(), topic.into(), group.into(), partitions)))
    }

    async fn follow(&self, topic: &str, from: Positions) -> Result<Box<dyn Follower>> {
        let extents = self.extents(topic).await?;
        for (&partition, &offset) in &from {
            check_offset(topic, &extents, partition, offset)?;
        }
        Ok(Box::new(EmbeddedFollower::new(self.clone(), topic.into(), from)))
    }

    async fn read_from(&self, topic: &str, partition: u32, offset: u64, max: usize) -> Result<Vec<Delivery>> {
        let from = Positions::from([(partition, offset)]);
        self.read_exactly(&topic.into(), from, 0, max).await
    }

    async fn first_offsets(&self, topic: &str) -> Result<Positions> {
        let extents = self.extents(topic).await?;
        Ok((0..).zip(extents).map(|(partition, extent)| (partition, extent.first)).collect())
    }

    async fn end_offsets(&self, topic: &str) -> Result<Positions> {
        let extents = self.extents(topic).await?;
        Ok((0..).zip(extents).map(|(partition, extent)| (partition, extent.end)).collect())
    }

    async fn committed(&self, topic: &str, group: &str) -> Result<Positions> {
        check_name(group)?;
        self.partitions(topic).await?;
        let (name, group) = (topic.to_owned(), group.to_owned());
        let positions = self.read(move |transaction| log::committed(transaction, &name, &group)).await;
        positions.map_err(|source| read_error(topic, source))
    }

    async fn trim(&self, topic: &str, partition: u32, before: u64) -> Result<()> {
        let name = topic.to_owned();
        let work = move |tables: &mut Tables<'_>| log::trim(tables, &name, partition, before);
        let outcome = self.write(64, work, |_| ()).await;
        outcome.map_err(|source| QueueError::Trim { topic: topic.to_owned(), source })?
    }
}

impl EmbeddedStore {
    /// Extents of all partitions of a topic.
    pub(super) async fn extents(&self, topic: &str) -> Result<Vec<Extent>> {
        let name = topic.to_owned();
        let extents = self.read(move |transaction| log::extents(transaction, &name)).await;
        extents.map_err(|source| read_error(topic, source))?
    }

    /// Reads up to `max` messages from positions on, beginning with partition number `turn` of them; positions
    /// that were trimmed or lie past the end are refused.
    pub(super) async fn read_exactly(
        &self,
        topic: &Arc<str>,
        from: Positions,
        turn: usize,
        max: usize,
    ) -> Result<Vec<Delivery>> {
        let name = Arc::clone(topic);
        let outcome = self.read(move |transaction| {
            let extents = match log::extents(transaction, &name)? {
                Ok(extents) => extents,
                Err(unknown) => return Ok(Err(unknown)),
            };
            for (&partition, &offset) in &from {
                if let Err(outside) = check_offset(&name, &extents, partition, offset) {
                    return Ok(Err(outside));
                }
            }
            let mut deliveries = Vec::new();
            let mut reader = LogReader::open(transaction, &name)?;
            for (&partition, &offset) in rotated(&from, turn) {
                reader.read(partition, offset, max, &mut deliveries)?;
            }
            Ok(Ok(deliveries))
        });
        outcome.await.map_err(|source| read_error(topic, source))?
    }

    /// As [`EmbeddedStore::read_exactly`], but goes on after what was trimmed.
    pub(super) async fn read_onwards(
        &self,
        topic: &Arc<str>,
        from: Positions,
        turn: usize,
        max: usize,
    ) -> Result<Vec<Delivery>> {
        let name = Arc::clone(topic);
        let outcome = self.read(move |transaction| {
            let mut deliveries = Vec::new();
            let mut reader = LogReader::open(transaction, &name)?;
            for (&partition, &offset) in rotated(&from, turn) {
                reader.read(partition, offset, max, &mut deliveries)?;
            }
            Ok(deliveries)
        });
        outcome.await.map_err(|source| read_error(topic, source))
    }
}

/// Positions in order, beginning at another one each turn, so that no partition starves.
fn rotated(positions: &Positions, turn: usize) -> impl Iterator<Item = (&u32, &u64)> {
    let skipped = turn.checked_rem(positions.len()).unwrap_or(0);
    positions.iter().cycle().skip(skipped).take(positions.len())
}

/// Checks that a position lies in its partition's log.
fn check_offset(topic: &str, extents: &[Extent], partition: u32, offset: u64) -> Result<()> {
    let Some(extent) = extents.get(partition as usize) else {
        let partitions = extents.len() as u32;
        return Err(QueueError::UnknownPartition { topic: topic.to_owned(), partition, partitions });
    };
    if (extent.first..=extent.end).contains(&offset) {
        return Ok(());
    }
    let (first, end) = (extent.first, extent.end);
    Err(QueueError::OutOfRange { topic: topic.to_owned(), partition, offset, first, end })
}

pub(super) fn read_error(topic: &str, source: Fault) -> QueueError {
    QueueError::Read { topic: topic.to_owned(), source }
}

/// Milliseconds since 1970 UTC; 0 for a clock before that.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}
