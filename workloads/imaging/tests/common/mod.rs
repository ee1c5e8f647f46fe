//! The sample files that `make setup` puts into the cache, and the digests of their pixels.

// Each test binary uses its own part of these helpers.
#![allow(dead_code)]

pub(crate) mod build;

use std::path::{Path, PathBuf};

use medindex_imaging::{Decoded, Frame, FrameSelection, ImagingError, Limits, Pixels, decode};
use sha2::{Digest, Sha256};

/// An image with all its frames.
pub(crate) fn read(bytes: &[u8]) -> Result<Decoded, ImagingError> {
    decode(bytes, &Limits::default(), FrameSelection::All)
}

/// The first frame of an image that decodes.
pub(crate) fn first(bytes: &[u8]) -> Frame {
    read(bytes).expect("it decodes").frames.remove(0)
}

/// The folder of samples: `MEDINDEX_SAMPLES`, else `samples/pydicom` in the cache.
pub(crate) fn samples() -> PathBuf {
    sample_folder("MEDINDEX_SAMPLES", "samples/pydicom")
}

/// The larger files of the package pydicom-data: `MEDINDEX_SAMPLES_MORE`, else `samples/pydicom-data` in the cache.
pub(crate) fn more_samples() -> PathBuf {
    sample_folder("MEDINDEX_SAMPLES_MORE", "samples/pydicom-data")
}

fn sample_folder(name: &str, place: &str) -> PathBuf {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let folder = variable(name).unwrap_or_else(|| {
        let cache = variable("MEDINDEX_CACHE")
            .or_else(|| variable("HOME").map(|home| home.join(".cache/medindex")))
            .expect("HOME or MEDINDEX_CACHE is set");
        cache.join(place)
    });
    let remedy = "run `make setup`, and `tools/setup.sh moresamples` for the tests";
    assert!(folder.is_dir(), "the sample files are missing at {}: {remedy}", folder.display());
    folder
}

/// One sample's bytes.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = samples().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}: run `make setup`", path.display()))
}

/// Every file below a folder, as paths relative to it, sorted.
pub(crate) fn files_below(root: &Path) -> Vec<String> {
    let mut folders = vec![root.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sample folder is readable") {
            let path = entry.expect("the sample folder is readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).expect("below the root");
                files.push(name.to_str().expect("names are ASCII").to_owned());
            }
        }
    }
    files.sort();
    files
}

/// The values of a frame as the oracle writes them: 64-bit integers, or floats, little endian.
pub(crate) fn canonical(frame: &Frame) -> Vec<u8> {
    let integers =
        |values: Vec<f64>| values.into_iter().flat_map(|value| (value as i64).to_le_bytes()).collect();
    match frame.pixels() {
        Pixels::Grey(samples) => match samples {
            medindex_imaging::Samples::F32(_) | medindex_imaging::Samples::F64(_) => {
                samples.to_f64().into_iter().flat_map(f64::to_le_bytes).collect()
            }
            _ => integers(samples.to_f64()),
        },
        Pixels::Rgb8(values) => integers(values.iter().map(|value| f64::from(*value)).collect()),
        Pixels::Rgb16 { values, .. } => integers(values.iter().map(|value| f64::from(*value)).collect()),
    }
}

/// SHA-256 of [`canonical`] in hexadecimal.
pub(crate) fn digest(frame: &Frame) -> String {
    Sha256::digest(canonical(frame)).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Mean and standard deviation of a frame's values.
pub(crate) fn mean_and_deviation(frame: &Frame) -> (f64, f64) {
    let values: Vec<f64> = match frame.pixels() {
        Pixels::Grey(samples) => samples.to_f64(),
        Pixels::Rgb8(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Pixels::Rgb16 { values, .. } => values.iter().map(|value| f64::from(*value)).collect(),
    };
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// Most memory this process has had resident, in bytes.
pub(crate) fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells its memory");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kibibytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
    kibibytes.expect("a number") << 10
}
