//! Segments of search shards in the image store: what a shard without a snapshot of its own begins with.
//!
//! Reading rows back through `HBase`'s Thrift server is slow, reading files is not. So the first replica of every shard publishes its
//! snapshot as it lies on its disk, codes and lists included, and a shard whose disk is empty takes it over.
//!
//! Layout in the image store, `LAYOUT` standing for the set of partitions that a shard holds (`3of9-1a2b3c4d5e6f7081`):
//! - `segments/LAYOUT/publication`: which files make up the newest publication, replaced as a whole ([`description`]);
//! - `segments/LAYOUT/files/ID/NAME/NNNNNN`: the files in parts of 16 MiB, under the id of the publication that brought them first;
//! - `segments/LAYOUT/readers/ID`: who reads at the moment ([`lease`]).
//!
//! Guarantees: a publication is there whole or not at all, because its description is written last; a publisher killed half-way leaves files
//! that nobody names, which a later one sweeps. Files are verified byte for byte before anything of the shard is replaced. Files
//! that a publication no longer needs go only while nobody reads. A file that stays is never sent again.
//! A shard of another set of partitions takes its rows out of the publications that together cover them: the number of shards can change
//! without scanning.
//! Assumes that clocks of shards differ by less than ten minutes. Failure modes: [`SegmentsError`]; what is refused falls back to the scan.

mod description;
mod fetch;
mod lease;
mod load;
mod publish;
mod sweep;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::backend_error::{BackendError, from_backend};

pub use load::LoadSource;
pub(crate) use load::load;
pub(crate) use publish::run as publish_snapshots;

/// Bytes of a file in one blob: four cells, so that few requests and little memory are needed.
const PART_BYTES: usize = 16 << 20;
/// Prefix of every blob of published segments.
const ROOT: &str = "segments/";
/// How long a reader counts as reading after it last said so, and how far clocks may differ.
const LEASE: Duration = Duration::from_mins(10);

/// Why segments were not published, or not taken over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SegmentsError {
    /// The description cannot be read.
    #[error("the description {blob} of published segments cannot be read: {reason}")]
    ReadDescription { blob: String, reason: String },
    /// The description cannot be written.
    #[error("the description of published segments cannot be written: {0}")]
    WriteDescription(#[source] serde_json::Error),
    /// They are of a newer release.
    #[error(
        "published segments {blob} have format version {found}, this program reads up to {supported}; use a newer program"
    )]
    CheckFormat { blob: String, found: u32, supported: u32 },
    /// They are of another model.
    #[error("published segments {blob} are of model {found}, not of {expected}")]
    CheckModel { blob: String, found: String, expected: String },
    /// They say that they hold something else than their name does.
    #[error("published segments {blob} are of partitions {found:?} of {of}")]
    CheckPartitions { blob: String, found: Vec<u32>, of: u32 },
    /// They are of a generation that this index does not know.
    #[error("published segments {blob} are of generation {found}, whose quantizer is not the index's")]
    CheckGeneration { blob: String, found: u64 },
    /// The change log does not go on where they end.
    #[error(
        "published segments {blob} end at offset {position} of partition {partition}, the change log has {first} to {end}"
    )]
    CheckPosition { blob: String, partition: u32, position: u64, first: u64, end: u64 },
    /// A part of a file is not there, or not whole.
    #[error("part {blob} of published segments is missing or has another length")]
    FindPart { blob: String },
    /// A file is not what was published.
    #[error("the published file {name} does not fit its checksum")]
    CheckFile { name: String },
    /// The index cannot use them.
    #[error("published segments cannot be used: {0}")]
    Adopt(#[source] medindex_index::IndexError),
    /// They need more memory than there is.
    #[error(transparent)]
    CheckMemory(#[from] crate::memory::MemoryError),
    /// A file on this machine cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    WriteFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file on this machine cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    ReadFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The active generation cannot be told.
    #[error(transparent)]
    ReadGeneration(#[from] crate::generations::GenerationError),
    /// A backend failed.
    #[error(transparent)]
    Backend(BackendError),
}

from_backend!(SegmentsError);

impl SegmentsError {
    /// Whether the segments themselves are at fault: trying again would not help, and the scan does.
    fn is_refusal(&self) -> bool {
        match self {
            Self::ReadDescription { .. }
            | Self::CheckFormat { .. }
            | Self::CheckModel { .. }
            | Self::CheckPartitions { .. }
            | Self::CheckGeneration { .. }
            | Self::CheckPosition { .. }
            | Self::FindPart { .. }
            | Self::CheckFile { .. } => true,
            Self::Adopt(error) => {
                use medindex_index::IndexError;
                error.is_damage() || matches!(error, IndexError::OtherModel { .. })
            }
            // The store notices a flipped bit by its own checksums.
            Self::Backend(error) => {
                matches!(error.fault(), Some(medindex_backends::Fault::Corrupted { .. }))
            }
            _ => false,
        }
    }
}

/// Names the set of partitions that a shard holds, of `of` partitions.
fn layout_name(held: &[u32], of: u32) -> String {
    let list: Vec<String> = held.iter().map(u32::to_string).collect();
    let digest = Sha256::digest(format!("{of}:{}", list.join(",")));
    format!("{}of{of}-{}", held.len(), hex::encode(&digest[..8]))
}

fn description_blob(layout: &str) -> String {
    format!("{ROOT}{layout}/publication")
}

fn files_prefix(layout: &str) -> String {
    format!("{ROOT}{layout}/files/")
}

fn readers_prefix(layout: &str) -> String {
    format!("{ROOT}{layout}/readers/")
}

/// Layouts that have a publication.
async fn published_layouts(store: &dyn medindex_backends::ImageStore) -> Result<Vec<String>, SegmentsError> {
    let blobs = store.list_blobs(ROOT).await?;
    let layout = |name: &str| Some(name.strip_prefix(ROOT)?.strip_suffix("/publication")?.to_owned());
    Ok(blobs.iter().filter_map(|blob| layout(&blob.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_differ_by_partitions_and_by_their_number() {
        let names = [
            layout_name(&[0, 3, 6], 9),
            layout_name(&[0, 3, 6], 12),
            layout_name(&[0, 36], 9),
            layout_name(&[1, 4, 7], 9),
        ];
        for (place, name) in names.iter().enumerate() {
            assert!(!names[..place].contains(name), "{name}");
            medindex_backends::image_store::check_blob_name(&description_blob(name)).unwrap();
        }
    }
}
