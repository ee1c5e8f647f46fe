//! The queue: topics of partitions, each a durable log.
//!
//! Guarantees
//! - A publish that returned is durable. Offsets of a partition ascend in the order of publishing; they may have
//!   gaps, and never come again.
//! - Delivery is at least once: a message is delivered to a group again until its position was committed, after a
//!   restart, a rebalance or an error too. Messages of one partition are delivered in order.
//! - A partition has one consumer of a group at a time; partitions are shared out evenly among the group's
//!   consumers, anew when one comes or goes.
//! - Committed positions are durable when `commit` returns.
//!
//! Assumptions: a publisher that got an error publishes again, so a message may be there twice; consumers are
//! idempotent. Payloads have at most [`MAX_PAYLOAD_BYTES`]; larger values travel through the image store.
//!
//! Failure modes: see [`QueueError`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::fault::Fault;

/// Most bytes of a payload.
pub const MAX_PAYLOAD_BYTES: usize = medindex_proto::names::MAX_MESSAGE_BYTES;

/// Most bytes of a message's key.
pub const MAX_KEY_BYTES: usize = 1024;

/// Why an action on the queue failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The queue could not be opened.
    #[error("opening the queue failed: {0}")]
    Open(#[source] Fault),
    /// A topic could not be made.
    #[error("making topic {topic} failed: {source}")]
    CreateTopic {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// The topic is there with another number of partitions.
    #[error(
        "topic {topic} has {found} partitions, not {wanted}: the number of partitions of an index is fixed when it is made, and every topic and process of it has the same"
    )]
    PartitionCount {
        /// The topic.
        topic: String,
        /// Partitions it has.
        found: u32,
        /// Partitions asked for.
        wanted: u32,
    },
    /// The name of a topic or group cannot be used.
    #[error(
        "{name:?} is no name for a topic or group: use 1 to 249 letters, digits, dots, hyphens, underscores"
    )]
    CheckName {
        /// The name, cut to a readable length.
        name: String,
    },
    /// There is no such topic.
    #[error("there is no topic {topic}: it is made when the index is set up")]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic {topic} has {partitions} partitions, there is no partition {partition}")]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// Partitions it has.
        partitions: u32,
    },
    /// A message is too large.
    #[error(
        "message of {bytes} bytes for topic {topic}, the limit is {limit}: put the value into the image store"
    )]
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of key or payload.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Messages could not be published.
    #[error("publishing to topic {topic} failed: {source}")]
    Publish {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Messages could not be read.
    #[error("reading topic {topic} failed: {source}")]
    Read {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// The position asked for is not in the log any more, or not yet.
    #[error(
        "offset {offset} of topic {topic}, partition {partition} is not there: the log has {first} to {end}"
    )]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Offset asked for.
        offset: u64,
        /// First offset kept.
        first: u64,
        /// Offset of the next message to be published.
        end: u64,
    },
    /// Positions could not be committed.
    #[error("committing positions of group {group} in topic {topic} failed: {source}")]
    Commit {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: Fault,
    },
    /// A partition was given to another consumer of the group.
    #[error(
        "partition {partition} of topic {topic} has another consumer in group {group} now: its messages are delivered there again"
    )]
    Reassigned {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// The partition.
        partition: u32,
    },
    /// Old messages could not be dropped.
    #[error("trimming topic {topic} failed: {source}")]
    Trim {
        /// The topic.
        topic: String,
        /// Why.
        #[source]
        source: Fault,
    },
}

impl QueueError {
    /// Why it failed underneath, if the backend was the cause.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Open(fault) => Some(fault),
            Self::CreateTopic { source, .. }
            | Self::Publish { source, .. }
            | Self::Read { source, .. }
            | Self::Commit { source, .. }
            | Self::Trim { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Result of an action on the queue.
pub type Result<T, E = QueueError> = std::result::Result<T, E>;

/// For each partition, the offset of the next message to be read.
pub type Positions = BTreeMap<u32, u64>;

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Partition that it goes to, 0 to the topic's partitions - 1.
    pub partition: u32,
    /// Key: messages of one key keep their order, and compaction keeps the last of a key.
    pub key: String,
    /// Content, at most [`MAX_PAYLOAD_BYTES`].
    pub payload: Bytes,
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Topic that it was published to.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// When it was published, milliseconds since 1970 UTC.
    pub published_at_ms: i64,
    /// Its key.
    pub key: String,
    /// Its content.
    pub payload: Bytes,
}

/// The positions after these deliveries, ready to be committed or followed from.
pub fn positions_after(deliveries: &[Delivery]) -> Positions {
    let mut positions = Positions::new();
    for delivery in deliveries {
        let next = positions.entry(delivery.partition).or_insert(0);
        *next = (*next).max(delivery.offset + 1);
    }
    positions
}

/// Topics and their messages. See the module for the guarantees.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Makes a topic, or checks that it is there with this many partitions (1 to 10,000).
    async fn create_topic(&self, topic: &str, partitions: u32) -> Result<()>;

    /// Number of partitions of a topic.
    async fn partitions(&self, topic: &str) -> Result<u32>;

    /// Publishes one message; returns its offset once it is durable.
    async fn publish(&self, topic: &str, partition: u32, key: &str, payload: Bytes) -> Result<u64> {
        let message = Message { partition, key: key.to_owned(), payload };
        let offsets = self.publish_many(topic, vec![message]).await?;
        offsets.first().copied().ok_or_else(|| QueueError::Publish {
            topic: topic.to_owned(),
            source: Fault::Failed { place: "queue".into(), source: "the adapter gave no offset".into() },
        })
    }

    /// Publishes messages in order; returns their offsets, in the same order, once all are durable.
    ///
    /// After an error some may be published: publish all again.
    async fn publish_many(&self, topic: &str, messages: Vec<Message>) -> Result<Vec<u64>>;

    /// Joins a group: a consumer that shares the topic's partitions with the group's other consumers. It starts
    /// from the committed positions, or from the first message kept.
    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>>;

    /// Follows partitions alone, without group or commits, from given positions; the caller keeps its own.
    async fn follow(&self, topic: &str, from: Positions) -> Result<Box<dyn Follower>>;

    /// Reads up to `max` messages of one partition from `offset` on, without waiting; none at the end.
    ///
    /// [`QueueError::OutOfRange`] if `offset` was trimmed or lies after the end.
    async fn read_from(&self, topic: &str, partition: u32, offset: u64, max: usize) -> Result<Vec<Delivery>>;

    /// For each partition, the first offset that is kept.
    async fn first_offsets(&self, topic: &str) -> Result<Positions>;

    /// For each partition, the offset that the next message will have at least.
    async fn end_offsets(&self, topic: &str) -> Result<Positions>;

    /// Committed positions of a group; partitions without any are left out.
    async fn committed(&self, topic: &str, group: &str) -> Result<Positions>;

    /// Drops a partition's messages before `before`; positions past the end drop all, offsets go on as before.
    async fn trim(&self, topic: &str, partition: u32, before: u64) -> Result<()>;
}

/// A member of a group. Dropping it leaves the group, and its partitions go to the others.
#[async_trait]
pub trait Consumer: Send {
    /// Up to `max` messages of the consumer's partitions, in order within each; waits up to `timeout` for the
    /// first, and returns at once with what is there. Empty when none came.
    ///
    /// Delivered messages are not delivered again to this consumer unless it [`rewinds`](Self::rewind).
    async fn poll(&mut self, max: usize, timeout: Duration) -> Result<Vec<Delivery>>;

    /// Commits positions: for each partition, everything before is done. Those of other consumers are refused
    /// ([`QueueError::Reassigned`]) and nothing is committed.
    async fn commit(&mut self, positions: &Positions) -> Result<()>;

    /// Goes back to the committed positions: what was delivered and not committed is delivered again.
    async fn rewind(&mut self) -> Result<()>;

    /// The partitions that the consumer has now.
    async fn assignment(&mut self) -> Result<Vec<u32>>;
}

/// A reader that keeps its own positions.
#[async_trait]
pub trait Follower: Send {
    /// As [`Consumer::poll`]. [`QueueError::OutOfRange`] when what comes next was trimmed: load anew.
    async fn poll(&mut self, max: usize, timeout: Duration) -> Result<Vec<Delivery>>;

    /// The positions after what was delivered.
    fn positions(&self) -> &Positions;
}

/// Checks the name of a topic or group.
///
/// # Errors
/// [`QueueError::CheckName`].
pub fn check_name(name: &str) -> Result<()> {
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let legal = (1..=249).contains(&name.len()) && name.bytes().all(usable) && name != "." && name != "..";
    if legal { Ok(()) } else { Err(QueueError::CheckName { name: name.chars().take(64).collect() }) }
}

/// Checks a message against the limits.
///
/// # Errors
/// [`QueueError::TooLarge`].
pub fn check_message(topic: &str, message: &Message) -> Result<()> {
    let too_large = |bytes, limit| Err(QueueError::TooLarge { topic: topic.to_owned(), bytes, limit });
    if message.key.len() > MAX_KEY_BYTES {
        too_large(message.key.len(), MAX_KEY_BYTES)
    } else if message.payload.len() > MAX_PAYLOAD_BYTES {
        too_large(message.payload.len(), MAX_PAYLOAD_BYTES)
    } else {
        Ok(())
    }
}
