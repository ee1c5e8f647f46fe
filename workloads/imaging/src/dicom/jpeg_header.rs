//! The header of a JPEG or JPEG-LS stream, read before any decoder takes memory (ITU-T T.81 annex B, T.87 annex C).

use super::image_module::{ImageModule, damaged};
use crate::error::ImagingError;
use crate::format::Format;

/// What the frame header and the application markers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JpegHeader {
    /// Second byte of the SOF marker.
    pub(crate) process: u8,
    pub(crate) precision: u8,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Identifiers of the components, in order.
    pub(crate) components: Vec<u8>,
    /// Adobe APP14 colour transform.
    pub(crate) adobe_transform: Option<u8>,
    pub(crate) jfif: bool,
}

impl JpegHeader {
    /// Reads the markers up to the frame header.
    pub(crate) fn read(stream: &[u8]) -> Result<Self, ImagingError> {
        let cut = || ImagingError::truncated(Format::Dicom, "a compressed frame ends inside its header");
        if !stream.starts_with(&[0xFF, 0xD8]) {
            return Err(damaged("a compressed frame does not begin with a JPEG marker"));
        }
        let (mut adobe_transform, mut jfif) = (None, false);
        let mut position = 2;
        loop {
            let [mark, kind] = *stream.get(position..).and_then(<[u8]>::first_chunk::<2>).ok_or_else(cut)?;
            if mark != 0xFF {
                return Err(damaged("a compressed frame has no JPEG marker where one belongs"));
            }
            if kind == 0xFF {
                position += 1;
                continue;
            }
            if kind == 0x01 || (0xD0..=0xD8).contains(&kind) {
                position += 2;
                continue;
            }
            if kind == 0xDA || kind == 0xD9 {
                return Err(damaged("a compressed frame has no JPEG frame header"));
            }
            let length = stream.get(position + 2..).and_then(<[u8]>::first_chunk::<2>).ok_or_else(cut)?;
            let length = usize::from(u16::from_be_bytes(*length)).max(2);
            let body = stream.get(position + 4..position + 2 + length).ok_or_else(cut)?;
            let frame = (0xC0..=0xCF).contains(&kind) && !matches!(kind, 0xC4 | 0xC8 | 0xCC) || kind == 0xF7;
            if frame {
                let [precision, h1, h0, w1, w0, count] = *body.first_chunk::<6>().ok_or_else(cut)?;
                let components = body[6..].chunks_exact(3).map(|component| component[0]);
                let components: Vec<u8> = components.take(usize::from(count)).collect();
                return Ok(Self {
                    process: kind,
                    precision,
                    width: u32::from(u16::from_be_bytes([w1, w0])),
                    height: u32::from(u16::from_be_bytes([h1, h0])),
                    components,
                    adobe_transform,
                    jfif,
                });
            }
            match kind {
                0xE0 if body.starts_with(b"JFIF\0") => jfif = true,
                0xEE if body.starts_with(b"Adobe") => adobe_transform = body.get(11).copied(),
                _ => {}
            }
            position += 2 + length;
        }
    }

    /// Refuses a stream whose size is not the size that the file declares: memory is taken for the declared one.
    pub(crate) fn check(&self, module: &ImageModule) -> Result<(), ImagingError> {
        check_size(module, self.width, self.height, self.components.len())
    }
}

/// Refuses compressed frames of another size than the file declares.
pub(crate) fn check_size(
    module: &ImageModule,
    width: u32,
    height: u32,
    components: usize,
) -> Result<(), ImagingError> {
    if (width, height) != (module.columns, module.rows) {
        return Err(damaged(format!(
            "a compressed frame is {width} x {height} pixels where the file declares {} x {}",
            module.columns, module.rows
        )));
    }
    if components != module.samples as usize {
        return Err(damaged(format!(
            "a compressed frame has {components} component(s) where the file declares {}",
            module.samples
        )));
    }
    Ok(())
}
