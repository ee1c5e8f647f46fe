//! What cannot be processed: kept with its reason in the dead-letter topic, named in the catalog, alarmed.

use medindex_backends::catalog::{FailedImage, MAX_LONG_TEXT};
use medindex_backends::queue::{Delivery, Message as QueueMessage};
use medindex_proto::identity::ImageId;
use medindex_proto::message::Message;
use medindex_proto::messages::DeadLetter;
use medindex_proto::names::{MAX_INLINE_BYTES, TOPIC_DEAD_LETTER};

use crate::alarms::AlarmKind;
use crate::backend_error::BackendError;
use crate::core::{Core, now_ms};
use crate::ingest::embed::mark_failed;
use crate::operations::{Action, Event, outcome, record};

/// A message that cannot be processed.
pub(crate) struct DeadImage {
    /// The message; an image that came without one is only marked failed.
    pub(crate) delivery: Option<Delivery>,
    /// The image, where the message could be read that far.
    pub(crate) id: Option<ImageId>,
    /// Stable word for programs.
    pub(crate) cause: &'static str,
    /// For people.
    pub(crate) reason: String,
}

impl DeadImage {
    /// A message that does not even tell its image.
    pub(crate) fn unreadable(delivery: Delivery, cause: &'static str, reason: &str) -> Self {
        Self { delivery: Some(delivery), id: None, cause, reason: reason.to_owned() }
    }
}

/// Publishes dead letters, marks their images failed, raises an alarm for each cause.
pub(crate) async fn bury(core: &Core, dead: Vec<DeadImage>) -> Result<(), BackendError> {
    if dead.is_empty() {
        return Ok(());
    }
    let messages = dead.iter().filter_map(letter).collect::<Result<Vec<_>, _>>()?;
    let is_from_queue = !messages.is_empty();
    core.ports.queue.publish_many(TOPIC_DEAD_LETTER, messages).await?;
    for image in &dead {
        let key = || image.delivery.as_ref().map(|delivery| delivery.key.clone()).unwrap_or_default();
        let subject = image.id.map_or_else(key, |id| id.to_string());
        tracing::warn!(%subject, cause = image.cause, reason = image.reason, "image cannot be indexed");
    }
    record(core, dead.iter().map(|image| event(core, image)).collect()).await?;
    let last = dead.last().map_or("", |image| image.reason.as_str());
    // No number: the alarm stays while further images fail, and the status counts those that are failed now.
    let detail = format!("messages could not be processed, the last because {last}");
    // The alarm comes first: whoever sees an image failed also sees the alarm.
    // Whoever imports files is told what became of each.
    if is_from_queue {
        core.raise_alarm(AlarmKind::DeadLetter, "", &detail).await;
    }
    let failed = dead.iter().filter_map(|image| {
        let id = image.id?;
        Some(FailedImage { id, reason: image.reason.chars().take(MAX_LONG_TEXT).collect() })
    });
    mark_failed(core, failed.collect()).await?;
    Ok(())
}

fn event(core: &Core, image: &DeadImage) -> Event {
    let detail = format!("{}: {}", image.cause, image.reason);
    let (key, detail) = match &image.delivery {
        Some(Delivery { topic, partition, offset, key, .. }) => {
            (key.clone(), format!("{detail} ({topic}, partition {partition}, offset {offset})"))
        }
        None => (String::new(), detail),
    };
    let subject = image.id.map_or(key, |id| id.to_string());
    Event::new(core, Action::Fail, subject, outcome::FAILED).detail(detail)
}

fn letter(image: &DeadImage) -> Option<Result<QueueMessage, BackendError>> {
    let Delivery { topic, partition, offset, key, payload, .. } = image.delivery.as_ref()?;
    let letter = DeadLetter {
        topic: topic.to_string(),
        partition: *partition,
        offset: *offset,
        key: key.clone(),
        payload: payload.slice(..payload.len().min(MAX_INLINE_BYTES)),
        cause: image.cause.to_owned(),
        reason: image.reason.clone(),
        at_ms: now_ms(),
        ..DeadLetter::default()
    };
    let written =
        letter.write().map(|payload| QueueMessage { partition: *partition, key: key.clone(), payload });
    Some(written.map_err(BackendError::from))
}
