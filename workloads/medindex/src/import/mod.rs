//! What `medindex import` reads: files, folders, globs, DICOM directories and zip archives, as one stream of items.
//!
//! Guarantee: every file that was named or found ends up in exactly one of stored, duplicate, failed and skipped. Skipped are files
//! found while walking that are clearly no images by their content; a file that the person named is never skipped silently.
//! Assumption: files do not change while they are imported.

pub(crate) mod archive;
pub(crate) mod dicomdir;
pub(crate) mod items;
pub(crate) mod labels;
pub(crate) mod paths;
mod pattern;
pub(crate) mod remote;
pub(crate) mod summary;

use std::path::PathBuf;

/// A file that will be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Name in the catalog: the path under the folder that was given, or the file's name.
    pub(crate) name: String,
    /// Where the bytes are.
    pub(crate) source: Source,
    /// Named by the person, or listed in a DICOM directory: not skipped whatever its content.
    pub(crate) explicit: bool,
}

/// Where the bytes of a candidate are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// An entry of a zip archive, by its number.
    Entry {
        /// The archive.
        archive: PathBuf,
        /// Number of the entry.
        index: usize,
    },
    /// Known not to be readable, with the reason.
    Broken(String),
    /// Found while walking and no file, with what it is.
    NoFile(&'static str),
}

impl Candidate {
    /// A candidate that fails with `reason`, so that the summary lists it.
    pub(crate) fn broken(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), source: Source::Broken(reason.into()), explicit: true }
    }
}
