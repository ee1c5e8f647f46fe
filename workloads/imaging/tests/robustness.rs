//! Mutated real files: no decoder panics, hangs, or takes more than the limits allow.

// A test stops at what it did not expect, also in its helpers.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use common::build::nifti;
use common::{peak_memory, sample};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, ImageFormat};
use medindex_imaging::{FrameSelection, Limits, Pixels, WindowChoice, decode, inspect};
use proptest::prelude::*;

/// One file for each decoder and each way a header is written.
const SAMPLES: [&str; 21] = [
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "ExplVR_LitEndNoMeta.dcm",
    "MR_small_RLE.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "JPGExtended.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "MR_small_jp2klossless.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "examples_palette.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "liver_1frame.dcm",
    "image_dfl.dcm",
    "rtdose_1frame.dcm",
    "test-SR.dcm",
];

/// Longest time that one mutated file may take; files here take milliseconds.
const LONGEST: Duration = Duration::from_secs(10);

const LIMITS: Limits =
    Limits { max_file_bytes: 64 << 20, max_pixels: 4 << 20, max_frames: 64, max_decoded_bytes: 64 << 20 };

#[derive(Debug, Clone)]
enum Mutation {
    Cut(f64),
    Flip(f64, u8),
    Set(f64, u8),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    Repeat(f64, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // Headers are short beside pixels: half of all places lie in the first part of a file.
    let place = || prop_oneof![0.0..1.0f64, (0.0..1.0f64).prop_map(|place| place.powi(4))];
    prop_oneof![
        1 => place().prop_map(Mutation::Cut),
        4 => (place(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, 1 << bit)),
        4 => (place(), prop_oneof![Just(0), Just(0xFF), any::<u8>()]).prop_map(|(at, value)| Mutation::Set(at, value)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (place(), 1..9usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        1 => (place(), 1..200usize).prop_map(|(at, count)| Mutation::Repeat(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let length = bytes.len();
    let at = |place: f64| ((place * length as f64) as usize).min(length.saturating_sub(1));
    if length == 0 {
        return;
    }
    match mutation {
        Mutation::Cut(place) => bytes.truncate(at(*place)),
        Mutation::Flip(place, bits) => bytes[at(*place)] ^= bits,
        Mutation::Set(place, value) => bytes[at(*place)] = *value,
        Mutation::Insert(place, inserted) => {
            let at = at(*place);
            bytes.splice(at..at, inserted.iter().copied());
        }
        Mutation::Remove(place, count) => {
            let at = at(*place);
            bytes.drain(at..(at + count).min(length));
        }
        Mutation::Repeat(place, count) => {
            let at = at(*place);
            let part = bytes[at..(at + count).min(length)].to_vec();
            bytes.splice(at..at, part);
        }
    }
}

fn files() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> =
        SAMPLES.iter().map(|name| ((*name).to_owned(), sample(name))).collect();
    let grey = image::GrayImage::from_fn(40, 30, |x, y| image::Luma([(x * y) as u8]));
    let pictures = [
        (ImageFormat::Png, DynamicImage::ImageLuma8(grey.clone())),
        (ImageFormat::Png, DynamicImage::ImageLuma8(grey.clone()).into_rgba16().into()),
        (ImageFormat::Jpeg, DynamicImage::ImageLuma8(grey.clone()).into_rgb8().into()),
        (ImageFormat::Tiff, DynamicImage::ImageLuma8(grey.clone()).into_luma16().into()),
        (ImageFormat::Bmp, DynamicImage::ImageLuma8(grey).into_rgb8().into()),
    ];
    for (format, picture) in pictures {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).expect("it can be written");
        files.push((format!("{format:?}"), file.into_inner()));
    }
    let volume = nifti([20, 10, 5], 1.0, 0.0, &(0..1000).collect::<Vec<i16>>());
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&volume).expect("memory");
    files.push(("nifti".to_owned(), volume));
    files.push(("nifti.gz".to_owned(), packed.finish().expect("memory")));
    files
}

fn check(name: &str, bytes: &[u8]) {
    let start = Instant::now();
    // A panic of ours fails the test by itself; those of other decoders have to come back as errors.
    let header = inspect(bytes, &LIMITS);
    if let Ok(image) = decode(bytes, &LIMITS, FrameSelection::All) {
        assert!(header.is_ok(), "{name}: its pixels are read and its header is not");
        let decoded: usize = image
            .frames
            .iter()
            .map(|frame| match frame.pixels() {
                Pixels::Grey(samples) => samples.len(),
                Pixels::Rgb8(values) => values.len(),
                Pixels::Rgb16 { values, .. } => values.len() * 2,
            })
            .sum();
        assert!(decoded as u64 <= LIMITS.max_decoded_bytes, "{name}: {decoded} bytes");
        for frame in &image.frames {
            let rendered = frame.render(&WindowChoice::File);
            let pixels = frame.width() as usize * frame.height() as usize;
            assert_eq!(rendered.pixels().len(), pixels * rendered.channels().count(), "{name}");
        }
    }
    let taken = start.elapsed();
    assert!(taken < LONGEST, "{name}: {taken:?}");
}

#[test]
fn mutated_files_never_break_a_decoder() {
    let files = files();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1) * 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (0..files.len(), prop::collection::vec(mutation(), 1..6));
    let outcome = runner.run(&strategy, |(index, mutations)| {
        let (name, bytes) = &files[index];
        let mut bytes = bytes.clone();
        for mutation in &mutations {
            apply(&mut bytes, mutation);
        }
        check(name, &bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // 64 MiB of pixels, the copies of a decoder, and the samples.
    assert!(peak_memory() < 768 << 20, "{} MiB were taken", peak_memory() >> 20);
}

#[test]
fn every_cut_of_a_small_file_is_refused_or_decodes() {
    for name in [
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "SC_rgb_small_odd_jpeg.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
    ] {
        let bytes = sample(name);
        for length in (0..bytes.len()).step_by(61).chain(bytes.len().saturating_sub(40)..bytes.len()) {
            check(name, &bytes[..length]);
        }
    }
}
