//! A small data set in the layout of DeepLesion: real CT slices of pydicom's samples where they are at hand, a phantom where not.
//!
//! The layout is that of the published data set: `DL_info.csv` with its columns, `Images_png/<patient_study_series>/<slice>.png` of 16 bits whose
//! values less 32,768 are Hounsfield units.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use image::{ImageBuffer, Luma};
use medindex_imaging::{FrameSelection, Limits, decode};

/// A slice in Hounsfield units, with the offset of the data set.
type Slice = ImageBuffer<Luma<u16>, Vec<u16>>;

/// First line of the table.
const HEADER: &str = "File_name,Patient_index,Study_index,Series_ID,Key_slice_index,Measurement_coordinates,Bounding_boxes,\
    Lesion_diameters_Pixel_,Normalized_lesion_location,Coarse_lesion_type,Possibly_noisy,Slice_range,Spacing_mm_px_,Image_size,\
    DICOM_windows,Patient_gender,Patient_age,Train_Val_Test\n";
/// Coarse lesion types with their labels, in the order in which the slices take them.
const TYPES: [(i8, Option<&str>); 5] =
    [(5, Some("lung")), (4, Some("liver")), (-1, None), (7, Some("soft tissue")), (1, Some("bone"))];
/// Windows that the slices take in turn, in Hounsfield units.
const WINDOWS: [(i32, i32); 3] = [(-1500, 500), (-175, 275), (-160, 240)];
/// Slices that are made of one image, by turning and cropping it.
const VARIANTS: usize = 40;

/// A slice of the data set, as it has to be found later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleSlice {
    /// Name in the table and in the catalog.
    pub file_name: String,
    /// Its file.
    pub path: PathBuf,
    /// Its label.
    pub label: Option<&'static str>,
    /// Left, top, width and height of its regions in pixels, in the order of the table.
    pub regions: Vec<[u32; 4]>,
    /// Its patient in the catalog.
    pub patient: String,
}

/// Writes a data set of up to 40 slices, all different, into `folder`; returns them in the order of the table.
///
/// # Errors
/// When a file cannot be written, or pydicom's sample cannot be read.
pub fn write_data_set(folder: &Path, slices: usize) -> io::Result<Vec<ExampleSlice>> {
    if slices > VARIANTS {
        return Err(io::Error::other(format!("at most {VARIANTS} slices can be told apart")));
    }
    let base = base_slice()?;
    let mut table = HEADER.to_owned();
    let mut examples = Vec::with_capacity(slices);
    for number in 0..slices {
        let slice = variant(&base, number);
        let example = describe(folder, number);
        if let Some(parent) = example.path.parent() {
            fs::create_dir_all(parent)?;
        }
        slice.save(&example.path).map_err(io::Error::other)?;
        for (lesion, region) in example.regions.iter().enumerate() {
            table.push_str(&row(&example, number, lesion, *region, slice.dimensions()));
        }
        examples.push(example);
    }
    fs::write(folder.join("DL_info.csv"), table)?;
    Ok(examples)
}

fn describe(folder: &Path, number: usize) -> ExampleSlice {
    let (patient, study) = (number / 4 + 1, number % 2 + 1);
    let series = format!("{patient:06}_{study:02}_01");
    let slice = format!("{:03}", 10 + number);
    let at = 8 + 3 * (number as u32 % 5);
    let regions = [[at, at + 4, 21, 17], [at + 30, at + 20, 12, 15]];
    ExampleSlice {
        file_name: format!("{series}_{slice}.png"),
        path: folder.join("Images_png").join(series).join(format!("{slice}.png")),
        label: TYPES[number % TYPES.len()].1,
        regions: regions[..=number % 2].to_vec(),
        patient: format!("DeepLesion-{patient:06}"),
    }
}

/// A row as the data set writes it: the box in fractions of a pixel, so that it covers the region's pixels.
fn row(example: &ExampleSlice, number: usize, lesion: usize, region: [u32; 4], size: (u32, u32)) -> String {
    let [x, y, width, height] = region.map(f64::from);
    let (patient, study, slice) = (number / 4 + 1, number % 2 + 1, 10 + number);
    // The second lesion of a slice is of no type, so that the slice has the label of the first.
    let kind = if lesion == 0 { TYPES[number % TYPES.len()].0 } else { -1 };
    let (least, greatest) = WINDOWS[number % WINDOWS.len()];
    let mut row = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        row,
        "{},{patient},{study},1,{slice},\"0, 0, 1, 1, 2, 2, 3, 3\",\"{}, {}, {}, {}\",\"9.1, 7.2\",\"0.5, 0.5, 0.5\",{kind},0,\
         \"{}, {}\",\"0.7, 0.7, 5\",\"{}, {}\",\"{least}, {greatest}\",F,62,3",
        example.file_name,
        x + 0.25,
        y + 0.5,
        x + width - 0.25,
        y + height - 0.125,
        slice - 5,
        slice + 5,
        size.0,
        size.1,
    );
    row
}

/// Each number gives another picture: turned, mirrored, and cropped more and more.
fn variant(base: &Slice, number: usize) -> Slice {
    let turned = match number % 4 {
        0 => base.clone(),
        1 => image::imageops::rotate90(base),
        2 => image::imageops::rotate180(base),
        _ => image::imageops::rotate270(base),
    };
    let turned =
        if (number / 4).is_multiple_of(2) { turned } else { image::imageops::flip_horizontal(&turned) };
    let margin = number as u32 / 8 * 6;
    let (width, height) = turned.dimensions();
    image::imageops::crop_imm(&turned, margin, margin, width - 2 * margin, height - 2 * margin).to_image()
}

/// A CT slice of 128 pixels a side.
fn base_slice() -> io::Result<Slice> {
    let samples = std::env::var_os("MEDINDEX_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/medindex")));
    let sample = samples.map(|cache| cache.join("samples/pydicom/CT_small.dcm"));
    let Some(file) = sample.filter(|sample| sample.is_file()) else { return Ok(phantom()) };
    let decoded =
        decode(&fs::read(file)?, &Limits::default(), FrameSelection::Middle).map_err(io::Error::other)?;
    let slice = decoded.frames.first().and_then(|frame| {
        let values = frame.modality_values()?.into_iter().map(|hounsfield| (hounsfield + 32_768.0) as u16);
        Slice::from_raw(frame.width(), frame.height(), values.collect())
    });
    slice.ok_or_else(|| io::Error::other("pydicom's CT_small.dcm has no grey frame"))
}

/// A body with a spine and two lungs.
fn phantom() -> Slice {
    Slice::from_fn(128, 128, |x, y| {
        let inside = |left: f64, top: f64, wide: f64, high: f64| {
            ((f64::from(x) - left) / wide).powi(2) + ((f64::from(y) - top) / high).powi(2) < 1.0
        };
        let hounsfield = match () {
            () if inside(64.0, 95.0, 9.0, 9.0) => 700,
            () if inside(42.0, 60.0, 14.0, 24.0) || inside(88.0, 58.0, 13.0, 22.0) => -800,
            () if inside(64.0, 66.0, 56.0, 44.0) => 40 + (x as i32 + 2 * y as i32) % 13,
            () => -1000,
        };
        Luma([(hounsfield + 32_768) as u16])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_slices_have_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let slices = write_data_set(folder.path(), VARIANTS).unwrap();
        let files: std::collections::HashSet<Vec<u8>> =
            slices.iter().map(|slice| fs::read(&slice.path).unwrap()).collect();
        assert_eq!(files.len(), VARIANTS);
    }
}
