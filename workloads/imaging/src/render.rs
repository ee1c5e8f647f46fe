//! Visible images: 8-bit grey or colour, ready to be cropped, shown or fed to a model.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use serde::{Deserialize, Serialize};

use crate::error::ImagingError;
use crate::resize::resize;

/// Channels of a [`Rendered`] image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channels {
    /// One byte a pixel.
    Grey,
    /// Three bytes a pixel: red, green, blue.
    Rgb,
}

impl Channels {
    /// Bytes a pixel: 1 or 3.
    pub fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

/// A box in an image, in pixels from the top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width, at least 1.
    pub width: u32,
    /// Height, at least 1.
    pub height: u32,
}

/// A visible image: `height` rows of `width` pixels from the top left, interleaved channels, no padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    width: u32,
    height: u32,
    channels: Channels,
    pixels: Vec<u8>,
}

impl Rendered {
    /// From pixels made elsewhere, for example a test picture.
    ///
    /// # Errors
    /// [`ImagingError::ZeroSized`] without pixels, [`ImagingError::Preview`] where `pixels` has another length than
    /// width × height × channels.
    pub fn new(width: u32, height: u32, channels: Channels, pixels: Vec<u8>) -> Result<Self, ImagingError> {
        if width == 0 || height == 0 {
            return Err(ImagingError::ZeroSized { width, height });
        }
        let expected = width as usize * height as usize * channels.count();
        if pixels.len() != expected {
            let detail = format!("{} bytes of pixels were given where {expected} belong", pixels.len());
            return Err(ImagingError::Preview { detail });
        }
        Ok(Self { width, height, channels, pixels })
    }

    pub(crate) fn grey(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        Self { width, height, channels: Channels::Grey, pixels }
    }

    pub(crate) fn rgb(width: u32, height: u32, pixels: Vec<u8>) -> Self {
        Self { width, height, channels: Channels::Rgb, pixels }
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Grey or colour.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// The bytes: width × height × channels.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The bytes, without a copy.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// Cuts out a region.
    ///
    /// # Errors
    /// [`ImagingError::RegionEmpty`] and [`ImagingError::RegionOutside`], which name the image's size.
    pub fn crop(&self, region: Region) -> Result<Self, ImagingError> {
        let Region { x, y, width: region_width, height: region_height } = region;
        let (width, height) = (self.width, self.height);
        if region_width == 0 || region_height == 0 {
            return Err(ImagingError::RegionEmpty { region_width, region_height, width, height });
        }
        let inside = u64::from(x) + u64::from(region_width) <= u64::from(width)
            && u64::from(y) + u64::from(region_height) <= u64::from(height);
        if !inside {
            return Err(ImagingError::RegionOutside { x, y, region_width, region_height, width, height });
        }
        let pixel = self.channels.count();
        let row = width as usize * pixel;
        let (left, length) = (x as usize * pixel, region_width as usize * pixel);
        let pixels = self
            .pixels
            .chunks_exact(row)
            .skip(y as usize)
            .take(region_height as usize)
            .flat_map(|line| &line[left..left + length])
            .copied()
            .collect();
        Ok(Self { width: region_width, height: region_height, channels: self.channels, pixels })
    }

    /// A PNG file of the image, shrunk so that neither edge exceeds `max_edge`; never enlarged.
    ///
    /// # Errors
    /// [`ImagingError::Preview`] for `max_edge` 0.
    pub fn to_png(&self, max_edge: u32) -> Result<Vec<u8>, ImagingError> {
        if max_edge == 0 {
            return Err(ImagingError::Preview { detail: "its longest edge must be at least 1".to_owned() });
        }
        let edge = self.width.max(self.height);
        let shrunk;
        let picture = if edge > max_edge {
            let scaled = |side: u32| {
                ((u64::from(side) * u64::from(max_edge) + u64::from(edge) / 2) / u64::from(edge)).max(1)
                    as u32
            };
            shrunk = resize(self, scaled(self.width), scaled(self.height))?;
            &shrunk
        } else {
            self
        };
        let color = match picture.channels {
            Channels::Grey => ExtendedColorType::L8,
            Channels::Rgb => ExtendedColorType::Rgb8,
        };
        let mut file = Cursor::new(Vec::new());
        PngEncoder::new_with_quality(&mut file, CompressionType::Fast, PngFilter::Adaptive)
            .write_image(&picture.pixels, picture.width, picture.height, color)
            .map_err(|error| ImagingError::Preview {
                detail: format!("it cannot be written as PNG, which is a fault of ours; report it ({error})"),
            })?;
        Ok(file.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Rendered {
        Rendered::new(4, 3, Channels::Grey, (0..12).collect()).unwrap()
    }

    #[test]
    fn a_region_is_cut_out() {
        let cut = ramp().crop(Region { x: 1, y: 1, width: 2, height: 2 }).unwrap();
        assert_eq!((cut.width(), cut.height(), cut.pixels()), (2, 2, &[5, 6, 9, 10][..]));
    }

    #[test]
    fn a_region_outside_or_empty_is_refused_with_the_size_of_the_image() {
        for (region, code) in [
            (Region { x: 3, y: 0, width: 2, height: 1 }, "region_outside"),
            (Region { x: u32::MAX, y: 0, width: u32::MAX, height: 1 }, "region_outside"),
            (Region { x: 0, y: 0, width: 0, height: 3 }, "region_empty"),
        ] {
            let error = ramp().crop(region).unwrap_err();
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains("4 x 3"), "{error}");
        }
    }

    #[test]
    fn a_preview_is_shrunk_to_the_edge_and_never_enlarged() {
        let size = |max_edge| {
            let png = ramp().to_png(max_edge).unwrap();
            let picture = image::load_from_memory(&png).unwrap();
            (picture.width(), picture.height())
        };
        assert_eq!((size(2), size(1), size(100)), ((2, 2), (1, 1), (4, 3)));
        assert_eq!(ramp().to_png(0).unwrap_err().code(), "preview");
    }
}
