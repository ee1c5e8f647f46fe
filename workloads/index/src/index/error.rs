//! What can go wrong with an index.

use std::io;
use std::path::PathBuf;

use crate::entry::EntryKey;

/// Why an action on an index failed. The index stays usable and its stored state unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A setting is out of its range.
    #[error("the index setting {name} is {value}, but must be {range}")]
    InvalidSetting {
        /// The setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// Another process or another `Index` has the folder.
    #[error("the index folder {} is in use by another process; stop that one or choose another folder", folder.display())]
    FolderLocked {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file or folder could not be written. The state before stays.
    #[error("cannot write {}: {source}; what was stored before is unchanged", path.display())]
    Write {
        /// What was written.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A stored file is not what was written.
    #[error(
        "the index file {} is damaged: {reason}; restore the folder from a copy or rebuild the index from the image store",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// How it differs from what was written.
        reason: String,
    },
    /// The folder was written by a newer version.
    #[error("{} has format version {found}, this program reads up to {supported}; use a newer program", path.display())]
    FormatTooNew {
        /// The manifest.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that is understood.
        supported: u32,
    },
    /// The folder holds embeddings of another model or dimension.
    #[error(
        "the index folder {} holds embeddings of model {stored_model} with {stored_dimension} components, not of {model} with {dimension}; choose another folder or rebuild the index",
        folder.display()
    )]
    OtherModel {
        /// The folder.
        folder: PathBuf,
        /// The model whose embeddings are stored.
        stored_model: String,
        /// The stored embeddings' components.
        stored_dimension: usize,
        /// The model asked for.
        model: String,
        /// The components asked for.
        dimension: usize,
    },
    /// An entry to store has no usable vector.
    #[error("the vector of entry {key} cannot be stored: {reason}")]
    InvalidEntry {
        /// The entry.
        key: EntryKey,
        /// What is wrong with it.
        reason: String,
    },
    /// A question cannot be answered as asked.
    #[error("the search request is invalid: {reason}")]
    InvalidRequest {
        /// What is wrong and what to do.
        reason: String,
    },
    /// A quantizer does not fit the index.
    #[error("generation {generation} cannot be used: {reason}")]
    InvalidGeneration {
        /// The generation.
        generation: u64,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A step of the quantizer failed.
    #[error("the quantizer of generation {generation} failed while {action}: {reason}")]
    Quantize {
        /// The generation.
        generation: u64,
        /// What was done.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
}

impl IndexError {
    /// Whether stored files are damaged or missing, so that [`crate::Index::recreate`] is what helps.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }
}
