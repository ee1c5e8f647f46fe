//! What a bulk import reads: files, folders, globs, DICOM directories, zip archives and the DeepLesion data set, as one stream of items.
//!
//! [`expand`] turns the paths that a person names into [`Candidate`]s; [`Items`] reads them one after the other, with labels of [`Labels`].
//!
//! Guarantee: every file that was named or found ends up in exactly one of the stream and the list of skipped files. Skipped are files
//! found while walking that are clearly no images by their content; a file that the person named is never skipped silently. What cannot be read is
//! an item that fails with the reason; the rest goes on. Assumption: files do not change while they are imported. Knows no backend.

mod archive;
pub mod deep_lesion;
mod dicomdir;
mod error;
mod items;
mod labels;
mod paths;
mod pattern;
mod words;

use std::path::PathBuf;

pub use deep_lesion::LesionWindow;
pub use error::{SourceError, SourceErrorKind};
pub use items::{Items, Refusal, Remainder, read_file};
pub use labels::{LabelTable, Labels};
pub use paths::{expand, file_name, unreadable};
pub use words::{describe, describe_io};

/// A file that will be imported.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Name in the catalog: the path under the folder that was given, or the file's name.
    pub name: String,
    /// Where the bytes are.
    pub source: Source,
    /// Named by the person, or listed in a DICOM directory or a data set's table: not skipped whatever its content.
    pub explicit: bool,
}

/// Where the bytes of a candidate are.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// An entry of a zip archive, by its number.
    Entry {
        /// The archive.
        archive: PathBuf,
        /// Number of the entry.
        index: usize,
    },
    /// A slice of the DeepLesion data set with its lesions.
    Slice(Box<deep_lesion::Slice>),
    /// Known not to be readable, with the reason.
    Broken(String),
    /// Found while walking and no file, with what it is.
    NoFile(&'static str),
}

impl Candidate {
    /// A candidate that fails with `reason`, so that the summary lists it.
    pub fn broken(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), source: Source::Broken(reason.into()), explicit: true }
    }
}
