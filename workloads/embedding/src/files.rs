//! Model folders on disk: finding them by name, verifying their files, reading their labels.

use std::path::{Path, PathBuf};

use crate::digest::sha256_of_file;
use crate::error::ModelError;
use crate::manifest::{ClassificationSettings, Labels, MANIFEST_FILE, Manifest};
use crate::runtime::{RuntimeError, cache_folder};

/// The folder that `make setup` prepares models in: `models` in the cache folder.
///
/// # Errors
/// [`RuntimeError::LocateCache`] when nothing says where the cache is.
pub fn models_folder() -> Result<PathBuf, RuntimeError> {
    Ok(cache_folder()?.join("models"))
}

/// Names of the models in `models` (usually `$MEDINDEX_CACHE/models`), sorted: every folder with a manifest.
/// A folder that cannot be read has none.
pub fn available_models(models: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(models) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join(MANIFEST_FILE).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The folder of the model called `name` among those in `models`.
///
/// # Errors
/// [`ModelError::FindModel`], which lists those there are.
pub fn find_model(models: &Path, name: &str) -> Result<PathBuf, ModelError> {
    let names = available_models(models);
    if names.iter().any(|available| available == name) {
        return Ok(models.join(name));
    }
    let available = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(ModelError::FindModel { name: name.to_owned(), folder: models.to_owned(), available })
}

/// Compares every file that `manifest` names with its SHA-256.
pub(crate) fn verify_files(folder: &Path, manifest: &Manifest) -> Result<(), ModelError> {
    for (file, expected) in &manifest.files {
        let path = folder.join(file);
        let found =
            sha256_of_file(&path).map_err(|source| ModelError::ReadFile { path: path.clone(), source })?;
        if found != *expected {
            return Err(ModelError::VerifyFile { path, expected: expected.clone(), found });
        }
    }
    Ok(())
}

/// The labels of the classes, in the output's order.
pub(crate) fn read_labels(
    folder: &Path,
    settings: &ClassificationSettings,
) -> Result<Vec<String>, ModelError> {
    match &settings.labels {
        Labels::List(labels) => Ok(labels.clone()),
        Labels::File(file) => {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path)
                .map_err(|source| ModelError::ReadFile { path: path.clone(), source })?;
            Ok(text.lines().map(|line| line.trim().to_owned()).collect())
        }
    }
}
