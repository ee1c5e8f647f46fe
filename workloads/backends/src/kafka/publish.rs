//! Publishing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{DeliveryFuture, FutureRecord};

use super::clients::{Clients, Shared};
use super::faults::is_unknown_topic;
use super::topics::{check_partition, partitions};
use crate::queue::{Message, QueueError, Result, check_message};

/// Wait when the library's queue is full.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) async fn publish_many(
    shared: &Arc<Shared>,
    topic: &str,
    messages: Vec<Message>,
) -> Result<Vec<u64>> {
    messages.iter().try_for_each(|message| check_message(topic, message))?;
    let count = partitions(shared, topic).await?;
    messages.iter().try_for_each(|message| check_partition(topic, message.partition, count))?;
    let failed = |source| QueueError::Publish { topic: topic.to_owned(), source };
    let (clients, _) = shared.clients().await.map_err(failed)?;
    let start = Instant::now();
    let name = shared.full_name(topic);
    let mut sent = Vec::with_capacity(messages.len());
    let mut failure = None;
    for message in &messages {
        match enqueue(shared, &clients, &name, message, start).await {
            Ok(delivery) => sent.push(delivery),
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // Waited for to the last, whatever fails: nothing of this call may be published after a later one.
    let mut offsets = Vec::with_capacity(sent.len());
    for delivery in sent {
        match delivery.await {
            Ok(Ok(delivered)) => offsets.push(delivered.offset as u64),
            Ok(Err((error, _))) => failure = failure.or(Some(error)),
            Err(_) => failure = failure.or(Some(KafkaError::Canceled)),
        }
    }
    let Some(error) = failure else {
        clients.context.troubles.forget();
        return Ok(offsets);
    };
    if error.rdkafka_error_code().is_some_and(is_unknown_topic) {
        shared.partitions.lock().remove(topic);
        return Err(QueueError::UnknownTopic { topic: topic.to_owned() });
    }
    Err(failed(shared.faults.explain(error, &clients.context.troubles)))
}

/// Hands a message to the library, which sends it together with others; waits while its queue is full.
async fn enqueue(
    shared: &Shared,
    clients: &Clients,
    name: &str,
    message: &Message,
    start: Instant,
) -> Result<DeliveryFuture, KafkaError> {
    loop {
        let record = FutureRecord::to(name)
            .partition(message.partition as i32)
            .key(message.key.as_str())
            .payload(&message.payload[..]);
        match clients.producer.send_result(record) {
            Ok(delivery) => return Ok(delivery),
            Err((error, _)) => {
                let is_full = error.rdkafka_error_code() == Some(Code::QueueFull);
                if !is_full || start.elapsed() >= shared.options.publish_timeout {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
