//! The stream of items that the pipeline imports, made from candidates one at a time.
//!
//! Reading happens in the pipeline's own time, so a slow disk does not fill memory. Files found while walking are looked at first: what is
//! clearly no image is put on the skipped list instead of the stream.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use medindex_imaging::{Format, ImagingError, Limits};
use medindex_pipeline::{ImportItem, ReadItemError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::deep_lesion::{LesionWindow, Slice};
use crate::{Candidate, Labels, Source, archive, describe_io, dicomdir};

/// Bytes that decide what a file is.
const HEAD_BYTES: u64 = 64 << 10;

/// A file and the reason why it was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Name as it would be in the catalog.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// What the stream leaves behind for the summary.
#[derive(Debug, Default)]
pub struct Remainder {
    /// Files that are no images.
    pub skipped: Vec<Refusal>,
    /// Rows of the label table that no file matched.
    pub unused_labels: Vec<String>,
    /// Whether the stream ended before its last candidate.
    pub stopped: bool,
}

/// Turns candidates into import items.
pub struct Items {
    candidates: std::vec::IntoIter<Candidate>,
    labels: Labels,
    limits: Limits,
    lesion_window: LesionWindow,
    stop: CancellationToken,
    /// Rows of a slice that failed, to come after it.
    behind: VecDeque<ImportItem>,
    open: Option<(PathBuf, archive::Archive)>,
    remainder: Arc<Mutex<Remainder>>,
}

impl Items {
    /// The stream, and where it leaves what the summary needs beside its items. It ends early once `stop` is cancelled.
    pub fn new(
        candidates: Vec<Candidate>,
        labels: Labels,
        limits: Limits,
        lesion_window: LesionWindow,
        stop: CancellationToken,
    ) -> (Self, Arc<Mutex<Remainder>>) {
        let remainder = Arc::new(Mutex::new(Remainder::default()));
        let candidates = candidates.into_iter();
        let (behind, open) = (VecDeque::new(), None);
        let kept = Arc::clone(&remainder);
        let items = Self { candidates, labels, limits, lesion_window, stop, behind, open, remainder: kept };
        (items, remainder)
    }

    fn set_aside(&self, name: String, reason: String) {
        self.remainder.lock().skipped.push(Refusal { name, reason });
    }

    fn item(&mut self, candidate: Candidate) -> Option<ImportItem> {
        let label = match (&self.labels, &candidate.source) {
            // A slice's folder is named after its series, and its table says what it shows.
            (Labels::FolderName, Source::Slice(_)) => None,
            _ => self.labels.find(&candidate),
        };
        let Candidate { name, source, explicit } = candidate;
        match source {
            Source::NoFile(reason) => {
                self.set_aside(name, reason.to_owned());
                None
            }
            Source::Broken(reason) => Some(item(name, label, move || Err(ReadItemError(reason)))),
            Source::File(path) => {
                if !explicit
                    && let Ok(head) = read_head(&path)
                    && let Some(reason) = why_skipped(&head)
                {
                    self.set_aside(name, reason);
                    return None;
                }
                let limit = self.limits.max_file_bytes;
                Some(item(name, label, move || read_file(&path, limit)))
            }
            Source::Slice(slice) => self.slice(name, label, &slice),
            Source::Entry { archive, index } => match self.read_entry(&archive, index) {
                Ok(bytes) => match why_skipped(&bytes[..bytes.len().min(HEAD_BYTES as usize)]) {
                    Some(reason) => {
                        self.set_aside(name, reason);
                        None
                    }
                    None => Some(item(name, label, move || Ok(bytes))),
                },
                Err(reason) => Some(item(name, label, move || Err(ReadItemError(reason)))),
            },
        }
    }

    /// A slice of DeepLesion; its rows that cannot be used follow as items of their own.
    fn slice(&mut self, name: String, label: Option<String>, slice: &Slice) -> Option<ImportItem> {
        let taken = match slice.read(self.limits.max_file_bytes, &self.limits, self.lesion_window) {
            Ok(taken) => taken,
            Err(reason) => return Some(item(name, label, move || Err(ReadItemError(reason)))),
        };
        for (row, reason) in taken.refused {
            self.behind.push_back(item(row, None, move || Err(ReadItemError(reason))));
        }
        let Some((sidecar, bytes)) = taken.image else { return self.behind.pop_front() };
        let label = label.or(taken.label);
        Some(ImportItem { name, label, sidecar: Some(sidecar), read: Box::new(move || Ok(bytes)) })
    }

    /// Reads an entry, keeping its archive open for the next one.
    fn read_entry(&mut self, path: &Path, index: usize) -> Result<Bytes, String> {
        if self.open.as_ref().is_none_or(|(open, _)| open != path) {
            let archive = archive::open(path).map_err(|error| error.to_string())?;
            self.open = Some((path.to_owned(), archive));
        }
        match &mut self.open {
            Some((_, archive)) => archive::read(archive, index, &self.limits).map(Bytes::from),
            None => Err("the archive is not open".to_owned()),
        }
    }
}

impl Iterator for Items {
    type Item = ImportItem;

    fn next(&mut self) -> Option<ImportItem> {
        loop {
            if self.stop.is_cancelled() {
                self.remainder.lock().stopped = self.candidates.len() + self.behind.len() > 0;
                return None;
            }
            if let Some(item) = self.behind.pop_front() {
                return Some(item);
            }
            let Some(candidate) = self.candidates.next() else {
                self.remainder.lock().unused_labels = self.labels.unused();
                return None;
            };
            if let Some(item) = self.item(candidate) {
                return Some(item);
            }
        }
    }
}

fn item(
    name: String,
    label: Option<String>,
    read: impl FnOnce() -> Result<Bytes, ReadItemError> + Send + 'static,
) -> ImportItem {
    ImportItem { name, label, sidecar: None, read: Box::new(read) }
}

/// Why a file that begins with `head` is not worth an attempt; `None` when it is or may be an image, and for an empty file.
fn why_skipped(head: &[u8]) -> Option<String> {
    if dicomdir::is_directory(head) {
        return Some("a DICOM directory; its files are imported, name it as PATH to follow it".to_owned());
    }
    match Format::detect(head) {
        Err(ImagingError::NotAnImage { looks_like }) => Some(looks_like),
        Ok(_) | Err(_) => None,
    }
}

/// The first bytes of a file.
pub(crate) fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// That something is larger than a file may be, and what to do.
pub(crate) fn over_limit(what: &str, limit: u64) -> String {
    format!("{what}, the limit is {limit}; make it smaller, or --max-file-bytes raises the limit")
}

/// A whole file of at most `limit` bytes.
///
/// # Errors
/// [`ReadItemError`], in words for people.
pub fn read_file(path: &Path, limit: u64) -> Result<Bytes, ReadItemError> {
    let cannot = |error: &std::io::Error| ReadItemError(format!("cannot read: {}", describe_io(error)));
    let file = File::open(path).map_err(|error| cannot(&error))?;
    let size = file.metadata().map_err(|error| cannot(&error))?.len();
    if size > limit {
        return Err(ReadItemError(over_limit(&format!("the file has {size} bytes"), limit)));
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_found_while_walking_is_skipped_with_its_kind() {
        assert!(why_skipped(b"some notes\n").unwrap().contains("plain text"));
        assert_eq!(why_skipped(b"\x89PNG\r\n\x1a\n...."), None);
        assert_eq!(why_skipped(b""), None, "an empty file is a failed image, not a skipped one");
    }

    #[test]
    fn a_file_over_the_limit_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [1; 20]).unwrap();
        assert!(read_file(file.path(), 10).unwrap_err().0.contains("limit is 10"));
        assert_eq!(read_file(file.path(), 20).unwrap().len(), 20);
    }
}
