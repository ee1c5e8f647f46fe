//! Every file of pydicom decodes to the pixels that pydicom decodes, or is refused with its cause.

mod common;

use std::collections::BTreeMap;

use common::{digest, files_below, mean_and_deviation, samples};
use medindex_imaging::{Decoded, FrameSelection, ImagingError, Limits, decode, inspect};

/// Files of pydicom 3.0.2 that are refused, with the code of the cause. Every other file decodes.
const REFUSED: &[(&str, &str)] = &[];

fn refused() -> BTreeMap<&'static str, &'static str> {
    REFUSED.iter().copied().collect()
}

fn read(name: &str) -> Result<Decoded, ImagingError> {
    let bytes = std::fs::read(samples().join(name)).expect("the sample is readable");
    decode(&bytes, &Limits::default(), FrameSelection::All)
}

#[test]
fn every_file_decodes_or_is_refused_with_its_cause() {
    let refused = refused();
    let names = files_below(&samples());
    assert!(names.len() >= 170, "only {} sample files: run `make setup`", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let found = read(name);
        match (refused.get(name.as_str()), &found) {
            (None, Ok(_)) => {}
            (Some(code), Err(error)) if error.code() == *code => {}
            (expected, Ok(_)) => wrong.push(format!("{name}: decoded, expected {expected:?}")),
            (expected, Err(error)) => {
                wrong.push(format!("{name}: {} ({error}), expected {expected:?}", error.code()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn pixels_equal_those_of_pydicom() {
    let golden = include_str!("oracle/pydicom-3.0.2.tsv");
    let mut decoded: BTreeMap<&str, Result<Decoded, ImagingError>> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for line in golden.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, index, shape, _photometric, kind, value] = columns[..] else { panic!("{line}") };
        if kind == "refused" {
            continue;
        }
        let image = match decoded.entry(name).or_insert_with(|| read(name)) {
            Ok(image) => image,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let frame = &image.frames[index.parse::<usize>().expect("a frame number")];
        let size: Vec<u32> = shape.split('x').map(|edge| edge.parse().expect("an edge")).collect();
        if (frame.height(), frame.width()) != (size[0], size[1]) {
            wrong.push(format!("{name}: {} x {}, expected {shape}", frame.height(), frame.width()));
        }
        compared += 1;
        if kind == "exact" {
            if digest(frame) != value {
                let (mean, deviation) = mean_and_deviation(frame);
                wrong.push(format!("{line}: values differ; mean {mean} deviation {deviation}"));
            }
            continue;
        }
        let (mean, deviation) = value.split_once(' ').expect("mean and deviation");
        let (mean, deviation): (f64, f64) =
            (mean.parse().expect("a mean"), deviation.parse().expect("a deviation"));
        let (our_mean, our_deviation) = mean_and_deviation(frame);
        // Half a grey level of 256, or of the values' own spread where they are deeper.
        let tolerance = 0.5f64.max(deviation * 0.002);
        if (mean - our_mean).abs() > tolerance || (deviation - our_deviation).abs() > tolerance {
            wrong.push(format!("{line}: mean {our_mean:.4}, deviation {our_deviation:.4}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} frames differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 100, "only {compared} frames were compared");
}

#[test]
fn a_header_alone_tells_what_decoding_tells() {
    for name in files_below(&samples()) {
        let bytes = std::fs::read(samples().join(&name)).expect("the sample is readable");
        let limits = Limits::default();
        if let Ok(image) = decode(&bytes, &limits, FrameSelection::Middle) {
            assert_eq!(inspect(&bytes, &limits).expect("its header is readable"), image.info, "{name}");
            assert_eq!(image.frames.len(), 1, "{name}");
            assert_eq!(image.frames[0].index(), image.info.frames / 2, "{name}");
        }
    }
}
