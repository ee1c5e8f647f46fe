//! NIfTI volumes, their voxels and scaling, and frames of which nothing can be shown, on small files made here.

// A test stops at what it did not expect, also in its helpers.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Cursor, Write};

use common::build::{DicomFile, nifti, volume, volume2};
use common::{first, read};
use flate2::Compression;
use flate2::write::GzEncoder;
use medindex_imaging::{Format, FrameSelection, Limits, Pixels, Samples, WindowChoice, decode, inspect};

#[test]
fn slices_of_a_volume_are_frames_shown_as_radiologists_see_them() {
    let values: Vec<i16> = (0..12).collect();
    let plain = nifti([3, 2, 2], 2.0, -10.0, &values);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&plain).expect("memory");
    let packed = packed.finish().expect("memory");
    for file in [plain, packed] {
        let image = read(&file).expect("it decodes");
        assert_eq!((image.info.format, image.info.frames, image.info.width), (Format::Nifti, 2, 3));
        // Right on the left, front up: both axes turn round.
        assert_eq!(*image.frames[1].pixels(), Pixels::Grey(Samples::I16(vec![11, 10, 9, 8, 7, 6])));
        let scaled = image.frames[1].modality_values().expect("grey");
        assert_eq!(scaled.first().map(|value| *value as i64), Some(12));
        let middle = decode(&file, &Limits::default(), FrameSelection::Middle).expect("it decodes");
        assert_eq!(middle.frames[0].pixels(), image.frames[1].pixels());
    }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn a_big_endian_volume_is_read_as_a_little_endian_one_is() {
    let little = nifti([3, 2, 2], 2.0, -10.0, &(-6..6).collect::<Vec<i16>>());
    let mut big = little.clone();
    let end = big.len();
    // Length of the header, axes, data type, place and scaling, voxels.
    for (range, bytes) in [(0..4, 4), (40..56, 2), (70..72, 2), (108..120, 4), (352..end, 2)] {
        big[range].chunks_exact_mut(bytes).for_each(<[u8]>::reverse);
    }
    let (little, big) = (read(&little).expect("it decodes"), read(&big).expect("it decodes"));
    assert_eq!(big.info, little.info);
    for (big, little) in big.frames.iter().zip(&little.frames) {
        assert_eq!(big.pixels(), little.pixels());
        assert_eq!(big.modality_values(), little.modality_values());
    }
}

#[test]
fn voxels_that_are_no_finite_numbers_take_values_of_their_slice() {
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let slices = [[nan, -4.0, 6.0, nan], [nan; 4], [infinity, -infinity, 3.0, 1.0]];
    let file = volume(16, [2, 2, 3], 0.0, 0.0, &floats(&slices.concat()));
    let image = read(&file).expect("it decodes");
    let values = |frame: usize| image.frames[frame].modality_values().expect("grey");
    // Both axes turn round.
    assert_eq!(values(0), [-4.0, 6.0, -4.0, -4.0]);
    assert_eq!(values(1), [-4.0; 4], "a slice of background only takes the least value of all");
    assert_eq!(values(2), [1.0, 3.0, 1.0, 3.0]);
    assert_eq!(image.frames[0].render(&WindowChoice::File).pixels(), [0, 255, 0, 0]);
    assert_eq!(image.frames[1].render(&WindowChoice::File).pixels(), [0; 4]);
    // With a negative slope the greatest stored value is the least.
    let file = volume(16, [3, 1, 1], -2.0, 0.0, &floats(&[nan, 1.0, 3.0]));
    assert_eq!(first(&file).modality_values().expect("grey"), [-6.0, -2.0, -6.0]);
}

#[test]
fn slices_without_a_finite_voxel_are_refused_instead_of_shown_blank() {
    let nan = f32::NAN;
    let file = volume(16, [2, 1, 3], 0.0, 0.0, &floats(&[1.0, 2.0, nan, nan, 3.0, 4.0]));
    let error = decode(&file, &Limits::default(), FrameSelection::Middle).expect_err("it is blank");
    assert_eq!(error.code(), "blank");
    let words = "frame 1, the middle one, has no value that is a finite number";
    assert!(error.to_string().contains(words) && error.to_string().contains("--frames all"), "{error}");
    let asked = decode(&file, &Limits::default(), FrameSelection::One(1)).expect_err("it is blank");
    assert!(asked.to_string().contains("frame 1 has no value"), "{asked}");
    let all = volume(16, [2, 1, 2], 0.0, 0.0, &floats(&[nan, nan, f32::INFINITY, nan]));
    assert!(read(&all).expect_err("it is blank").to_string().contains("frame 0 has no value"));
    assert_eq!(read(&pages_of(&[[nan, nan]])).expect_err("it is blank").code(), "blank");
}

/// What was taken with its other frames, or by an older release.
#[test]
fn a_stored_frame_that_shows_nothing_is_black_under_any_window() {
    let nan = f32::NAN;
    let file = volume(16, [2, 1, 3], 0.0, 0.0, &floats(&[1.0, 2.0, nan, nan, 3.0, 4.0]));
    for selection in [FrameSelection::OneOfStored(1), FrameSelection::MiddleOfStored] {
        let shown = decode(&file, &Limits::default(), selection).expect("it decodes");
        let explicit = WindowChoice::Explicit { center: 40.0, width: 400.0 };
        for window in [WindowChoice::File, WindowChoice::FullRange, explicit] {
            assert_eq!(shown.frames[0].render(&window).pixels(), [0; 2], "{window:?}");
        }
    }
    let pages = read(&pages_of(&[[nan, nan], [1.0, 2.0]])).expect("one of its pages shows something");
    let shown = pages.frames.iter().map(|page| page.render(&WindowChoice::File).pixels().to_vec());
    assert_eq!(shown.collect::<Vec<_>>(), [[0, 0], [0, 255]]);
}

/// A TIFF of real numbers, two pixels a page.
fn pages_of(pages: &[[f32; 2]]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).expect("a tiff");
    for values in pages {
        encoder.write_image::<tiff::encoder::colortype::Gray32Float>(2, 1, values).expect("a page");
    }
    file.into_inner()
}

#[test]
fn voxels_are_scaled_as_the_standard_and_nibabel_have_it() {
    for (slope, intercept) in [(0.0, 5.0), (f32::NAN, 5.0), (f32::NAN, f32::NAN), (0.0, f32::NAN)] {
        let file = nifti([2, 1, 1], slope, intercept, &[1, 2]);
        let values = first(&file).modality_values().expect("grey");
        assert_eq!(values, [2.0, 1.0], "slope {slope} means no scaling");
    }
    let voxels = [1, 0, 2, 0];
    let second = first(&volume2(4, [2, 1, 1], 2.0, -1.0, &voxels));
    assert_eq!(second.modality_values().expect("grey"), [3.0, 1.0]);
    // Colours are not scaled.
    let colour = first(&volume(128, [1, 1, 1], f32::INFINITY, 0.0, &[10, 20, 30]));
    assert_eq!(*colour.pixels(), Pixels::Rgb8(vec![10, 20, 30]));
}

#[test]
fn scaling_by_which_no_value_can_be_computed_is_refused_by_name() {
    let one = [1, 0];
    for (file, words) in [
        (volume(4, [1, 1, 1], f32::INFINITY, 0.0, &one), "scl_slope is inf"),
        (volume(4, [1, 1, 1], 1.0, f32::NAN, &one), "scl_inter is NaN"),
        (volume2(4, [1, 1, 1], 2.0, f64::NEG_INFINITY, &one), "scl_inter is -inf"),
    ] {
        for error in [read(&file).map(drop), inspect(&file, &Limits::default()).map(drop)] {
            let error = error.expect_err("it is refused");
            assert_eq!(error.code(), "damaged");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    let doubles: Vec<u8> = [f64::MIN, f64::MAX].into_iter().flat_map(f64::to_le_bytes).collect();
    for (file, words) in [
        (volume2(4, [2, 1, 1], 1e308, 0.0, &[0, 0, 200, 0]), "slope 1e308"),
        (volume2(64, [2, 1, 1], 0.0, 0.0, &doubles), "too large to be shown"),
    ] {
        let error = read(&file).expect_err("it overflows");
        assert_eq!(error.code(), "blank");
        assert!(error.to_string().contains(words), "{error}");
    }
    let steep = DicomFile::grey(2, 1, 8).text(0x0028_1053, "DS", "1E308").pixels(&[0, 200]);
    assert!(read(&steep.build()).expect_err("it overflows").to_string().contains("slope 1e308"));
}
