//! Where models are: in the cache folder that `make setup` fills, or wherever a path points.

use std::path::{Path, PathBuf};

use medindex_embedding::MANIFEST_FILE;

use crate::failure::{Code, Failure, describe};

/// Model of a new data folder when none is named.
pub(crate) const DEFAULT_MODEL: &str = "vgg16";

/// Whether a model is given by its folder and not by its name.
pub(crate) fn is_path(model: &str) -> bool {
    model.contains('/') || model == "." || model == ".."
}

/// The folder of a model: `model` is a name in the cache, or a path when it contains a `/` or is `.`.
pub(crate) fn find(model: &str) -> Result<PathBuf, Failure> {
    if is_path(model) {
        let folder = PathBuf::from(model);
        if folder.join(MANIFEST_FILE).is_file() {
            return Ok(folder);
        }
        let path = folder.display();
        return Err(Failure::new(
            Code::NotFound,
            format!("there is no model in {path}: name a folder that holds {MANIFEST_FILE} and its files"),
        ));
    }
    medindex_embedding::find_model(&folder()?, model)
        .map_err(|error| Failure::new(Code::NotFound, describe(&error)))
}

/// The folder of models in the cache.
pub(crate) fn folder() -> Result<PathBuf, Failure> {
    medindex_embedding::models_folder().map_err(|error| Failure::new(Code::NotFound, describe(&error)))
}

/// Last part of a model's name or folder, which names its default data folder.
pub(crate) fn short_name(model: &str) -> String {
    Path::new(model).file_name().map_or_else(|| model.to_owned(), |name| name.to_string_lossy().into_owned())
}
