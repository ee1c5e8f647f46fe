//! Published figures to stand beside a measurement, where there are some for the same data.

use serde::Serialize;

/// A published figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Baseline {
    /// Features.
    pub(crate) name: &'static str,
    /// Mean precision of the first result.
    pub(crate) p_at_1: f64,
    /// Mean precision of the first ten results.
    pub(crate) p_at_10: f64,
    /// Mean average precision.
    pub(crate) map: f64,
}

/// Labels of `MedNIST` (gathered by B. Erickson, Mayo Clinic; CC BY-SA 4.0), sorted.
const MEDNIST: [&str; 6] = ["AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"];

/// Where [`BASELINES`] come from.
pub(crate) const SOURCE: &str = "shared/data/README.md of this project: a sample of MedNIST, 150 images a class, exact cosine, global average pooling, leave one out";

/// Exact cosine on 150 images a class, leave one out.
const BASELINES: [Baseline; 5] = [
    Baseline { name: "raw 16x16 pixels", p_at_1: 0.946, p_at_10: 0.873, map: 0.650 },
    Baseline { name: "VGG-16 at 96 px, RGB/255", p_at_1: 0.990, p_at_10: 0.971, map: 0.832 },
    Baseline { name: "VGG-16 at 96 px, Caffe preprocessing", p_at_1: 0.996, p_at_10: 0.988, map: 0.900 },
    Baseline { name: "VGG-16 at 224 px, Caffe preprocessing", p_at_1: 0.999, p_at_10: 0.997, map: 0.940 },
    Baseline { name: "EfficientNet-Lite0 at 224 px", p_at_1: 0.999, p_at_10: 0.993, map: 0.887 },
];

/// The published figures for data with these labels (sorted); none when the data is another.
pub(crate) fn published(label_names: &[String]) -> &'static [Baseline] {
    if label_names.iter().map(String::as_str).eq(MEDNIST) { &BASELINES } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mednist_has_published_figures() {
        let mednist: Vec<String> = MEDNIST.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(published(&mednist).len(), 5);
        assert!(published(&mednist[1..]).is_empty());
        assert!(MEDNIST.is_sorted());
    }
}
