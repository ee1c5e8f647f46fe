//! Reading what is stored: records, files, previews.

use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use medindex_backends::Columns;
use medindex_backends::catalog::{
    Alarm as CatalogAlarm, Cursor, ImageFilter, ImageStatus as RecordStatus, ListOrder,
};
use medindex_imaging::{FrameSelection, ImageInfo, ImagingError, WindowChoice, inspect, inspect_memory};
use medindex_proto::identity::{ImageId, RowKey};

use crate::backend_error::{BackendError, from_backend};
use crate::catalog_row::details;
use crate::context::Context;
use crate::core::now_ms;
use crate::error::{Classified, ErrorKind};
use crate::ingest::error::imaging_kind;
use crate::ingest::prepare::prepare;
use crate::operations::{Action, Event, note, outcome};
use crate::report::{Alarm, ImageDetails, ImageStatus};
use crate::sidecar::Sidecar;

/// Largest preview in pixels a side.
pub const MAX_PREVIEW_EDGE: u32 = 4096;
/// Most images on one page of a list.
pub const MAX_LIST: usize = 1_000;

/// Why something stored could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such image.
    #[error("there is no image {0}")]
    FindImage(ImageId),
    /// Its file is not stored yet.
    #[error("the file of image {0} is not stored yet; try again in a moment")]
    AwaitFile(ImageId),
    /// Its file should be stored and is not.
    #[error(
        "the file of image {0} is not in the image store: it was lost, or never could be read; delete the image, and upload the file again"
    )]
    FindFile(ImageId),
    /// A size that previews do not have.
    #[error("a preview of {edge} pixels a side cannot be made; ask for 1 to {MAX_PREVIEW_EDGE}")]
    CheckEdge {
        /// What was asked for.
        edge: u32,
    },
    /// A length that lists do not have.
    #[error("a list of {limit} cannot be made; ask for 1 to {MAX_LIST}")]
    CheckLimit {
        /// What was asked for.
        limit: usize,
    },
    /// A name that nothing in the log has.
    #[error("{field}: there is no '{name}'; use one of {known}")]
    CheckName {
        /// What is named.
        field: &'static str,
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Where to go on in a list was not understood.
    #[error("'{0}' does not say where to go on; use the `next` of the page before")]
    ParseCursor(String),
    /// The preview could not be made.
    #[error(transparent)]
    Decode(ImagingError),
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(ReadError);

impl Classified for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::FindImage(_) => ErrorKind::NotFound,
            Self::AwaitFile(_) | Self::FindFile(_) => ErrorKind::Conflict,
            Self::CheckEdge { .. }
            | Self::CheckLimit { .. }
            | Self::CheckName { .. }
            | Self::ParseCursor(_)
            | Self::Decode(ImagingError::NoSuchFrame { .. }) => ErrorKind::BadRequest,
            Self::Decode(error) => imaging_kind(error),
            Self::Backend(error) => error.kind(),
        }
    }
}

/// Which images to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// How many, 1 to [`MAX_LIST`].
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<String>,
    /// Only images that stand there.
    pub status: Option<ImageStatus>,
}

/// A page of images.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ImagePage {
    /// The images, newest first.
    pub images: Vec<ImageDetails>,
    /// Where the next page begins; absent on the last.
    pub next: Option<String>,
}

/// What a preview shows.
#[derive(Debug, Clone, Copy)]
pub struct PreviewRequest {
    /// Grey window; what the image was indexed with when `None`.
    pub window: Option<WindowChoice>,
    /// Frame from 0; the middle one when `None`.
    pub frame: Option<u32>,
    /// Longest side in pixels at the most, 1 to [`MAX_PREVIEW_EDGE`].
    pub max_edge: u32,
}

/// A searchable image with the vector of one of its frames.
#[derive(Debug, Clone)]
pub struct StoredVector {
    /// The image.
    pub image: ImageDetails,
    /// Frame from 0.
    pub frame: u32,
    /// L2-normalised embedding.
    pub vector: Vec<f16>,
}

pub(crate) async fn image(context: &Arc<Context>, id: &ImageId) -> Result<ImageDetails, ReadError> {
    let record = context.ports.catalog.image(id).await?;
    record
        .filter(|record| record.status != RecordStatus::Deleting)
        .map(details)
        .ok_or(ReadError::FindImage(*id))
}

pub(crate) async fn list(context: &Arc<Context>, request: &ListRequest) -> Result<ImagePage, ReadError> {
    if !(1..=MAX_LIST).contains(&request.limit) {
        return Err(ReadError::CheckLimit { limit: request.limit });
    }
    let after = match &request.after {
        None => None,
        Some(text) => Some(text.parse::<Cursor>().map_err(|_| ReadError::ParseCursor(text.clone()))?),
    };
    let status = request.status.map(|status| match status {
        ImageStatus::Received => RecordStatus::Received,
        ImageStatus::Indexed => RecordStatus::Indexed,
        ImageStatus::Failed => RecordStatus::Failed,
        ImageStatus::Deleting => RecordStatus::Deleting,
    });
    let filter = ImageFilter { status, ..ImageFilter::default() };
    let page =
        context.ports.catalog.list_images(&filter, ListOrder::NewestFirst, after, request.limit).await?;
    let images = page.items.into_iter().map(details).collect();
    Ok(ImagePage { images, next: page.next.map(|cursor| cursor.to_string()) })
}

pub(crate) async fn file(context: &Arc<Context>, id: &ImageId) -> Result<(ImageDetails, Bytes), ReadError> {
    let image = image(context, id).await?;
    let row = context.ports.store.get(&context.row_key(id), Columns::BYTES).await?;
    match row.and_then(|row| row.bytes) {
        Some(bytes) => Ok((image, bytes)),
        None if image.status == ImageStatus::Received => Err(ReadError::AwaitFile(*id)),
        None => Err(ReadError::FindFile(*id)),
    }
}

/// Records that a file was handed out, in the background. Previews are not recorded: the search page shows ten for every search.
pub(crate) fn note_download(
    context: &Context,
    id: &ImageId,
    ended: &Result<(ImageDetails, Bytes), ReadError>,
) {
    let event = match ended {
        Ok((image, _)) => {
            Event::new(context, Action::Download, id.to_string(), outcome::ANSWERED).detail(&image.name)
        }
        Err(error) => {
            Event::new(context, Action::Download, id.to_string(), outcome::REFUSED).detail(error.to_string())
        }
    };
    note(context, event);
}

/// Alarms, latest first.
pub(crate) async fn alarms(
    context: &Arc<Context>,
    only_raised: bool,
    limit: usize,
) -> Result<Vec<Alarm>, ReadError> {
    if !(1..=MAX_LIST).contains(&limit) {
        return Err(ReadError::CheckLimit { limit });
    }
    let catalog = &context.ports.catalog;
    let rows = if only_raised { catalog.open_alarms().await? } else { catalog.recent_alarms(limit).await? };
    // A full disk keeps its own alarm out of the catalog.
    let is_row = |held: &CatalogAlarm| {
        rows.iter().any(|row| {
            row.cleared_at_ms.is_none() && (&row.kind, &row.subject) == (&held.kind, &held.subject)
        })
    };
    let a_period_ago = now_ms() - context.settings.alarm_period.as_millis() as i64;
    let mut alarms = context.alarms.unwritten(a_period_ago);
    alarms.retain(|held| !is_row(held));
    alarms.extend(rows);
    Ok(alarms.into_iter().take(limit).map(Alarm::from).collect())
}

/// What the header of a file tells.
pub(crate) async fn inspect_file(context: &Arc<Context>, bytes: Bytes) -> Result<ImageInfo, ReadError> {
    let worker = Arc::clone(context);
    let inspected = tokio::task::spawn_blocking(move || {
        let _room = worker.decode_memory.wait(inspect_memory(&bytes));
        inspect(&bytes, &worker.settings.limits)
    });
    inspected.await?.map_err(ReadError::Decode)
}

/// A PNG of a file, shown as its sidecar says where it has one. Of one that is stored, what shows nothing is black instead of refused.
pub(crate) async fn render(
    context: &Arc<Context>,
    bytes: Bytes,
    sidecar: Option<Sidecar>,
    request: PreviewRequest,
    is_stored: bool,
) -> Result<Bytes, ReadError> {
    if !(1..=MAX_PREVIEW_EDGE).contains(&request.max_edge) {
        return Err(ReadError::CheckEdge { edge: request.max_edge });
    }
    let worker = Arc::clone(context);
    let png = tokio::task::spawn_blocking(move || {
        let selection = match request.frame {
            None if is_stored => FrameSelection::MiddleOfStored,
            None => FrameSelection::Middle,
            Some(frame) if is_stored => FrameSelection::OneOfStored(frame),
            Some(frame) => FrameSelection::One(frame),
        };
        let prepared = prepare(&worker, &bytes, sidecar.as_ref(), selection, request.window.as_ref())?;
        match prepared.frames.first() {
            Some(frame) => frame.image.to_png(request.max_edge),
            None => Err(ImagingError::NoSuchFrame { frame: request.frame.unwrap_or(0), frames: 0 }),
        }
    });
    Ok(png.await?.map_err(ReadError::Decode)?.into())
}

/// Every searchable image's vectors, in the order of their row keys.
pub(crate) async fn stored_vectors(context: &Arc<Context>) -> Result<Vec<StoredVector>, ReadError> {
    const PAGE: usize = 1_000;
    let mut vectors = Vec::new();
    for partition in 0..context.partitions {
        let mut after: Option<RowKey> = None;
        loop {
            let page = context.ports.store.scan(partition, Columns::VECTORS, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            let ids: Vec<ImageId> = page.iter().map(|(row_key, _)| row_key.image_id()).collect();
            let records = context.ports.catalog.images(&ids).await?;
            after = page.last().map(|(row_key, _)| row_key.clone());
            for ((_, row), record) in page.into_iter().zip(records) {
                let (Some(information), Some(record)) = (row.information, record) else { continue };
                if record.status != RecordStatus::Indexed {
                    continue;
                }
                let image = details(record);
                let frames = information.frames.into_iter();
                vectors.extend(frames.map(|frame| StoredVector {
                    image: image.clone(),
                    frame: frame.frame,
                    vector: frame.vector,
                }));
            }
            if !full {
                break;
            }
        }
    }
    Ok(vectors)
}
