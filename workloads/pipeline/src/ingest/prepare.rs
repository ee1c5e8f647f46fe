//! From a file's bytes to rendered frames, off the async threads.

use bytes::Bytes;
use medindex_embedding::Manifest;
use medindex_imaging::{Decoded, FrameSelection, ImageInfo, ImagingError, Limits, Rendered, WindowChoice};
use rayon::prelude::*;

/// A frame that can be embedded.
pub(crate) struct PreparedFrame {
    /// Number of the frame in its file, from 0.
    pub(crate) number: u32,
    /// The frame as the model and people see it.
    pub(crate) image: Rendered,
}

/// An image whose selected frames are rendered.
pub(crate) struct Prepared {
    /// What its file says.
    pub(crate) info: ImageInfo,
    /// Its selected frames, at least one.
    pub(crate) frames: Vec<PreparedFrame>,
}

/// Decodes and renders the selected frames; `window` where given, else what the model's manifest says.
pub(crate) fn prepare(
    bytes: &[u8],
    limits: &Limits,
    selection: FrameSelection,
    window: Option<&WindowChoice>,
    model: &Manifest,
) -> Result<Prepared, ImagingError> {
    let Decoded { info, frames } = medindex_imaging::decode(bytes, limits, selection)?;
    let chosen = window.copied().unwrap_or_else(|| model.window_for(info.attributes.image_type.as_deref()));
    let frames = frames
        .iter()
        .map(|frame| PreparedFrame { number: frame.index(), image: frame.render(&chosen) })
        .collect();
    Ok(Prepared { info, frames })
}

/// [`prepare`] for several files, on all cores.
pub(crate) fn prepare_many(
    files: &[Bytes],
    limits: &Limits,
    selection: FrameSelection,
    model: &Manifest,
) -> Vec<Result<Prepared, ImagingError>> {
    files.par_iter().map(|bytes| prepare(bytes, limits, selection, None, model)).collect()
}
