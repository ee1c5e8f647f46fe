//! Topics: making them, their extents, committed positions, trimming.

use std::sync::Arc;
use std::time::{Duration, Instant};

use medindex_proto::names::MAX_PARTITIONS;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::Offset;
use tokio::task::spawn_blocking;

use super::clients::{Shared, discard};
use super::context::Context;
use super::faults::is_unknown_topic;
use super::read_error;
use crate::fault::Fault;
use crate::queue::{Positions, QueueError, Result, check_name};

/// Wait before it is looked again whether a new topic is there.
const PAUSE: Duration = Duration::from_millis(20);

/// Which end of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Edge {
    First,
    End,
}

/// Checks that a topic has a partition.
pub(super) fn check_partition(topic: &str, partition: u32, partitions: u32) -> Result<()> {
    if partition < partitions {
        return Ok(());
    }
    Err(QueueError::UnknownPartition { topic: topic.to_owned(), partition, partitions })
}

/// The number of partitions, remembered: it never changes.
pub(super) async fn partitions(shared: &Arc<Shared>, topic: &str) -> Result<u32> {
    if let Some(known) = shared.partitions.lock().get(topic) {
        return Ok(*known);
    }
    let found = look(shared, topic).await.map_err(|source| read_error(topic, source))?;
    let Some(found) = found else { return Err(QueueError::UnknownTopic { topic: topic.to_owned() }) };
    shared.partitions.lock().insert(topic.to_owned(), found.partitions);
    Ok(found.partitions)
}

/// Whether the topic is gone, asked anew.
pub(super) async fn is_gone(shared: &Arc<Shared>, topic: &str) -> Result<bool> {
    let found = look(shared, topic).await.map_err(|source| read_error(topic, source))?;
    Ok(found.is_none())
}

struct Found {
    partitions: u32,
    /// Whether each partition has a broker that leads it.
    is_ready: bool,
}

async fn look(shared: &Arc<Shared>, topic: &str) -> Result<Option<Found>, Fault> {
    let name = shared.full_name(topic);
    let question = move |reader: &BaseConsumer<Context>, patience| -> KafkaResult<Option<Found>> {
        let metadata = reader.fetch_metadata(Some(&name), patience)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(None);
        };
        match topic.error().map(Code::from) {
            Some(code) if is_unknown_topic(code) => Ok(None),
            // No topic can have such a name.
            Some(Code::InvalidTopic) => Ok(None),
            Some(code) => Err(KafkaError::MetadataFetch(code)),
            None => {
                let partitions = topic.partitions();
                let is_ready = partitions.iter().all(|partition| partition.leader() >= 0);
                Ok(Some(Found { partitions: partitions.len() as u32, is_ready }))
            }
        }
    };
    shared.ask(question).await
}

pub(super) async fn create(shared: &Arc<Shared>, topic: &str, partitions: u32) -> Result<()> {
    check_name(topic)?;
    check_name(&shared.full_name(topic))?;
    let failed = |source| QueueError::CreateTopic { topic: topic.to_owned(), source };
    if !(1..=MAX_PARTITIONS).contains(&partitions) {
        let reason = format!("{partitions} partitions cannot be used: choose 1 to {MAX_PARTITIONS}");
        return Err(failed(shared.faults.failed(reason)));
    }
    if look(shared, topic).await.map_err(failed)?.is_none() {
        make(shared, topic, partitions).await.map_err(failed)?;
    }
    let start = Instant::now();
    loop {
        match look(shared, topic).await.map_err(failed)? {
            Some(found) if found.partitions != partitions => {
                let topic = topic.to_owned();
                return Err(QueueError::PartitionCount {
                    topic,
                    found: found.partitions,
                    wanted: partitions,
                });
            }
            Some(found) if found.is_ready => break,
            _ if start.elapsed() > shared.options.request_timeout => {
                return Err(failed(
                    shared.faults.unavailable("the new topic's partitions have no leaders yet"),
                ));
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    shared.partitions.lock().insert(topic.to_owned(), partitions);
    Ok(())
}

async fn make(shared: &Arc<Shared>, topic: &str, partitions: u32) -> Result<(), Fault> {
    let (name, options) = (shared.full_name(topic), shared.options.of_topic(topic));
    let settings = options.all_settings();
    let mut new =
        NewTopic::new(&name, partitions as i32, TopicReplication::Fixed(i32::from(options.replication)));
    for (setting, value) in &settings {
        new = new.set(setting, value);
    }
    let (admin, context) = admin(shared).await?;
    let outcome = admin.create_topics([&new], &patience(shared)).await;
    discard(admin);
    let made = outcome.and_then(|results| match results.into_iter().next() {
        // Another process made it meanwhile.
        None | Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, code))) => Err(KafkaError::AdminOp(code)),
    });
    made.map_err(|error| shared.faults.explain(error, &context.troubles))
}

/// The first or end offsets of all partitions.
pub(super) async fn offsets(shared: &Arc<Shared>, topic: &str, edge: Edge) -> Result<Positions> {
    let count = partitions(shared, topic).await?;
    let offset = match edge {
        Edge::First => Offset::Beginning,
        Edge::End => Offset::End,
    };
    let name = shared.full_name(topic);
    let question = move |reader: &BaseConsumer<Context>, patience| {
        let mut list = TopicPartitionList::with_capacity(count as usize);
        for partition in 0..count {
            list.add_partition_offset(&name, partition as i32, offset)?;
        }
        // "For times", where the first and the end count as times.
        positions(&reader.offsets_for_times(list, patience)?)
    };
    match shared.ask(question).await {
        Ok(positions) => Ok(positions),
        Err(source) if is_gone(shared, topic).await? => {
            tracing::debug!(topic, %source, "the topic is gone");
            shared.partitions.lock().remove(topic);
            Err(QueueError::UnknownTopic { topic: topic.to_owned() })
        }
        Err(source) => Err(read_error(topic, source)),
    }
}

/// The offsets of a list; partitions without one are left out.
pub(super) fn positions(list: &TopicPartitionList) -> KafkaResult<Positions> {
    let mut positions = Positions::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            positions.insert(element.partition() as u32, offset as u64);
        }
    }
    Ok(positions)
}

/// A list of positions, as the library takes it.
pub(super) fn list(name: &str, positions: &Positions) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for (partition, offset) in positions {
        // Beyond what Kafka can count lies the end.
        let offset = i64::try_from(*offset).map_or(Offset::End, Offset::Offset);
        list.add_partition_offset(name, *partition as i32, offset)?;
    }
    Ok(list)
}

pub(super) async fn committed(shared: &Arc<Shared>, topic: &str, group: &str) -> Result<Positions> {
    let count = partitions(shared, topic).await?;
    let failed = |source| read_error(topic, source);
    let (clients, _) = shared.clients().await.map_err(failed)?;
    let (name, group) = (shared.full_name(topic), shared.full_name(group));
    let patience = shared.options.request_timeout;
    let (config, context) = (shared.options.member(&clients.config, &group), clients.context.clone());
    let asking = spawn_blocking(move || {
        let member: BaseConsumer<Context> = config.create_with_context(context)?;
        let mut list = TopicPartitionList::with_capacity(count as usize);
        list.add_partition_range(&name, 0, count as i32 - 1);
        positions(&member.committed_offsets(list, patience)?)
    });
    let outcome = asking.await.map_err(|error| failed(shared.faults.failed(error.to_string())))?;
    outcome.map_err(|error| failed(shared.faults.explain(error, &clients.context.troubles)))
}

pub(super) async fn trim(shared: &Arc<Shared>, topic: &str, partition: u32, before: u64) -> Result<()> {
    check_partition(topic, partition, partitions(shared, topic).await?)?;
    let failed = |source| QueueError::Trim { topic: topic.to_owned(), source };
    let end = offsets(shared, topic, Edge::End).await?.get(&partition).copied().unwrap_or(0);
    let (admin, context) = admin(shared).await.map_err(failed)?;
    let outcome = match list(&shared.full_name(topic), &Positions::from([(partition, before.min(end))])) {
        Ok(list) => admin.delete_records(&list, &patience(shared)).await,
        Err(error) => Err(error),
    };
    discard(admin);
    let trimmed = outcome.and_then(|list| positions(&list));
    trimmed.map(drop).map_err(|error| failed(shared.faults.explain(error, &context.troubles)))
}

async fn admin(shared: &Arc<Shared>) -> Result<(AdminClient<Context>, Context), Fault> {
    let (clients, _) = shared.clients().await?;
    let context = clients.context.clone();
    let admin = clients.config.create_with_context(context.clone());
    let admin = admin.map_err(|error| shared.faults.explain(error, &context.troubles))?;
    Ok((admin, context))
}

fn patience(shared: &Shared) -> AdminOptions {
    let timeout = Some(shared.options.request_timeout);
    AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
}
