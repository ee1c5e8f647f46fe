//! Decoded frames: stored values, and what turns them into grey or colour.

use std::sync::Arc;

use crate::error::ImagingError;
use crate::format::Format;
use crate::grey::{GreyDisplay, Modality};
use crate::info::ImageInfo;
use crate::render::Rendered;
use crate::window::WindowChoice;

/// Which frames of an image are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameSelection {
    /// Every frame.
    All,
    /// The frame in the middle: number `frames / 2`, counted from 0.
    #[default]
    Middle,
    /// One frame, counted from 0.
    One(u32),
    /// As `Middle`, of an image that was taken before, to look at it: black where nothing can be shown.
    MiddleOfStored,
    /// As `One`, of an image that was taken before, to look at it: black where nothing can be shown.
    OneOfStored(u32),
}

impl FrameSelection {
    /// The numbers of the selected frames of an image with `frames` frames.
    ///
    /// # Errors
    /// [`ImagingError::NoSuchFrame`] where the image has no such frame.
    pub fn of(self, frames: u32) -> Result<std::ops::Range<u32>, ImagingError> {
        match self {
            Self::All => Ok(0..frames),
            Self::Middle | Self::MiddleOfStored => Ok(frames / 2..frames / 2 + u32::from(frames > 0)),
            Self::One(frame) | Self::OneOfStored(frame) if frame < frames => Ok(frame..frame + 1),
            Self::One(frame) | Self::OneOfStored(frame) => Err(ImagingError::NoSuchFrame { frame, frames }),
        }
    }
}

/// An image with its selected frames decoded, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// What the header tells.
    pub info: ImageInfo,
    /// The selected frames; at least one.
    pub frames: Vec<Frame>,
}

/// Values of one grey frame as stored, row by row from the top.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Unsigned, up to 8 bits.
    U8(Vec<u8>),
    /// Unsigned, 9 to 16 bits.
    U16(Vec<u16>),
    /// Signed, up to 16 bits.
    I16(Vec<i16>),
    /// Unsigned, 17 to 32 bits.
    U32(Vec<u32>),
    /// Signed, 17 to 32 bits.
    I32(Vec<i32>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl Samples {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// True without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values as `f64`, which holds each of them exactly.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::U8(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::U16(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::I16(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::U32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::I32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
            Self::F64(values) => values.clone(),
        }
    }

    /// The least and the greatest finite value; `None` where there is none.
    pub(crate) fn finite_range(&self) -> Option<(f64, f64)> {
        self.range(|value| value.is_finite().then_some(value))
    }

    /// The least and the greatest of what `counted` makes of the values; `None` where it passes over all.
    pub(crate) fn range(&self, counted: impl Fn(f64) -> Option<f64>) -> Option<(f64, f64)> {
        match self {
            Self::U8(values) => range(values, counted),
            Self::U16(values) => range(values, counted),
            Self::I16(values) => range(values, counted),
            Self::U32(values) => range(values, counted),
            Self::I32(values) => range(values, counted),
            Self::F32(values) => range(values, counted),
            Self::F64(values) => range(values, counted),
        }
    }
}

fn range<T: Copy + Into<f64>>(values: &[T], counted: impl Fn(f64) -> Option<f64>) -> Option<(f64, f64)> {
    let counted = values.iter().filter_map(|value| counted((*value).into()));
    counted
        .map(|value| (value, value))
        .reduce(|(least, greatest), (value, _)| (least.min(value), greatest.max(value)))
}

/// The pixels of a frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// One value a pixel, as stored in the file.
    Grey(Samples),
    /// Interleaved red, green, blue of 8 bits.
    Rgb8(Vec<u8>),
    /// Interleaved red, green, blue of 9 to 16 bits; white is `white`.
    Rgb16 {
        /// Values, three a pixel.
        values: Vec<u16>,
        /// The greatest value of the file's bit depth.
        white: u16,
    },
}

/// One decoded frame.
#[derive(Debug, Clone)]
pub struct Frame {
    index: u32,
    width: u32,
    height: u32,
    pixels: Pixels,
    display: Arc<GreyDisplay>,
}

/// The frames of a selection, those of which nothing can be shown black. Where no frame of an image to be taken shows anything it is refused: it
/// would be a blank picture, and alike to all others.
pub(crate) fn shown(
    format: Format,
    selection: FrameSelection,
    frames: Vec<Frame>,
) -> Result<Vec<Frame>, ImagingError> {
    let reasons: Vec<Option<String>> = frames.iter().map(Frame::why_blank).collect();
    let is_taken = matches!(selection, FrameSelection::MiddleOfStored | FrameSelection::OneOfStored(_));
    if let (Some(frame), Some(Some(reason))) = (frames.first(), reasons.first())
        && !is_taken
        && reasons.iter().all(Option::is_some)
    {
        // Number 0 is the middle one of a single frame.
        let (which, advice) = match selection {
            FrameSelection::Middle if frame.index > 0 => (
                ", the middle one,",
                "import all of its frames (--frames all), search with another one, or export it again from its source",
            ),
            _ => ("", "export it again from its source"),
        };
        let detail = format!("frame {}{which} {reason}; {advice}", frame.index);
        return Err(ImagingError::Blank { format, detail });
    }
    let shown = frames.into_iter().zip(reasons);
    Ok(shown.map(|(frame, reason)| if reason.is_some() { frame.blackened() } else { frame }).collect())
}

impl Frame {
    pub(crate) fn new(
        index: u32,
        width: u32,
        height: u32,
        pixels: Pixels,
        display: Arc<GreyDisplay>,
    ) -> Self {
        Self { index, width, height, pixels, display }
    }

    /// Why nothing can be shown of it, in words that follow its number: its values are no numbers, or overflow when they are rescaled.
    fn why_blank(&self) -> Option<String> {
        match &self.pixels {
            Pixels::Grey(samples) => self.display.why_not_shown(samples),
            Pixels::Rgb8(_) | Pixels::Rgb16 { .. } => None,
        }
    }

    /// The same frame, black under any window: what is no number is black.
    fn blackened(self) -> Self {
        let nothing = vec![f32::NAN; self.width as usize * self.height as usize];
        let pixels = Pixels::Grey(Samples::F32(nothing));
        Self { pixels, display: Arc::new(GreyDisplay::of_values()), ..self }
    }

    /// The frame's number in its image, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Width in pixels, at least 1.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, at least 1.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels as stored: before modality LUT and window.
    pub fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// True where the values, after the modality LUT, are Hounsfield units, so that presets apply.
    pub fn is_hounsfield(&self) -> bool {
        matches!(self.pixels, Pixels::Grey(_)) && self.display.hounsfield
    }

    /// The frame with its stored grey values read as Hounsfield units less `offset`: for plain images of data sets that say so beside their
    /// files. Colour stays as it is.
    #[must_use]
    pub fn with_hounsfield_offset(mut self, offset: f64) -> Self {
        if matches!(self.pixels, Pixels::Grey(_)) {
            let modality = Modality::Linear { slope: 1.0, intercept: offset };
            self.display = Arc::new(GreyDisplay { modality, hounsfield: true, ..GreyDisplay::of_values() });
        }
        self
    }

    /// The values of a grey frame in the units of the modality (Hounsfield units for CT); `None` for colour.
    pub fn modality_values(&self) -> Option<Vec<f64>> {
        match &self.pixels {
            Pixels::Grey(samples) => {
                Some(samples.to_f64().into_iter().map(|value| self.display.modality.apply(value)).collect())
            }
            Pixels::Rgb8(_) | Pixels::Rgb16 { .. } => None,
        }
    }

    /// Makes the frame visible: 8-bit grey, or RGB. Windows leave colour as it is.
    pub fn render(&self, window: &WindowChoice) -> Rendered {
        match &self.pixels {
            Pixels::Grey(samples) => {
                Rendered::grey(self.width, self.height, self.display.render(samples, window))
            }
            Pixels::Rgb8(values) => Rendered::rgb(self.width, self.height, values.clone()),
            Pixels::Rgb16 { values, white } => {
                let white = u32::from(*white).max(1);
                let shrink = |value: &u16| ((u32::from(*value) * 255 + white / 2) / white).min(255) as u8;
                Rendered::rgb(self.width, self.height, values.iter().map(shrink).collect())
            }
        }
    }
}
