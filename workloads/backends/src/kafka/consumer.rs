//! A member of a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;
use tokio::task::spawn_blocking;

use super::clients::{Shared, discard};
use super::context::Context;
use super::faults::{code, is_unknown_topic};
use super::fetch::{is_passing, next, next_at_once};
use super::read_error;
use super::topics::{is_gone, list};
use crate::fault::Fault;
use crate::queue::{Consumer, Delivery, Positions, QueueError, Result};

type Client = Arc<StreamConsumer<Context>>;

pub(super) struct KafkaConsumer {
    shared: Arc<Shared>,
    topic: Arc<str>,
    group: String,
    context: Context,
    /// None once it was given up, until the next poll.
    client: Option<Client>,
    generation: u64,
    /// The assignment under which the latest message of each partition was delivered.
    delivered: BTreeMap<u32, u64>,
    /// An error that came behind messages, told by the next poll.
    pending: Option<KafkaError>,
}

impl KafkaConsumer {
    pub(super) async fn join(shared: Arc<Shared>, topic: &str, group: &str) -> Result<Self> {
        let mut consumer = Self {
            shared,
            topic: topic.into(),
            group: group.to_owned(),
            context: Context::default(),
            client: None,
            generation: 0,
            delivered: BTreeMap::new(),
            pending: None,
        };
        consumer.client().await?;
        Ok(consumer)
    }

    /// The client, made anew when the credentials changed or the last one was given up.
    async fn client(&mut self) -> Result<Client> {
        let failed = |source| read_error(&self.topic, source);
        let (clients, generation) = self.shared.clients().await.map_err(failed)?;
        if let Some(client) = self.client.as_ref().filter(|_| generation == self.generation) {
            return Ok(Arc::clone(client));
        }
        let context = Context::default();
        let config = self.shared.options.member(&clients.config, &self.shared.full_name(&self.group));
        let joined =
            config.create_with_context(context.clone()).and_then(|client: StreamConsumer<Context>| {
                client.subscribe(&[&self.shared.full_name(&self.topic)])?;
                Ok(Arc::new(client))
            });
        let client = joined.map_err(|error| failed(self.shared.faults.explain(error, &context.troubles)))?;
        discard(self.client.replace(Arc::clone(&client)));
        (self.context, self.generation, self.pending) = (context, generation, None);
        Ok(client)
    }

    /// Adds a message unless its partition was taken away meanwhile.
    fn take(&self, delivery: Delivery, taken: &mut Vec<(u64, Delivery)>) -> usize {
        let Some(assignment) = self.context.owned.assignment(delivery.partition) else { return 0 };
        let bytes = delivery.payload.len() + delivery.key.len();
        taken.push((assignment, delivery));
        bytes
    }

    /// What is there after the first message: up to `max` in all, and not much more bytes than are fetched ahead.
    async fn gather(&mut self, client: &Client, first: Delivery, max: usize) -> Vec<Delivery> {
        self.context.troubles.forget();
        let mut taken = Vec::new();
        let mut bytes = self.take(first, &mut taken);
        while taken.len() < max && bytes < self.shared.options.prefetch_bytes {
            match next_at_once(client, &self.topic).await {
                Some(Ok(delivery)) => bytes += self.take(delivery, &mut taken),
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => {
                    self.pending = Some(error);
                    break;
                }
                None => break,
            }
        }
        // Partitions may have gone while the rest was taken: their messages are delivered to another.
        taken.retain(|(assignment, delivery)| {
            self.context.owned.assignment(delivery.partition) == Some(*assignment)
        });
        for (assignment, delivery) in &taken {
            self.delivered.insert(delivery.partition, *assignment);
        }
        taken.into_iter().map(|(_, delivery)| delivery).collect()
    }

    async fn error(&mut self, error: KafkaError) -> Result<()> {
        if code(&error).is_some_and(is_unknown_topic) {
            // A broker that has not heard of a new topic yet says so too.
            if !is_gone(&self.shared, &self.topic).await? {
                return Ok(());
            }
            return Err(QueueError::UnknownTopic { topic: self.topic.to_string() });
        }
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            discard(self.client.take());
        }
        Err(read_error(&self.topic, self.explain(error)))
    }

    fn explain(&self, error: KafkaError) -> Fault {
        self.shared.faults.explain(error, &self.context.troubles)
    }

    fn reassigned(&self, partition: u32) -> QueueError {
        QueueError::Reassigned { topic: self.topic.to_string(), group: self.group.clone(), partition }
    }

    /// Runs a blocking call of the client's.
    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
    ) -> Result<KafkaResult<T>, Fault> {
        spawn_blocking(call).await.map_err(|error| self.shared.faults.failed(error.to_string()))
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        let start = Instant::now();
        if let Some(error) = self.pending.take() {
            self.error(error).await?;
        }
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let client = self.client().await?;
            let left = timeout.saturating_sub(start.elapsed());
            match next(&client, &self.topic, left).await {
                None => return Ok(Vec::new()),
                Some(Ok(first)) => {
                    let deliveries = self.gather(&client, first, max).await;
                    if !deliveries.is_empty() {
                        return Ok(deliveries);
                    }
                }
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => self.error(error).await?,
            }
        }
    }

    async fn commit(&mut self, positions: &Positions) -> Result<()> {
        for partition in positions.keys() {
            let owned = self.context.owned.assignment(*partition);
            let delivered = self.delivered.get(partition);
            if owned.is_none() || delivered.is_some_and(|assignment| Some(*assignment) != owned) {
                return Err(self.reassigned(*partition));
            }
        }
        let (Some(client), Some(first)) = (self.client.clone(), positions.keys().next().copied()) else {
            return Ok(());
        };
        let failed =
            |source| QueueError::Commit { topic: self.topic.to_string(), group: self.group.clone(), source };
        let (name, positions) = (self.shared.full_name(&self.topic), positions.clone());
        let call = move || client.commit(&list(&name, &positions)?, CommitMode::Sync);
        match self.run(call).await.map_err(failed)? {
            Ok(()) => Ok(()),
            Err(error) if code(&error).is_some_and(is_loss) => Err(self.reassigned(first)),
            Err(error) => Err(failed(self.explain(error))),
        }
    }

    async fn rewind(&mut self) -> Result<()> {
        let Some(client) = self.client.clone() else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        let name = self.shared.full_name(&self.topic);
        for partition in self.context.owned.partitions() {
            list.add_partition(&name, partition as i32);
        }
        if list.count() == 0 {
            return Ok(());
        }
        let patience = self.shared.options.request_timeout;
        let call = move || {
            let mut committed = client.committed_offsets(list, patience)?;
            for (place, offset) in committed.to_topic_map() {
                if offset == Offset::Invalid {
                    committed.set_partition_offset(&place.0, place.1, Offset::Beginning)?;
                }
            }
            let sought = client.seek_partitions(committed, patience)?;
            sought
                .elements()
                .iter()
                .try_for_each(rdkafka::topic_partition_list::TopicPartitionListElem::error)
        };
        let outcome = self.run(call).await.map_err(|source| read_error(&self.topic, source))?;
        outcome.map_err(|error| read_error(&self.topic, self.explain(error)))
    }

    async fn assignment(&mut self) -> Result<Vec<u32>> {
        Ok(self.context.owned.partitions())
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        discard(self.client.take());
    }
}

/// Whether a commit failed because the member was put out of its group.
fn is_loss(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::AssignmentLost
            | Code::Fenced
    )
}
