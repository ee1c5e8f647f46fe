//! Why there is nothing to import.

use std::path::{Path, PathBuf};

/// What kind of mistake an error is, for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The command cannot be understood.
    Usage,
    /// What was named is not there.
    NotFound,
    /// What was named was read and refused, or may not be read.
    Refused,
}

/// Why there is nothing to import.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A path has no characters.
    #[error("a PATH is empty: name a file, a folder or a pattern")]
    CheckPath,
    /// Neither a path that is there nor a pattern.
    #[error(
        "there is no file '{pattern}', and as a pattern it cannot be read: {reason}; correct the path or the pattern"
    )]
    ParsePattern {
        /// What was given.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing matches a pattern.
    #[error("no file matches {0}; check its folders and its spelling")]
    MatchPattern(String),
    /// The paths hold no file at all.
    #[error("no files in {0}; name a folder that has some (hidden files are left out)")]
    FindFiles(String),
    /// Something named cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// What was named.
        path: PathBuf,
        /// Why, in words.
        reason: String,
        /// It is not there.
        is_missing: bool,
    },
    /// Something named is neither file nor folder.
    #[error("{} is no file and no folder; name a file, a folder, a pattern or an archive", .0.display())]
    CheckKind(PathBuf),
    /// An archive is cut, damaged, or of a kind that is not read.
    #[error("the zip archive {} {reason}", path.display())]
    OpenArchive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it and what to do, in words that follow its name.
        reason: String,
    },
    /// An archive would unpack beyond all bounds.
    #[error("{} is refused: {reason}; unpack it yourself if you trust it", path.display())]
    CheckArchive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A DICOM directory cannot be followed.
    #[error("the DICOM directory {} {reason}", path.display())]
    ReadDirectory {
        /// The directory's file.
        path: PathBuf,
        /// What is wrong with it and what to do, in words that follow its name.
        reason: String,
    },
    /// A table of labels or lesions cannot be used.
    #[error("{}: {reason}", path.display())]
    ReadTable {
        /// The table.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl SourceError {
    /// A path that cannot be read: not found, or refused by its permissions.
    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            reason: crate::describe_io(error),
            is_missing: error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// What kind of mistake it is.
    pub fn kind(&self) -> SourceErrorKind {
        match self {
            Self::CheckPath => SourceErrorKind::Usage,
            Self::ParsePattern { .. }
            | Self::MatchPattern(_)
            | Self::FindFiles(_)
            | Self::Read { is_missing: true, .. } => SourceErrorKind::NotFound,
            _ => SourceErrorKind::Refused,
        }
    }
}
