//! Embeddings on disk: `embeddings.f16` (row-major, one row a view) beside `embeddings.json`.
//!
//! Rows are appended image by image. An interrupted run leaves whole images and perhaps a torn last one,
//! which is cut off when the store is opened again. The description names all that decides the values (model
//! digest, archive, dimension); a store of other values is refused instead of mixed.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The description cannot be understood.
    #[error("{} is damaged: delete the folder, the embeddings are made again", path.display())]
    ParseDescription {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The embeddings belong to another model or archive.
    #[error("{} holds embeddings of something else ({found}): delete the folder or name another", path.display())]
    OtherContents {
        /// The file.
        path: PathBuf,
        /// What it describes.
        found: String,
    },
    /// A row of another length.
    #[error("an embedding has {found} components, the model announced {expected}")]
    Row {
        /// Components given.
        found: usize,
        /// Components of the store.
        expected: usize,
    },
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// Name of the model.
    pub(crate) model: String,
    /// Digest of the model's manifest.
    pub(crate) digest: String,
    /// Components of a row.
    pub(crate) dimension: usize,
    /// Rows of an image.
    pub(crate) views: usize,
    /// Label of each image, in the order of the rows.
    pub(crate) labels: Vec<String>,
}

/// An open store.
#[derive(Debug)]
pub(crate) struct EmbeddingStore {
    path: PathBuf,
    file: File,
    row: usize,
    images: usize,
}

impl EmbeddingStore {
    /// Opens or creates the store in `folder`.
    pub(crate) fn open(folder: &Path, description: &Description) -> Result<Self, StoreError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::File { action, path, source }
        };
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let about = folder.join("embeddings.json");
        if about.exists() {
            let text = fs::read(&about).map_err(failed("read", &about))?;
            let found: Description = serde_json::from_slice(&text)
                .map_err(|source| StoreError::ParseDescription { path: about.clone(), source })?;
            if found != *description {
                let found = format!("{}, {} images", found.model, found.labels.len());
                return Err(StoreError::OtherContents { path: about, found });
            }
        } else {
            let text = serde_json::to_vec(description)
                .map_err(|source| StoreError::ParseDescription { path: about.clone(), source })?;
            fs::write(&about, text).map_err(failed("write", &about))?;
        }
        let path = folder.join("embeddings.f16");
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open", &path))?;
        let image = (description.views * description.dimension * size_of::<f16>()) as u64;
        let length = file.metadata().map_err(failed("read", &path))?.len();
        let images = length / image;
        file.set_len(images * image).map_err(failed("truncate", &path))?;
        file.seek(SeekFrom::End(0)).map_err(failed("seek in", &path))?;
        Ok(Self { path, file, row: description.dimension, images: images as usize })
    }

    /// Images that are there already.
    pub(crate) fn images(&self) -> usize {
        self.images
    }

    /// Appends the rows of whole images.
    pub(crate) fn append(&mut self, rows: &[Vec<f32>], images: usize) -> Result<(), StoreError> {
        let mut values = vec![f16::ZERO; rows.len() * self.row];
        for (slot, row) in values.chunks_exact_mut(self.row).zip(rows) {
            if row.len() != self.row {
                return Err(StoreError::Row { found: row.len(), expected: self.row });
            }
            slot.convert_from_f32_slice(row);
        }
        self.file.write_all(bytemuck::cast_slice(&values)).map_err(|source| StoreError::File {
            action: "write",
            path: self.path.clone(),
            source,
        })?;
        self.images += images;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        Description {
            model: "m".into(),
            digest: "d".into(),
            dimension: 3,
            views: 2,
            labels: vec!["CXR".into(), "Hand".into()],
        }
    }

    #[test]
    fn a_torn_image_is_cut_off_and_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let rows = [vec![1.0, 2.0, 3.0], vec![4.0, 5.0, 6.0]];
        let mut store = EmbeddingStore::open(folder.path(), &description()).unwrap();
        store.append(&rows, 1).unwrap();
        drop(store);
        let path = folder.path().join("embeddings.f16");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(&[1, 2, 3]).unwrap();
        let mut store = EmbeddingStore::open(folder.path(), &description()).unwrap();
        assert_eq!(store.images(), 1);
        store.append(&rows, 1).unwrap();
        assert_eq!(fs::read(&path).unwrap().len(), 24);
    }

    #[test]
    fn embeddings_of_another_model_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        EmbeddingStore::open(folder.path(), &description()).unwrap();
        let other = Description { digest: "other".into(), ..description() };
        let error = EmbeddingStore::open(folder.path(), &other).unwrap_err();
        assert!(matches!(error, StoreError::OtherContents { .. }), "{error}");
    }
}
