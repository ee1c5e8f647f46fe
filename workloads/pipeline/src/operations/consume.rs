//! From the topic into the catalog.
//!
//! Every gateway is a member of one consumer group; in one process the pipeline is its only one. Positions are committed after the rows are
//! written, and rows are known by the event's id, so a replay changes nothing. An event that cannot be read goes to the dead-letter topic with
//! the reason and blocks nobody.

use std::sync::Arc;
use std::time::Duration;

use medindex_backends::catalog::Operation;
use medindex_backends::queue::{Delivery, positions_after};
use medindex_backends::{Consumer, QueueError};
use medindex_proto::MessageError;
use medindex_proto::identity::ImageId;
use medindex_proto::message::Message;
use medindex_proto::messages::OperationEvent;
use medindex_proto::names::TOPIC_OPERATION_LOG;

use super::LINGER;
use crate::backend_error::BackendError;
use crate::core::Core;
use crate::dead_letter::{DeadImage, bury};
use crate::retry::Backoff;

/// Consumer group of those who write the catalog.
pub(crate) const GROUP: &str = "operations";
/// Events written at once.
const BATCH: usize = 512;
/// How long a poll waits for the first event.
const POLL: Duration = Duration::from_secs(1);

/// Runs until the core stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut backoff = Backoff::default();
    while !core.stop.is_cancelled() {
        let Err(error) = follow(&core, &mut backoff).await else { return };
        tracing::error!(%error, "keeping the operation log is interrupted and will be tried again");
        tokio::select! {
            () = core.stop.cancelled() => return,
            () = backoff.wait() => {}
        }
    }
}

async fn follow(core: &Core, backoff: &mut Backoff) -> Result<(), BackendError> {
    let mut consumer = core.ports.queue.consumer(TOPIC_OPERATION_LOG, GROUP).await?;
    loop {
        let deliveries = tokio::select! {
            () = core.stop.cancelled() => return Ok(()),
            deliveries = consumer.poll(BATCH, POLL) => deliveries?,
        };
        if deliveries.is_empty() {
            continue;
        }
        keep(core, consumer.as_mut(), &deliveries).await?;
        backoff.reset();
        if deliveries.len() < BATCH {
            // The next ones share a write.
            tokio::select! {
                () = core.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(LINGER) => {}
            }
        }
    }
}

/// Writes what waits in the topic, and returns; for a process that has the topic to itself.
pub(crate) async fn drain(core: &Core) -> Result<(), BackendError> {
    let mut consumer = core.ports.queue.consumer(TOPIC_OPERATION_LOG, GROUP).await?;
    loop {
        let deliveries = consumer.poll(BATCH, Duration::ZERO).await?;
        if deliveries.is_empty() {
            return Ok(());
        }
        keep(core, consumer.as_mut(), &deliveries).await?;
    }
}

async fn keep(core: &Core, consumer: &mut dyn Consumer, deliveries: &[Delivery]) -> Result<(), BackendError> {
    write(core, deliveries).await?;
    match consumer.commit(&positions_after(deliveries)).await {
        // Whoever has the partition now writes them again, which changes nothing.
        Ok(()) | Err(QueueError::Reassigned { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn write(core: &Core, deliveries: &[Delivery]) -> Result<(), BackendError> {
    let (mut operations, mut dead) = (Vec::with_capacity(deliveries.len()), Vec::new());
    for delivery in deliveries {
        core.clock.look("a message on operationlog", delivery.published_at_ms);
        match read(delivery) {
            Ok(operation) => {
                core.clock.look("an operation", operation.at_ms);
                operations.push(operation);
            }
            Err(reason) => dead.push(DeadImage::unreadable(delivery.clone(), "unreadable_event", &reason)),
        }
    }
    core.ports.catalog.append_operations(operations).await?;
    bury(core, dead).await
}

fn read(delivery: &Delivery) -> Result<Operation, String> {
    let event = OperationEvent::read(&delivery.payload).map_err(|error| error.to_string())?;
    let operation = operation_of(&event).map_err(|error| error.to_string())?;
    operation.check().map_err(|error| error.to_string())?;
    Ok(operation)
}

/// The row that keeps an event.
pub(super) fn operation_of(event: &OperationEvent) -> Result<Operation, MessageError> {
    let wrong = |source| MessageError::Identity { kind: OperationEvent::KIND, source };
    Ok(Operation {
        id: ImageId::parse(&event.event_id).map_err(wrong)?,
        at_ms: event.at_ms,
        actor: event.actor.clone(),
        action: event.action.clone(),
        subject: event.subject.clone(),
        outcome: event.outcome.clone(),
        detail: event.detail.clone(),
        organisation: event.organisation.clone(),
        trace_id: event.trace_id.clone(),
    })
}
