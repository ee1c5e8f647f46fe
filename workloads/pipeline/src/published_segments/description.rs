//! What a publication consists of, as text: a first line with the format and the CRC-32 of the rest, then JSON.

use medindex_backends::ImageStore;
use medindex_index::LogPositions;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PART_BYTES, SegmentsError, description_blob, files_prefix, layout_name};
use crate::core::Core;

/// Layout that this release writes, and the newest that it reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct FirstLine {
    medindex_segments: u32,
    crc32: u32,
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PublishedFile {
    /// Its name in the snapshot.
    pub(super) name: String,
    pub(super) bytes: u64,
    /// The engine's checksum, by which a publisher knows the file again.
    pub(super) engine_checksum: u32,
    /// CRC-32 of all its bytes.
    pub(super) crc32: u32,
    /// The publication that brought it.
    pub(super) publication: Uuid,
}

impl PublishedFile {
    /// Blobs that hold it, with the length of each.
    pub(super) fn parts(&self, layout: &str) -> impl Iterator<Item = (String, u64)> + use<> {
        let (size, bytes) = (PART_BYTES as u64, self.bytes);
        let prefix = format!("{}{}/{}", files_prefix(layout), self.publication, self.name);
        (0..bytes.div_ceil(size))
            .map(move |part| (format!("{prefix}/{part:06}"), size.min(bytes - part * size)))
    }
}

/// The newest state that a shard published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publication {
    /// Its id, which has the time when it began.
    pub(super) id: Uuid,
    /// Unix milliseconds when it stood.
    pub(super) published_at_ms: i64,
    /// Partitions that it holds, ascending.
    pub(super) partitions: Vec<u32>,
    /// Partitions of the index.
    pub(super) partition_count: u32,
    pub(super) model_digest: String,
    /// Generation of its codes; 0 for none.
    pub(super) generation: u64,
    /// CRC-32 of the generation's quantizer.
    pub(super) quantizer: Option<u32>,
    /// Entries that can be found in it.
    pub(super) entries: u64,
    /// Rows, removed ones included.
    pub(super) rows: u64,
    /// Next offsets of the change log.
    pub(super) positions: LogPositions,
    /// The engine's manifest as text.
    pub(super) manifest: String,
    pub(super) files: Vec<PublishedFile>,
}

impl Publication {
    pub(super) fn layout(&self) -> String {
        layout_name(&self.partitions, self.partition_count)
    }

    /// The file that a publisher need not send again.
    pub(super) fn same_file(&self, name: &str, bytes: u64, engine_checksum: u32) -> Option<&PublishedFile> {
        self.files.iter().find(|file| {
            (file.name.as_str(), file.bytes, file.engine_checksum) == (name, bytes, engine_checksum)
        })
    }

    fn to_text(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec_pretty(self)?;
        let first = FirstLine { medindex_segments: FORMAT, crc32: crc32fast::hash(&body) };
        let mut text = serde_json::to_vec(&first)?;
        text.push(b'\n');
        text.extend_from_slice(&body);
        Ok(text)
    }

    fn parse(blob: &str, text: &[u8]) -> Result<Self, SegmentsError> {
        let wrong = |reason: String| SegmentsError::ReadDescription { blob: blob.to_owned(), reason };
        let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
        let (first, body) = text.split_at(end);
        let first: FirstLine = serde_json::from_slice(first).map_err(|error| wrong(error.to_string()))?;
        if first.medindex_segments > FORMAT {
            let (found, supported) = (first.medindex_segments, FORMAT);
            return Err(SegmentsError::CheckFormat { blob: blob.to_owned(), found, supported });
        }
        let body = body.get(1..).unwrap_or_default();
        if crc32fast::hash(body) != first.crc32 {
            return Err(wrong("its checksum does not match".to_owned()));
        }
        serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))
    }

    /// Refuses what is not this index's.
    fn check(&self, core: &Core, blob: &str, layout: &str) -> Result<(), SegmentsError> {
        let blob = || blob.to_owned();
        if self.model_digest != core.model_digest() {
            let (found, expected) = (self.model_digest.clone(), core.model_digest().to_owned());
            return Err(SegmentsError::CheckModel { blob: blob(), found, expected });
        }
        if self.partition_count != core.partitions() || self.layout() != layout {
            let (found, of) = (self.partitions.clone(), self.partition_count);
            return Err(SegmentsError::CheckPartitions { blob: blob(), found, of });
        }
        Ok(())
    }
}

/// The newest publication of a layout; `None` when there is none.
pub(super) async fn read(core: &Core, layout: &str) -> Result<Option<Publication>, SegmentsError> {
    let blob = description_blob(layout);
    let Some(text) = core.ports.store.get_blob(&blob).await? else { return Ok(None) };
    let publication = Publication::parse(&blob, &text)?;
    publication.check(core, &blob, layout)?;
    Ok(Some(publication))
}

/// Makes a publication the newest one.
pub(super) async fn write(store: &dyn ImageStore, publication: &Publication) -> Result<(), SegmentsError> {
    let text = publication.to_text().map_err(SegmentsError::WriteDescription)?;
    Ok(store.put_blob(&description_blob(&publication.layout()), text.into()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication() -> Publication {
        let id = Uuid::now_v7();
        Publication {
            id,
            published_at_ms: 7,
            partitions: vec![1, 4],
            partition_count: 6,
            model_digest: "sha256:abc".to_owned(),
            generation: 2,
            quantizer: Some(3),
            entries: 10,
            rows: 11,
            positions: LogPositions::from([(1, 5), (4, 6)]),
            manifest: "{}\n{}".to_owned(),
            files: vec![PublishedFile {
                name: "0000000001.rows".to_owned(),
                bytes: PART_BYTES as u64 + 3,
                engine_checksum: 1,
                crc32: 2,
                publication: id,
            }],
        }
    }

    #[test]
    fn a_description_reads_back_and_every_flipped_byte_is_noticed() {
        let text = publication().to_text().unwrap();
        let before = publication();
        let read = Publication::parse("b", &text).unwrap();
        assert_eq!((read.positions, read.files[0].bytes), (before.positions, before.files[0].bytes));
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 0x10;
            let outcome = Publication::parse("b", &flipped);
            assert!(outcome.is_err_and(|error| error.is_refusal()), "byte {at}");
        }
    }

    #[test]
    fn a_description_of_a_newer_format_says_so() {
        let error = Publication::parse("b", b"{\"medindex_segments\":9,\"crc32\":0}\nanything").unwrap_err();
        assert!(error.to_string().contains("version 9") && error.is_refusal(), "{error}");
    }

    #[test]
    fn a_file_lies_in_parts_of_which_the_last_is_shorter() {
        let publication = publication();
        let parts: Vec<(String, u64)> = publication.files[0].parts(&publication.layout()).collect();
        assert_eq!(parts.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [PART_BYTES as u64, 3]);
        assert!(parts[1].0.ends_with("/0000000001.rows/000001"), "{}", parts[1].0);
    }
}
