//! One slice: its file, and what its rows say of it.

use std::path::PathBuf;

use bytes::Bytes;
use medindex_imaging::{Format, Limits, Region, WindowChoice};
use medindex_pipeline::{MarkedRegion, Sidecar};

use super::table::row_name;
use super::{Lesion, LesionWindow};
use crate::read_file;

/// What makes stored values Hounsfield units.
const HOUNSFIELD_OFFSET: f64 = -32_768.0;
/// A box may reach over the edge by this many pixels and is cut: the data set pads its boxes by as many.
const PADDING: f64 = 5.0;
/// Bytes of a PNG up to its bit depth and kind of colour.
const HEADER: usize = 26;

/// A slice that the table names.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Its file.
    pub path: PathBuf,
    /// Name of the table.
    pub table: String,
    /// Its name in the table.
    pub file_name: String,
    /// Patient, study and series, as in its name.
    pub identity: [String; 3],
    /// Least and greatest value of its window, in Hounsfield units.
    pub window: [f64; 2],
    /// Its lesions, at least one, in the order of the table.
    pub lesions: Vec<Lesion>,
}

/// What a slice gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// What is known beside the file, and the file; `None` where no row can be used.
    pub image: Option<(Sidecar, Bytes)>,
    /// The type of most of its lesions.
    pub label: Option<String>,
    /// Rows that cannot be used, by name, with the reason.
    pub refused: Vec<(String, String)>,
}

impl Slice {
    /// Reads the file and compares the rows with it.
    ///
    /// # Errors
    /// In words, with the lines of the table, when there is no such file or it is no grey PNG of 16 bits.
    pub fn read(&self, limit: u64, limits: &Limits, window: LesionWindow) -> Result<Taken, String> {
        let bytes = read_file(&self.path, limit).map_err(|error| self.named(&error.to_string()))?;
        let (width, height) = self.size(&bytes, limits)?;
        let (mut regions, mut refused) = (Vec::new(), Vec::new());
        for lesion in &self.lesions {
            match region(lesion, width, height) {
                Ok(region) => {
                    regions.push(MarkedRegion { region, label: lesion.label.map(ToOwned::to_owned) });
                }
                Err(reason) => {
                    refused.push((row_name(Some(&self.file_name), lesion.line, &self.table), reason));
                }
            }
        }
        let label = most_frequent(&regions);
        let image = (!regions.is_empty()).then(|| (self.sidecar(window, regions), bytes));
        Ok(Taken { image, label, refused })
    }

    fn named(&self, reason: &str) -> String {
        let lines: Vec<String> = self.lesions.iter().map(|lesion| lesion.line.to_string()).collect();
        format!("{reason} (line {} of {})", lines.join(", "), self.table)
    }

    /// Width and height of the file.
    fn size(&self, bytes: &[u8], limits: &Limits) -> Result<(u32, u32), String> {
        let info =
            medindex_imaging::inspect(bytes, limits).map_err(|error| self.named(&error.to_string()))?;
        // The header comes first in every PNG: its last bytes are the bit depth and, 0 for grey, the kind of colour.
        let (Format::Png, Some([depth, 0])) = (info.format, bytes.get(HEADER - 2..HEADER)) else {
            let reason = "a slice of DeepLesion is a grey PNG, this file is not; take it as it was published";
            return Err(self.named(reason));
        };
        if *depth != 16 {
            let reason = format!(
                "it has {depth} bits a pixel: a slice of DeepLesion has 16, or its Hounsfield units are lost; take it as it was published"
            );
            return Err(self.named(&reason));
        }
        Ok((info.width, info.height))
    }

    fn sidecar(&self, window: LesionWindow, regions: Vec<MarkedRegion>) -> Sidecar {
        let [patient, study, series] = &self.identity;
        let [least, greatest] = self.window;
        let window = match window {
            LesionWindow::Same(window) => window,
            LesionWindow::Table => WindowChoice::Explicit {
                center: f64::midpoint(least, greatest),
                width: (greatest - least).max(1.0),
            },
        };
        let modality = Some("CT".to_owned());
        Sidecar {
            image_type: modality.clone(),
            modality,
            study_uid: Some(format!("DeepLesion-{patient}-{study}")),
            series_uid: Some(format!("DeepLesion-{patient}-{study}-{series}")),
            patient_id: Some(format!("DeepLesion-{patient}")),
            hounsfield_offset: Some(HOUNSFIELD_OFFSET),
            window: Some(window),
            regions,
        }
    }
}

/// A lesion's box in whole pixels of an image.
fn region(lesion: &Lesion, width: u32, height: u32) -> Result<Region, String> {
    let [left, top, right, bottom] = lesion.bounds;
    let [wide, high] = lesion.image_size;
    let (edge_x, edge_y) = (f64::from(width), f64::from(height));
    if (wide, high) != (edge_x, edge_y) {
        return Err(format!(
            "Image_size says {wide} x {high}, the file is {width} x {height}: take both as they were published"
        ));
    }
    if left >= right || top >= bottom {
        return Err(format!(
            "box {left}, {top}, {right}, {bottom} is empty: left and top must be the smaller"
        ));
    }
    let overhang = (-left).max(-top).max(right - edge_x).max(bottom - edge_y);
    if overhang > PADDING || left >= edge_x || top >= edge_y || right <= 0.0 || bottom <= 0.0 {
        return Err(format!(
            "box {left}, {top}, {right}, {bottom} is outside the image of {width} x {height} pixels: correct the row"
        ));
    }
    let (x, y) = (left.max(0.0).floor(), top.max(0.0).floor());
    let (end_x, end_y) = (right.min(edge_x).ceil(), bottom.min(edge_y).ceil());
    Ok(Region { x: x as u32, y: y as u32, width: (end_x - x) as u32, height: (end_y - y) as u32 })
}

/// The label that most regions have; of several, the one that comes first.
fn most_frequent(regions: &[MarkedRegion]) -> Option<String> {
    let labels: Vec<&String> = regions.iter().filter_map(|region| region.label.as_ref()).collect();
    let count = |wanted: &&String| labels.iter().filter(|label| *label == wanted).count();
    // `max_by_key` would take the last of several.
    labels.iter().rev().max_by_key(|label| count(label)).map(|label| (*label).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesion(bounds: [f64; 4]) -> Lesion {
        Lesion { line: 2, label: None, bounds, image_size: [100.0, 80.0] }
    }

    #[test]
    fn a_box_covers_every_pixel_that_it_touches() {
        let found = region(&lesion([10.2, 20.9, 30.1, 40.0]), 100, 80).unwrap();
        assert_eq!(found, Region { x: 10, y: 20, width: 21, height: 20 });
    }

    #[test]
    fn a_box_is_cut_at_the_edge_where_only_its_padding_is_outside() {
        let found = region(&lesion([-4.5, 70.0, 10.0, 84.9]), 100, 80).unwrap();
        assert_eq!(found, Region { x: 0, y: 70, width: 10, height: 10 });
        for outside in [
            [-5.5, 0.0, 10.0, 10.0],
            [90.0, 0.0, 106.0, 10.0],
            [100.0, 0.0, 104.0, 10.0],
            [-4.0, 0.0, 0.0, 9.0],
        ] {
            assert!(region(&lesion(outside), 100, 80).unwrap_err().contains("outside the image of 100 x 80"));
        }
        assert!(region(&lesion([10.0, 5.0, 10.0, 9.0]), 100, 80).unwrap_err().contains("is empty"));
        assert!(region(&lesion([1.0, 1.0, 2.0, 2.0]), 100, 81).unwrap_err().contains("Image_size"));
    }

    #[test]
    fn the_label_is_that_of_most_lesions_and_of_the_first_where_they_are_even() {
        let labelled = |labels: &[Option<&str>]| {
            let region = Region { x: 0, y: 0, width: 1, height: 1 };
            let regions = labels.iter().map(|label| MarkedRegion { region, label: label.map(str::to_owned) });
            most_frequent(&regions.collect::<Vec<_>>())
        };
        assert_eq!(labelled(&[Some("bone"), Some("lung"), Some("lung")]).as_deref(), Some("lung"));
        assert_eq!(labelled(&[Some("liver"), None, Some("bone")]).as_deref(), Some("liver"));
        assert_eq!(labelled(&[None]), None);
    }
}
