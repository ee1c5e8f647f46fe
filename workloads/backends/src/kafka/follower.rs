//! A reader that keeps its own positions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::clients::{Shared, discard};
use super::context::Context;
use super::faults::{code, is_unknown_topic};
use super::fetch::{is_passing, next, next_at_once};
use super::read_error;
use super::topics::{Edge, check_partition, is_gone, list, offsets, partitions};
use crate::queue::{Delivery, Follower, Positions, QueueError, Result};

type Client = Arc<StreamConsumer<Context>>;

pub(super) struct KafkaFollower {
    shared: Arc<Shared>,
    topic: Arc<str>,
    context: Context,
    /// None once it was given up, until the next poll.
    client: Option<Client>,
    generation: u64,
    positions: Positions,
    /// An error that came behind messages, told by the next poll.
    pending: Option<KafkaError>,
}

impl KafkaFollower {
    pub(super) async fn begin(shared: Arc<Shared>, topic: &str, positions: Positions) -> Result<Self> {
        let mut follower = Self {
            shared,
            topic: topic.into(),
            context: Context::default(),
            client: None,
            generation: 0,
            positions,
            pending: None,
        };
        follower.check().await?;
        follower.client().await?;
        Ok(follower)
    }

    /// Checks that what comes next is in the log.
    async fn check(&self) -> Result<()> {
        let count = partitions(&self.shared, &self.topic).await?;
        let first = offsets(&self.shared, &self.topic, Edge::First).await?;
        let end = offsets(&self.shared, &self.topic, Edge::End).await?;
        for (&partition, &offset) in &self.positions {
            check_partition(&self.topic, partition, count)?;
            let edge = |edges: &Positions| edges.get(&partition).copied().unwrap_or(0);
            let (first, end) = (edge(&first), edge(&end));
            if !(first..=end).contains(&offset) {
                let topic = self.topic.to_string();
                return Err(QueueError::OutOfRange { topic, partition, offset, first, end });
            }
        }
        Ok(())
    }

    /// The client, made anew when the credentials changed or the last one was given up.
    async fn client(&mut self) -> Result<Client> {
        let failed = |source| read_error(&self.topic, source);
        let (clients, generation) = self.shared.clients().await.map_err(failed)?;
        if let Some(client) = self.client.as_ref().filter(|_| generation == self.generation) {
            return Ok(Arc::clone(client));
        }
        let context = Context::default();
        let name = self.shared.full_name(&self.topic);
        let config = self.shared.options.follower(&clients.config);
        let begun =
            config.create_with_context(context.clone()).and_then(|client: StreamConsumer<Context>| {
                client.assign(&list(&name, &self.positions)?)?;
                Ok(Arc::new(client))
            });
        let client = begun.map_err(|error| failed(self.shared.faults.explain(error, &context.troubles)))?;
        discard(self.client.replace(Arc::clone(&client)));
        (self.context, self.generation, self.pending) = (context, generation, None);
        Ok(client)
    }

    async fn error(&mut self, error: KafkaError) -> Result<()> {
        match code(&error) {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                // The partition stands still from here on: the client begins anew, if its positions are there after all.
                discard(self.client.take());
                return self.check().await;
            }
            Some(code) if is_unknown_topic(code) => {
                if !is_gone(&self.shared, &self.topic).await? {
                    return Ok(());
                }
                return Err(QueueError::UnknownTopic { topic: self.topic.to_string() });
            }
            _ => {}
        }
        Err(read_error(&self.topic, self.shared.faults.explain(error, &self.context.troubles)))
    }

    /// What is there after the first message: up to `max` in all, and not much more bytes than are fetched ahead.
    async fn gather(&mut self, client: &Client, first: Delivery, max: usize) -> Vec<Delivery> {
        self.context.troubles.forget();
        let mut bytes = first.payload.len();
        let mut deliveries = vec![first];
        while deliveries.len() < max && bytes < self.shared.options.prefetch_bytes {
            match next_at_once(client, &self.topic).await {
                Some(Ok(delivery)) => {
                    bytes += delivery.payload.len();
                    deliveries.push(delivery);
                }
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => {
                    self.pending = Some(error);
                    break;
                }
                None => break,
            }
        }
        for delivery in &deliveries {
            self.positions.insert(delivery.partition, delivery.offset + 1);
        }
        deliveries
    }
}

#[async_trait]
impl Follower for KafkaFollower {
    async fn poll(&mut self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        let start = Instant::now();
        if let Some(error) = self.pending.take() {
            self.error(error).await?;
        }
        if self.client.is_none() {
            self.check().await?;
        }
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let client = self.client().await?;
            let left = timeout.saturating_sub(start.elapsed());
            match next(&client, &self.topic, left).await {
                None => return Ok(Vec::new()),
                Some(Ok(first)) => return Ok(self.gather(&client, first, max).await),
                Some(Err(error)) if is_passing(&error) => {}
                Some(Err(error)) => self.error(error).await?,
            }
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }
}

impl Drop for KafkaFollower {
    fn drop(&mut self) {
        discard(self.client.take());
    }
}
