//! The manifest: the one file that says which data files make up the index.
//!
//! It is JSON behind a first line with the format's version and the CRC-32 of the rest. It is replaced by
//! writing a new file, syncing it and renaming it over the old one: at any moment either the old or the new
//! manifest is there, whole, and every file it names was synced before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::entry::LogPositions;
use crate::index::IndexError;
use crate::segment::SegmentId;
use crate::snapshot::section_file::FileRecord;

/// The manifest's name in the index's folder.
pub(crate) const MANIFEST: &str = "manifest.json";
const NEW_MANIFEST: &str = "manifest.json.new";

/// The newest format that is understood.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct FirstLine {
    medindex_index: u32,
    crc32: u32,
}

/// A segment's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentRecord {
    pub(crate) id: SegmentId,
    /// Vectors, keys and attributes.
    pub(crate) rows: FileRecord,
    /// Inverted lists by generation.
    pub(crate) lists: BTreeMap<u64, FileRecord>,
    /// The removed rows, where there are any.
    pub(crate) removed: Option<FileRecord>,
}

impl SegmentRecord {
    fn files(&self) -> impl Iterator<Item = &FileRecord> {
        std::iter::once(&self.rows).chain(self.lists.values()).chain(&self.removed)
    }
}

/// What makes up an index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) model: String,
    pub(crate) dimension: usize,
    pub(crate) segments: Vec<SegmentRecord>,
    /// The quantizers kept, by generation.
    pub(crate) quantizers: BTreeMap<u64, FileRecord>,
    /// The generation that is searched.
    pub(crate) active: Option<u64>,
    /// The generation to roll back to.
    pub(crate) previous: Option<u64>,
    /// A generation that is built but not yet active.
    pub(crate) built: Option<u64>,
    /// The number of the next file.
    pub(crate) next_number: u64,
    /// Next offsets of the change log.
    pub(crate) positions: LogPositions,
}

impl Manifest {
    /// Reads the manifest of `folder`; `None` when there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, IndexError> {
        let path = folder.join(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IndexError::Read { path, source }),
        };
        Self::parse(path, &text).map(Some)
    }

    /// Reads the text of a manifest; `path` is for errors.
    pub(crate) fn parse(path: PathBuf, text: &[u8]) -> Result<Self, IndexError> {
        let corrupt = |reason: String| IndexError::Corrupt { path: path.clone(), reason };
        let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
        let (first, body) = text.split_at(end);
        let first: FirstLine = serde_json::from_slice(first)
            .map_err(|source| corrupt(format!("its first line cannot be read: {source}")))?;
        if first.medindex_index > FORMAT {
            return Err(IndexError::FormatTooNew { path, found: first.medindex_index, supported: FORMAT });
        }
        let body = body.get(1..).unwrap_or_default();
        if crc32fast::hash(body) != first.crc32 {
            return Err(corrupt("its checksum does not match".to_owned()));
        }
        serde_json::from_slice(body).map_err(|source| corrupt(format!("it cannot be read: {source}")))
    }

    /// The text that [`Manifest::parse`] reads.
    pub(crate) fn to_text(&self) -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec_pretty(self)?;
        let first = FirstLine { medindex_index: FORMAT, crc32: crc32fast::hash(&body) };
        let mut text = serde_json::to_vec(&first)?;
        text.push(b'\n');
        text.extend_from_slice(&body);
        Ok(text)
    }

    /// Replaces the manifest of `folder` as one step that a crash cannot split.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let path = folder.join(NEW_MANIFEST);
        let failed = |source: std::io::Error| IndexError::Write { path: path.clone(), source };
        let text = self.to_text().map_err(|source| failed(source.into()))?;
        let mut file = File::create(&path).map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&path, folder.join(MANIFEST)).map_err(failed)?;
        sync_folder(folder)
    }

    /// The names of the data files that the index consists of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileRecord> {
        self.segments.iter().flat_map(SegmentRecord::files).chain(self.quantizers.values())
    }
}

/// Makes created, renamed and removed names of a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), IndexError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| IndexError::Write { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let record = |name: &str| FileRecord { name: name.to_owned(), bytes: 7, checksum: 9 };
        Manifest {
            model: "sha256:abc".to_owned(),
            dimension: 3,
            segments: vec![SegmentRecord {
                id: 4,
                rows: record("4.rows"),
                lists: BTreeMap::from([(2, record("4.g2.lists"))]),
                removed: Some(record("4.v9.removed")),
            }],
            quantizers: BTreeMap::from([(2, record("2.quantizer"))]),
            active: Some(2),
            previous: None,
            built: Some(3),
            next_number: 10,
            positions: LogPositions::from([(0, 5), (8, 1)]),
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), None);
        manifest().write(folder.path()).unwrap();
        assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest()));
        let names: Vec<String> = manifest().files().map(|file| file.name.clone()).collect();
        assert_eq!(names, ["4.rows", "4.g2.lists", "4.v9.removed", "2.quantizer"]);
    }

    #[test]
    fn every_flipped_byte_of_a_manifest_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        manifest().write(folder.path()).unwrap();
        let path = folder.path().join(MANIFEST);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            let read = Manifest::read(folder.path());
            assert!(
                matches!(read, Err(IndexError::Corrupt { .. } | IndexError::FormatTooNew { .. })),
                "byte {at}: {read:?}"
            );
        }
    }

    #[test]
    fn a_manifest_of_a_newer_format_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), "{\"medindex_index\":99,\"crc32\":0}\n{}").unwrap();
        let error = Manifest::read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("version 99"), "{error}");
    }
}
