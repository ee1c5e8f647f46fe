//! The container of every data file of an index: named sections, then a footer that describes them.
//!
//! Layout: an 8-byte magic; sections, each at a multiple of 64 bytes; the footer (JSON); the footer's length
//! (u32) and CRC-32 (u32); the magic again. Numbers are little-endian. The footer has the CRC-32 of every
//! section, and the manifest has the footer's: a file that was truncated, changed or exchanged is noticed.
//!
//! A file is written once, synced, and never changed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytemuck::Pod;
use crc32fast::Hasher;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::index::IndexError;
use crate::snapshot::mapping::{Column, map_file};

const MAGIC: [u8; 8] = *b"MEDINDX1";
const ALIGNMENT: u64 = 64;
const TRAILER: usize = 16;

/// A data file as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// Name in the index's data folder.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// CRC-32 of the footer, which has those of the sections.
    pub(crate) checksum: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Section {
    offset: u64,
    bytes: u64,
    checksum: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Footer {
    kind: String,
    sections: BTreeMap<String, Section>,
    about: serde_json::Value,
}

/// Writes one file, section after section. A writer that is dropped unfinished removes its file.
pub(crate) struct SectionWriter {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    position: u64,
    kind: &'static str,
    current: Option<(String, u64, Hasher)>,
    sections: BTreeMap<String, Section>,
}

impl SectionWriter {
    /// Starts the file `path`, replacing one that an interrupted run left.
    pub(crate) fn create(path: &Path, kind: &'static str) -> Result<Self, IndexError> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .map_err(|source| IndexError::Write { path: path.to_owned(), source })?;
        let mut writer = Self {
            path: path.to_owned(),
            file: Some(BufWriter::with_capacity(1 << 20, file)),
            position: 0,
            kind,
            current: None,
            sections: BTreeMap::new(),
        };
        writer.write_raw(&MAGIC)?;
        Ok(writer)
    }

    fn write_raw(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes).map_err(|source| IndexError::Write { path: self.path.clone(), source })?;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn end_section(&mut self) {
        if let Some((name, offset, hasher)) = self.current.take() {
            let section = Section { offset, bytes: self.position - offset, checksum: hasher.finalize() };
            self.sections.insert(name, section);
        }
    }

    /// Ends the section before and starts another.
    pub(crate) fn begin(&mut self, name: &str) -> Result<(), IndexError> {
        self.end_section();
        let padding = self.position.next_multiple_of(ALIGNMENT) - self.position;
        self.write_raw(&[0; ALIGNMENT as usize][..padding as usize])?;
        self.current = Some((name.to_owned(), self.position, Hasher::new()));
        Ok(())
    }

    /// Appends to the section.
    pub(crate) fn write<T: Pod>(&mut self, values: &[T]) -> Result<(), IndexError> {
        let bytes = bytemuck::cast_slice(values);
        if let Some((_, _, hasher)) = &mut self.current {
            hasher.update(bytes);
        }
        self.write_raw(bytes)
    }

    /// Writes a whole section.
    pub(crate) fn section<T: Pod>(&mut self, name: &str, values: &[T]) -> Result<(), IndexError> {
        self.begin(name)?;
        self.write(values)
    }

    /// Writes the footer with `about`, the facts the reader needs, and syncs the file to disk.
    pub(crate) fn finish(mut self, about: serde_json::Value) -> Result<FileRecord, IndexError> {
        self.end_section();
        let footer =
            Footer { kind: self.kind.to_owned(), sections: std::mem::take(&mut self.sections), about };
        let footer = serde_json::to_vec(&footer)
            .map_err(|source| IndexError::Write { path: self.path.clone(), source: source.into() })?;
        let checksum = crc32fast::hash(&footer);
        self.write_raw(&footer)?;
        self.write_raw(&(footer.len() as u32).to_le_bytes())?;
        self.write_raw(&checksum.to_le_bytes())?;
        self.write_raw(&MAGIC)?;
        if let Some(file) = self.file.take() {
            let synced =
                file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|f| f.sync_all());
            if let Err(source) = synced {
                // Best effort: an unfinished file is not in the manifest, and the next open removes it.
                let _ = std::fs::remove_file(&self.path);
                return Err(IndexError::Write { path: self.path.clone(), source });
            }
        }
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(FileRecord { name, bytes: self.position, checksum })
    }
}

impl Drop for SectionWriter {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // The buffered rest must not be flushed to a disk that may be full.
            drop(file.into_parts());
            // Best effort: an unfinished file is not in the manifest, and the next open removes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// A data file, mapped, with its footer checked.
#[derive(Debug)]
pub(crate) struct SectionFile {
    path: PathBuf,
    map: Arc<Mmap>,
    footer: Footer,
}

impl SectionFile {
    /// Maps the file of `record` in `folder`; checks size, magic, footer and kind, but no section.
    pub(crate) fn open(folder: &Path, record: &FileRecord, kind: &str) -> Result<Self, IndexError> {
        let path = folder.join(&record.name);
        let corrupt = |reason: String| IndexError::Corrupt { path: path.clone(), reason };
        let map = map_file(&path).map_err(|source| IndexError::Read { path: path.clone(), source })?;
        if map.len() as u64 != record.bytes {
            return Err(corrupt(format!("it has {} bytes, not {}", map.len(), record.bytes)));
        }
        let length = map.len();
        if length < MAGIC.len() + TRAILER || map[..8] != MAGIC || map[length - 8..] != MAGIC {
            return Err(corrupt("it does not begin and end as an index file does".to_owned()));
        }
        let number = |at: usize| u32::from_le_bytes([map[at], map[at + 1], map[at + 2], map[at + 3]]);
        let footer_bytes = number(length - TRAILER) as usize;
        let end = length - TRAILER;
        let Some(footer) = end.checked_sub(footer_bytes).and_then(|start| map.get(start..end)) else {
            return Err(corrupt("its footer is longer than the file".to_owned()));
        };
        let checksum = crc32fast::hash(footer);
        if checksum != number(length - 12) || checksum != record.checksum {
            return Err(corrupt("the checksum of its footer does not match".to_owned()));
        }
        let footer: Footer = serde_json::from_slice(footer)
            .map_err(|source| corrupt(format!("its footer cannot be read: {source}")))?;
        if footer.kind != kind {
            return Err(corrupt(format!("it holds {}, not {kind}", footer.kind)));
        }
        Ok(Self { path, map, footer })
    }

    /// The facts that the writer put into the footer.
    pub(crate) fn about<T: serde::de::DeserializeOwned>(&self) -> Result<T, IndexError> {
        serde_json::from_value(self.footer.about.clone())
            .map_err(|source| self.corrupt(format!("its footer cannot be read: {source}")))
    }

    /// An error that names this file.
    pub(crate) fn corrupt(&self, reason: impl Into<String>) -> IndexError {
        IndexError::Corrupt { path: self.path.clone(), reason: reason.into() }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    fn find(&self, name: &str) -> Result<&Section, IndexError> {
        self.footer.sections.get(name).ok_or_else(|| self.corrupt(format!("it has no section {name}")))
    }

    /// The checksum that the section was written with.
    pub(crate) fn checksum(&self, name: &str) -> Result<u32, IndexError> {
        Ok(self.find(name)?.checksum)
    }

    /// The section as `count` values; its checksum is not verified.
    pub(crate) fn column<T: Pod>(&self, name: &str, count: usize) -> Result<Column<T>, IndexError> {
        let section = self.find(name)?;
        if section.bytes != count.saturating_mul(size_of::<T>()) as u64 {
            return Err(self.corrupt(format!("section {name} does not have {count} values")));
        }
        let start = section.offset as usize;
        Column::mapped(&self.map, start..start + section.bytes as usize)
            .ok_or_else(|| self.corrupt(format!("section {name} is outside the file")))
    }

    /// Reads the sections for which `choose` holds and compares their checksums.
    pub(crate) fn verify(&self, choose: impl Fn(&str) -> bool) -> Result<(), IndexError> {
        for (name, section) in self.footer.sections.iter().filter(|(name, _)| choose(name)) {
            let start = section.offset as usize;
            let end = start.saturating_add(section.bytes as usize);
            let bytes = self.map.get(start..end);
            if bytes.is_none_or(|bytes| crc32fast::hash(bytes) != section.checksum) {
                return Err(self.corrupt(format!("the checksum of section {name} does not match")));
            }
        }
        Ok(())
    }
}
