//! Plain formats, attributes and display, on small files made here.

// A test stops at what it did not expect, also in its helpers.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::io::{Cursor, Write};

use common::build::{DicomFile, item, nifti};
use common::{first, read};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use image::{DynamicImage, ImageFormat};
use medindex_imaging::{Format, FrameSelection, Limits, Pixels, Samples, WindowChoice, decode, inspect};

fn saved(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("it can be written");
    file.into_inner()
}

fn grey8() -> DynamicImage {
    DynamicImage::ImageLuma8(image::GrayImage::from_fn(5, 3, |x, y| image::Luma([(40 * x + 10 * y) as u8])))
}

#[test]
fn eight_bit_values_survive_every_lossless_format() {
    let expected = grey8().into_luma8().into_raw();
    for (format, kind) in [(ImageFormat::Png, Format::Png), (ImageFormat::Tiff, Format::Tiff)] {
        let image = read(&saved(&grey8(), format)).expect("it decodes");
        assert_eq!(
            (image.info.format, image.info.width, image.info.height, image.info.frames),
            (kind, 5, 3, 1)
        );
        assert_eq!(image.info.attributes.image_type, None);
        let rendered = image.frames[0].render(&WindowChoice::File);
        assert_eq!(rendered.pixels(), expected, "{kind}");
    }
    let colour = DynamicImage::ImageRgb8(grey8().into_rgb8());
    for format in [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp] {
        let image = read(&saved(&colour, format)).expect("it decodes");
        assert_eq!(image.info.attributes.image_type.as_deref(), Some("photo"));
        assert_eq!(*image.frames[0].pixels(), Pixels::Rgb8(grey8().into_rgb8().into_raw()), "{format:?}");
    }
}

#[test]
fn a_jpeg_is_read_about_as_it_was_written() {
    let smooth = image::RgbImage::from_fn(32, 16, |x, y| image::Rgb([(x * 4) as u8, (y * 8) as u8, 100]));
    let file = saved(&DynamicImage::ImageRgb8(smooth.clone()), ImageFormat::Jpeg);
    let Pixels::Rgb8(values) = first(&file).pixels().clone() else { panic!("not colour") };
    let worst = values.iter().zip(smooth.as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst < Some(24), "{worst:?}");
}

#[test]
fn cut_files_of_every_plain_format_are_refused() {
    let colour = DynamicImage::ImageRgb8(image::RgbImage::from_fn(64, 64, |x, y| {
        image::Rgb([(x * 31 % 251) as u8, (y * 57 % 241) as u8, (x * y % 239) as u8])
    }));
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Bmp] {
        let file = saved(&colour, format);
        for part in [30, file.len() / 4, file.len() / 2, file.len() * 9 / 10] {
            let error = read(&file[..part]).expect_err("it is cut");
            assert!(
                matches!(error.code(), "truncated" | "decode" | "damaged"),
                "{format:?} at {part}: {error}"
            );
        }
    }
    let volume = nifti([4, 4, 2], 1.0, 0.0, &[7; 32]);
    assert_eq!(read(&volume[..400]).expect_err("it is cut").code(), "truncated");
}

#[test]
fn sixteen_bits_are_kept() {
    let deep = image::ImageBuffer::from_fn(4, 2, |x, y| image::Luma([(x * 9000 + y) as u16]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let file = saved(&DynamicImage::ImageLuma16(deep.clone()), format);
        let frame = first(&file);
        assert_eq!(*frame.pixels(), Pixels::Grey(Samples::U16(deep.clone().into_raw())), "{format:?}");
        // From the least to the greatest value.
        assert_eq!(frame.render(&WindowChoice::File).pixels()[..4], [0, 85, 170, 255]);
    }
    let colour =
        image::ImageBuffer::from_fn(2, 2, |x, y| image::Rgb([(x * 65535) as u16, 257 * 100, y as u16]));
    let file = saved(&DynamicImage::ImageRgb16(colour), ImageFormat::Png);
    assert_eq!(first(&file).render(&WindowChoice::File).pixels()[..6], [0, 100, 0, 255, 100, 0]);
}

#[test]
fn transparent_pixels_lie_over_black() {
    let picture =
        image::RgbaImage::from_raw(2, 1, vec![200, 100, 50, 255, 200, 100, 50, 0]).expect("it fits");
    let file = saved(&DynamicImage::ImageRgba8(picture), ImageFormat::Png);
    assert_eq!(*first(&file).pixels(), Pixels::Rgb8(vec![200, 100, 50, 0, 0, 0]));
}

#[test]
fn sixteen_bit_grey_lies_over_black_where_it_is_transparent() {
    let values = vec![40_000, 65_535, 40_000, 0, 65_535, 32_768];
    let picture: image::ImageBuffer<image::LumaA<u16>, Vec<u16>> =
        image::ImageBuffer::from_raw(3, 1, values).expect("it fits");
    let file = saved(&DynamicImage::ImageLumaA16(picture), ImageFormat::Png);
    assert_eq!(*first(&file).pixels(), Pixels::Grey(Samples::U16(vec![40_000, 0, 32_768])));
}

/// A JPEG of 8 x 8 pixels of one colour: 200, 100, 50 and 255 of the four inks, inverted as Adobe writes them.
fn cmyk_jpeg() -> Vec<u8> {
    let mut file = b"\xFF\xD8\xFF\xEE\0\x0EAdobe\0\x64\0\0\0\0\0".to_vec();
    // One quantization table of eights, so that a block is its first coefficient plus 128.
    file.extend([0xFF, 0xDB, 0, 67, 0]);
    file.extend([8; 64]);
    file.extend([0xFF, 0xC0, 0, 20, 8, 0, 8, 0, 8, 4]);
    file.extend((1..=4u8).flat_map(|component| [component, 0x11, 0]));
    // Codes 00 and 01 for first coefficients of 5 and 7 bits, code 0 for the end of a block.
    file.extend([0xFF, 0xC4, 0, 21, 0, 0, 2]);
    file.extend([0; 14]);
    file.extend([5, 7]);
    file.extend([0xFF, 0xC4, 0, 20, 0x10, 1]);
    file.extend([0; 15]);
    file.push(0);
    file.extend([0xFF, 0xDA, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    // 72, -28, -78 and 127.
    file.extend([0b0110_0100, 0b0000_0001, 0b1001_0110, 0b0010_0111, 0b1111_1011]);
    file.extend([0xFF, 0xD9]);
    file
}

#[test]
fn a_cmyk_jpeg_is_colour() {
    let image = read(&cmyk_jpeg()).expect("it decodes");
    assert_eq!(image.info.attributes.image_type.as_deref(), Some("photo"));
    let Pixels::Rgb8(values) = image.frames[0].pixels() else { panic!("not colour") };
    assert_eq!(values.len(), 8 * 8 * 3);
    for pixel in values.chunks_exact(3) {
        let worst = pixel.iter().zip([200, 100, 50]).map(|(found, wanted)| found.abs_diff(wanted)).max();
        assert!(worst <= Some(1), "{pixel:?}");
    }
}

#[test]
fn what_is_wrong_with_a_jpeg_is_told_apart() {
    let frame = |kind, bits| vec![0xFF, 0xD8, 0xFF, kind, 0, 11, bits, 0, 8, 0, 8, 1, 1, 0x11, 0];
    let scan_alone = vec![0xFF, 0xD8, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0, 0, 0xFF, 0xD9];
    for (file, code, words) in [
        (b"\xFF\xD8\xFF\xE0\0\x10JFIF".to_vec(), "truncated", "it has no end mark; send the file again"),
        (frame(0xC1, 12), "unsupported_pixels", "12 bits per sample, which is not supported; save it as"),
        (frame(0xC9, 8), "unsupported_pixels", "arithmetic-coded pixels"),
        (scan_alone, "decode", "ends early or is damaged: copy it again"),
    ] {
        let error = read(&file).expect_err("it is refused");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

/// A little endian TIFF of one page in one strip; `kind` is compression, photometric interpretation, samples a pixel and bits a sample.
fn tiff_page(width: u32, height: u32, kind: [u32; 4], strip: &[u8]) -> Vec<u8> {
    let [compression, photometric, samples, bits] = kind;
    let length = u32::try_from(strip.len()).expect("small");
    let entries: [(u16, u32); 9] = [
        (256, width),
        (257, height),
        (258, bits),
        (259, compression),
        (262, photometric),
        (273, 8 + 2 + 9 * 12 + 4),
        (277, samples),
        (278, height),
        (279, length),
    ];
    let mut file = b"II*\0\x08\0\0\0\x09\0".to_vec();
    for (tag, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend([4, 0, 1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file.extend(strip);
    file
}

#[test]
fn a_tiff_of_single_bits_is_black_and_white() {
    // Ten pixels a row, each row in two bytes.
    let strip = [0b1011_0000, 0b0100_0000, 0b0000_0001, 0b1000_0000];
    let expected = vec![1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0];
    let black_is_zero = first(&tiff_page(10, 2, [1, 1, 1, 1], &strip));
    assert_eq!(*black_is_zero.pixels(), Pixels::Grey(Samples::U8(expected.clone())));
    let shown: Vec<u8> = expected.iter().map(|bit| bit * 255).collect();
    assert_eq!(black_is_zero.render(&WindowChoice::File).pixels(), shown);
    let white_is_zero = first(&tiff_page(10, 2, [1, 0, 1, 1], &strip));
    let inverted = expected.iter().map(|bit| 1 - bit).collect();
    assert_eq!(*white_is_zero.pixels(), Pixels::Grey(Samples::U8(inverted)));
}

#[test]
fn kinds_of_tiff_that_are_not_read_are_named() {
    let cmyk = tiff_page(1, 1, [1, 5, 4, 8], &[1, 2, 3, 4]);
    let packed = tiff_page(1, 1, [9_999, 1, 1, 8], &[1]);
    for (file, words) in [(&cmyk, "CMYK colour of 8 bits"), (&packed, "compressed by method 9999")] {
        let error = read(file).expect_err("it is not read");
        assert_eq!(error.code(), "unsupported_pixels", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(inspect(&cmyk, &Limits::default()).is_err(), "it is refused before it is accepted");
}

#[test]
fn pages_of_a_tiff_are_frames() {
    let mut file = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut file).expect("a tiff");
    for page in 0..5u8 {
        encoder.write_image::<tiff::encoder::colortype::Gray8>(2, 1, &[page, 100]).expect("a page");
    }
    let file = file.into_inner();
    assert_eq!(inspect(&file, &Limits::default()).expect("a header").frames, 5);
    let middle = decode(&file, &Limits::default(), FrameSelection::Middle).expect("it decodes");
    assert_eq!(middle.frames.len(), 1);
    assert_eq!(*middle.frames[0].pixels(), Pixels::Grey(Samples::U8(vec![2, 100])));
    let error = decode(&file, &Limits::default(), FrameSelection::One(5)).expect_err("no such page");
    assert!(error.to_string().contains("frame 5 was asked for, but the image has 5"), "{error}");
    let few = Limits { max_frames: 4, ..Limits::default() };
    assert_eq!(inspect(&file, &few).expect_err("too many").code(), "too_many_frames");
}

#[test]
fn attributes_are_read_in_their_character_set() {
    let file = DicomFile::empty()
        .text(0x0008_0005, "CS", "ISO_IR 100")
        .text(0x0008_0018, "UI", "1.2.3")
        .text(0x0008_0020, "DA", "20260102")
        .text(0x0008_0022, "DA", "20260103")
        .text(0x0008_0032, "TM", "120000.5")
        .text(0x0008_0060, "CS", "DX")
        .text(0x0008_0201, "SH", "+0100")
        .element(0x0008_103E, "LO", b" Sch\xE4del  ")
        .text(0x0010_0020, "LO", "P-7 ")
        .text(0x0018_0015, "CS", "skull")
        .text(0x0020_000D, "UI", "1.2.4")
        .text(0x0020_000E, "UI", "1.2.5")
        .number(0x0028_0010, 1)
        .number(0x0028_0011, 2)
        .number(0x0028_0100, 8)
        .pixels(&[1, 2]);
    let info = inspect(&file.build(), &Limits::default()).expect("a header");
    let found = info.attributes;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    assert_eq!(text(&found.description), "Schädel");
    assert_eq!(text(&found.patient_id), "P-7");
    assert_eq!(text(&found.image_type), "XR");
    assert_eq!(text(&found.body_part), "SKULL");
    assert_eq!(text(&found.study_date), "2026-01-02");
    assert_eq!((text(&found.study_uid), text(&found.series_uid)), ("1.2.4".to_owned(), "1.2.5".to_owned()));
    // 2026-01-03 11:00:00.5 UTC.
    assert_eq!(found.acquired_ms, Some(1_767_438_000_500));
}

/// The window of dcm4che pull request 1578 on a whole file: W400 L40 after rescaling.
#[test]
fn a_ct_file_is_shown_through_its_own_first_window() {
    let stored: Vec<u8> = [895u16, 1089, 1218, 0].into_iter().flat_map(u16::to_le_bytes).collect();
    let file = DicomFile::empty()
        .text(0x0008_0060, "CS", "CT")
        .number(0x0028_0002, 1)
        .text(0x0028_0004, "CS", "MONOCHROME2")
        .number(0x0028_0010, 2)
        .number(0x0028_0011, 2)
        .number(0x0028_0100, 16)
        .number(0x0028_0101, 12)
        .number(0x0028_0102, 11)
        .number(0x0028_0103, 0)
        .text(0x0028_1050, "DS", "40\\-600")
        .text(0x0028_1051, "DS", "400\\1500")
        .text(0x0028_1052, "DS", "-1024")
        .text(0x0028_1053, "DS", "1")
        .pixels(&stored);
    let frame = first(&file.build());
    assert!(frame.is_hounsfield());
    assert_eq!(frame.modality_values().expect("grey"), [-129.0, 65.0, 194.0, -1024.0]);
    assert_eq!(frame.render(&WindowChoice::File).pixels(), [20, 144, 226, 0]);
}

#[test]
fn lookup_tables_take_the_place_of_windows() {
    let table = DicomFile::empty().element(0x0028_3002, "US", &[4, 0, 10, 0, 8, 0]).element(
        0x0028_3006,
        "OW",
        &[0, 0, 200, 0, 100, 0, 255, 0],
    );
    let file = DicomFile::grey(3, 2, 8)
        .text(0x0028_1050, "DS", "1")
        .text(0x0028_1051, "DS", "2")
        .element(0x0028_3010, "SQ", &item(&table))
        .pixels(&[0, 10, 11, 12, 13, 99]);
    assert_eq!(first(&file.build()).render(&WindowChoice::File).pixels(), [0, 0, 200, 100, 255, 255]);
}

#[test]
fn a_dicom_file_that_declares_no_frame_has_one() {
    for (declared, frames) in [("0", Some(1)), ("1", Some(1)), ("", Some(1)), ("-1", None)] {
        let file = DicomFile::grey(2, 1, 8).text(0x0028_0008, "IS", declared).pixels(&[7, 9]).build();
        let found = read(&file).map(|image| image.info.frames);
        assert_eq!(found.as_ref().ok().copied(), frames, "{declared:?}: {found:?}");
    }
    let empty = DicomFile::grey(2, 1, 8).transfer_syntax("1.2.840.10008.1.2.5").fragments(&[]).build();
    let error = read(&empty).expect_err("it has no pixels");
    assert_eq!(error.code(), "truncated");
    assert!(error.to_string().contains("no fragment"), "{error}");
}

#[test]
fn a_window_that_is_no_number_is_passed_over() {
    let file = DicomFile::grey(2, 1, 8)
        .element(0x0028_1050, "FD", &f64::NAN.to_le_bytes())
        .element(0x0028_1051, "FD", &400f64.to_le_bytes())
        .pixels(&[0, 255]);
    assert_eq!(first(&file.build()).render(&WindowChoice::File).pixels(), [0, 255]);
}

#[test]
fn frames_of_an_enhanced_file_have_their_own_window() {
    let group = |center: &str| {
        let window = DicomFile::empty().text(0x0028_1050, "DS", center).text(0x0028_1051, "DS", "11");
        DicomFile::empty().element(0x0028_9132, "SQ", &item(&window))
    };
    let groups = [item(&group("5.5")), item(&group("105.5"))].concat();
    let file = DicomFile::empty()
        .number(0x0028_0002, 1)
        .text(0x0028_0008, "IS", "2")
        .number(0x0028_0010, 1)
        .number(0x0028_0011, 2)
        .number(0x0028_0100, 8)
        .element(0x5200_9230, "SQ", &groups)
        .pixels(&[0, 10, 100, 110]);
    let image = read(&file.build()).expect("it decodes");
    for frame in &image.frames {
        assert_eq!(frame.render(&WindowChoice::File).pixels(), [0, 255], "frame {}", frame.index());
    }
}

#[test]
fn data_sets_without_preamble_and_deflated_ones_are_read() {
    let file = DicomFile::grey(2, 1, 8).pixels(&[7, 9]);
    let expected = Pixels::Grey(Samples::U8(vec![7, 9]));
    assert_eq!(*first(file.body()).pixels(), expected);
    // Also where much comes before the pixels.
    let private = vec![5; 6 << 20];
    let long = DicomFile::grey(2, 1, 8).element(0x0029_1010, "UN", &private).pixels(&[7, 9]);
    for file in [file, long] {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
        deflated.write_all(file.body()).expect("memory");
        let deflated = deflated.finish().expect("memory");
        let file = file.transfer_syntax("1.2.840.10008.1.2.1.99").build_around(&deflated);
        assert_eq!(*first(&file).pixels(), expected);
    }
}

#[test]
fn fragments_are_put_together_to_frames() {
    // RLE of one segment: three literal bytes, cut into two fragments.
    let mut frame = vec![0; 64];
    frame[0] = 1;
    frame[4] = 64;
    frame.extend([2, 5, 6, 7]);
    let file = DicomFile::grey(3, 1, 8).transfer_syntax("1.2.840.10008.1.2.5");
    let file = file.fragments(&[&frame[..30], &frame[30..]]).build();
    assert_eq!(*first(&file).pixels(), Pixels::Grey(Samples::U8(vec![5, 6, 7])));
}
