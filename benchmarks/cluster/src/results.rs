//! Where results go.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::BenchError;

/// A folder of results.
pub(crate) struct Results(PathBuf);

impl Results {
    /// Makes the folder where it is not there.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self, BenchError> {
        fs::create_dir_all(folder).map_err(BenchError::file("make", folder))?;
        Ok(Self(folder.to_owned()))
    }

    /// Writes a file into it.
    pub(crate) fn put(&self, name: &str, content: String) -> Result<(), BenchError> {
        let path = self.0.join(name);
        fs::write(&path, content).map_err(BenchError::file("write", path))
    }
}
