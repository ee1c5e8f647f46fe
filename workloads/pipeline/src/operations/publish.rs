//! Events on their way into the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use medindex_backends::queue::Message as QueueMessage;
use medindex_proto::MessageError;
use medindex_proto::identity::{ImageId, partition_of};
use medindex_proto::message::Message;
use medindex_proto::messages::OperationEvent;
use medindex_proto::names::TOPIC_OPERATION_LOG;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::consume::operation_of;
use super::event::Event;
use super::{BUFFERED, LINGER};
use crate::backend_error::BackendError;
use crate::core::Core;
use crate::retry::Backoff;

/// Events published at once.
const BATCH: usize = 1_024;
/// How long the queue may take before events go to the catalog: shorter than it takes searches to fill the buffer.
const PUBLISH_WITHIN: Duration = Duration::from_secs(5);
/// How long the last events may take when the process ends.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// The way into the log.
pub(crate) struct OperationLog {
    sender: mpsc::Sender<OperationEvent>,
    /// Until the task that empties the buffer takes it.
    receiver: Mutex<Option<mpsc::Receiver<OperationEvent>>>,
    published: AtomicU64,
    kept: AtomicU64,
    dropped: AtomicU64,
}

/// What became of the events of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperationLogCounts {
    /// Published to the queue.
    pub published: u64,
    /// Written to the catalog because the queue did not take them.
    pub kept: u64,
    /// Lost because the buffer was full, or the process ended while nothing took them.
    pub dropped: u64,
    /// Waiting in the buffer.
    pub waiting: u64,
}

impl Default for OperationLog {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(BUFFERED);
        let (published, kept, dropped) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { sender, receiver: Mutex::new(Some(receiver)), published, kept, dropped }
    }
}

impl OperationLog {
    pub(crate) fn counts(&self) -> OperationLogCounts {
        OperationLogCounts {
            published: self.published.load(Ordering::Relaxed),
            kept: self.kept.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            waiting: (self.sender.max_capacity() - self.sender.capacity()) as u64,
        }
    }

    fn drop_events(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Records what is done and stays done; durable when this returns.
///
/// # Errors
/// [`BackendError`] when neither queue nor catalog takes it: what is recorded is then not to be acknowledged.
pub(crate) async fn record(core: &Core, events: Vec<Event>) -> Result<(), BackendError> {
    if events.is_empty() {
        return Ok(());
    }
    let events: Vec<OperationEvent> = events.into_iter().map(Event::into_message).collect();
    deliver(core, &events).await
}

/// Records what cannot be taken back any more: where neither queue nor catalog takes it now, it waits in the buffer.
pub(crate) async fn stamp(core: &Core, event: Event) {
    let event = event.into_message();
    if let Err(error) = deliver(core, std::slice::from_ref(&event)).await {
        tracing::error!(%error, ?event, "an operation cannot be recorded yet and will be tried again");
        buffer(core, event);
    }
}

/// Records what changes nothing, in the background.
pub(crate) fn note(core: &Core, event: Event) {
    buffer(core, event.into_message());
}

fn buffer(core: &Core, event: OperationEvent) {
    if core.operations.sender.try_send(event).is_err() {
        core.operations.drop_events(1);
    }
}

/// Publishes events, or writes them to the catalog where the queue does not take them soon. Those that it takes later all the same count once.
async fn deliver(core: &Core, events: &[OperationEvent]) -> Result<(), BackendError> {
    let messages = events.iter().map(|event| message(core, event)).collect::<Result<Vec<_>, _>>()?;
    let published = core.ports.queue.publish_many(TOPIC_OPERATION_LOG, messages);
    let reason = match tokio::time::timeout(PUBLISH_WITHIN, published).await {
        Ok(Ok(_)) => {
            core.operations.published.fetch_add(events.len() as u64, Ordering::Relaxed);
            return Ok(());
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not take them within {PUBLISH_WITHIN:?}"),
    };
    tracing::warn!(
        reason,
        events = events.len(),
        "the queue does not take operations; they go to the catalog"
    );
    let operations = events.iter().map(operation_of).collect::<Result<Vec<_>, _>>()?;
    core.ports.catalog.append_operations(operations).await?;
    core.operations.kept.fetch_add(events.len() as u64, Ordering::Relaxed);
    Ok(())
}

fn message(core: &Core, event: &OperationEvent) -> Result<QueueMessage, MessageError> {
    let wrong = |source| MessageError::Identity { kind: OperationEvent::KIND, source };
    let id = ImageId::parse(&event.event_id).map_err(wrong)?;
    let partition = partition_of(&id, core.partitions);
    Ok(QueueMessage { partition, key: event.event_id.clone(), payload: event.write()? })
}

/// Empties the buffer until the core stops, and then once more; returns at once when another task does so already.
pub(crate) async fn run(core: Arc<Core>) {
    let Some(mut receiver) = core.operations.receiver.lock().take() else { return };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            () = core.stop.cancelled() => break,
            received = receiver.recv_many(&mut batch, BATCH) => if received == 0 { return },
        }
        if batch.len() < BATCH {
            tokio::select! {
                () = core.stop.cancelled() => {}
                () = tokio::time::sleep(LINGER) => {}
            }
        }
        while batch.len() < BATCH
            && let Ok(event) = receiver.try_recv()
        {
            batch.push(event);
        }
        if !deliver_until_stopped(&core, &batch).await {
            break;
        }
        batch.clear();
    }
    while let Ok(event) = receiver.try_recv() {
        batch.push(event);
    }
    deliver_last(&core, &batch).await;
}

/// Tries until it succeeds; false when the core stopped before.
async fn deliver_until_stopped(core: &Core, batch: &[OperationEvent]) -> bool {
    let mut backoff = Backoff::default();
    while let Err(error) = deliver(core, batch).await {
        tracing::error!(%error, events = batch.len(), "operations cannot be recorded and wait");
        tokio::select! {
            () = core.stop.cancelled() => return false,
            () = backoff.wait() => {}
        }
    }
    true
}

async fn deliver_last(core: &Core, batch: &[OperationEvent]) {
    if batch.is_empty() {
        return;
    }
    let outcome = tokio::time::timeout(LAST_WITHIN, deliver(core, batch)).await;
    let reason = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("neither queue nor catalog took them within {LAST_WITHIN:?}"),
    };
    core.operations.drop_events(batch.len());
    tracing::error!(reason, events = batch.len(), "the last operations of this process are not recorded");
}
