//! From a file's bytes to rendered frames, off the async threads, within the memory that decoding may take.

use bytes::Bytes;
use medindex_imaging::{
    Decoded, FrameSelection, ImageInfo, ImagingError, Rendered, WindowChoice, decode, decode_memory, inspect,
    inspect_memory,
};

use crate::core::Core;
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
/// Waits for the memory it needs: it blocks the thread, and is not called from within the pool of rayon.
pub(crate) fn prepare(
    core: &Core,
    bytes: &[u8],
    sidecar: Option<&Sidecar>,
    selection: FrameSelection,
    window: Option<&WindowChoice>,
) -> Result<Prepared, ImagingError> {
    let needed = {
        let _room = core.decode_memory.wait(inspect_memory(bytes));
        needed(core, bytes, selection)?
    };
    let _room = core.decode_memory.wait(needed);
    decode_and_render(core, bytes, sidecar, selection, window)
}

/// [`prepare`] for several files, on all cores, with the frames and the windows that become searchable.
pub(crate) fn prepare_many(
    core: &Core,
    files: &[(Bytes, Option<Sidecar>)],
) -> Vec<Result<Prepared, ImagingError>> {
    let selection = core.settings.frames.selection();
    let memory = &core.decode_memory;
    let inspected = memory.work_on(
        files.iter().collect(),
        |(bytes, _)| inspect_memory(bytes),
        |file| Ok((file, needed(core, &file.0, selection)?)),
    );
    memory.work_on(
        inspected,
        |inspected| inspected.as_ref().map_or(0, |(_, needed)| *needed),
        |inspected| {
            let ((bytes, sidecar), _) = inspected?;
            decode_and_render(core, bytes, sidecar.as_ref(), selection, None)
        },
    )
}

/// Bytes that decoding the selected frames needs.
fn needed(core: &Core, bytes: &[u8], selection: FrameSelection) -> Result<u64, ImagingError> {
    let info = inspect(bytes, &core.settings.limits)?;
    // Of a compressed stream, what comes before the pixels is held beside them.
    Ok(decode_memory(&info, selection)?.saturating_add(inspect_memory(bytes)))
}

fn decode_and_render(
    core: &Core,
    bytes: &[u8],
    sidecar: Option<&Sidecar>,
    selection: FrameSelection,
    window: Option<&WindowChoice>,
) -> Result<Prepared, ImagingError> {
    let Decoded { mut info, frames } = decode(bytes, &core.settings.limits, selection)?;
    if let Some(sidecar) = sidecar {
        sidecar.overrule(&mut info);
    }
    let own = || sidecar.and_then(|sidecar| sidecar.window);
    let of_kind = || core.model().window_for(info.attributes.image_type.as_deref());
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
