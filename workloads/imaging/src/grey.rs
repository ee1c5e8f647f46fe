//! From stored grey values to 8-bit grey: modality LUT, then VOI LUT or window, then polarity (PS3.3 C.11.1, C.11.2).

use crate::frame::Samples;
use crate::window::{Window, WindowChoice};

/// A lookup table as DICOM stores it (PS3.3 C.11.1.1.1): entry 0 belongs to `first`, values outside take the ends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LookupTable {
    /// The input that the first entry belongs to.
    pub(crate) first: f64,
    /// Output values; at least one.
    pub(crate) entries: Vec<u16>,
    /// Significant bits of an entry, 1 to 16.
    pub(crate) bits: u32,
}

impl LookupTable {
    fn apply(&self, value: f64) -> u16 {
        let last = self.entries.len().saturating_sub(1);
        // `as` saturates: below the first entry becomes 0.
        let position = ((value - self.first).round() as usize).min(last);
        self.entries.get(position).copied().unwrap_or(0)
    }

    fn grey(&self, value: f64) -> u8 {
        let white = (1u32 << self.bits.clamp(1, 16)) - 1;
        ((u32::from(self.apply(value)) * 255 + white / 2) / white).min(255) as u8
    }
}

/// From stored values to the units of the modality.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Modality {
    Linear { slope: f64, intercept: f64 },
    Table(LookupTable),
}

impl Modality {
    pub(crate) const IDENTITY: Self = Self::Linear { slope: 1.0, intercept: 0.0 };

    pub(crate) fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Linear { slope, intercept } => stored.mul_add(*slope, *intercept),
            Self::Table(table) => f64::from(table.apply(stored)),
        }
    }
}

/// The file's own choice of what is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Voi {
    Window(Window),
    Table(LookupTable),
}

impl Voi {
    fn grey(&self, value: f64) -> u8 {
        match self {
            Self::Window(window) => window.grey(value),
            Self::Table(table) => table.grey(value),
        }
    }
}

/// How a grey frame is shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GreyDisplay {
    pub(crate) modality: Modality,
    /// The file's first VOI LUT or window.
    pub(crate) voi: Option<Voi>,
    /// Least and greatest value (in units of the modality) shown as black and white where the file has no VOI;
    /// `None` takes those of the frame.
    pub(crate) natural: Option<(f64, f64)>,
    /// True for MONOCHROME1 and presentation LUT shape INVERSE: the least value is white.
    pub(crate) inverted: bool,
    /// True where values, after the modality LUT, are Hounsfield units.
    pub(crate) hounsfield: bool,
    /// Stored values, inclusive, that fill the frame outside the image; they don't count for a full range.
    pub(crate) padding: Option<(f64, f64)>,
}

impl GreyDisplay {
    /// For plain images: values as they are, `white` the greatest of the bit depth.
    pub(crate) fn plain(white: f64) -> Self {
        Self { natural: Some((0.0, white)), ..Self::of_values() }
    }

    /// For values without a known range: from the least to the greatest.
    pub(crate) fn of_values() -> Self {
        Self {
            modality: Modality::IDENTITY,
            voi: None,
            natural: None,
            inverted: false,
            hounsfield: false,
            padding: None,
        }
    }

    /// Why nothing can be shown of a frame's values, in words that follow its number; `None` where something can.
    pub(crate) fn why_not_shown(&self, samples: &Samples) -> Option<String> {
        // Whole numbers of up to 32 bits do not overflow by lines such as these.
        const USUAL: f64 = 1e200;
        let usual = match self.modality {
            Modality::Linear { slope, intercept } => slope.abs() < USUAL && intercept.abs() < USUAL,
            Modality::Table(_) => true,
        };
        if usual && !matches!(samples, Samples::F32(_) | Samples::F64(_)) {
            return None;
        }
        let Some((least, greatest)) = samples.finite_range() else {
            return Some("has no value that is a finite number, only NaN or infinity".to_owned());
        };
        // Also where only their distance is infinite, no window spans them.
        let span = self.modality.apply(greatest) - self.modality.apply(least);
        if span.is_finite() {
            return None;
        }
        let rescaled = match self.modality {
            Modality::Linear { slope, intercept } if self.modality != Modality::IDENTITY => {
                format!(" when they are rescaled by slope {slope:e} and intercept {intercept:e}")
            }
            _ => String::new(),
        };
        Some(format!("has values from {least:e} to {greatest:e}, which are too large to be shown{rescaled}"))
    }

    /// One byte a value.
    pub(crate) fn render(&self, samples: &Samples, choice: &WindowChoice) -> Vec<u8> {
        let voi = self.choose(samples, choice);
        match samples {
            Samples::U8(values) => self.map_integers(values, &voi),
            Samples::U16(values) => self.map_integers(values, &voi),
            Samples::I16(values) => self.map_integers(values, &voi),
            Samples::U32(values) => self.map_integers(values, &voi),
            Samples::I32(values) => self.map_integers(values, &voi),
            Samples::F32(values) => values.iter().map(|value| self.shade(f64::from(*value), &voi)).collect(),
            Samples::F64(values) => values.iter().map(|value| self.shade(*value, &voi)).collect(),
        }
    }

    fn choose(&self, samples: &Samples, choice: &WindowChoice) -> Voi {
        let full = || {
            let (least, greatest) = self.range_of(samples);
            Voi::Window(spanning(least, greatest, samples))
        };
        match choice {
            WindowChoice::Explicit { center, width } => Voi::Window(Window {
                center: *center,
                width: width.max(1.0),
                function: crate::window::WindowFunction::Linear,
            }),
            WindowChoice::Preset(preset) if self.hounsfield => Voi::Window(preset.window()),
            WindowChoice::FullRange => full(),
            WindowChoice::File | WindowChoice::Preset(_) => match (&self.voi, self.natural) {
                (Some(voi), _) => voi.clone(),
                (None, Some((least, greatest))) => Voi::Window(spanning(least, greatest, samples)),
                (None, None) => full(),
            },
        }
    }

    fn shade(&self, stored: f64, voi: &Voi) -> u8 {
        let grey = voi.grey(self.modality.apply(stored));
        if self.inverted { 255 - grey } else { grey }
    }

    /// Integers come in few distinct values, so each is computed once.
    fn map_integers<T: Copy + Ord + Into<i64>>(&self, values: &[T], voi: &Voi) -> Vec<u8> {
        let (Some(least), Some(greatest)) = (values.iter().min(), values.iter().max()) else {
            return Vec::new();
        };
        let (least, greatest): (i64, i64) = ((*least).into(), (*greatest).into());
        let distinct = (greatest - least + 1) as usize;
        if distinct > values.len() {
            return values.iter().map(|value| self.shade((*value).into() as f64, voi)).collect();
        }
        let table: Vec<u8> = (least..=greatest).map(|value| self.shade(value as f64, voi)).collect();
        values.iter().map(|value| table[((*value).into() - least) as usize]).collect()
    }

    /// Least and greatest value in units of the modality, without padding and without what is not a number.
    fn range_of(&self, samples: &Samples) -> (f64, f64) {
        let (from, to) = self.padding.unwrap_or((f64::NAN, f64::NAN));
        let inside = |value: f64| value.is_finite() && !(value >= from && value <= to);
        let range = match &self.modality {
            // A line keeps or turns the order, so that it is applied to the two ends only.
            Modality::Linear { .. } => samples
                .range(|value| inside(value).then_some(value))
                .map(|(least, greatest)| (self.modality.apply(least), self.modality.apply(greatest)))
                .map(|(a, b)| (a.min(b), a.max(b))),
            Modality::Table(_) => samples.range(|value| inside(value).then(|| self.modality.apply(value))),
        };
        range.filter(|(least, greatest)| least <= greatest).unwrap_or((0.0, 0.0))
    }
}

/// A window over the whole range; exact for real numbers, which have no step of one.
fn spanning(least: f64, greatest: f64, samples: &Samples) -> Window {
    match samples {
        // Values that are all the same are black, as whole ones are.
        Samples::F32(_) | Samples::F64(_) => Window {
            center: f64::midpoint(least, greatest),
            width: greatest - least,
            function: crate::window::WindowFunction::LinearExact,
        },
        _ => Window::spanning(least, greatest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::{WindowFunction, WindowPreset};

    fn ct(inverted: bool) -> GreyDisplay {
        GreyDisplay {
            modality: Modality::Linear { slope: 1.0, intercept: -1024.0 },
            voi: Some(Voi::Window(Window { center: 40.0, width: 400.0, function: WindowFunction::Linear })),
            hounsfield: true,
            inverted,
            ..GreyDisplay::of_values()
        }
    }

    /// The case of dcm4che pull request 1578: W400 L40 gives 20, 144, 226, where a ramp over stored values that forgets
    /// the rescaling gives 23, 162, 255. By PS3.3 C.11.2.1.2.1 these greys belong to −129, 65 and 194 HU.
    #[test]
    fn the_linear_window_of_the_standard_is_met_exactly() {
        let stored = Samples::U16(vec![0, 864, 865, 895, 1089, 1218, 1263, 1264, 4095]);
        let greys = ct(false).render(&stored, &WindowChoice::File);
        assert_eq!(greys, [0, 0, 1, 20, 144, 226, 255, 255, 255]);
        let inverted: Vec<u8> = greys.iter().map(|grey| 255 - grey).collect();
        assert_eq!(ct(true).render(&stored, &WindowChoice::File), inverted);
    }

    #[test]
    fn a_preset_applies_to_hounsfield_units_only() {
        let stored = Samples::U16(vec![424, 1024]);
        let lung = WindowChoice::Preset(WindowPreset::Lung);
        assert_eq!(ct(false).render(&stored, &lung), [128, 230]);
        let mr = GreyDisplay { hounsfield: false, ..ct(false) };
        assert_eq!(mr.render(&stored, &lung), mr.render(&stored, &WindowChoice::File));
    }

    #[test]
    fn padding_does_not_count_for_the_full_range() {
        let stored = Samples::I16(vec![-2000, 0, 50, 100]);
        let display = GreyDisplay { padding: Some((-2000.0, -2000.0)), ..GreyDisplay::of_values() };
        assert_eq!(display.render(&stored, &WindowChoice::FullRange), [0, 0, 128, 255]);
    }

    #[test]
    fn real_values_that_are_all_the_same_are_black_as_whole_ones_are() {
        for samples in [Samples::F32(vec![0.1; 2]), Samples::F64(vec![-7.3e9; 2]), Samples::I16(vec![5; 2])] {
            assert_eq!(GreyDisplay::of_values().render(&samples, &WindowChoice::File), [0, 0], "{samples:?}");
        }
    }

    #[test]
    fn values_of_which_nothing_can_be_shown_are_told_with_the_reason() {
        let rescaled = |slope, intercept| GreyDisplay {
            modality: Modality::Linear { slope, intercept },
            ..GreyDisplay::of_values()
        };
        let why = |display: &GreyDisplay, samples| display.why_not_shown(&samples).unwrap_or_default();
        let identity = GreyDisplay::of_values();
        assert!(why(&identity, Samples::F32(vec![f32::NAN, f32::INFINITY])).contains("only NaN or infinity"));
        assert_eq!(why(&identity, Samples::F32(vec![f32::NAN, f32::INFINITY, 1.0])), "");
        // Each is finite, and their distance is not.
        assert!(why(&identity, Samples::F64(vec![f64::MIN, f64::MAX])).contains("too large"));
        let slope = why(&rescaled(1e308, 0.0), Samples::U8(vec![0, 200]));
        assert!(slope.contains("from 0e0 to 2e2") && slope.contains("slope 1e308"), "{slope}");
        assert!(why(&rescaled(1.0, f64::MAX), Samples::F64(vec![0.0, f64::MAX])).contains("intercept 1.79"));
        // A mask of zeros and ones stays in range.
        assert_eq!(why(&rescaled(1e308, 0.0), Samples::U8(vec![0, 1])), "");
        assert_eq!(why(&rescaled(-1.0, 1024.0), Samples::I32(vec![i32::MIN, i32::MAX])), "");
    }

    #[test]
    fn values_that_are_not_numbers_are_black() {
        let stored = Samples::F32(vec![f32::NAN, f32::NEG_INFINITY, 1.0, 3.0, f32::INFINITY]);
        assert_eq!(GreyDisplay::of_values().render(&stored, &WindowChoice::File), [0, 0, 0, 255, 255]);
    }
}
