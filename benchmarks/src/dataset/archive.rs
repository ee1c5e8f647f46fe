//! Images of a gzip-compressed tar archive, in the order of their names.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use tar::Archive;

/// What can go wrong with the archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The archive cannot be opened.
    #[error("cannot open the image archive {}: set MEDNIST to the path of mednist-32735.tar.gz", path.display())]
    Open {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The archive is damaged.
    #[error("cannot read the image archive {}: fetch it again", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The archive holds no image.
    #[error("the archive {} holds no image in a folder: expected LABEL/NAME.jpeg", path.display())]
    Empty {
        /// The archive.
        path: PathBuf,
    },
}

/// One image of the archive.
#[derive(Debug)]
pub(crate) struct ArchivedImage {
    /// Path inside the archive, `LABEL/NAME.jpeg`.
    pub(crate) name: String,
    /// The file.
    pub(crate) bytes: Vec<u8>,
}

impl ArchivedImage {
    /// The folder, which is the label.
    pub(crate) fn label(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// Reads all images into memory (35 MB), sorted by name, so that their numbers never depend on how the
/// archive was packed.
pub(crate) fn read_images(path: &Path) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let file = File::open(path).map_err(|source| ArchiveError::Open { path: path.to_owned(), source })?;
    let mut archive = Archive::new(GzDecoder::new(file));
    let mut images =
        read_entries(&mut archive).map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
    if images.is_empty() {
        return Err(ArchiveError::Empty { path: path.to_owned() });
    }
    images.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(images)
}

fn read_entries<R: Read>(archive: &mut Archive<R>) -> std::io::Result<Vec<ArchivedImage>> {
    let mut images = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() || !name.contains('/') {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        images.push(ArchivedImage { name, bytes });
    }
    Ok(images)
}
