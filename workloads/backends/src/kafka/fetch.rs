//! Taking messages from a client of the library's.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use tokio::task::spawn_blocking;

use super::clients::Shared;
use super::context::Context;
use super::faults::{code, is_transient};
use super::read_error;
use super::topics::{Edge, check_partition, offsets, partitions};
use crate::queue::{Delivery, QueueError, Result};

/// Longest that the blocking reader waits at once.
const SLICE: Duration = Duration::from_millis(100);

/// What a record says to those who read it; the module of the queue says what becomes of strange ones.
pub(super) fn delivery(topic: &Arc<str>, message: &BorrowedMessage<'_>) -> Delivery {
    Delivery {
        topic: Arc::clone(topic),
        partition: message.partition() as u32,
        offset: message.offset() as u64,
        published_at_ms: message.timestamp().to_millis().unwrap_or(0),
        key: message.key().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default(),
        payload: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
    }
}

/// The client's next message or error if it is there already. Never waits, so that no message is lost with a caller that goes away.
pub(super) async fn next_at_once(
    client: &StreamConsumer<Context>,
    topic: &Arc<str>,
) -> Option<Result<Delivery, KafkaError>> {
    let mut next = pin!(client.recv());
    let polled = poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await;
    match polled {
        Poll::Ready(outcome) => Some(outcome.map(|message| delivery(topic, &message))),
        Poll::Pending => None,
    }
}

/// The client's next message or error; none when `timeout` ends first.
pub(super) async fn next(
    client: &StreamConsumer<Context>,
    topic: &Arc<str>,
    timeout: Duration,
) -> Option<Result<Delivery, KafkaError>> {
    let outcome = tokio::time::timeout(timeout, client.recv()).await.ok()?;
    Some(outcome.map(|message| delivery(topic, &message)))
}

/// Whether an error says no more than that the library is at work on it.
pub(super) fn is_passing(error: &KafkaError) -> bool {
    match code(error) {
        None | Some(Code::AllBrokersDown) => false,
        Some(Code::PollExceeded) => {
            tracing::warn!(
                "a consumer did not poll in time: its partitions were given to others, and it joins again"
            );
            true
        }
        Some(code) => is_transient(code),
    }
}

/// Whether a broker answers.
pub(super) fn reach(reader: &BaseConsumer<Context>, patience: Duration) -> KafkaResult<()> {
    // A topic that is not there suffices, and does not make large clusters list all theirs.
    reader.fetch_metadata(Some("medindex-is-anybody-there"), patience).map(drop)
}

pub(super) async fn read_from(
    shared: &Arc<Shared>,
    topic: &str,
    partition: u32,
    offset: u64,
    max: usize,
) -> Result<Vec<Delivery>> {
    check_partition(topic, partition, partitions(shared, topic).await?)?;
    let edge = |positions: crate::queue::Positions| positions.get(&partition).copied().unwrap_or(0);
    let first = edge(offsets(shared, topic, Edge::First).await?);
    let end = edge(offsets(shared, topic, Edge::End).await?);
    if !(first..=end).contains(&offset) {
        return Err(QueueError::OutOfRange { topic: topic.to_owned(), partition, offset, first, end });
    }
    if offset == end || max == 0 {
        return Ok(Vec::new());
    }
    let failed = |source| read_error(topic, source);
    let (clients, _) = shared.clients().await.map_err(failed)?;
    let mut config = shared.options.follower(&clients.config);
    config.set("enable.partition.eof", "true");
    let (context, patience) = (clients.context.clone(), shared.options.request_timeout);
    let name = shared.full_name(topic);
    let topic: Arc<str> = topic.into();
    let reading = spawn_blocking(move || {
        let reader: BaseConsumer<Context> = config.create_with_context(context)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&name, partition as i32, Offset::Offset(offset as i64))?;
        reader.assign(&list)?;
        read(&reader, &topic, end, max, Instant::now() + patience)
    });
    let outcome = reading.await.map_err(|error| failed(shared.faults.failed(error.to_string())))?;
    outcome.map_err(|error| failed(shared.faults.explain(error, &clients.context.troubles)))
}

/// Reads until `max` messages or the end that was there at the beginning.
fn read(
    reader: &BaseConsumer<Context>,
    topic: &Arc<str>,
    end: u64,
    max: usize,
    deadline: Instant,
) -> KafkaResult<Vec<Delivery>> {
    let mut deliveries = Vec::new();
    while deliveries.len() < max {
        match reader.poll(SLICE) {
            Some(Ok(message)) if message.offset() as u64 >= end => break,
            Some(Ok(message)) => {
                let is_last = message.offset() as u64 + 1 == end;
                deliveries.push(delivery(topic, &message));
                if is_last {
                    break;
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) if !is_passing(&error) => return Err(error),
            _ if Instant::now() >= deadline => {
                return Err(KafkaError::MessageConsumption(Code::OperationTimedOut));
            }
            _ => {}
        }
    }
    Ok(deliveries)
}
