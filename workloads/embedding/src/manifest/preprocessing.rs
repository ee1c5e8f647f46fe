//! The part of a manifest that says how pixels become a model's input.

use std::fmt;

use medindex_imaging::{ColourOrder, InputSpec, Layout, Resize, UnknownWindow, WindowChoice};
use serde::Deserialize;

/// How an 8-bit image becomes one graph input: resized, channels ordered, then `(value - mean) * scale`.
///
/// As [`InputSpec`], with the name of the graph's input, and with nothing left to a default: a colour order
/// that was forgotten would not fail, it would only make every search worse.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSettings {
    /// Name of the graph's input.
    pub name: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the axes.
    pub layout: Layout,
    /// Order of the colour channels; grey images are repeated in all three.
    pub colour_order: ColourOrder,
    /// Subtracted from each channel (0 to 255), in the order of `colour_order`.
    pub mean: [f32; 3],
    /// Multiplied after the mean, in the order of `colour_order`.
    pub scale: [f32; 3],
    /// How an image with another aspect ratio is fitted.
    pub resize: Resize,
}

impl InputSettings {
    /// The settings as imaging takes them.
    pub fn to_spec(&self) -> InputSpec {
        InputSpec {
            width: self.width,
            height: self.height,
            layout: self.layout,
            colour_order: self.colour_order,
            mean: self.mean,
            scale: self.scale,
            resize: self.resize,
        }
    }
}

/// A window by name: `file`, `full`, a preset such as `soft-tissue`, or `CENTER,WIDTH` in Hounsfield units.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct WindowSetting(WindowChoice);

impl From<WindowSetting> for WindowChoice {
    fn from(setting: WindowSetting) -> Self {
        setting.0
    }
}

impl TryFrom<String> for WindowSetting {
    type Error = UnknownWindow;

    fn try_from(text: String) -> Result<Self, UnknownWindow> {
        text.parse().map(Self)
    }
}

impl fmt::Display for WindowSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            WindowChoice::File => formatter.write_str("file"),
            WindowChoice::FullRange => formatter.write_str("full"),
            WindowChoice::Preset(preset) => formatter.write_str(preset.name()),
            WindowChoice::Explicit { center, width } => write!(formatter, "{center},{width}"),
        }
    }
}
