//! From the table to slices, in its order.

use std::collections::HashMap;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::row::{self, COLUMNS};
use super::{IMAGES, Slice};
use crate::error::SourceError;
use crate::words::{describe_csv, why_csv};
use crate::{Candidate, Source};

/// The slices that the table at `path` names, each once, and the rows that cannot be used.
///
/// # Errors
/// [`SourceError::ReadTable`] when it cannot be read, lacks columns, or has no row; [`SourceError::Read`] when it cannot be opened.
pub(crate) fn list(path: &Path) -> Result<Vec<Candidate>, SourceError> {
    let refuse = |reason: String| SourceError::ReadTable { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| SourceError::unreadable(path, &error))?;
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(std::io::BufReader::new(file));
    let header = reader.headers().map_err(|error| refuse(describe_csv(&error)))?.clone();
    let columns = places(&header).map_err(refuse)?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let images = beside.join(IMAGES);
    let folder = if images.is_dir() { images } else { beside.to_owned() };
    let table = crate::file_name(path);
    let mut slices = Slices { folder: &folder, table: &table, found: Vec::new(), places: HashMap::new() };
    for record in reader.records() {
        match record {
            Ok(record) => slices.take(&record, &columns),
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                slices.found.push(Candidate::broken(row_name(None, line, &table), why_csv(&error)));
            }
        }
    }
    if slices.found.is_empty() {
        return Err(refuse(
            "it has no rows below its first line; take DL_info.csv as it was published".to_owned(),
        ));
    }
    Ok(slices.found)
}

/// The name of a row in summaries.
pub(super) fn row_name(file_name: Option<&str>, line: u64, table: &str) -> String {
    match file_name {
        Some(file_name) => format!("{file_name} (line {line} of {table})"),
        None => format!("line {line} of {table}"),
    }
}

/// Where the columns are.
fn places(header: &StringRecord) -> Result<[usize; COLUMNS.len()], String> {
    let mut places = [0; COLUMNS.len()];
    let mut missing = Vec::new();
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        match header.iter().position(|cell| cell.trim_start_matches('\u{feff}') == name) {
            Some(found) => *place = found,
            None => missing.push(name),
        }
    }
    if missing.is_empty() {
        return Ok(places);
    }
    Err(format!(
        "the first line must name the columns of DeepLesion, and {} is not in it: take DL_info.csv as it was published",
        missing.join(", ")
    ))
}

struct Slices<'a> {
    folder: &'a Path,
    table: &'a str,
    found: Vec<Candidate>,
    /// Place in `found` by file name.
    places: HashMap<String, usize>,
}

impl Slices<'_> {
    fn take(&mut self, record: &StringRecord, columns: &[usize; COLUMNS.len()]) {
        let line = record.position().map_or(0, csv::Position::line);
        let (name, lesion) = match row::read(record, columns, line) {
            Ok(row) => row,
            Err(reason) => {
                let file_name = record.get(columns[0]).filter(|name| !name.is_empty());
                self.found.push(Candidate::broken(row_name(file_name, line, self.table), reason));
                return;
            }
        };
        if let Some(place) = self.places.get(&name.file_name)
            && let Source::Slice(slice) = &mut self.found[*place].source
        {
            slice.lesions.push(lesion);
            return;
        }
        self.places.insert(name.file_name.clone(), self.found.len());
        let slice = Slice {
            path: self.folder.join(&name.place),
            table: self.table.to_owned(),
            file_name: name.file_name.clone(),
            identity: name.identity,
            window: name.window,
            lesions: vec![lesion],
        };
        let source = Source::Slice(Box::new(slice));
        self.found.push(Candidate { name: name.file_name, source, explicit: true });
    }
}
