//! The DeepLesion data set (NIH Clinical Center, 2018): a table of lesions, and the CT slices that they were marked in.
//!
//! `DL_info.csv` has a row a lesion. Its images lie under `Images_png/<patient_study_series>/<slice>.png` beside it: grey PNG of 16 bits, whose values
//! less 32,768 are Hounsfield units. The slices that the table names are imported, not their neighbours in the same folders. A slice with several
//! lesions is one image with several regions of interest; its label is the coarse lesion type that most of them have, the first of the
//! table where there are as many of several.
//!
//! Guarantee: every row ends up in an image, or is named with its line and the reason. A table without the columns needed is refused as a
//! whole; rows that contradict themselves, files that are missing or not of 16 bits, and boxes outside the image fail alone.

mod row;
mod slice;
mod table;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use medindex_imaging::{UnknownWindow, WindowChoice};

pub use row::Lesion;
pub use slice::{Slice, Taken};
pub(crate) use table::list;

/// Name of the table in the data set.
const TABLE: &str = "DL_info.csv";
/// Folder of the images beside the table.
const IMAGES: &str = "Images_png";

/// How the grey values of a slice are shown and embedded.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum LesionWindow {
    /// As its row says (`DICOM_windows`).
    #[default]
    Table,
    /// One window for all slices.
    Same(WindowChoice),
}

impl FromStr for LesionWindow {
    type Err = UnknownWindow;

    /// Reads `table`, or what [`WindowChoice`] reads.
    fn from_str(text: &str) -> Result<Self, UnknownWindow> {
        if text.trim().eq_ignore_ascii_case("table") { Ok(Self::Table) } else { text.parse().map(Self::Same) }
    }
}

/// The table of a folder that is the data set.
pub(crate) fn table_in(folder: &Path) -> Option<PathBuf> {
    let table = folder.join(TABLE);
    table.is_file().then_some(table)
}

/// Whether a file is the data set's table: it has its name, or its first line has its columns.
pub(crate) fn is_table(path: &Path, head: &[u8]) -> bool {
    let first_line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let names = |column: &str| first_line.windows(column.len()).any(|part| part == column.as_bytes());
    let is_named = path.file_name().is_some_and(|name| name == TABLE);
    is_named || (names("File_name") && names("Bounding_boxes") && names("Coarse_lesion_type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_known_by_its_name_or_its_columns() {
        assert!(is_table(Path::new("a/DL_info.csv"), b"anything"));
        assert!(is_table(Path::new("some.csv"), b"File_name,Bounding_boxes,Coarse_lesion_type\n"));
        assert!(!is_table(Path::new("labels.csv"), b"file,label\nFile_name,Bounding_boxes\n"));
    }

    #[test]
    fn a_window_is_the_tables_or_one_for_all() {
        assert_eq!("table".parse(), Ok(LesionWindow::Table));
        let lung = "lung".parse::<WindowChoice>().unwrap();
        assert_eq!("lung".parse(), Ok(LesionWindow::Same(lung)));
        assert!("row".parse::<LesionWindow>().unwrap_err().to_string().contains("unknown window"));
    }
}
