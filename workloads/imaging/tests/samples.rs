//! Every file of pydicom decodes to the pixels that pydicom decodes, or is refused with its cause.

// A test stops at what it did not expect, also in its helpers.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{digest, files_below, mean_and_deviation, more_samples, samples};
use medindex_imaging::{Decoded, FrameSelection, ImagingError, Limits, decode, inspect};

/// Files of pydicom 3.0.2 that are refused, with the code of the cause. Every other file decodes.
///
/// Files named `dicomdirtests/TINY_ALPHA/PT…` are refused too: CT images whose pixel data was taken out.
const REFUSED: &[(&str, &str)] = &[
    // Plans, reports, waveforms and structures: no pixels.
    ("ExplVR_BigEndNoMeta.dcm", "no_pixel_data"),
    ("ExplVR_LitEndNoMeta.dcm", "no_pixel_data"),
    ("reportsi.dcm", "no_pixel_data"),
    ("reportsi_with_empty_number_tags.dcm", "no_pixel_data"),
    ("rtplan.dcm", "no_pixel_data"),
    ("rtstruct.dcm", "no_pixel_data"),
    ("test-SR.dcm", "no_pixel_data"),
    ("waveform_ecg.dcm", "no_pixel_data"),
    // Tables of contents of a medium.
    ("dicomdirtests/DICOMDIR", "no_pixel_data"),
    ("dicomdirtests/DICOMDIR-bigEnd", "no_pixel_data"),
    ("dicomdirtests/DICOMDIR-empty.dcm", "no_pixel_data"),
    ("dicomdirtests/DICOMDIR-implicit", "no_pixel_data"),
    ("dicomdirtests/DICOMDIR-nooffset", "no_pixel_data"),
    ("dicomdirtests/DICOMDIR-nopatient", "no_pixel_data"),
    ("dicomdirtests/DICOMDIR-reordered", "no_pixel_data"),
    ("dicomdirtests/TINY_ALPHA/DICOMDIR", "no_pixel_data"),
    // A few elements made to test a parser.
    ("UN_sequence.dcm", "no_pixel_data"),
    ("empty_charset_LEI.dcm", "no_pixel_data"),
    ("no_meta_group_length.dcm", "no_pixel_data"),
    ("priv_SQ.dcm", "no_pixel_data"),
    // Pixel data, but no Rows, Columns or Bits Allocated.
    ("meta_missing_tsyntax.dcm", "damaged"),
    ("nested_priv_SQ.dcm", "damaged"),
    // The size segment of its codestream is overwritten by a delimiter.
    ("JPEG2000-embedded-sequence-delimiter.dcm", "damaged"),
    ("MR_truncated.dcm", "truncated"),
    ("rtplan_truncated.dcm", "truncated"),
    // Not DICOM at all; the first byte of no_meta.dcm is wrong.
    ("README.txt", "not_an_image"),
    ("crayons.icc", "not_an_image"),
    ("dicomdirtests/README.txt", "not_an_image"),
    ("dicomdirtests/TINY_ALPHA/README", "not_an_image"),
    ("no_meta.dcm", "not_an_image"),
    ("rtplan.dump", "not_an_image"),
    ("rtstruct.dump", "not_an_image"),
    ("test1.json", "not_an_image"),
    ("test_PN.json", "not_an_image"),
    // A DICOM file inside gzip.
    ("zipMR.gz", "not_an_image"),
];

/// The code that a file is refused with; `None` where it decodes.
fn expected_refusal(name: &str) -> Option<&'static str> {
    if name.starts_with("dicomdirtests/TINY_ALPHA/PT") {
        return Some("no_pixel_data");
    }
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, code)| *code)
}

fn read(folder: &Path, name: &str) -> Result<Decoded, ImagingError> {
    let bytes = std::fs::read(folder.join(name)).expect("the sample is readable");
    decode(&bytes, &Limits::default(), FrameSelection::All)
}

#[test]
fn every_file_decodes_or_is_refused_with_its_cause() {
    let names = files_below(&samples());
    assert!(names.len() >= 170, "only {} sample files: run `make setup`", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let found = read(&samples(), name);
        match (expected_refusal(name), &found) {
            (None, Ok(_)) => {}
            (Some(code), Err(error)) if error.code() == code => {}
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
    let compared = compare(include_str!("oracle/pydicom-3.0.2.tsv"), &samples());
    assert!(compared >= 100, "only {compared} frames were compared");
}

#[test]
fn pixels_of_more_files_equal_those_of_pydicom() {
    let compared = compare(include_str!("oracle/pydicom-data-1.0.0.tsv"), &more_samples());
    assert!(compared >= 99, "only {compared} frames were compared");
}

/// Compares every frame of a golden file; answers how many there were.
fn compare(golden: &'static str, folder: &Path) -> usize {
    let mut decoded: BTreeMap<&str, Result<Decoded, ImagingError>> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for line in golden.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [name, index, shape, _photometric, kind, value] = columns[..] else { panic!("{line}") };
        if kind == "refused" {
            continue;
        }
        let image = match decoded.entry(name).or_insert_with(|| read(folder, name)) {
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
    compared
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
