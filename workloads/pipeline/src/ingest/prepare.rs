//! From a file's bytes to rendered frames, off the async threads.

use bytes::Bytes;
use medindex_embedding::Manifest;
use medindex_imaging::{Decoded, FrameSelection, ImageInfo, ImagingError, Limits, Rendered, WindowChoice};
use rayon::prelude::*;

use crate::sidecar::Sidecar;

/// A frame that can be embedded.
pub(crate) struct PreparedFrame {
    /// Number of the frame in its file, from 0.
    pub(crate) number: u32,
    /// The frame as the model and people see it.
    pub(crate) image: Rendered,
}

/// An image whose selected frames are rendered.
pub(crate) struct Prepared {
    /// What its file says, and what is known beside it.
    pub(crate) info: ImageInfo,
    /// Its selected frames, at least one.
    pub(crate) frames: Vec<PreparedFrame>,
}

/// Decodes and renders the selected frames; `window` where given, else the sidecar's, else what the model's manifest says.
pub(crate) fn prepare(
    bytes: &[u8],
    sidecar: Option<&Sidecar>,
    limits: &Limits,
    selection: FrameSelection,
    window: Option<&WindowChoice>,
    model: &Manifest,
) -> Result<Prepared, ImagingError> {
    let Decoded { mut info, frames } = medindex_imaging::decode(bytes, limits, selection)?;
    if let Some(sidecar) = sidecar {
        sidecar.overrule(&mut info);
    }
    let own = || sidecar.and_then(|sidecar| sidecar.window);
    let of_kind = || model.window_for(info.attributes.image_type.as_deref());
    let chosen = window.copied().or_else(own).unwrap_or_else(of_kind);
    let offset = sidecar.and_then(|sidecar| sidecar.hounsfield_offset);
    let frames = frames.into_iter().map(|frame| {
        let frame = match offset {
            Some(offset) => frame.with_hounsfield_offset(offset),
            None => frame,
        };
        PreparedFrame { number: frame.index(), image: frame.render(&chosen) }
    });
    let frames = frames.collect();
    Ok(Prepared { info, frames })
}

/// [`prepare`] for several files, on all cores.
pub(crate) fn prepare_many(
    files: &[(Bytes, Option<Sidecar>)],
    limits: &Limits,
    selection: FrameSelection,
    model: &Manifest,
) -> Vec<Result<Prepared, ImagingError>> {
    let each = |(bytes, sidecar): &(Bytes, Option<Sidecar>)| {
        prepare(bytes, sidecar.as_ref(), limits, selection, None, model)
    };
    files.par_iter().map(each).collect()
}
