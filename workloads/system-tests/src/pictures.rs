//! Images for the tests: real ones of the data folder where it is there, patterns where not.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::PathBuf;

use flate2::read::GzDecoder;

/// A file to upload.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Name of the file.
    pub name: String,
    /// What it shows, as the data set says.
    pub label: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// `count` images: of `MedNIST` (`../shared/data` beside the checkout), spread over its labels, else patterns, and which of the two.
pub fn pictures(count: usize) -> (Vec<Picture>, &'static str) {
    let archive =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/mednist-32735.tar.gz"));
    if archive.is_file() {
        (from_archive(&archive, count), "MedNIST")
    } else {
        (
            (0..count).map(|seed| pattern(seed as u32)).collect(),
            "patterns, because ../shared/data is not there",
        )
    }
}

/// Every n-th file of the archive, so that all labels are there; copies of the same bytes are left out.
fn from_archive(archive: &std::path::Path, count: usize) -> Vec<Picture> {
    let every = 32_735 / (count + count / 10).max(1);
    let mut files = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let (mut pictures, mut seen) = (Vec::with_capacity(count), std::collections::HashSet::new());
    let images = files.entries().unwrap().map(Result::unwrap).filter(|entry| entry.size() > 0);
    for mut entry in images.step_by(every.max(1)) {
        let path = entry.path().unwrap().into_owned();
        let label = path.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
        let label = label.to_string_lossy().into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if seen.insert(bytes.clone()) {
            pictures.push(Picture { name, label, bytes });
        }
        if pictures.len() == count {
            break;
        }
    }
    assert_eq!(pictures.len(), count, "the archive has too few images");
    pictures
}

/// A grey PNG whose pattern depends on `seed`: every seed gives other bytes and another embedding.
pub fn pattern(seed: u32) -> Picture {
    let picture = image::GrayImage::from_fn(64, 64, |x, y| {
        let (x, y) = (x as f32, y as f32);
        let angle = seed as f32 * 0.37;
        let wave = (x * angle.cos() + y * angle.sin()) * (0.1 + (seed % 17) as f32 * 0.03);
        let radius = ((x - 32.0).powi(2) + (y - 32.0).powi(2)).sqrt() * (seed % 5) as f32 * 0.1;
        // The corner keeps the seed, so that no two files are the same.
        let grey = if y < 1.0 && x < 32.0 { f32::from((seed >> x as u32 & 1) as u8) * 255.0 } else { 127.0 };
        image::Luma([(grey + 60.0 * wave.sin() + 60.0 * radius.cos()) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    Picture {
        name: format!("pattern-{seed}.png"),
        label: format!("class{}", seed % 5),
        bytes: bytes.into_inner(),
    }
}
