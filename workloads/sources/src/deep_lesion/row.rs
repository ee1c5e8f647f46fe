//! One row of the table: a lesion, and the slice that it was marked in.

use std::path::PathBuf;
use std::str::FromStr;

use csv::StringRecord;

/// Coarse lesion types 1 to 8.
const TYPES: [&str; 8] =
    ["bone", "abdomen", "mediastinum", "liver", "lung", "kidney", "soft tissue", "pelvis"];

/// Columns that are read; the table has others.
pub(super) const COLUMNS: [&str; 8] = [
    "File_name",
    "Patient_index",
    "Study_index",
    "Series_ID",
    "Bounding_boxes",
    "Coarse_lesion_type",
    "Image_size",
    "DICOM_windows",
];

/// A marked lesion.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesion {
    /// Its line in the table.
    pub line: u64,
    /// Its type; `None` where it was not labelled.
    pub label: Option<&'static str>,
    /// Its box: left, top, right and bottom edge, in pixels from the top left corner.
    pub bounds: [f64; 4],
    /// Width and height of the image that the box belongs to, in pixels.
    pub image_size: [f64; 2],
}

/// What a row says of its slice.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SliceName {
    /// Name in the table, such as `000001_01_01_109.png`.
    pub(super) file_name: String,
    /// Place below the folder of images, such as `000001_01_01/109.png`.
    pub(super) place: PathBuf,
    /// Patient, study and series, as in the file's name.
    pub(super) identity: [String; 3],
    /// Least and greatest value of the window, in Hounsfield units.
    pub(super) window: [f64; 2],
}

/// Reads a row; `columns` are the places of [`COLUMNS`].
pub(super) fn read(
    record: &StringRecord,
    columns: &[usize; COLUMNS.len()],
    line: u64,
) -> Result<(SliceName, Lesion), String> {
    let cell = |column: usize| record.get(columns[column]).unwrap_or_default();
    let (place, identity) = parse_name(cell(0))?;
    for (number, part) in identity.iter().enumerate() {
        let given: u64 = number_in(cell(number + 1), COLUMNS[number + 1])?;
        if part.parse() != Ok(given) {
            return Err(format!(
                "{} {given} does not fit File_name {}, which says {part}",
                COLUMNS[number + 1],
                cell(0)
            ));
        }
    }
    let bounds = numbers(cell(4), COLUMNS[4])?;
    let label = parse_type(cell(5))?;
    let image_size = numbers(cell(6), COLUMNS[6])?;
    let window: [f64; 2] = numbers(cell(7), COLUMNS[7])?;
    if window[0] >= window[1] {
        return Err(format!("DICOM_windows {} is no window: the first value must be the smaller", cell(7)));
    }
    let slice = SliceName { file_name: cell(0).to_owned(), place, identity, window };
    Ok((slice, Lesion { line, label, bounds, image_size }))
}

/// `000001_01_01_109.png` is `109.png` in the folder `000001_01_01`.
fn parse_name(name: &str) -> Result<(PathBuf, [String; 3]), String> {
    let wrong = || format!("File_name {name:?} is none of DeepLesion: it must be like 000001_01_01_109.png");
    let parts: Vec<&str> = name.strip_suffix(".png").ok_or_else(wrong)?.split('_').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        [patient, study, series, slice] if parts.iter().all(is_number) => {
            let place = PathBuf::from(format!("{patient}_{study}_{series}")).join(format!("{slice}.png"));
            Ok((place, [(*patient).to_owned(), (*study).to_owned(), (*series).to_owned()]))
        }
        _ => Err(wrong()),
    }
}

fn parse_type(text: &str) -> Result<Option<&'static str>, String> {
    match number_in::<i64>(text, COLUMNS[5])? {
        -1 => Ok(None),
        number => usize::try_from(number - 1)
            .ok()
            .and_then(|place| TYPES.get(place))
            .map(|label| Some(*label))
            .ok_or_else(|| format!("Coarse_lesion_type {number} is none: it must be 1 to 8, or -1")),
    }
}

fn number_in<T: FromStr>(text: &str, column: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{column} {text:?} is no whole number"))
}

/// As many numbers as wanted, with commas between.
fn numbers<const N: usize>(text: &str, column: &str) -> Result<[f64; N], String> {
    let wrong = || format!("{column} {text:?} must be {N} numbers with commas between");
    let parse = |part: &str| part.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let numbers: Option<Vec<f64>> = text.split(',').map(parse).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
    const GOOD: [&str; 8] = [
        "000001_02_03_109.png",
        "1",
        "2",
        "3",
        "226.169, 90.0204, 241.252, 111.977",
        "3",
        "512, 512",
        "-175, 275",
    ];

    fn refusal(column: usize, text: &str) -> String {
        let mut cells = GOOD;
        cells[column] = text;
        read(&StringRecord::from(cells.to_vec()), &PLACES, 2).unwrap_err()
    }

    #[test]
    fn a_row_of_the_data_set_is_read() {
        let (slice, lesion) = read(&StringRecord::from(GOOD.to_vec()), &PLACES, 2).unwrap();
        assert_eq!(slice.place, PathBuf::from("000001_02_03/109.png"));
        assert_eq!(slice.identity, ["000001", "02", "03"]);
        assert_eq!((slice.window.map(|edge| edge as i32), lesion.label), ([-175, 275], Some("mediastinum")));
        assert_eq!(lesion.bounds.map(|edge| edge.round() as u32), [226, 90, 241, 112]);
    }

    #[test]
    fn what_is_wrong_in_a_row_is_named_by_its_column() {
        assert!(refusal(0, "../000001_02_03_109.png").contains("File_name"));
        assert!(refusal(0, "000001_02_03_109.jpg").contains("000001_01_01_109.png"));
        assert!(refusal(1, "7").contains("Patient_index 7 does not fit"));
        assert!(refusal(3, "x").contains("Series_ID \"x\" is no whole number"));
        assert!(refusal(4, "1,2,3").contains("Bounding_boxes \"1,2,3\" must be 4 numbers"));
        assert!(refusal(4, "1,2,3,nan").contains("Bounding_boxes"));
        assert!(refusal(5, "9").contains("Coarse_lesion_type 9"));
        assert!(refusal(6, "512").contains("Image_size"));
        assert!(refusal(7, "275,-175").contains("DICOM_windows"));
    }

    #[test]
    fn every_type_has_its_label_and_minus_one_has_none() {
        let labels: Vec<_> =
            (1..=8).map(|number| parse_type(&number.to_string()).unwrap().unwrap()).collect();
        assert_eq!(labels, TYPES);
        assert_eq!(parse_type("-1"), Ok(None));
    }
}
