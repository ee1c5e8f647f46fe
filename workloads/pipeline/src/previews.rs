//! Previews of stored images, kept in the cache.
//!
//! A stored image never changes, so its preview does not either: the key has the image's id, the size, the model (which says how images are
//! windowed) and the release. Only previews in the sizes of [`KEPT_EDGES`], of the middle frame in the image's own window, are kept: a deletion knows
//! all keys of an image. The catalog is asked before every answer, so a deleted image's preview is never shown, and a preview
//! that was drawn while its image was deleted is taken back.

use std::sync::Arc;

use bytes::Bytes;
use medindex_proto::identity::ImageId;

use crate::context::Context;
use crate::core::Core;
use crate::read::{self, PreviewRequest, ReadError};

/// Sizes that are kept, in pixels: those of the search page and of the API when nothing else is asked for, and what lists use.
pub(crate) const KEPT_EDGES: [u32; 5] = [64, 128, 256, 512, 640];
/// Larger pictures are drawn anew.
const MAX_BYTES: usize = 1 << 20;

/// The keys of all previews of an image that may be kept.
pub(crate) fn keys_of(core: &Core, id: &ImageId) -> impl Iterator<Item = String> {
    let (id, model) = (*id, core.model_digest().to_owned());
    KEPT_EDGES.into_iter().map(move |edge| key_of(&model, &id, edge))
}

fn key_of(model: &str, id: &ImageId, edge: u32) -> String {
    let model: String = model.chars().rev().take(12).collect();
    format!("preview:{}:{model}:{id}:{edge}", env!("CARGO_PKG_VERSION"))
}

/// A PNG of a stored image.
pub(crate) async fn preview(
    context: &Arc<Context>,
    id: &ImageId,
    request: PreviewRequest,
) -> Result<Bytes, ReadError> {
    let is_kept =
        request.window.is_none() && request.frame.is_none() && KEPT_EDGES.contains(&request.max_edge);
    if !is_kept {
        let (image, bytes) = read::file(context, id).await?;
        return read::render(context, bytes, image.sidecar, request, true).await;
    }
    read::image(context, id).await?;
    let key = key_of(context.model_digest(), id, request.max_edge);
    match context.ports.cache.get(&key).await {
        Ok(Some(png)) => {
            context.caches.previews.hit();
            return Ok(png);
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the cache cannot be read; drawing the preview"),
    }
    context.caches.previews.miss();
    let (image, bytes) = read::file(context, id).await?;
    let png = read::render(context, bytes, image.sidecar, request, true).await?;
    if png.len() <= MAX_BYTES {
        keep(context, id, &key, png.clone()).await;
    }
    Ok(png)
}

/// Keeps a preview, unless its image is being deleted.
async fn keep(context: &Arc<Context>, id: &ImageId, key: &str, png: Bytes) {
    let cache = &context.ports.cache;
    if let Err(error) = cache.set(key, png, context.settings.preview_ttl).await {
        tracing::debug!(%error, "a preview cannot be kept");
        return;
    }
    // A deletion marks the image before it clears the cache: whoever kept a preview after that sees the mark here.
    if read::image(context, id).await.is_err()
        && let Err(error) = cache.delete(key).await
    {
        tracing::warn!(%error, "the preview of a deleted image stays in the cache until it expires; it is not shown");
    }
}
