//! Labels of images: from a CSV file with the columns `file,label`, or from the names of their folders.
//!
//! A CSV row's file is a path relative to the CSV file, or just a base name. Further columns are ignored. Rows that no
//! imported file matches are reported, so that a typing error does not lose labels unseen.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::SourceError;
use crate::words::describe_csv;
use crate::{Candidate, Source};

/// Where labels come from.
#[derive(Debug)]
pub enum Labels {
    /// There are none.
    None,
    /// The name of the folder that a file is in.
    FolderName,
    /// A CSV file.
    Table(LabelTable),
}

/// The rows of a CSV file.
#[derive(Debug)]
pub struct LabelTable {
    folder: PathBuf,
    /// Label and whether a file asked for it, by the row's path in plain form.
    rows: HashMap<PathBuf, Row>,
}

#[derive(Debug)]
struct Row {
    label: String,
    used: bool,
}

impl Labels {
    /// The label of a candidate.
    pub(crate) fn find(&mut self, candidate: &Candidate) -> Option<String> {
        match self {
            Self::None => None,
            Self::FolderName => folder_name(candidate),
            Self::Table(table) => table.find(candidate),
        }
    }

    /// Files that the table names and that were not imported, sorted.
    pub(crate) fn unused(&self) -> Vec<String> {
        let Self::Table(table) = self else { return Vec::new() };
        let unused = table.rows.iter().filter(|(_, row)| !row.used);
        let mut names: Vec<String> = unused.map(|(path, _)| path.display().to_string()).collect();
        names.sort();
        names
    }
}

/// The folder a file is in, by its name in the catalog, else by its path.
fn folder_name(candidate: &Candidate) -> Option<String> {
    let parent = |path: &Path| {
        let name = path.parent()?.file_name()?;
        Some(name.to_string_lossy().into_owned())
    };
    parent(Path::new(&candidate.name)).or_else(|| match &candidate.source {
        Source::File(path) => parent(&std::path::absolute(path).ok()?),
        Source::Entry { archive, .. } => archive.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        Source::Slice(_) | Source::Broken(_) | Source::NoFile(_) => None,
    })
}

impl LabelTable {
    /// Reads the CSV file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, has no columns `file` and `label`, or gives a file two labels.
    pub fn read(path: &Path) -> Result<Self, SourceError> {
        let file = std::fs::File::open(path).map_err(|error| SourceError::unreadable(path, &error))?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse(file, folder).map_err(|reason| SourceError::ReadTable { path: path.to_owned(), reason })
    }

    fn parse(csv: impl std::io::Read, folder: PathBuf) -> Result<Self, String> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(csv);
        let header = reader.headers().map_err(|error| describe_csv(&error))?.clone();
        let column = |name: &str| {
            header
                .iter()
                .position(|cell| cell.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name))
                .ok_or_else(|| format!("the first line must name the columns file,label (no '{name}' in it)"))
        };
        let (file, label) = (column("file")?, column("label")?);
        let mut rows: HashMap<PathBuf, Row> = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|error| describe_csv(&error))?;
            let line = record.position().map_or(0, csv::Position::line);
            let name = record.get(file).filter(|name| !name.is_empty());
            let name = name
                .ok_or_else(|| format!("line {line} names no file; fill in its cell, or remove the line"))?;
            let label = record.get(label).unwrap_or_default().to_owned();
            if label.is_empty() {
                continue;
            }
            let row = Row { label, used: false };
            if let Some(before) = rows.insert(plain(Path::new(name)), row)
                && before.label != record.get(column("label")?).unwrap_or_default()
            {
                return Err(format!("line {line} gives {name} a second label; keep one of them"));
            }
        }
        Ok(Self { folder, rows })
    }

    fn find(&mut self, candidate: &Candidate) -> Option<String> {
        let key = self.keys(candidate).into_iter().find(|key| self.rows.contains_key(key))?;
        let row = self.rows.get_mut(&key)?;
        row.used = true;
        Some(row.label.clone())
    }

    /// How a row may name the candidate, most exact first.
    fn keys(&self, candidate: &Candidate) -> Vec<PathBuf> {
        let mut keys = Vec::new();
        let path = match &candidate.source {
            Source::File(path) => Some(path),
            Source::Slice(slice) => Some(&slice.path),
            _ => None,
        };
        if let Some(path) = path {
            keys.push(plain(path));
            if let (Ok(path), Ok(folder)) = (std::path::absolute(path), std::path::absolute(&self.folder)) {
                let (path, folder) = (plain(&path), plain(&folder));
                if let Ok(relative) = path.strip_prefix(&folder) {
                    keys.insert(0, relative.to_owned());
                }
                keys.push(path);
            }
        }
        let name = plain(Path::new(&candidate.name));
        keys.push(name.clone());
        keys.extend(name.file_name().map(PathBuf::from));
        keys
    }
}

/// A path without `.` parts, and with `..` resolved by its text.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, name: &str) -> Candidate {
        Candidate { name: name.to_owned(), source: Source::File(path.into()), explicit: false }
    }

    fn table(csv: &str) -> Result<LabelTable, String> {
        LabelTable::parse(csv.as_bytes(), PathBuf::from("/data"))
    }

    #[test]
    fn rows_match_by_path_beside_the_csv_or_by_base_name() {
        let csv = "file,label\nct/1.dcm,Chest\n2.dcm,Hand\n./x/../3.dcm,Head\n";
        let mut labels = Labels::Table(table(csv).unwrap());
        assert_eq!(labels.find(&file("/data/ct/1.dcm", "1.dcm")).as_deref(), Some("Chest"));
        assert_eq!(labels.find(&file("/elsewhere/2.dcm", "2.dcm")).as_deref(), Some("Hand"));
        assert_eq!(labels.find(&file("/data/3.dcm", "3.dcm")).as_deref(), Some("Head"));
        assert_eq!(labels.find(&file("/data/4.dcm", "4.dcm")), None);
        assert!(labels.unused().is_empty());
    }

    #[test]
    fn rows_without_a_file_are_reported() {
        let mut labels = Labels::Table(table("file,label\n1.dcm,A\n2.dcm,B\n").unwrap());
        labels.find(&file("/data/1.dcm", "1.dcm"));
        assert_eq!(labels.unused(), ["2.dcm"]);
    }

    #[test]
    fn columns_may_come_in_any_order_beside_others() {
        let mut labels = Labels::Table(table("age,Label,FILE\n40,A,1.dcm\n").unwrap());
        assert_eq!(labels.find(&file("/data/1.dcm", "1.dcm")).as_deref(), Some("A"));
    }

    #[test]
    fn a_table_without_its_columns_is_refused() {
        assert!(table("name,class\na,b\n").unwrap_err().contains("file,label"));
    }

    #[test]
    fn what_is_no_table_is_refused_with_the_line_and_what_to_do() {
        let refusal = |csv: &[u8]| LabelTable::parse(csv, PathBuf::new()).unwrap_err();
        let fields = refusal(b"file,label\n1.dcm,Chest, left\n");
        assert!(fields.starts_with("line 2 has 3 fields where the first line has 2; put text"), "{fields}");
        let latin = refusal(b"file,label\n1.dcm,Sch\xE4del\n");
        assert!(latin.starts_with("line 2 is not text in UTF-8; save the table"), "{latin}");
        // As a spreadsheet writes "Unicode text".
        assert!(refusal(b"\xFF\xFEf\0i\0l\0e\0").starts_with("line 1 is not text in UTF-8"));
    }

    #[test]
    fn two_labels_of_one_file_are_refused() {
        let error = table("file,label\n1.dcm,A\n1.dcm,B\n").unwrap_err();
        assert!(error.contains("line 3 gives 1.dcm a second label"), "{error}");
    }

    #[test]
    fn the_folder_is_the_label() {
        let label = |path: &str, name: &str| folder_name(&file(path, name));
        assert_eq!(label("/data/Hand/1.png", "Hand/1.png").as_deref(), Some("Hand"));
        assert_eq!(label("/data/Hand/1.png", "1.png").as_deref(), Some("Hand"));
    }
}
