//! The change log `imageindexed`: what its messages say, and what they do to the index.

use bytes::Bytes;
use half::f16;
use medindex_backends::catalog::ImageRecord;
use medindex_backends::queue::{Delivery, Message as QueueMessage};
use medindex_backends::{Columns, FrameVector, ImageInformation};
use medindex_index::{Attributes, Change, Entry, EntryKey, IndexError};
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::message::Message;
use medindex_proto::messages::{self, ImageIndexed, Indexed, Tombstone, image_indexed, indexed};
use medindex_proto::names::MAX_MESSAGE_BYTES;
use tracing::Span;

use crate::backend_error::BackendError;
use crate::catalog_row::index_attributes;
use crate::core::{Core, now_ms};
use crate::stray::{StrayError, own_row_key};
use crate::trace::{carried, go_on};

/// Room for everything in a message that is not a vector.
const MESSAGE_OVERHEAD: usize = 64 << 10;

/// The message that makes an image searchable.
pub(crate) fn indexed_message(
    record: &ImageRecord,
    information: &ImageInformation,
    model_digest: &str,
) -> Result<QueueMessage, BackendError> {
    let frames = &information.frames;
    let bytes: usize = frames.iter().map(|frame| frame.vector.len() * 2 + frame.code.len() + 16).sum();
    let vectors = if bytes + MESSAGE_OVERHEAD <= MAX_MESSAGE_BYTES {
        let frames = frames.iter().map(frame_message).collect();
        indexed::Vectors::Frames(messages::Frames { frames })
    } else {
        indexed::Vectors::StoredFrames(frames.len() as u32)
    };
    let change = Indexed {
        generation: information.generation,
        attributes: Some(attributes_message(index_attributes(record))),
        vectors: Some(vectors),
        model_digest: model_digest.to_owned(),
    };
    change_message(&record.image.id, &record.image.row_key, image_indexed::Change::Indexed(change))
}

/// The message that removes an image from every index.
pub(crate) fn tombstone_message(id: &ImageId, row_key: &RowKey) -> Result<QueueMessage, BackendError> {
    change_message(id, row_key, image_indexed::Change::Tombstone(Tombstone { deleted_at_ms: now_ms() }))
}

fn change_message(
    id: &ImageId,
    row_key: &RowKey,
    change: image_indexed::Change,
) -> Result<QueueMessage, BackendError> {
    let message = ImageIndexed {
        image_id: id.to_string(),
        row_key: row_key.to_string(),
        at_ms: now_ms(),
        change: Some(change),
        trace: carried(),
        ..ImageIndexed::default()
    };
    let payload = message.write()?;
    Ok(QueueMessage { partition: row_key.partition(), key: row_key.to_string(), payload })
}

fn frame_message(frame: &FrameVector) -> messages::FrameVector {
    let vector: Vec<u8> = frame.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    messages::FrameVector { frame: frame.frame, vector: vector.into(), code: Bytes::from(frame.code.clone()) }
}

fn attributes_message(attributes: Attributes) -> messages::Attributes {
    messages::Attributes {
        image_type: attributes.image_type,
        modality: attributes.modality,
        body_part: attributes.body_part,
        label: attributes.label,
        organisation: attributes.organisation,
        study: attributes.study,
        patient: attributes.patient,
        time_ms: attributes.time_ms,
    }
}

fn attributes_of(message: messages::Attributes) -> Attributes {
    Attributes {
        image_type: message.image_type,
        modality: message.modality,
        body_part: message.body_part,
        label: message.label,
        organisation: message.organisation,
        study: message.study,
        patient: message.patient,
        time_ms: message.time_ms,
    }
}

/// Why a message of the change log was passed over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// It cannot be read, or belongs elsewhere.
    #[error(transparent)]
    Stray(#[from] StrayError),
    /// Its vectors come from another model.
    #[error("its vectors come from model {found}, this index holds those of {expected}")]
    OtherModel { found: String, expected: String },
    /// No index takes its vectors.
    #[error("its vectors cannot be searched: {0}")]
    CheckVectors(IndexError),
    /// A backend failed: try again.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// What a message does to the index, in order, and the span of its trace, to be kept until it is done.
pub(crate) async fn changes_of(core: &Core, delivery: &Delivery) -> Result<(Vec<Change>, Span), ChangeError> {
    core.clock.look("a message on imageindexed", delivery.published_at_ms);
    let message = ImageIndexed::read(&delivery.payload).map_err(StrayError::from)?;
    core.clock.look("a change", message.at_ms);
    let span = tracing::info_span!("apply change", otel.kind = "consumer", image = message.image_id);
    go_on(&span, &message.trace);
    let row_key = own_row_key(ImageIndexed::KIND, &message.row_key, core.partitions, delivery)?;
    Ok((changes_of_message(core, row_key, message.change).await?, span))
}

async fn changes_of_message(
    core: &Core,
    row_key: RowKey,
    change: Option<image_indexed::Change>,
) -> Result<Vec<Change>, ChangeError> {
    let id = row_key.image_id();
    match change {
        Some(image_indexed::Change::Indexed(indexed)) => {
            let expected = core.model_digest();
            if indexed.model_digest != expected {
                let (found, expected) = (indexed.model_digest, expected.to_owned());
                return Err(ChangeError::OtherModel { found, expected });
            }
            let attributes = attributes_of(indexed.attributes.unwrap_or_default());
            let frames = match indexed.vectors {
                Some(indexed::Vectors::Frames(frames)) => {
                    frames.frames.into_iter().map(|frame| (frame.frame, halves(&frame.vector))).collect()
                }
                _ => stored_frames(core, &row_key).await?,
            };
            let changes = entries(&id, frames, &attributes);
            check_entries(&changes, core.model().embedding.dimension)?;
            Ok(changes)
        }
        _ => Ok(vec![Change::Remove { id: *id.as_bytes() }]),
    }
}

/// The index refuses a batch whole: one bad vector would stop the shard.
fn check_entries(changes: &[Change], dimension: usize) -> Result<(), ChangeError> {
    for change in changes {
        if let Change::Upsert(entry) = change {
            entry.check(dimension).map_err(ChangeError::CheckVectors)?;
        }
    }
    Ok(())
}

/// The removal that a message asks for, if it asks for one. What cannot be read asks for nothing here.
pub(crate) fn removal_of(core: &Core, delivery: &Delivery) -> Option<Change> {
    let message = ImageIndexed::read(&delivery.payload).ok()?;
    let row_key = own_row_key(ImageIndexed::KIND, &message.row_key, core.partitions, delivery).ok()?;
    let is_removal = matches!(message.change, Some(image_indexed::Change::Tombstone(_)));
    is_removal.then(|| Change::Remove { id: *row_key.image_id().as_bytes() })
}

fn halves(bytes: &[u8]) -> Vec<f16> {
    bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Too many frames for a message: they are read from the image store. A row that is gone was deleted meanwhile.
async fn stored_frames(core: &Core, row_key: &RowKey) -> Result<Vec<(u32, Vec<f16>)>, BackendError> {
    let row = core.ports.store.get(row_key, Columns::VECTORS).await?;
    let information = row.and_then(|row| row.information).unwrap_or_default();
    Ok(information.frames.into_iter().map(|frame| (frame.frame, frame.vector)).collect())
}

/// The entries of an image's frames.
pub(crate) fn entries(id: &ImageId, frames: Vec<(u32, Vec<f16>)>, attributes: &Attributes) -> Vec<Change> {
    let entry = |(frame, vector)| {
        let key = EntryKey::new(*id.as_bytes(), frame);
        Change::Upsert(Entry { key, vector, attributes: attributes.clone() })
    };
    frames.into_iter().map(entry).collect()
}
