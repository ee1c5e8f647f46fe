//! Bombs and bad input: refused with the right cause, before memory is taken.

// A test stops at what it did not expect, also in its helpers.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::io::Write;

use common::build::{DicomFile, nifti};
use common::peak_memory;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use medindex_imaging::{
    FrameSelection, ImagingError, Limits, Pixels, Samples, decode, inspect, inspect_memory,
};

const HUGE: u32 = 100_000;

fn png(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    png_with(width, height, None, data)
}

/// A PNG that may have a compressed colour profile.
fn png_with(width: u32, height: u32, profile: Option<&[u8]>, data: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 0, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let profile = profile.map(|stream| [b"bomb\0\0", stream].concat());
    let profile = profile.as_ref().map(|body| (b"iCCP", &body[..]));
    let rest = [(b"IDAT", data), (b"IEND", &[])];
    for (name, body) in std::iter::once((b"IHDR", &header[..])).chain(profile).chain(rest) {
        let mut chunk = name.to_vec();
        chunk.extend(body);
        file.extend(u32::try_from(body.len()).expect("small").to_be_bytes());
        file.extend(&chunk);
        file.extend(crc32(&chunk).to_be_bytes());
    }
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Little endian TIFF of one page: 8-bit grey, one strip.
fn tiff(width: u32, height: u32) -> Vec<u8> {
    let entries: [(u16, u32); 8] =
        [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (278, height), (279, 4)];
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend([4, 0, 1, 0, 0, 0]);
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 8]);
    file
}

fn bmp(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"BM".to_vec();
    file.extend([0; 8]);
    file.extend(54u32.to_le_bytes());
    file.extend(40u32.to_le_bytes());
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend([1, 0, 24, 0]);
    file.extend([0; 24]);
    file.extend([0; 64]);
    file
}

/// A JPEG that ends after its frame header.
fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8];
    file.extend(height.to_be_bytes());
    file.extend(width.to_be_bytes());
    file.extend([1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0, 0]);
    file
}

/// Zeros packed as tight as the format packs.
fn zeros(bytes: usize, write: &mut dyn Write) {
    let block = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        write.write_all(&block).expect("memory");
    }
}

/// A volume of 2 x 2 x 1 voxels whose header says that they begin at `offset`.
fn misplaced(offset: f32) -> Vec<u8> {
    let mut file = nifti([2, 2, 1], 1.0, 0.0, &[0; 64]);
    file[108..112].copy_from_slice(&offset.to_le_bytes());
    file
}

fn refusal(bytes: &[u8]) -> ImagingError {
    decode(bytes, &Limits::default(), FrameSelection::All).expect_err("it is refused")
}

/// One test for all, as peak memory is one number for the process.
#[test]
fn bombs_are_refused_before_memory_is_taken() {
    const MIB: usize = 1 << 20;
    let bomb = {
        let mut stream = ZlibEncoder::new(Vec::new(), Compression::best());
        zeros(400 * MIB, &mut stream);
        stream.finish().expect("memory")
    };
    let small_png = png(4, 4, &bomb);
    let png_profile = png_with(4, 4, Some(&bomb), &bomb);
    let deflated = |file: &DicomFile, declared: usize| {
        let mut stream = DeflateEncoder::new(Vec::new(), Compression::best());
        stream.write_all(file.body()).expect("memory");
        zeros(declared, &mut stream);
        file.build_around(&stream.finish().expect("memory"))
    };
    let syntax = "1.2.840.10008.1.2.1.99";
    let small_dicom = DicomFile::grey(2, 2, 8).transfer_syntax(syntax);
    let small_dicom = deflated(&small_dicom.pixels_declaring(400 << 20, &[]), 400 * MIB);
    let large_dicom = DicomFile::grey(60_000, 60_000, 8).transfer_syntax(syntax);
    let large_dicom = deflated(&large_dicom.pixels_declaring(u32::MAX - 1, &[]), 400 * MIB);
    let private = DicomFile::grey(2, 2, 8).transfer_syntax(syntax);
    let private = deflated(&private.declaring(0x0029_1010, "UN", 400 << 20, &[]), 400 * MIB);
    let gzip = |header: &[u8], bytes: usize| {
        let mut stream = GzEncoder::new(Vec::new(), Compression::best());
        stream.write_all(header).expect("memory");
        zeros(bytes, &mut stream);
        stream.finish().expect("memory")
    };
    let small_volume = gzip(&nifti([2, 2, 1], 1.0, 0.0, &[]), 400 * MIB);
    let large_volume = gzip(&nifti([30_000, 30_000, 30_000], 1.0, 0.0, &[]), 64 * MIB);
    let far_slice = gzip(&nifti([5_000, 5_000, 4_000], 1.0, 0.0, &[]), 400 * MIB);
    let many_frames = DicomFile::grey(2, 2, 8).text(0x0028_0008, "IS", "2000000000").pixels(&[0; 4]).build();
    let lying = DicomFile::grey(20_000, 5_000, 16).pixels_declaring(u32::MAX - 1, &[1, 2, 3, 4]).build();
    let lying_rle = DicomFile::grey(20_000, 5_000, 16).transfer_syntax("1.2.840.10008.1.2.5");
    let lying_rle = lying_rle.fragments(&[&[2, 0, 0, 0, 64, 0, 0, 0], &[0; 64]]).build();
    let mut siz = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
    siz.extend([HUGE, HUGE, 0, 0, HUGE, HUGE, 0, 0].into_iter().flat_map(u32::to_be_bytes));
    siz.extend([0, 1, 7, 1, 1, 0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, 1, 0]);
    let lying_j2k =
        DicomFile::grey(2, 2, 8).transfer_syntax("1.2.840.10008.1.2.4.90").fragments(&[&siz]).build();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("png header", png(HUGE, HUGE, &[0; 9]), "too_many_pixels"),
        ("png stream", small_png, ""),
        ("png profile", png_profile, ""),
        ("tiff header", tiff(HUGE, HUGE), "too_many_pixels"),
        ("tiff cut", tiff(9_000, 9_000), "truncated"),
        ("bmp header", bmp(HUGE, HUGE), "too_many_pixels"),
        ("jpeg header", jpeg(65_000, 65_000), "too_many_pixels"),
        ("dicom header", DicomFile::grey(60_000, 60_000, 16).pixels(&[0; 4]).build(), "too_many_pixels"),
        ("dicom frames", many_frames, "too_many_frames"),
        ("dicom length", lying, "truncated"),
        ("dicom rle", lying_rle, "damaged"),
        ("dicom j2k", lying_j2k, "damaged"),
        ("deflated, small header", small_dicom, ""),
        ("deflated, large header", large_dicom, "too_many_pixels"),
        ("deflated, private element", private, "header_too_large"),
        ("volume, small header", small_volume, ""),
        ("volume, large header", large_volume, "too_many_pixels"),
        ("volume, far slice", far_slice, "decoded_too_large"),
    ];
    let before = peak_memory();
    for (name, bytes, code) in &cases {
        let found = decode(bytes, &Limits::default(), FrameSelection::Middle);
        match (&found, *code) {
            (Ok(image), "") => assert!(image.info.width <= 4, "{name}"),
            (Err(error), code) if !code.is_empty() => assert_eq!(error.code(), code, "{name}: {error}"),
            _ => panic!("{name}: {:?}", found.map(|image| image.info)),
        }
        let taken = peak_memory().saturating_sub(before);
        // The RLE frame is within the limits, and may take what it declares.
        assert!(taken < 80 << 20, "{name} took {} MiB", taken >> 20);
        assert!(inspect_memory(bytes) < 80 << 20, "{name}");
    }
}

#[test]
fn limits_name_their_value_and_setting() {
    let file = DicomFile::grey(10, 10, 16).text(0x0028_0008, "IS", "3").pixels(&[0; 600]).build();
    let refused =
        |limits: Limits| decode(&file, &limits, FrameSelection::All).expect_err("refused").to_string();
    let default = Limits::default;
    assert!(
        refused(Limits { max_file_bytes: 100, ..default() })
            .contains("limit of 100 (setting max_file_bytes)")
    );
    let words = refused(Limits { max_pixels: 99, ..default() });
    assert!(words.contains("10 x 10 = 100 pixels") && words.contains("99 (setting max_pixels)"), "{words}");
    assert!(refused(Limits { max_frames: 2, ..default() }).contains("3 frames, more than the limit of 2"));
    assert!(
        refused(Limits { max_decoded_bytes: 599, ..default() })
            .contains("600 bytes, more than the limit of 599")
    );
    let exact =
        Limits { max_file_bytes: file.len() as u64, max_pixels: 100, max_frames: 3, max_decoded_bytes: 600 };
    assert_eq!(decode(&file, &exact, FrameSelection::All).expect("within its limits").frames.len(), 3);
}

#[test]
fn bad_input_is_refused_with_its_cause() {
    let grey = || DicomFile::grey(4, 4, 8);
    let whole = grey().pixels(&[9; 16]).build();
    let mut nested = Vec::new();
    for _ in 0..100_000 {
        nested.extend([
            0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, 255, 255, 255, 255, 0xFE, 0xFF, 0, 0xE0, 255, 255, 255,
            255,
        ]);
    }
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("empty", Vec::new(), "empty_file", "0 bytes"),
        ("text", b"not an image at all".to_vec(), "not_an_image", "plain text"),
        ("zero-sized", DicomFile::grey(0, 4, 8).pixels(&[0; 4]).build(), "zero_sized", "0 x 4"),
        ("no pixel data", grey().build(), "no_pixel_data", "Secondary Capture Image Storage"),
        (
            "cut",
            whole[..whole.len() - 7].to_vec(),
            "truncated",
            "9 bytes where its 1 frame(s) of 4 x 4 need 16",
        ),
        (
            "pixels beyond the file",
            grey().pixels_declaring(1 << 30, &[9; 16]).build(),
            "truncated",
            "declares 1073741824 bytes, and 1073741808 of them are missing",
        ),
        ("voxels at no number", misplaced(f32::NAN), "damaged", "vox_offset"),
        ("voxels at infinity", misplaced(f32::INFINITY), "damaged", "vox_offset"),
        ("voxels before the file", misplaced(-352.0), "damaged", "vox_offset"),
        ("cut header", whole[..200].to_vec(), "truncated", "truncated"),
        ("nested", DicomFile::empty().build_around(&nested), "damaged", "nested more than"),
        (
            "video",
            grey().transfer_syntax("1.2.840.10008.1.2.4.102").fragments(&[&[0; 8]]).build(),
            "unsupported_transfer_syntax",
            "1.2.840.10008.1.2.4.102 (MPEG-4 AVC/H.264 High Profile video)",
        ),
        (
            "unknown syntax",
            grey().transfer_syntax("1.2.3.4").pixels(&[0; 16]).build(),
            "unsupported_transfer_syntax",
            "1.2.3.4 (unknown)",
        ),
        ("odd depth", DicomFile::grey(4, 4, 24).pixels(&[0; 48]).build(), "unsupported_pixels", "24 bits"),
        (
            "no bits",
            DicomFile::empty().number(0x0028_0010, 1).number(0x0028_0011, 1).pixels(&[0, 0]).build(),
            "damaged",
            "Bits Allocated (0028,0100)",
        ),
        ("gif", b"GIF89a\x01\0\x01\0\0\0\0;".to_vec(), "unsupported_format", "a GIF image"),
    ];
    for (name, bytes, code, words) in cases {
        let error = refusal(&bytes);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
        if !["cut", "odd pixels", "pixels beyond the file"].contains(&name) {
            assert!(inspect(&bytes, &Limits::default()).is_err(), "{name}");
        }
    }
    let image = decode(&whole, &Limits::default(), FrameSelection::All).expect("it decodes");
    assert_eq!(*image.frames[0].pixels(), Pixels::Grey(Samples::U8(vec![9; 16])));
}
