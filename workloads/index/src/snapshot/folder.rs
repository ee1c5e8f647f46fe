//! An index's folder: its lock, the names of its files, and cleaning up after a crash.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::index::IndexError;
use crate::snapshot::manifest::{Manifest, sync_folder};

/// The folder of the data files within an index's folder.
pub(crate) const DATA: &str = "data";
const LOCK: &str = "lock";

/// An index's folder, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    data: PathBuf,
    /// Holds the lock; the system releases it when the process ends in any way.
    _lock: File,
}

impl Folder {
    /// Creates the folder where it is missing, and locks it.
    pub(crate) fn lock(root: &Path) -> Result<Self, IndexError> {
        let data = root.join(DATA);
        fs::create_dir_all(&data).map_err(|source| IndexError::Write { path: data.clone(), source })?;
        let path = root.join(LOCK);
        let failed = |source| IndexError::Write { path: path.clone(), source };
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), data, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(IndexError::FolderLocked { folder: root.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The index's folder, which has the manifest.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of the data files.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Makes the names of finished data files durable, then the manifest that names them.
    pub(crate) fn commit(&self, manifest: &Manifest) -> Result<(), IndexError> {
        sync_folder(&self.data)?;
        manifest.write(&self.root)
    }

    /// The names of the data files that are there.
    fn names(&self) -> Result<Vec<String>, IndexError> {
        let failed = |source| IndexError::Read { path: self.data.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.data).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// Whether there are data files.
    pub(crate) fn has_data(&self) -> Result<bool, IndexError> {
        Ok(!self.names()?.is_empty())
    }

    /// Removes the data files that the manifest does not name: those that a crash left unfinished or unused.
    pub(crate) fn remove_others(&self, manifest: &Manifest) -> Result<(), IndexError> {
        let named: BTreeSet<&str> = manifest.files().map(|file| file.name.as_str()).collect();
        for name in self.names()?.into_iter().filter(|name| !named.contains(name.as_str())) {
            self.remove(&name)?;
        }
        Ok(())
    }

    /// Removes one data file. Maps of it that searches still use stay valid.
    pub(crate) fn remove(&self, name: &str) -> Result<(), IndexError> {
        let path = self.data.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(IndexError::Write { path, source: error })
            }
            _ => Ok(()),
        }
    }
}
