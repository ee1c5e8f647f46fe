//! Fetching a publication's files into a folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use futures::{StreamExt as _, TryStreamExt as _};
use medindex_backends::ImageStore;
use medindex_index::Export;

use super::SegmentsError;
use super::description::{Publication, PublishedFile};

/// Parts fetched at the same time: together 48 MiB.
const PARALLEL: usize = 3;

/// Puts a copy of the publication into `folder`, which is made anew, as an index's folder. Every byte is checked and synced.
pub(super) async fn fetch(
    store: &Arc<dyn ImageStore>,
    publication: &Publication,
    folder: &Path,
) -> Result<(), SegmentsError> {
    let data = folder.join(Export::DATA);
    empty(folder, &data)?;
    let layout = publication.layout();
    for file in &publication.files {
        // A name of ours has no folder in it; the engine checks those in its manifest.
        let Some(name) = Path::new(&file.name).file_name() else {
            return Err(SegmentsError::CheckFile { name: file.name.clone() });
        };
        fetch_file(store, &layout, file, data.join(name)).await?;
    }
    write(folder.join(Export::MANIFEST), publication.manifest.clone().into()).await
}

/// Removes what an earlier attempt left.
pub(super) fn empty(folder: &Path, data: &Path) -> Result<(), SegmentsError> {
    let failed = |source| SegmentsError::WriteFile { path: folder.to_owned(), source };
    remove(folder)?;
    fs::create_dir_all(data).map_err(failed)
}

/// Removes a folder that may not be there.
pub(super) fn remove(folder: &Path) -> Result<(), SegmentsError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(SegmentsError::WriteFile { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

async fn fetch_file(
    store: &Arc<dyn ImageStore>,
    layout: &str,
    file: &PublishedFile,
    path: PathBuf,
) -> Result<(), SegmentsError> {
    let failed = |path: &Path, source| SegmentsError::WriteFile { path: path.to_owned(), source };
    let mut target = File::create(&path).map_err(|source| failed(&path, source))?;
    let mut hasher = Hasher::new();
    let parts = file.parts(layout).map(|(blob, length)| fetch_part(Arc::clone(store), blob, length));
    let mut parts = futures::stream::iter(parts).buffered(PARALLEL);
    while let Some(part) = parts.try_next().await? {
        let written = tokio::task::spawn_blocking(move || {
            hasher.update(&part);
            let outcome = target.write_all(&part);
            (target, hasher, outcome)
        });
        let outcome;
        (target, hasher, outcome) = written.await?;
        outcome.map_err(|source| failed(&path, source))?;
    }
    let synced = tokio::task::spawn_blocking(move || target.sync_all()).await?;
    synced.map_err(|source| failed(&path, source))?;
    if hasher.finalize() == file.crc32 {
        Ok(())
    } else {
        Err(SegmentsError::CheckFile { name: file.name.clone() })
    }
}

async fn fetch_part(store: Arc<dyn ImageStore>, blob: String, length: u64) -> Result<Bytes, SegmentsError> {
    match store.get_blob(&blob).await? {
        Some(part) if part.len() as u64 == length => Ok(part),
        _ => Err(SegmentsError::FindPart { blob }),
    }
}

async fn write(path: PathBuf, content: Bytes) -> Result<(), SegmentsError> {
    let written = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || fs::write(path, content)).await?
    };
    written.map_err(|source| SegmentsError::WriteFile { path, source })
}
