//! The embedder: takes accepted images from the queue, embeds them, and makes them searchable.
//!
//! A batch goes through these steps, each idempotent on the row key, so that a replay changes nothing: bytes, vectors and codes
//! to the image store; the change to `imageindexed`; the catalog row to `indexed`; the offsets committed. The change goes out before the
//! row says `indexed`: a crash between the two repeats the change instead of losing it. What cannot be decoded goes to the
//! dead-letter topic with its reason and never blocks its partition; a backend that fails is tried again. A batch that goes on for long after the
//! process was told to end is given up, between any two of its steps: its offsets are not committed, so it comes again.

use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use half::f16;
use medindex_backends::catalog::{FailedImage, ImageRecord, ImageStatus, IndexedImage};
use medindex_backends::queue::{Delivery, positions_after};
use medindex_backends::{Columns, Consumer, FrameVector, ImageInformation, ImageRow, Positions};
use medindex_index::quantizer::Quantizer;
use medindex_proto::MessageError;
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::message::Message;
use medindex_proto::messages::{ImageUpload, image_upload};
use medindex_proto::names::{TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD};
use tracing::Span;

use crate::backend_error::BackendError;
use crate::catalog_row::describe;
use crate::change::indexed_message;
use crate::core::{Core, now_ms};
use crate::dead_letter::{DeadImage, bury};
use crate::decode_memory::portions;
use crate::delete::withdraw;
use crate::embedding::{Embedding, Quantizers};
use crate::ingest::prepare::{Prepared, prepare_many};
use crate::retry::Backoff;
use crate::row_meta::describe_row;
use crate::settings::SearchableFrames;
use crate::sidecar::Sidecar;
use crate::stray::{StrayError, own_row_key};
use crate::trace::go_on;

/// Consumer group of embedders.
pub(crate) const GROUP: &str = "embedder";
/// How long a poll waits for the first message.
const POLL: Duration = Duration::from_secs(1);
/// How long a batch may go on after the process was told to end: longer than one takes whose backends answer.
const FINISH: Duration = Duration::from_secs(6);

/// What embedding needs beside the core.
pub struct EmbedWorker {
    /// Ports and settings.
    pub core: Arc<Core>,
    /// The model.
    pub embedding: Arc<dyn Embedding>,
    /// Who knows the generation of the codes.
    pub quantizers: Arc<dyn Quantizers>,
}

impl Deref for EmbedWorker {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

impl EmbedWorker {
    /// Joins the group of embedders and embeds in the background until the core stops.
    ///
    /// # Errors
    /// [`BackendError`] when the queue does not answer.
    pub async fn start(self) -> Result<(), BackendError> {
        let consumer = self.ports.queue.consumer(TOPIC_IMAGE_UPLOAD, GROUP).await?;
        let tasks = self.tasks.clone();
        tasks.spawn(run(self, consumer));
        Ok(())
    }
}

/// An image on its way through the embedder.
pub(crate) struct Job {
    /// The message that brought it; `None` for a bulk import.
    delivery: Option<Delivery>,
    record: ImageRecord,
    bytes: Bytes,
    inline: bool,
    sidecar: Option<Sidecar>,
    /// Of the trace that the upload began.
    span: Span,
}

/// Runs until the core stops.
async fn run(worker: EmbedWorker, mut consumer: Box<dyn Consumer>) {
    let mut backoff = Backoff::default();
    loop {
        let polled = tokio::select! {
            () = worker.stop.cancelled() => return,
            polled = consumer.poll(worker.settings.batch, POLL) => polled,
        };
        let outcome = match polled {
            Ok(deliveries) if deliveries.is_empty() => continue,
            Ok(deliveries) => {
                let batch = process_and_commit(&worker, consumer.as_mut(), &deliveries);
                match finish_or_give_up(&worker, deliveries.len(), batch).await {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => {
                backoff.reset();
                worker.note_embedding(None);
            }
            Err(error) => {
                tracing::error!(%error, "embedding is interrupted and will be tried again");
                worker.note_embedding(Some(error));
                let rewound = tokio::select! {
                    // The next consumer begins at what is committed anyway.
                    () = worker.stop.cancelled() => return,
                    rewound = consumer.rewind() => rewound,
                };
                if let Err(error) = rewound {
                    tracing::error!(%error, "the queue cannot be rewound");
                }
                tokio::select! {
                    () = worker.stop.cancelled() => return,
                    () = backoff.wait() => {}
                }
            }
        }
    }
}

/// Does a batch to its end; `None` when it is given up, because it has gone on for [`FINISH`] since the process was told to end.
pub(crate) async fn finish_or_give_up<T>(
    core: &Core,
    images: usize,
    batch: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        outcome = batch => Some(outcome),
        () = core.stopped_for(FINISH) => {
            tracing::warn!(
                images,
                seconds = FINISH.as_secs(),
                "a batch is given up because the process ends: its images are embedded by whoever comes next"
            );
            None
        }
    }
}

async fn process_and_commit(
    worker: &EmbedWorker,
    consumer: &mut dyn Consumer,
    deliveries: &[Delivery],
) -> Result<(), BackendError> {
    process(worker, deliveries).await?;
    Ok(consumer.commit(&positions_after(deliveries)).await?)
}

/// Takes a batch of messages through all steps but the commit, as many at a time as memory suffices for.
async fn process(worker: &EmbedWorker, deliveries: &[Delivery]) -> Result<(), BackendError> {
    let wanted = read_wanted(worker, deliveries).await?;
    for portion in portions(wanted, most_held(worker), |wanted| held(worker, &wanted.record)) {
        let jobs = load(worker, portion).await?;
        embed_portion(worker, jobs).await?;
    }
    Ok(())
}

/// Takes images through all steps, as many at a time as memory suffices for.
pub(crate) async fn embed_and_store(worker: &EmbedWorker, jobs: Vec<Job>) -> Result<(), BackendError> {
    for portion in portions(jobs, most_held(worker), |job| held(worker, &job.record)) {
        embed_portion(worker, portion).await?;
    }
    Ok(())
}

/// Bytes of files and rendered frames that one portion holds, beside what decoding takes for a moment.
fn most_held(worker: &EmbedWorker) -> u64 {
    worker.decode_memory.total() / 4
}

/// Bytes of an image's file and of its rendered frames of up to three channels, as far as its header told.
fn held(worker: &EmbedWorker, record: &ImageRecord) -> u64 {
    let description = &record.image.description;
    let edge = |edge: Option<u32>| u64::from(edge.unwrap_or(0));
    let frames = match worker.settings.frames {
        SearchableFrames::Middle => 1,
        SearchableFrames::All => u64::from(description.frames.unwrap_or(1)),
    };
    let rendered = edge(description.width) * edge(description.height) * 3;
    record.image.bytes.saturating_add(rendered.saturating_mul(frames))
}

async fn embed_portion(worker: &EmbedWorker, mut jobs: Vec<Job>) -> Result<(), BackendError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let files: Vec<_> = jobs.iter_mut().map(|job| (job.bytes.clone(), job.sidecar.take())).collect();
    let core = Arc::clone(&worker.core);
    let prepared = tokio::task::spawn_blocking(move || prepare_many(&core, &files)).await?;
    let (mut good, mut dead) = (Vec::new(), Vec::new());
    for (job, outcome) in jobs.into_iter().zip(prepared) {
        match outcome {
            Ok(prepared) => good.push((job, prepared)),
            Err(error) => dead.push(dead_image(job, error.code(), &error.to_string())),
        }
    }
    let (embedded, refused) = embed(worker, good).await;
    dead.extend(refused);
    store(worker, embedded).await?;
    bury(worker, dead).await
}

/// An image that a message wants embedded.
struct Wanted {
    delivery: Delivery,
    upload: ImageUpload,
    record: ImageRecord,
}

/// Reads the messages; passes over what was deleted or is searchable already.
async fn read_wanted(worker: &EmbedWorker, deliveries: &[Delivery]) -> Result<Vec<Wanted>, BackendError> {
    let (mut uploads, mut dead) = (Vec::new(), Vec::new());
    for delivery in deliveries {
        worker.clock.look("a message on imageupload", delivery.published_at_ms);
        match read_upload(delivery, worker.partitions) {
            Ok((id, upload)) => {
                worker.clock.look("an upload", upload.received_at_ms);
                uploads.push((id, upload, delivery));
            }
            Err(error) => {
                dead.push(DeadImage::unreadable(delivery.clone(), "unreadable", &error.to_string()));
            }
        }
    }
    bury(worker, dead).await?;
    let ids: Vec<ImageId> = uploads.iter().map(|(id, ..)| *id).collect();
    let records = worker.ports.catalog.images(&ids).await?;
    let (mut wanted, mut seen) = (Vec::new(), std::collections::HashSet::new());
    for ((id, upload, delivery), record) in uploads.into_iter().zip(records) {
        let Some(record) = record.filter(|record| record.status == ImageStatus::Received) else { continue };
        if seen.insert(id) {
            wanted.push(Wanted { delivery: delivery.clone(), upload, record });
        }
    }
    Ok(wanted)
}

/// Fetches the bytes that the messages refer to.
async fn load(worker: &EmbedWorker, wanted: Vec<Wanted>) -> Result<Vec<Job>, BackendError> {
    let (mut jobs, mut dead) = (Vec::new(), Vec::new());
    for Wanted { delivery, upload, record } in wanted {
        let id = record.image.id;
        let span = tracing::info_span!("embed image", otel.kind = "consumer", image = %id);
        go_on(&span, &upload.trace);
        let (bytes, inline) = match upload.content {
            Some(image_upload::Content::Inline(bytes)) => (Some(bytes), true),
            _ => (stored_bytes(worker, &record.image.row_key).await?, false),
        };
        let delivery = Some(delivery);
        match (bytes, Sidecar::of(&record.image)) {
            (Some(bytes), Ok(sidecar)) => jobs.push(Job { delivery, record, bytes, inline, sidecar, span }),
            (None, _) => dead.push(DeadImage {
                delivery,
                id: Some(id),
                cause: "bytes_missing",
                reason: "its file is not in the image store; upload it again".to_owned(),
            }),
            (_, Err(error)) => {
                dead.push(DeadImage { delivery, id: Some(id), cause: "sidecar", reason: error.to_string() });
            }
        }
    }
    bury(worker, dead).await?;
    Ok(jobs)
}

/// The jobs of images that were accepted in this process; passes over what was deleted or is searchable already.
pub(crate) async fn collect_direct(
    worker: &EmbedWorker,
    images: impl Iterator<Item = (ImageId, &Bytes)>,
) -> Result<Vec<Job>, BackendError> {
    let (ids, files): (Vec<ImageId>, Vec<&Bytes>) = images.unzip();
    let records = worker.ports.catalog.images(&ids).await?;
    let (mut jobs, mut dead, mut seen) = (Vec::new(), Vec::new(), std::collections::HashSet::new());
    for ((id, bytes), record) in ids.into_iter().zip(files).zip(records) {
        let Some(record) = record.filter(|record| record.status == ImageStatus::Received) else { continue };
        if !seen.insert(id) {
            continue;
        }
        match Sidecar::of(&record.image) {
            Ok(sidecar) => {
                jobs.push(Job {
                    delivery: None,
                    record,
                    bytes: bytes.clone(),
                    inline: true,
                    sidecar,
                    span: Span::current(),
                });
            }
            Err(error) => dead.push(DeadImage {
                delivery: None,
                id: Some(id),
                cause: "sidecar",
                reason: error.to_string(),
            }),
        }
    }
    bury(worker, dead).await?;
    Ok(jobs)
}

fn read_upload(delivery: &Delivery, partitions: u32) -> Result<(ImageId, ImageUpload), StrayError> {
    let upload = ImageUpload::read(&delivery.payload)?;
    let wrong = |source| MessageError::Identity { kind: ImageUpload::KIND, source };
    let id = ImageId::parse(&upload.image_id).map_err(wrong)?;
    own_row_key(ImageUpload::KIND, &upload.row_key, partitions, delivery)?;
    Ok((id, upload))
}

async fn stored_bytes(worker: &EmbedWorker, row_key: &RowKey) -> Result<Option<Bytes>, BackendError> {
    Ok(worker.ports.store.get(row_key, Columns::BYTES).await?.and_then(|row| row.bytes))
}

fn dead_image(job: Job, cause: &'static str, reason: &str) -> DeadImage {
    DeadImage { id: Some(job.record.image.id), delivery: job.delivery, cause, reason: reason.to_owned() }
}

/// An embedded image, ready to be stored.
struct Embedded {
    job: Job,
    information: ImageInformation,
    prepared_description: medindex_backends::catalog::ImageDescription,
}

/// Embeds all frames of a batch together.
async fn embed(worker: &EmbedWorker, jobs: Vec<(Job, Prepared)>) -> (Vec<Embedded>, Vec<DeadImage>) {
    let (mut images, mut layout) = (Vec::new(), Vec::with_capacity(jobs.len()));
    for (job, prepared) in jobs {
        let description = describe(&prepared.info);
        let mut numbers = Vec::with_capacity(prepared.frames.len());
        for frame in prepared.frames {
            numbers.push(frame.number);
            images.push(frame.image);
        }
        layout.push((job, description, numbers));
    }
    let mut vectors = worker.embedding.embed_each(images).await.into_iter();
    let (mut embedded, mut dead) = (Vec::new(), Vec::new());
    for (job, prepared_description, numbers) in layout {
        let outcomes: Result<Vec<_>, _> =
            vectors.by_ref().take(numbers.len()).collect::<Vec<_>>().into_iter().collect();
        match outcomes {
            Ok(outcomes) => {
                let information = information(worker, &numbers, &outcomes);
                embedded.push(Embedded { job, information, prepared_description });
            }
            Err(error) => dead.push(dead_image(job, "embedding", &error.to_string())),
        }
    }
    (embedded, dead)
}

/// What the model told; what the record tells comes with [`store`].
fn information(worker: &EmbedWorker, numbers: &[u32], vectors: &[Vec<f32>]) -> ImageInformation {
    let quantizer = worker.quantizers.current();
    let (generation, codes) = encoded(quantizer.as_deref(), vectors);
    let frames = numbers.iter().zip(vectors).zip(codes).map(|((&frame, vector), code)| FrameVector {
        frame,
        vector: vector.iter().map(|&value| f16::from_f32(value)).collect(),
        code,
    });
    ImageInformation { generation, frames: frames.collect(), ..ImageInformation::default() }
}

/// The generation and the code of every frame; generation 0 and no codes at all where there is no quantizer or it fails, so
/// that the codes of an image are always of one generation and length.
fn encoded(quantizer: Option<&Quantizer>, vectors: &[Vec<f32>]) -> (u64, Vec<Vec<u8>>) {
    let none = || (0, vec![Vec::new(); vectors.len()]);
    let Some(quantizer) = quantizer else { return none() };
    let codes: Result<Vec<_>, _> =
        vectors.iter().map(|vector| quantizer.encode(vector).map(|encoded| encoded.code)).collect();
    match codes {
        Ok(codes) => (quantizer.generation(), codes),
        Err(error) => {
            // The vector is what counts: the index encodes it again when it freezes its tail.
            tracing::warn!(%error, "an image is stored without codes");
            none()
        }
    }
}

/// Writes rows, changes and catalog, under the locks of the images, so that a deletion comes before or after.
async fn store(worker: &EmbedWorker, embedded: Vec<Embedded>) -> Result<(), BackendError> {
    let ids: Vec<ImageId> = embedded.iter().map(|image| image.job.record.image.id).collect();
    let _guards = worker.locks.lock(&ids).await;
    let records = worker.ports.catalog.images(&ids).await?;
    let (mut rows, mut messages, mut indexed) = (Vec::new(), Vec::new(), Vec::new());
    // Each ends when its image is searchable.
    let mut spans = Vec::new();
    for (image, record) in embedded.into_iter().zip(records) {
        let Some(mut record) = record.filter(|record| record.status == ImageStatus::Received) else {
            continue;
        };
        record.image.description = image.prepared_description;
        // It may have been labelled since the batch began.
        let mut information = image.information;
        describe_row(&mut information, &record.image, worker.model_digest());
        let message = || indexed_message(&record, &information, worker.model_digest());
        messages.push(image.job.span.in_scope(message)?);
        spans.push(image.job.span);
        indexed.push(IndexedImage {
            id: record.image.id,
            indexed_at_ms: now_ms(),
            generation: information.generation,
            description: Some(record.image.description),
        });
        let bytes = image.job.inline.then_some(image.job.bytes);
        rows.push((record.image.row_key, ImageRow { bytes, information: Some(information) }));
    }
    worker.ports.store.put_many(rows).await?;
    worker.ports.queue.publish_many(TOPIC_IMAGE_INDEXED, messages).await?;
    worker.ports.catalog.mark_indexed(indexed).await?;
    drop(spans);
    withdraw_deleted(worker, &ids).await
}

/// Takes back what was written for images that were deleted meanwhile. In one process the locks keep the two apart; a gateway in another process
/// may have marked, withdrawn and forgotten an image between the look at its record and the writes.
async fn withdraw_deleted(worker: &EmbedWorker, ids: &[ImageId]) -> Result<(), BackendError> {
    let records = worker.ports.catalog.images(ids).await?;
    let is_gone = |record: &Option<ImageRecord>| {
        record.as_ref().is_none_or(|record| record.status == ImageStatus::Deleting)
    };
    let gone: Vec<ImageId> =
        ids.iter().zip(&records).filter(|(_, record)| is_gone(record)).map(|(id, _)| *id).collect();
    if gone.is_empty() {
        return Ok(());
    }
    tracing::info!(images = gone.len(), "images were deleted while they were embedded");
    withdraw(worker, &gone).await
}

/// Marks images failed with their reasons.
pub(crate) async fn mark_failed(core: &Core, failed: Vec<FailedImage>) -> Result<(), BackendError> {
    core.ports.catalog.mark_failed(failed).await?;
    core.announce_change();
    Ok(())
}

/// Uploads that wait to be embedded.
///
/// # Errors
/// [`BackendError`] when the queue does not answer.
pub async fn lag(core: &Core) -> Result<u64, BackendError> {
    let queue = &core.ports.queue;
    let ends = queue.end_offsets(TOPIC_IMAGE_UPLOAD).await?;
    let done = queue.committed(TOPIC_IMAGE_UPLOAD, GROUP).await?;
    Ok(waiting(&ends, &done))
}

/// Messages before `ends` that are not done.
pub(crate) fn waiting(ends: &Positions, done: &Positions) -> u64 {
    ends.iter().map(|(partition, end)| end - done.get(partition).copied().unwrap_or(0).min(*end)).sum()
}
