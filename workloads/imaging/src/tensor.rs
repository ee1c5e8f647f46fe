//! From a visible image to the numbers a model reads.

use serde::{Deserialize, Serialize};

use crate::error::ImagingError;
use crate::render::{Channels, Rendered};
use crate::resize::resize;

/// Order of a tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channel, row, column (`PyTorch`).
    #[default]
    Nchw,
    /// Row, column, channel (Keras).
    Nhwc,
}

/// Order of a tensor's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColourOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red (Caffe).
    Bgr,
}

/// How an image is brought to the model's size; bilinear with antialiasing in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Both edges to the model's size, whatever the proportions (Keras).
    #[default]
    Squeeze,
    /// Proportions kept, black beside.
    Pad,
}

/// What a model wants to see: `value = (pixel − mean[c]) × scale[c]`, pixel from 0 to 255.
///
/// `mean` and `scale` are in the order of the tensor's channels: blue first for [`ColourOrder::Bgr`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Width in pixels, 1 to 4096.
    pub width: u32,
    /// Height in pixels, 1 to 4096.
    pub height: u32,
    /// Order of dimensions.
    #[serde(default)]
    pub layout: Layout,
    /// Order of channels.
    #[serde(default)]
    pub colour_order: ColourOrder,
    /// Subtracted first, per channel.
    pub mean: [f32; 3],
    /// Multiplied then, per channel.
    pub scale: [f32; 3],
    /// How the size is reached.
    #[serde(default)]
    pub resize: Resize,
}

impl InputSpec {
    /// Greatest accepted edge.
    pub const MAX_EDGE: u32 = 4096;

    /// Numbers in the tensor of one image: 3 × height × width.
    pub fn tensor_len(&self) -> usize {
        3 * self.width as usize * self.height as usize
    }

    /// Refuses sizes out of range, and means or scales that are not finite.
    ///
    /// # Errors
    /// [`ImagingError::InvalidInputSpec`] with what is wrong.
    pub fn check(&self) -> Result<(), ImagingError> {
        let wrong = |detail: String| Err(ImagingError::InvalidInputSpec { detail });
        let range = 1..=Self::MAX_EDGE;
        if !range.contains(&self.width) || !range.contains(&self.height) {
            return wrong(format!(
                "its size is {} x {}, outside 1 to {}",
                self.width,
                self.height,
                Self::MAX_EDGE
            ));
        }
        if !self.mean.iter().chain(&self.scale).all(|number| number.is_finite()) {
            return wrong("mean and scale must be finite numbers".to_owned());
        }
        Ok(())
    }
}

impl Rendered {
    /// The image as a model's input: [`InputSpec::tensor_len`] numbers in the layout asked for. Grey is repeated on all
    /// three channels.
    ///
    /// # Errors
    /// [`ImagingError::InvalidInputSpec`].
    pub fn to_tensor(&self, spec: &InputSpec) -> Result<Vec<f32>, ImagingError> {
        let mut tensor = vec![0.0; spec.tensor_len()];
        self.write_tensor(spec, &mut tensor)?;
        Ok(tensor)
    }

    /// As [`Rendered::to_tensor`], into a place of a batch.
    ///
    /// # Errors
    /// [`ImagingError::InvalidInputSpec`], also where `tensor` has not exactly [`InputSpec::tensor_len`] numbers.
    pub fn write_tensor(&self, spec: &InputSpec, tensor: &mut [f32]) -> Result<(), ImagingError> {
        spec.check()?;
        if tensor.len() != spec.tensor_len() {
            let detail = format!("the tensor has {} numbers, not {}", tensor.len(), spec.tensor_len());
            return Err(ImagingError::InvalidInputSpec { detail });
        }
        let fitted = self.fitted(spec)?;
        let plan = Plan::new(spec);
        match (fitted.channels(), spec.layout) {
            (Channels::Grey, Layout::Nchw) => {
                let plane = fitted.pixels().len();
                for (channel, part) in tensor.chunks_exact_mut(plane).enumerate() {
                    plan.fill(channel, part, fitted.pixels());
                }
            }
            (Channels::Rgb, Layout::Nchw) => {
                let plane = fitted.pixels().len() / 3;
                for (channel, part) in tensor.chunks_exact_mut(plane).enumerate() {
                    let source = plan.source[channel];
                    for (value, pixel) in part.iter_mut().zip(fitted.pixels().chunks_exact(3)) {
                        *value = plan.value(channel, pixel[source]);
                    }
                }
            }
            (Channels::Grey, Layout::Nhwc) => {
                for (values, grey) in tensor.chunks_exact_mut(3).zip(fitted.pixels()) {
                    for (channel, value) in values.iter_mut().enumerate() {
                        *value = plan.value(channel, *grey);
                    }
                }
            }
            (Channels::Rgb, Layout::Nhwc) => {
                for (values, pixel) in tensor.chunks_exact_mut(3).zip(fitted.pixels().chunks_exact(3)) {
                    for (channel, value) in values.iter_mut().enumerate() {
                        *value = plan.value(channel, pixel[plan.source[channel]]);
                    }
                }
            }
        }
        Ok(())
    }

    /// The image at the model's size.
    fn fitted(&self, spec: &InputSpec) -> Result<Self, ImagingError> {
        if spec.resize == Resize::Squeeze {
            return resize(self, spec.width, spec.height);
        }
        let (width, height) = (u64::from(self.width()), u64::from(self.height()));
        let (to_width, to_height) = (u64::from(spec.width), u64::from(spec.height));
        // The edge that fills the model's size first decides; the other follows, rounded.
        let (inner_width, inner_height) = if width * to_height >= height * to_width {
            (to_width, ((height * to_width + width / 2) / width).clamp(1, to_height))
        } else {
            (((width * to_height + height / 2) / height).clamp(1, to_width), to_height)
        };
        let inner = resize(self, inner_width as u32, inner_height as u32)?;
        let pixel = self.channels().count();
        let (row, inner_row) = (to_width as usize * pixel, inner_width as usize * pixel);
        let left = (to_width - inner_width) as usize / 2 * pixel;
        let top = (to_height - inner_height) as usize / 2;
        let mut canvas = vec![0; row * to_height as usize];
        let lines = canvas.chunks_exact_mut(row).skip(top);
        for (line, source) in lines.zip(inner.pixels().chunks_exact(inner_row)) {
            line[left..left + inner_row].copy_from_slice(source);
        }
        Self::new(spec.width, spec.height, self.channels(), canvas)
    }
}

/// The arithmetic of one spec, per channel of the tensor.
struct Plan {
    /// Which channel of an RGB pixel is read.
    source: [usize; 3],
    mean: [f32; 3],
    scale: [f32; 3],
}

impl Plan {
    fn new(spec: &InputSpec) -> Self {
        let source = match spec.colour_order {
            ColourOrder::Rgb => [0, 1, 2],
            ColourOrder::Bgr => [2, 1, 0],
        };
        Self { source, mean: spec.mean, scale: spec.scale }
    }

    fn value(&self, channel: usize, pixel: u8) -> f32 {
        (f32::from(pixel) - self.mean[channel]) * self.scale[channel]
    }

    fn fill(&self, channel: usize, part: &mut [f32], greys: &[u8]) {
        let (mean, scale) = (self.mean[channel], self.scale[channel]);
        for (value, grey) in part.iter_mut().zip(greys) {
            *value = (f32::from(*grey) - mean) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(layout: Layout, colour_order: ColourOrder) -> InputSpec {
        InputSpec {
            width: 2,
            height: 1,
            layout,
            colour_order,
            mean: [1.0, 2.0, 3.0],
            scale: [1.0, 10.0, 100.0],
            resize: Resize::Squeeze,
        }
    }

    #[test]
    fn channels_are_ordered_and_scaled_as_the_model_wants() {
        let colour = Rendered::new(2, 1, Channels::Rgb, vec![11, 12, 13, 21, 22, 23]).unwrap();
        let tensor = |layout, order| colour.to_tensor(&spec(layout, order)).unwrap();
        assert_eq!(tensor(Layout::Nhwc, ColourOrder::Rgb), [10.0, 100.0, 1000.0, 20.0, 200.0, 2000.0]);
        assert_eq!(tensor(Layout::Nchw, ColourOrder::Rgb), [10.0, 20.0, 100.0, 200.0, 1000.0, 2000.0]);
        assert_eq!(tensor(Layout::Nhwc, ColourOrder::Bgr), [12.0, 100.0, 800.0, 22.0, 200.0, 1800.0]);
        assert_eq!(tensor(Layout::Nchw, ColourOrder::Bgr), [12.0, 22.0, 100.0, 200.0, 800.0, 1800.0]);
    }

    #[test]
    fn grey_is_repeated_on_every_channel() {
        let grey = Rendered::new(2, 1, Channels::Grey, vec![5, 6]).unwrap();
        let tensor = |layout| grey.to_tensor(&spec(layout, ColourOrder::Bgr)).unwrap();
        assert_eq!(tensor(Layout::Nhwc), [4.0, 30.0, 200.0, 5.0, 40.0, 300.0]);
        assert_eq!(tensor(Layout::Nchw), [4.0, 5.0, 30.0, 40.0, 200.0, 300.0]);
    }

    #[test]
    fn padding_keeps_the_proportions() {
        let wide = Rendered::new(4, 2, Channels::Grey, vec![100; 8]).unwrap();
        let spec = InputSpec {
            width: 4,
            height: 4,
            mean: [0.0; 3],
            scale: [1.0; 3],
            resize: Resize::Pad,
            ..spec(Layout::Nchw, ColourOrder::Rgb)
        };
        let tensor = wide.to_tensor(&spec).unwrap();
        let rows: Vec<f32> = tensor[..16].chunks(4).map(|row| row[0]).collect();
        assert_eq!(rows, [0.0, 100.0, 100.0, 0.0]);
    }

    #[test]
    fn an_impossible_size_is_refused() {
        let grey = Rendered::new(1, 1, Channels::Grey, vec![5]).unwrap();
        let spec = InputSpec { width: 0, ..spec(Layout::Nchw, ColourOrder::Rgb) };
        let error = grey.to_tensor(&spec).unwrap_err();
        assert!(error.to_string().contains("0 x 1"), "{error}");
    }
}
