//! Whether the parts of a data folder belong together: image store and queue, catalog, index.
//!
//! The order of every flow's steps keeps this true at any moment, also after a crash: each image that the catalog calls indexed
//! is in the index or in the change log before it, and the index has no image that the catalog does not know. Where it is not
//! true, a part was lost or replaced by an older one, and the folder is refused rather than answered from in part.

use std::path::Path;

use medindex_backends::Queue;
use medindex_backends::catalog::ImageStatus;
use medindex_backends::embedded::{CATALOG_FILE, STORE_FILE};
use medindex_proto::names::TOPIC_IMAGE_UPLOAD;

use crate::folder::FolderError;
use crate::follow::{self, Rebuilt};
use crate::open::{INDEX_FOLDER, OpenError};
use crate::shard::Shard;

/// Refuses a folder where a file is missing that must be there because of those that are.
pub(crate) fn check_files(folder: &Path) -> Result<(), OpenError> {
    // They are made in the order store, catalog, index.
    if !is_there(folder, STORE_FILE)? {
        for later in [CATALOG_FILE, INDEX_FOLDER] {
            if is_there(folder, later)? {
                return Err(refuse(folder, format!("{STORE_FILE} is not there, but {later} is")));
            }
        }
    }
    Ok(())
}

/// Refuses a folder whose catalog is missing although images were uploaded to its queue.
pub(crate) async fn check_catalog(folder: &Path, queue: &dyn Queue) -> Result<(), OpenError> {
    if is_there(folder, CATALOG_FILE)? {
        return Ok(());
    }
    let uploads: u64 = queue.end_offsets(TOPIC_IMAGE_UPLOAD).await?.values().sum();
    if uploads == 0 {
        return Ok(());
    }
    Err(refuse(folder, format!("{CATALOG_FILE} is not there, but {STORE_FILE} is")))
}

fn is_there(folder: &Path, name: &str) -> Result<bool, OpenError> {
    let path = folder.join(name);
    path.try_exists().map_err(|source| OpenError::Folder(FolderError::Read { path, source }))
}

/// Compares how many images the index and the catalog have.
pub(crate) async fn check_counts(shard: &Shard, folder: &Path) -> Result<(), OpenError> {
    let counts = shard.ports.catalog.counts().await?;
    // A change that waits in the log may add an image or remove one.
    let waiting = follow::lag(shard).await?;
    let index = std::sync::Arc::clone(&shard.index);
    let images = tokio::task::spawn_blocking(move || index.image_count()).await? as u64;
    let searchable = counts.of_status(ImageStatus::Indexed);
    let known =
        searchable + counts.of_status(ImageStatus::Received) + counts.of_status(ImageStatus::Deleting);
    if images + waiting < searchable {
        let missing = searchable - images - waiting;
        return Err(refuse(folder, format!("{missing} images of its catalog are not in {STORE_FILE}")));
    }
    if images > known + waiting {
        return Err(refuse(folder, unknown_images(images - known - waiting)));
    }
    Ok(())
}

/// Refuses a folder whose image store has images that the catalog does not know.
pub(crate) fn check_rebuilt(folder: &Path, rebuilt: Rebuilt) -> Result<(), OpenError> {
    if rebuilt.unknown == 0 { Ok(()) } else { Err(refuse(folder, unknown_images(rebuilt.unknown))) }
}

fn unknown_images(images: u64) -> String {
    format!("{images} images of {STORE_FILE} are not in its catalog")
}

/// The refusal of a damaged folder, with the cure.
pub(crate) fn refuse(folder: &Path, found: String) -> OpenError {
    OpenError::CompareParts { folder: folder.to_owned(), found }
}
