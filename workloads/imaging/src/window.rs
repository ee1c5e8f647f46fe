//! Windows: which range of values is shown as black to white.
//!
//! Arithmetic per DICOM PS3.3: linear C.11.2.1.2.1, sigmoid C.11.2.1.3.1, exact linear C.11.2.1.3.2.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the values of a frame become grey.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowChoice {
    /// The file's own first window or VOI LUT; without one, 8-bit values as they are, deeper ones from their least
    /// to their greatest.
    #[default]
    File,
    /// A named window in Hounsfield units. Frames whose values are not Hounsfield units are shown as `File`.
    Preset(WindowPreset),
    /// A linear window, in the units of the modality (after rescaling). `width` below 1 is read as 1.
    Explicit {
        /// Centre (level) of the window.
        center: f64,
        /// Width of the window.
        width: f64,
    },
    /// From the least to the greatest value of the frame.
    FullRange,
}

/// Named windows for CT, in Hounsfield units.
///
/// Widths and levels as on Radiopaedia's page "Windowing (CT)": lung W1500 L−600, mediastinum (its
/// "soft tissues" of the chest) W350 L50, bone W1800 L400, brain W80 L40, soft tissue of the abdomen W400 L50,
/// liver W150 L30.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowPreset {
    /// W 1500, L −600.
    Lung,
    /// W 350, L 50.
    Mediastinum,
    /// W 1800, L 400.
    Bone,
    /// W 80, L 40.
    Brain,
    /// W 400, L 50.
    SoftTissue,
    /// W 150, L 30.
    Liver,
}

impl WindowPreset {
    /// Every preset, in the order shown to users.
    pub const ALL: [Self; 6] =
        [Self::Lung, Self::Mediastinum, Self::Bone, Self::Brain, Self::SoftTissue, Self::Liver];

    /// The name used in settings and addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lung => "lung",
            Self::Mediastinum => "mediastinum",
            Self::Bone => "bone",
            Self::Brain => "brain",
            Self::SoftTissue => "soft_tissue",
            Self::Liver => "liver",
        }
    }

    /// Centre and width in Hounsfield units.
    pub fn window(self) -> Window {
        let (center, width) = match self {
            Self::Lung => (-600.0, 1500.0),
            Self::Mediastinum => (50.0, 350.0),
            Self::Bone => (400.0, 1800.0),
            Self::Brain => (40.0, 80.0),
            Self::SoftTissue => (50.0, 400.0),
            Self::Liver => (30.0, 150.0),
        };
        Window { center, width, function: WindowFunction::Linear }
    }
}

/// A window's name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown window \"{0}\": use file, full, lung, mediastinum, bone, brain, soft_tissue, liver, or CENTER,WIDTH (for example 40,400)"
)]
pub struct UnknownWindow(pub String);

impl FromStr for WindowChoice {
    type Err = UnknownWindow;

    /// Reads `file`, `full`, a preset's name, or `CENTER,WIDTH`.
    fn from_str(text: &str) -> Result<Self, UnknownWindow> {
        let name = text.trim().to_ascii_lowercase().replace('-', "_");
        match name.as_str() {
            "file" => return Ok(Self::File),
            "full" | "full_range" => return Ok(Self::FullRange),
            _ => {}
        }
        if let Some(preset) = WindowPreset::ALL.into_iter().find(|preset| preset.name() == name) {
            return Ok(Self::Preset(preset));
        }
        let unknown = || UnknownWindow(text.to_owned());
        let (center, width) = text.split_once(',').ok_or_else(unknown)?;
        let number = |part: &str| part.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        match (number(center), number(width)) {
            (Some(center), Some(width)) if width >= 1.0 => Ok(Self::Explicit { center, width }),
            _ => Err(unknown()),
        }
    }
}

/// VOI LUT Function (0028,1056).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum WindowFunction {
    /// `LINEAR`, the default of the standard; width at least 1.
    #[default]
    Linear,
    /// `LINEAR_EXACT`; width above 0.
    LinearExact,
    /// `SIGMOID`; width above 0.
    Sigmoid,
}

/// A window in the units of the modality.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051).
    pub width: f64,
    /// VOI LUT Function (0028,1056).
    pub function: WindowFunction,
}

impl Window {
    /// A linear window whose black ends at `least` and whose white begins at `greatest`.
    pub fn spanning(least: f64, greatest: f64) -> Self {
        // C.11.2.1.2.1: black up to c - 0.5 - (w-1)/2, white from c - 0.5 + (w-1)/2 on.
        Self {
            center: f64::midpoint(least, greatest) + 0.5,
            width: (greatest - least).max(0.0) + 1.0,
            function: WindowFunction::Linear,
        }
    }

    /// The brightness of `value`, 0.0 (black) to 1.0 (white).
    pub fn brightness(&self, value: f64) -> f64 {
        match self.function {
            WindowFunction::Linear => {
                let half = (self.width.max(1.0) - 1.0) / 2.0;
                let offset = value - (self.center - 0.5);
                ramp(offset, half)
            }
            WindowFunction::LinearExact => ramp(value - self.center, self.width.max(0.0) / 2.0),
            WindowFunction::Sigmoid => {
                let width = self.width.max(f64::MIN_POSITIVE);
                1.0 / (1.0 + (-4.0 * (value - self.center) / width).exp())
            }
        }
    }

    /// The 8-bit grey of `value`: brightness times 255, rounded to the nearest.
    pub fn grey(&self, value: f64) -> u8 {
        // `as` saturates, and a value that is not a number becomes 0.
        self.brightness(value).mul_add(255.0, 0.5) as u8
    }
}

/// 0 up to `-half`, 1 above `half`, linear between.
fn ramp(offset: f64, half: f64) -> f64 {
    if offset <= -half {
        0.0
    } else if offset > half {
        1.0
    } else {
        offset / (2.0 * half) + 0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_of_one_is_a_threshold() {
        let window = Window { center: 10.0, width: 1.0, function: WindowFunction::Linear };
        assert_eq!((window.grey(9.0), window.grey(9.5), window.grey(9.6)), (0, 0, 255));
    }

    #[test]
    fn a_spanning_window_maps_its_ends_to_black_and_white() {
        let window = Window::spanning(-1000.0, 3000.0);
        assert_eq!((window.grey(-1000.0), window.grey(3000.0)), (0, 255));
    }

    #[test]
    fn names_and_numbers_are_read_and_others_refused() {
        assert_eq!("soft-tissue".parse(), Ok(WindowChoice::Preset(WindowPreset::SoftTissue)));
        assert_eq!("-600,1500".parse(), Ok(WindowChoice::Explicit { center: -600.0, width: 1500.0 }));
        for wrong in ["lungs", "40,0", "40,nan", "40", ""] {
            assert!(wrong.parse::<WindowChoice>().is_err(), "{wrong}");
        }
    }
}
