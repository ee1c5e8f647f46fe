//! The queue on Kafka.
//!
//! Guarantees
//! - A publish that returned is on as many brokers as the topic's `min.insync.replicas` says. The publishing client is idempotent: what it
//!   sends again by itself is there once, in order.
//! - Nothing is committed by itself. A commit is checked against the partitions that the consumer has under the assignment that its
//!   deliveries came from, because Kafka alone takes commits of every member of a group for every partition.
//! - Consumers share partitions cooperatively: those that stay with a consumer go on while others move.
//! - What is fetched ahead is bounded ([`KafkaOptions::prefetch_bytes`]): who does not poll is sent no more.
//! - Secrets come from files. When those change, clients are made anew; a consumer then joins its group anew, and what it had not committed is
//!   delivered again.
//!
//! Assumptions: topics are made with [`Queue::create_topic`] or alike (`max.message.bytes` of [`MAX_RECORD_BYTES`]). Rights, where the cluster
//! has them: read, write, create and alter (for trimming) on topics and groups with the prefix.
//!
//! Records of other publishers come out as deliveries, whatever they hold: without a key as the empty key, without a payload as the empty
//! payload, a key that is no UTF-8 with its wrong bytes replaced, and payloads above the port's limit in full. Whoever reads them judges them.
//!
//! Failure modes: see [`QueueError`]. [`Fault::Unavailable`] when brokers do not answer, copies are out of sync, or the group is being shared out;
//! [`Fault::Inaccessible`] when credentials, certificates or rights are refused; [`Queue::trim`] on a compacted topic is refused by
//! Kafka and fails ([`Fault::Failed`]): its length is bounded by its keys.

mod clients;
mod consumer;
mod context;
mod faults;
mod fetch;
mod follower;
mod options;
mod publish;
mod topics;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::options::{KafkaOptions, MAX_RECORD_BYTES, TopicOptions};

use self::clients::Shared;
use self::consumer::KafkaConsumer;
use self::follower::KafkaFollower;
use crate::fault::Fault;
use crate::queue::{Consumer, Delivery, Follower, Message, Positions, Queue, QueueError, Result, check_name};

/// The queue on a Kafka cluster. Clones share their connections.
#[derive(Clone)]
pub struct KafkaQueue {
    shared: Arc<Shared>,
}

impl KafkaQueue {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// [`QueueError::Open`] with [`Fault::Unavailable`] when no broker answers, [`Fault::Inaccessible`] when a file cannot be read or the
    /// credentials are refused; [`QueueError::CheckName`] for the prefix.
    pub async fn open(options: KafkaOptions) -> Result<Self> {
        if !options.prefix.is_empty() {
            check_name(&options.prefix)?;
        }
        let shared = Arc::new(Shared::new(options).map_err(QueueError::Open)?);
        // Any answer says that a broker is there and takes the credentials.
        let question = |reader: &_, patience| fetch::reach(reader, patience);
        shared.ask(question).await.map_err(QueueError::Open)?;
        Ok(Self { shared })
    }
}

#[async_trait]
impl Queue for KafkaQueue {
    async fn create_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        topics::create(&self.shared, topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        topics::partitions(&self.shared, topic).await
    }

    async fn publish_many(&self, topic: &str, messages: Vec<Message>) -> Result<Vec<u64>> {
        publish::publish_many(&self.shared, topic, messages).await
    }

    async fn consumer(&self, topic: &str, group: &str) -> Result<Box<dyn Consumer>> {
        check_name(group)?;
        topics::partitions(&self.shared, topic).await?;
        Ok(Box::new(KafkaConsumer::join(Arc::clone(&self.shared), topic, group).await?))
    }

    async fn follow(&self, topic: &str, from: Positions) -> Result<Box<dyn Follower>> {
        Ok(Box::new(KafkaFollower::begin(Arc::clone(&self.shared), topic, from).await?))
    }

    async fn read_from(&self, topic: &str, partition: u32, offset: u64, max: usize) -> Result<Vec<Delivery>> {
        fetch::read_from(&self.shared, topic, partition, offset, max).await
    }

    async fn first_offsets(&self, topic: &str) -> Result<Positions> {
        topics::offsets(&self.shared, topic, topics::Edge::First).await
    }

    async fn end_offsets(&self, topic: &str) -> Result<Positions> {
        topics::offsets(&self.shared, topic, topics::Edge::End).await
    }

    async fn committed(&self, topic: &str, group: &str) -> Result<Positions> {
        check_name(group)?;
        topics::committed(&self.shared, topic, group).await
    }

    async fn trim(&self, topic: &str, partition: u32, before: u64) -> Result<()> {
        topics::trim(&self.shared, topic, partition, before).await
    }
}

fn read_error(topic: &str, source: Fault) -> QueueError {
    QueueError::Read { topic: topic.to_owned(), source }
}
