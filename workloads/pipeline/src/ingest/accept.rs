//! Accepting an upload: checked, recorded, and durable before it is acknowledged.
//!
//! The catalog row comes first, then the message (with the bytes when they are small, else the bytes go to the image
//! store before it). Guarantee: what is acknowledged is in the queue or in the image store; when the process dies before
//! that, the row stays `received` without bytes, and the next upload of the same file sends it again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::catalog::{Acceptance, NewImage};
use medindex_backends::queue::Message as QueueMessage;
use medindex_backends::{CatalogError, ImageRow};
use medindex_imaging::{ImageInfo, Limits, inspect, inspect_memory};
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::message::Message;
use medindex_proto::messages::{ImageUpload, image_upload};
use medindex_proto::names::TOPIC_IMAGE_UPLOAD;
use tokio::sync::MutexGuard;

use crate::alarms::AlarmKind;
use crate::backend_error::BackendError;
use crate::catalog_row::{self, describe};
use crate::context::Context;
use crate::core::now_ms;
use crate::digest::{ContentDigests, digest_content};
use crate::ingest::IngestError;
use crate::ingest::label::{check_label, set_labels};
use crate::operations::{Action, Event, note, outcome, record};
use crate::report::{Accepted, ImageStatus, LabelOutcome};
use crate::sidecar::Sidecar;
use crate::trace::carried;

/// How often an image that is waited for is looked at when nothing wakes the one who waits.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// A file that someone wants to be searchable.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Name of the file, for people.
    pub name: String,
    /// The whole file.
    pub bytes: Bytes,
    /// Label for it, where known.
    pub label: Option<String>,
    /// What is known of it beside the file.
    pub sidecar: Option<Sidecar>,
}

/// An upload whose header was read.
struct Examined {
    upload: Upload,
    info: ImageInfo,
    digests: ContentDigests,
}

/// Whether each upload is an operation of its own, or part of one that is recorded as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Each.
    Each,
    /// As a whole, by the caller.
    Whole,
}

/// Accepts several uploads at once; answers in their order. One refusal does not touch the others.
pub(crate) async fn accept_many(
    context: &Arc<Context>,
    uploads: Vec<Upload>,
    recording: Recording,
) -> Result<Vec<Result<Accepted, IngestError>>, BackendError> {
    let worker = Arc::clone(context);
    let examined = tokio::task::spawn_blocking(move || -> Vec<Result<Examined, IngestError>> {
        let limits = &worker.settings.limits;
        let needed = |upload: &Upload| inspect_memory(&upload.bytes);
        worker.decode_memory.work_on(uploads, needed, |upload| examine(upload, limits))
    })
    .await?;
    let mut answers: Vec<Option<Result<Accepted, IngestError>>> = Vec::with_capacity(examined.len());
    let mut good = Vec::new();
    for (place, outcome) in examined.into_iter().enumerate() {
        match outcome {
            Ok(upload) => {
                good.push((place, upload));
                answers.push(None);
            }
            Err(error) => answers.push(Some(Err(error))),
        }
    }
    for (place, answer) in enter_and_send(context, good, recording).await? {
        answers[place] = Some(answer);
    }
    Ok(answers.into_iter().flatten().collect())
}

fn examine(upload: Upload, limits: &Limits) -> Result<Examined, IngestError> {
    upload.label.as_deref().map_or(Ok(()), check_label)?;
    let mut info = inspect(&upload.bytes, limits).map_err(IngestError::Inspect)?;
    if let Some(sidecar) = &upload.sidecar {
        sidecar.overrule(&mut info);
    }
    let digests = digest_content(&upload.bytes);
    Ok(Examined { upload, info, digests })
}

/// Enters uploads in the catalog and sends those that have to be indexed.
async fn enter_and_send(
    context: &Arc<Context>,
    uploads: Vec<(usize, Examined)>,
    recording: Recording,
) -> Result<Vec<(usize, Result<Accepted, IngestError>)>, BackendError> {
    let mut answers = Vec::with_capacity(uploads.len());
    let (mut places, mut images, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for (place, examined) in uploads {
        places.push(place);
        images.push(new_image(context, &examined));
        files.push(examined.upload.bytes);
    }
    let acceptances = accept_rows(context, &images).await?;
    let guards = lock_known(context, &acceptances).await;
    let (mut sending, mut labels, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (((place, image), bytes), acceptance) in places.into_iter().zip(images).zip(files).zip(acceptances) {
        match acceptance {
            Err(error) => answers.push((place, Err(IngestError::from(error)))),
            Ok(Acceptance::BeingDeleted(id)) => answers.push((place, Err(IngestError::BeingDeleted(id)))),
            Ok(acceptance) => {
                let id = acceptance.id();
                let duplicate = matches!(acceptance, Acceptance::Duplicate(_));
                let (status, label) = match &image.label {
                    _ if !duplicate => (ImageStatus::Received, None),
                    label => status_of(context, &id, label.as_ref()).await?,
                };
                if let (Some(LabelOutcome::Set), Some(label)) = (label, &image.label) {
                    labels.push((id, label.clone()));
                }
                if recording == Recording::Each && !duplicate {
                    events.push(accepted_event(context, &id, &image.name));
                }
                // A duplicate that is still `received` may be the remains of an upload that was cut off.
                if status == ImageStatus::Received {
                    sending.push((NewImage { id, row_key: context.row_key(&id), ..image }, bytes));
                }
                answers.push((place, Ok(Accepted { id, duplicate, status, label })));
            }
        }
    }
    // Together, so that queue and disk take both at once. An image that is recorded and then not sent is not acknowledged, which is recorded too.
    let ids: Vec<ImageId> = sending.iter().map(|(image, _)| image.id).collect();
    let (sent, recorded) = tokio::join!(send(context, sending), record(context, events));
    if recording == Recording::Each
        && let Err(error) = sent.as_ref().and(recorded.as_ref())
    {
        for id in ids {
            let event = Event::new(context, Action::Upload, id.to_string(), outcome::FAILED);
            note(context, event.detail(error.to_string()));
        }
    }
    sent.and(recorded)?;
    // Labelling takes the same locks.
    drop(guards);
    set_labels(context, labels).await?;
    Ok(answers)
}

/// The locks of images that were here before, so that none is given up as cut off while it is sent again. Where this process embeds, what is sent
/// waits for its embedding, which takes the same locks; and nothing is given up there.
async fn lock_known<'a>(
    context: &'a Context,
    acceptances: &[Result<Acceptance, CatalogError>],
) -> Vec<MutexGuard<'a, ()>> {
    if context.direct.is_some() {
        return Vec::new();
    }
    let known: Vec<ImageId> = acceptances
        .iter()
        .flatten()
        .filter(|acceptance| matches!(acceptance, Acceptance::Duplicate(_)))
        .map(|acceptance| acceptance.id())
        .collect();
    context.locks.lock(&known).await
}

fn accepted_event(context: &Context, id: &ImageId, name: &str) -> Event {
    Event::new(context, Action::Upload, id.to_string(), outcome::ACCEPTED).detail(name)
}

/// One statement for all rows; where one of them is refused, row by row to find out which.
async fn accept_rows(
    context: &Arc<Context>,
    images: &[NewImage],
) -> Result<Vec<Result<Acceptance, CatalogError>>, BackendError> {
    let catalog = &context.ports.catalog;
    match catalog.accept_images(images.to_vec()).await {
        Ok(acceptances) => Ok(acceptances.into_iter().map(Ok).collect()),
        Err(CatalogError::TooLong { .. }) => {
            let mut acceptances = Vec::with_capacity(images.len());
            for image in images {
                acceptances.push(catalog.accept_image(image.clone()).await);
            }
            Ok(acceptances)
        }
        Err(error) => Err(error.into()),
    }
}

fn new_image(context: &Context, examined: &Examined) -> NewImage {
    let Examined { upload, info, digests } = examined;
    let id = ImageId::new();
    NewImage {
        id,
        row_key: context.row_key(&id),
        organisation: context.settings.organisation.clone(),
        sha256: digests.sha256,
        md5: digests.md5,
        name: upload.name.clone(),
        label: upload.label.clone(),
        content_type: info.format.media_type().to_owned(),
        format: info.format.name().to_owned(),
        bytes: upload.bytes.len() as u64,
        received_at_ms: now_ms(),
        description: describe(info),
        sidecar: upload.sidecar.as_ref().map(Sidecar::to_json),
    }
}

/// Where an image that was here before stands, and what becomes of a label that came with it now.
async fn status_of(
    context: &Arc<Context>,
    id: &ImageId,
    label: Option<&String>,
) -> Result<(ImageStatus, Option<LabelOutcome>), BackendError> {
    let Some(record) = context.ports.catalog.image(id).await? else {
        return Ok((ImageStatus::Received, None));
    };
    let outcome = match (label, &record.image.label) {
        (Some(_), None) => Some(LabelOutcome::Set),
        (Some(new), Some(old)) if new != old => Some(LabelOutcome::Kept),
        _ => None,
    };
    Ok((catalog_row::status(record.status), outcome))
}

/// Makes images durable and sends their messages.
async fn send(context: &Arc<Context>, images: Vec<(NewImage, Bytes)>) -> Result<(), BackendError> {
    if images.is_empty() {
        return Ok(());
    }
    if let Some(direct) = &context.direct {
        direct.take(images).await;
        return Ok(());
    }
    let inline = context.settings.inline_bytes;
    let large = images.iter().filter(|(_, bytes)| bytes.len() > inline);
    let rows: Vec<_> = large.map(|(image, bytes)| row_of_bytes(&image.row_key, bytes)).collect();
    if !rows.is_empty() {
        context.ports.store.put_many(rows).await?;
    }
    let messages = images
        .iter()
        .map(|(image, bytes)| upload_message(image, (bytes.len() <= inline).then(|| bytes.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    match context.ports.queue.publish_many(TOPIC_IMAGE_UPLOAD, messages).await {
        Ok(_) => Ok(()),
        Err(error) => keep_unsent(context, &images, error.into()).await,
    }
}

/// The queue does not take the messages: with the bytes in the image store the sweeper sends them later.
async fn keep_unsent(
    context: &Arc<Context>,
    images: &[(NewImage, Bytes)],
    error: BackendError,
) -> Result<(), BackendError> {
    context.raise_alarm(AlarmKind::SendFailed, TOPIC_IMAGE_UPLOAD, &error.to_string()).await;
    let rows = images.iter().map(|(image, bytes)| row_of_bytes(&image.row_key, bytes)).collect();
    context.ports.store.put_many(rows).await.map_err(|_| error)
}

fn row_of_bytes(row_key: &RowKey, bytes: &Bytes) -> (RowKey, ImageRow) {
    (row_key.clone(), ImageRow { bytes: Some(bytes.clone()), information: None })
}

/// The message that has an image embedded; without `inline` bytes it refers to the image store.
pub(crate) fn upload_message(image: &NewImage, inline: Option<Bytes>) -> Result<QueueMessage, BackendError> {
    let content = match inline {
        Some(bytes) => image_upload::Content::Inline(bytes),
        None => image_upload::Content::StoredBytes(image.bytes),
    };
    let message = ImageUpload {
        image_id: image.id.to_string(),
        row_key: image.row_key.to_string(),
        organisation: image.organisation.clone(),
        name: image.name.clone(),
        label: image.label.clone(),
        content_type: image.content_type.clone(),
        format: image.format.clone(),
        sha256: image.sha256.to_vec().into(),
        md5: image.md5.to_vec().into(),
        received_at_ms: image.received_at_ms,
        content: Some(content),
        sidecar: image.sidecar.clone(),
        trace: carried(),
        ..ImageUpload::default()
    };
    let payload = message.write()?;
    Ok(QueueMessage { partition: image.row_key.partition(), key: image.row_key.to_string(), payload })
}

/// Accepts one upload.
pub(crate) async fn accept(context: &Arc<Context>, upload: Upload) -> Result<Accepted, IngestError> {
    let name = upload.name.clone();
    let answer = match accept_many(context, vec![upload], Recording::Each).await {
        // One upload has one answer; were it missing, nothing would have been acknowledged.
        Ok(answers) => answers.into_iter().next().unwrap_or(Err(IngestError::LoseAnswer)),
        Err(error) => Err(error.into()),
    };
    match &answer {
        Ok(accepted) if accepted.duplicate => {
            let event = Event::new(context, Action::Upload, accepted.id.to_string(), outcome::DUPLICATE);
            note(context, event.detail(name));
        }
        Ok(_) => {}
        Err(error) => {
            let event = Event::new(context, Action::Upload, "", outcome::REFUSED);
            note(context, event.detail(format!("{name}: {error}")));
        }
    }
    answer
}

/// Waits until an image is in the index, or failed.
pub(crate) async fn wait_until_searchable(
    context: &Arc<Context>,
    id: &ImageId,
    deadline: Duration,
) -> Result<ImageStatus, IngestError> {
    let mut changed = context.changed.subscribe();
    let wait = async {
        loop {
            let record = context.ports.catalog.image(id).await?.ok_or(IngestError::FindImage(*id))?;
            let status = catalog_row::status(record.status);
            let searchable = status != ImageStatus::Indexed || context.searcher.holds(id).await?;
            if status != ImageStatus::Received && searchable {
                return Ok(status);
            }
            // On a cluster nobody tells this process: it looks again.
            if let Ok(Err(_)) = tokio::time::timeout(LOOK, changed.changed()).await {
                return Err(IngestError::AwaitSearchable(*id));
            }
        }
    };
    tokio::time::timeout(deadline, wait).await.unwrap_or(Err(IngestError::AwaitSearchable(*id)))
}
