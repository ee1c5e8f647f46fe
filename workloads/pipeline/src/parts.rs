//! Whether the parts of a data folder belong together: image store and queue, catalog, index.
//!
//! The order of every flow's steps keeps this true at any moment, also after a crash: each image that the catalog calls indexed
//! is in the index or in the change log before it, and the index has no image that the catalog does not know. Where it is not
//! true, a part was lost or replaced by an older one, and the folder is refused rather than answered from in part.

use std::path::Path;

use medindex_backends::Queue;
use medindex_backends::catalog::{ImageFilter, ImageRecord, ImageStatus, ListOrder};
use medindex_backends::embedded::{CATALOG_FILE, STORE_FILE};
use medindex_proto::identity::ImageId;
use medindex_proto::names::TOPIC_IMAGE_UPLOAD;

use crate::folder::FolderError;
use crate::follow::{self, Rebuilt};
use crate::open::{INDEX_FOLDER, OpenError};
use crate::shard::Shard;

/// Images of each part that are looked for in the other one, beside counting all.
const COMPARED: usize = 200;

/// Refuses a folder where a file is missing that must be there because of those that are.
pub(crate) fn check_files(folder: &Path) -> Result<(), OpenError> {
    check_left(folder)?;
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

/// Refuses a folder of which only the index is left: a repair would make it anew, out of nothing.
pub(crate) fn check_left(folder: &Path) -> Result<(), OpenError> {
    let gone = !is_there(folder, STORE_FILE)? && !is_there(folder, CATALOG_FILE)?;
    if gone && is_there(folder, INDEX_FOLDER)? {
        return Err(OpenError::FindParts { folder: folder.to_owned() });
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

/// Compares the images of the index and of the catalog: how many they are, and whether the latest and some others are the same. A part of another
/// folder is found by any image; an older one, however many were deleted since, by the latest.
pub(crate) async fn check_images(shard: &Shard, folder: &Path) -> Result<(), OpenError> {
    let counts = shard.ports.catalog.counts().await?;
    // A change that waits in the log may add an image or remove one.
    let waiting = follow::lag(shard).await?;
    let index = std::sync::Arc::clone(&shard.index);
    let ids = tokio::task::spawn_blocking(move || index.image_ids()).await?;
    let images = ids.len() as u64;
    let searchable = counts.of_status(ImageStatus::Indexed);
    let known =
        searchable + counts.of_status(ImageStatus::Received) + counts.of_status(ImageStatus::Deleting);
    if images + waiting < searchable {
        return Err(refuse(folder, absent_images(searchable - images - waiting)));
    }
    if images > known + waiting {
        return Err(refuse(folder, unknown_images(images - known - waiting)));
    }
    let asked: Vec<ImageId> = latest_and_others(&ids).into_iter().map(ImageId::from_bytes).collect();
    let records = shard.ports.catalog.images(&asked).await?;
    let unknown = records.iter().filter(|record| record.is_none()).count() as u64;
    if unknown > waiting {
        return Err(refuse(folder, unknown_images(unknown)));
    }
    let indexed = ImageFilter { status: Some(ImageStatus::Indexed), ..ImageFilter::default() };
    let latest = shard.ports.catalog.list_images(&indexed, ListOrder::NewestFirst, None, COMPARED).await?;
    let is_absent = |record: &&ImageRecord| ids.binary_search(record.image.id.as_bytes()).is_err();
    let absent = latest.items.iter().filter(is_absent).count() as u64;
    if absent > waiting { Err(refuse(folder, absent_images(absent))) } else { Ok(()) }
}

/// Ids begin with the time at which they were made: the last ones, and as many of the others, evenly apart.
fn latest_and_others(ids: &[[u8; 16]]) -> Vec<[u8; 16]> {
    let (others, latest) = ids.split_at(ids.len().saturating_sub(COMPARED));
    let apart = others.len().div_ceil(COMPARED).max(1);
    latest.iter().chain(others.iter().step_by(apart)).copied().collect()
}

fn absent_images(images: u64) -> String {
    format!("{images} images of its catalog are not in {STORE_FILE}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_images_are_compared_and_others_from_the_first_on() {
        let ids = |count: u64| -> Vec<[u8; 16]> {
            let id = |number: u64| u128::from(number).to_be_bytes();
            (0..count).map(id).collect()
        };
        assert!(latest_and_others(&[]).is_empty());
        let few = ids(COMPARED as u64);
        assert_eq!(latest_and_others(&few), few);
        let many = ids(100_000);
        let compared = latest_and_others(&many);
        assert_eq!(compared[..COMPARED], many[many.len() - COMPARED..]);
        assert!(compared.len() <= 2 * COMPARED && compared.contains(&many[0]), "{}", compared.len());
    }
}
