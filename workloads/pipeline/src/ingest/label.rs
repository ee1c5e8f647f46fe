//! Labelling images that are stored without a label.
//!
//! The row and the change to the index come before the catalog: a process that dies between them leaves the image without a label in the
//! catalog, and giving the label again completes it. An image that is not embedded yet is labelled in the catalog alone; the embedder takes the
//! label from there.

use medindex_backends::catalog::{ImageStatus, MAX_SHORT_TEXT};
use medindex_backends::{Columns, ImageRow};
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::names::TOPIC_IMAGE_INDEXED;

use crate::backend_error::BackendError;
use crate::change::indexed_message;
use crate::core::Core;
use crate::row_meta::describe_row;

/// Why a label cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Longer than its column.
    #[error("the label has {characters} characters, more than {MAX_SHORT_TEXT}; give a shorter one")]
    TooLong {
        /// Its length.
        characters: usize,
    },
    /// People could not see what it is.
    #[error("the label has a control character; give one that can be read")]
    ControlCharacter,
}

/// Refuses a label that the catalog cannot keep or people cannot read.
///
/// # Errors
/// [`LabelError`].
pub(crate) fn check_label(label: &str) -> Result<(), LabelError> {
    let characters = label.chars().count();
    if characters > MAX_SHORT_TEXT {
        return Err(LabelError::TooLong { characters });
    }
    if label.contains(char::is_control) { Err(LabelError::ControlCharacter) } else { Ok(()) }
}

/// Labels images that have no label; filters and votes see it once the index has applied the change.
pub(crate) async fn set_labels(core: &Core, labels: Vec<(ImageId, String)>) -> Result<(), BackendError> {
    if labels.is_empty() {
        return Ok(());
    }
    let ids: Vec<ImageId> = labels.iter().map(|(id, _)| *id).collect();
    // The embedder and deletions come before or after.
    let _guards = core.locks.lock(&ids).await;
    let records = core.ports.catalog.images(&ids).await?;
    let mut indexed = Vec::new();
    for ((_, label), record) in labels.iter().zip(records) {
        let Some(mut record) = record else { continue };
        if record.status == ImageStatus::Indexed && record.image.label.is_none() {
            record.image.label = Some(label.clone());
            indexed.push(record);
        }
    }
    let keys: Vec<RowKey> = indexed.iter().map(|record| record.image.row_key.clone()).collect();
    let stored = core.ports.store.get_many(&keys, Columns::INFORMATION).await?;
    let (mut rows, mut messages) = (Vec::new(), Vec::new());
    for (record, row) in indexed.iter().zip(stored) {
        let Some(mut information) = row.and_then(|row| row.information) else { continue };
        describe_row(&mut information, &record.image, core.model_digest());
        messages.push(indexed_message(record, &information, core.model_digest())?);
        rows.push((record.image.row_key.clone(), ImageRow { bytes: None, information: Some(information) }));
    }
    if !rows.is_empty() {
        core.ports.store.put_many(rows).await?;
        core.ports.queue.publish_many(TOPIC_IMAGE_INDEXED, messages).await?;
    }
    Ok(core.ports.catalog.set_labels(labels).await?)
}
