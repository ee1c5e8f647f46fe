//! Resizing with the triangle filter, widened when shrinking (antialiased), as Pillow's BILINEAR does.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::error::ImagingError;
use crate::render::{Channels, Rendered};

/// The image at another size; its proportions are not kept.
pub(crate) fn resize(source: &Rendered, width: u32, height: u32) -> Result<Rendered, ImagingError> {
    if (width, height) == (source.width(), source.height()) {
        return Ok(source.clone());
    }
    let refused = |error: &dyn std::fmt::Display| ImagingError::Preview {
        detail: format!(
            "it cannot be brought to {width} x {height} pixels, which is a fault of ours; report it ({error})"
        ),
    };
    let kind = match source.channels() {
        Channels::Grey => PixelType::U8,
        Channels::Rgb => PixelType::U8x3,
    };
    let from = ImageRef::new(source.width(), source.height(), source.pixels(), kind)
        .map_err(|error| refused(&error))?;
    let mut to = Image::new(width, height, kind);
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).use_alpha(false);
    Resizer::new().resize(&from, &mut to, &options).map_err(|error| refused(&error))?;
    Rendered::new(width, height, source.channels(), to.into_vec())
}
