//! Deleting images: out of the index, the image store, the cache and the catalog.
//!
//! The catalog row says `deleting` first and goes last, so that a deletion that was cut off is finished by the sweeper. Search results
//! are joined with the catalog, so a deleting image is not shown from the first step on.

use std::sync::Arc;

use medindex_backends::catalog::ImageRecord;
use medindex_proto::identity::{ImageId, RowKey};
use medindex_proto::names::{TOPIC_IMAGE_INDEXED, recognition_cache_key};

use crate::backend_error::{BackendError, from_backend};
use crate::change::tombstone_message;
use crate::context::Context;
use crate::core::Core;
use crate::error::{Classified, ErrorKind};
use crate::operations::{Action, Event, note, outcome, record, stamp};
use crate::previews;
use crate::report::Deleted;

/// Images removed at once.
const BATCH: usize = 256;

/// Why nothing, or not everything, was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There is no such image.
    #[error("there is no image {0}")]
    FindImage(ImageId),
    /// No image has this patient id.
    #[error("there is no image of patient '{0}'")]
    FindPatient(String),
    /// A backend failed; the images are gone from searches, and the rest is removed when it answers again.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(DeleteError);

impl Classified for DeleteError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::FindImage(_) | Self::FindPatient(_) => ErrorKind::NotFound,
            Self::Backend(error) => error.kind(),
        }
    }
}

pub(crate) async fn delete(context: &Arc<Context>, id: &ImageId) -> Result<Deleted, DeleteError> {
    let ids = delete_all(context, vec![*id]).await?;
    if ids.is_empty() {
        let event = Event::new(context, Action::Delete, id.to_string(), outcome::REFUSED);
        note(context, event.detail("there is no such image"));
        return Err(DeleteError::FindImage(*id));
    }
    Ok(Deleted { ids })
}

pub(crate) async fn delete_patient(context: &Arc<Context>, patient: &str) -> Result<Deleted, DeleteError> {
    let organisation = Some(context.settings.organisation.as_str());
    let ids = context.ports.catalog.ids_of_patient(patient, organisation).await?;
    let ids = delete_all(context, ids).await?;
    if ids.is_empty() {
        let event = Event::new(context, Action::DeletePatient, patient, outcome::REFUSED);
        note(context, event.detail("there is no image of this patient"));
        return Err(DeleteError::FindPatient(patient.to_owned()));
    }
    let event = Event::new(context, Action::DeletePatient, patient, outcome::DELETED);
    stamp(context, event.detail(format!("{} images", ids.len()))).await;
    Ok(Deleted { ids })
}

async fn delete_all(context: &Arc<Context>, ids: Vec<ImageId>) -> Result<Vec<ImageId>, BackendError> {
    let mut gone = Vec::with_capacity(ids.len());
    for batch in ids.chunks(BATCH) {
        let _guards = context.locks.lock(batch).await;
        let present = context.ports.catalog.mark_deleting(batch).await?;
        let records = context.ports.catalog.images(&present).await?;
        let records: Vec<ImageRecord> = records.into_iter().flatten().collect();
        remove(context, &records).await?;
        gone.extend(present);
    }
    if !gone.is_empty() {
        let ends = context.ports.queue.end_offsets(TOPIC_IMAGE_INDEXED).await?;
        context.searcher.catch_up(&ends).await?;
    }
    Ok(gone)
}

/// Removes all that is left of images that are marked as deleting; the caller holds their locks.
pub(crate) async fn remove(core: &Core, records: &[ImageRecord]) -> Result<(), BackendError> {
    let ports = &core.ports;
    let ids: Vec<ImageId> = records.iter().map(|record| record.image.id).collect();
    withdraw(core, &ids).await?;
    let mut keys: Vec<String> =
        records.iter().map(|record| recognition_cache_key(&hex::encode(record.image.md5))).collect();
    keys.extend(ids.iter().flat_map(|id| previews::keys_of(core, id)));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    if let Err(error) = ports.cache.delete_many(&keys).await {
        tracing::warn!(%error, "what the cache has of deleted images stays for now; the sweeper finishes their deletion");
        return Ok(());
    }
    // Before the row goes: a deletion that is cut off here is finished, and recorded under the same id, by the sweeper.
    record(core, ids.iter().map(|id| deletion(core, id)).collect()).await?;
    ports.catalog.delete_images(&ids).await?;
    Ok(())
}

/// Takes images out of every index and out of the image store.
pub(crate) async fn withdraw(core: &Core, ids: &[ImageId]) -> Result<(), BackendError> {
    let rows: Vec<RowKey> = ids.iter().map(|id| core.row_key(id)).collect();
    let tombstones = ids.iter().zip(&rows).map(|(id, row)| tombstone_message(id, row));
    let tombstones = tombstones.collect::<Result<Vec<_>, _>>()?;
    core.ports.queue.publish_many(TOPIC_IMAGE_INDEXED, tombstones).await?;
    Ok(core.ports.store.delete_many(&rows).await?)
}

fn deletion(core: &Core, id: &ImageId) -> Event {
    Event::new(core, Action::Delete, id.to_string(), outcome::DELETED).known_by(id)
}
