//! The query's vector: embedded from a file, or taken from the index for a stored image.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use medindex_backends::Columns;
use medindex_backends::catalog::{ImageRecord, ImageStatus};
use medindex_imaging::{FrameSelection, ImagingError, Rendered};
use medindex_proto::identity::{ImageId, RowKey};

use crate::context::Context;
use crate::ingest::prepare::prepare;
use crate::search::{Query, SearchError, SearchRequest};
use crate::sidecar::Sidecar;

/// A query that the index understands.
pub(crate) struct QueryVector {
    pub(crate) vector: Vec<f32>,
    pub(crate) name: String,
    /// The stored image that is searched from.
    pub(crate) id: Option<ImageId>,
    pub(crate) decode_us: u64,
    pub(crate) embed_us: u64,
}

/// Finds or computes the vector of a request's query.
pub(crate) async fn query_vector(
    context: &Arc<Context>,
    request: &SearchRequest,
) -> Result<QueryVector, SearchError> {
    match &request.query {
        Query::File { name, bytes } => {
            let query = embed_file(context, bytes.clone(), None, request).await?;
            Ok(QueryVector { name: name.clone(), ..query })
        }
        Query::Stored(id) => {
            let record = stored_record(context, id).await?;
            let whole = request.region.is_none() && request.window.is_none();
            let stored = if whole {
                stored_vector(context, &record.image.row_key, request.frame).await?
            } else {
                None
            };
            let query = match stored {
                Some(vector) => {
                    QueryVector { vector, name: String::new(), id: None, decode_us: 0, embed_us: 0 }
                }
                None => embed_stored(context, &record, request).await?,
            };
            Ok(QueryVector { name: record.image.name, id: Some(*id), ..query })
        }
    }
}

/// A request's query as the answer names it, without its vector.
pub(crate) async fn named_query(
    context: &Arc<Context>,
    request: &SearchRequest,
) -> Result<QueryVector, SearchError> {
    let (name, id) = match &request.query {
        Query::File { name, .. } => (name.clone(), None),
        Query::Stored(id) => (stored_record(context, id).await?.image.name, Some(*id)),
    };
    Ok(QueryVector { vector: Vec::new(), name, id, decode_us: 0, embed_us: 0 })
}

async fn stored_record(context: &Arc<Context>, id: &ImageId) -> Result<ImageRecord, SearchError> {
    let record = context.ports.catalog.image(id).await?.ok_or(SearchError::FindImage(*id))?;
    match record.status {
        ImageStatus::Deleting => Err(SearchError::FindImage(*id)),
        _ => Ok(record),
    }
}

/// The stored vector of an image: of the frame asked for, else of the frame in the middle.
async fn stored_vector(
    context: &Context,
    row_key: &RowKey,
    frame: Option<u32>,
) -> Result<Option<Vec<f32>>, SearchError> {
    let row = context.ports.store.get(row_key, Columns::VECTORS).await?;
    let Some(information) = row.and_then(|row| row.information) else { return Ok(None) };
    let frames = information.frames;
    let found = match frame {
        Some(number) => frames.iter().find(|each| each.frame == number),
        None => frames.get(frames.len() / 2),
    };
    Ok(found.map(|found| found.vector.iter().map(|value| value.to_f32()).collect()))
}

async fn embed_stored(
    context: &Arc<Context>,
    record: &ImageRecord,
    request: &SearchRequest,
) -> Result<QueryVector, SearchError> {
    let row = context.ports.store.get(&record.image.row_key, Columns::BYTES).await?;
    match row.and_then(|row| row.bytes) {
        Some(bytes) => embed_file(context, bytes, Sidecar::of(&record.image)?, request).await,
        None => Err(SearchError::FindVector { id: record.image.id, state: record.status.to_string() }),
    }
}

async fn embed_file(
    context: &Arc<Context>,
    bytes: Bytes,
    sidecar: Option<Sidecar>,
    request: &SearchRequest,
) -> Result<QueryVector, SearchError> {
    let started = Instant::now();
    let (worker, wanted) = (Arc::clone(context), request.clone());
    let image = tokio::task::spawn_blocking(move || query_image(&worker, &bytes, sidecar.as_ref(), &wanted))
        .await?
        .map_err(SearchError::Decode)?;
    let decoded = Instant::now();
    let vector = context.embedding.embed(image).await.map_err(SearchError::Embed)?;
    Ok(QueryVector {
        vector,
        name: String::new(),
        id: None,
        decode_us: (decoded - started).as_micros() as u64,
        embed_us: decoded.elapsed().as_micros() as u64,
    })
}

/// The one frame of the query that is searched with, cut to the region asked for.
fn query_image(
    context: &Context,
    bytes: &Bytes,
    sidecar: Option<&Sidecar>,
    request: &SearchRequest,
) -> Result<Rendered, ImagingError> {
    let selection = request.frame.map_or(FrameSelection::Middle, FrameSelection::One);
    let prepared = prepare(context, bytes, sidecar, selection, request.window.as_ref())?;
    let Some(frame) = prepared.frames.into_iter().next() else {
        return Err(ImagingError::NoSuchFrame { frame: request.frame.unwrap_or(0), frames: 0 });
    };
    match request.region {
        Some(region) => frame.image.crop(region),
        None => Ok(frame.image),
    }
}
