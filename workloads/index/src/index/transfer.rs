//! Taking an index elsewhere: the files of a snapshot to copy, taking them in, and taking rows out of another index.
//!
//! Files are immutable, so a copy is right whenever each file of it is. An export holds its files open: the index may merge and
//! remove them meanwhile. Taking in is atomic for a crash: the folder has the index as it was, an empty one, or the new one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{EntryKey, LogPositions};
use crate::index::inspect::verify_files;
use crate::index::open::{check_model, load_view};
use crate::index::stored::{Committed, Stored};
use crate::index::{Index, IndexError, View};
use crate::segment::SegmentView;
use crate::snapshot::folder::DATA;
use crate::snapshot::manifest::{MANIFEST, Manifest};

/// A file of a snapshot, held open.
#[derive(Debug)]
pub struct ExportedFile {
    /// Its name within the snapshot.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// CRC-32 over the checksums of its sections: with the name and the size it tells two files apart without reading them.
    pub checksum: u32,
    /// The file, read from its beginning.
    pub file: File,
}

/// A snapshot to copy elsewhere; see [`Index::export`].
#[derive(Debug)]
pub struct Export {
    /// The manifest's text; in a copy it is the file [`Export::MANIFEST`].
    pub manifest: Vec<u8>,
    /// The files that it names; in a copy they are in the folder [`Export::DATA`].
    pub files: Vec<ExportedFile>,
    /// Entries that can be found in it.
    pub entries: u64,
    /// Rows stored, removed ones included: what it takes to hold it.
    pub rows: u64,
    /// The active generation; 0 for none.
    pub generation: u64,
    /// CRC-32 of the active generation's quantizer as [`crate::quantizer::Quantizer::to_bytes`] writes it.
    pub quantizer: Option<u32>,
    /// Next offsets of the change log.
    pub positions: LogPositions,
}

impl Export {
    /// Name of the manifest's file in a copy.
    pub const MANIFEST: &str = MANIFEST;
    /// Name of the files' folder in a copy.
    pub const DATA: &str = DATA;
}

impl Index {
    /// The stored state as files to copy: everything up to the last snapshot, in the active generation alone.
    ///
    /// # Errors
    /// When the manifest cannot be written or a file cannot be opened.
    pub fn export(&self) -> Result<Export, IndexError> {
        let mut stored = self.stored.lock();
        // A commit that failed may have left the disk behind.
        self.commit(&mut stored)?;
        let view = self.view.load_full();
        let manifest = of_active_generation(&stored.manifest);
        let data = self.folder.data();
        let mut files = Vec::new();
        for record in manifest.files() {
            let path = data.join(&record.name);
            let file = File::open(&path).map_err(|source| IndexError::Read { path, source })?;
            let (name, bytes, checksum) = (record.name.clone(), record.bytes, record.checksum);
            files.push(ExportedFile { name, bytes, checksum, file });
        }
        let path = data.join(MANIFEST);
        let text = manifest.to_text().map_err(|source| IndexError::Write { path, source: source.into() })?;
        Ok(Export {
            manifest: text,
            files,
            entries: view.segments.iter().map(|segment| segment.live() as u64).sum(),
            rows: view.segments.iter().map(|segment| segment.rows() as u64).sum(),
            generation: manifest.active.unwrap_or(0),
            quantizer: manifest.active.and_then(|number| Some(manifest.quantizers.get(&number)?.checksum)),
            positions: manifest.positions,
        })
    }

    /// Replaces everything by the copy of an export in the folder `staged`. Its files are moved,
    /// so `staged` must be on the same file system; they are verified first, every byte, and nothing changes when one is damaged.
    ///
    /// # Errors
    /// [`IndexError::Corrupt`], [`IndexError::FormatTooNew`], [`IndexError::OtherModel`]: the copy cannot be used, the index stays as it was.
    /// Where a file cannot be moved, the index is empty.
    pub fn adopt(&self, staged: &Path) -> Result<(), IndexError> {
        let _building = self.building.lock();
        let missing =
            || IndexError::Corrupt { path: staged.join(MANIFEST), reason: "it is missing".to_owned() };
        let manifest = Manifest::read(staged)?.ok_or_else(missing)?;
        check_model(staged, &manifest, &self.options)?;
        check_names(staged, &manifest)?;
        let data = staged.join(DATA);
        verify_files(&data, &manifest)?;
        let mut stored = self.stored.lock();
        self.remove_all(&mut stored)?;
        for record in manifest.files() {
            let path = self.folder.data().join(&record.name);
            fs::rename(data.join(&record.name), &path)
                .map_err(|source| IndexError::Write { path, source })?;
        }
        self.folder.commit(&manifest)?;
        let mut adopted = Stored::new(manifest);
        let view = load_view(&self.folder, &mut adopted, &self.options)?;
        self.publish(&mut stored, adopted, view);
        Ok(())
    }

    /// Adds the rows of `other` whose keys `keep` chooses, as one segment, and notes that the log was applied up to `positions`. This index
    /// must not hold any of these keys. Where both have the same generation, codes are copied, else rows are encoded anew.
    ///
    /// # Errors
    /// When `other` is of another model, or a file cannot be written.
    pub fn absorb(
        &self,
        other: &Self,
        keep: impl Fn(&EntryKey) -> bool,
        positions: &LogPositions,
    ) -> Result<(), IndexError> {
        let theirs = Manifest {
            model: other.options.model.clone(),
            dimension: other.options.dimension,
            ..Manifest::default()
        };
        check_model(other.folder.root(), &theirs, &self.options)?;
        let others = |segment: &SegmentView| {
            let keys = segment.segment.keys();
            let unwanted = segment.live_rows().ones().filter(|&row| !keep(&keys[row])).collect::<Vec<_>>();
            segment.without(unwanted)
        };
        let chosen: Vec<SegmentView> = other.view.load().all().map(others).collect();
        let mut stored = self.stored.lock();
        let generation = self.view.load().generation.clone();
        let (_, merged) = self.store_merged(&mut stored, &chosen, generation.as_ref())?;
        {
            let mut writer = self.writer.lock();
            let mut view = self.view.load().as_ref().clone();
            view.segments.extend(merged);
            self.view.store(Arc::new(view));
            writer.positions.extend(positions);
        }
        stored.manifest.positions.extend(positions);
        self.commit(&mut stored)
    }

    /// Removes everything, generations and log positions included, as [`Index::recreate`] does.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub fn clear(&self) -> Result<(), IndexError> {
        let _building = self.building.lock();
        self.remove_all(&mut self.stored.lock())
    }

    /// The index's folder.
    pub fn path(&self) -> &Path {
        self.folder.root()
    }

    fn remove_all(&self, stored: &mut Stored) -> Result<(), IndexError> {
        let empty = Manifest {
            model: self.options.model.clone(),
            dimension: self.options.dimension,
            next_number: stored.manifest.next_number,
            ..Manifest::default()
        };
        self.folder.commit(&empty)?;
        self.publish(stored, Stored::new(empty.clone()), View::default());
        self.folder.remove_others(&empty)
    }

    /// Shows another stored state and another view of it.
    fn publish(&self, stored: &mut Stored, next: Stored, view: View) {
        let mut writer = self.writer.lock();
        writer.committed = Committed::of(&next.manifest);
        writer.positions = next.manifest.positions.clone();
        *stored = next;
        self.view.store(Arc::new(view));
    }
}

/// The manifest without what belongs to other generations.
fn of_active_generation(manifest: &Manifest) -> Manifest {
    let mut manifest = manifest.clone();
    let active = manifest.active;
    manifest.quantizers.retain(|number, _| Some(*number) == active);
    for segment in &mut manifest.segments {
        segment.lists.retain(|number, _| Some(*number) == active);
    }
    (manifest.previous, manifest.built) = (None, None);
    manifest
}

/// Names come from elsewhere: one that leads out of the folder is no name of ours.
fn check_names(staged: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    let is_plain = |name: &str| PathBuf::from(name).file_name().is_some_and(|plain| plain == name);
    match manifest.files().find(|file| !is_plain(&file.name)) {
        None => Ok(()),
        Some(file) => Err(IndexError::Corrupt {
            path: staged.join(MANIFEST),
            reason: format!("it names a file {:?}, which leads elsewhere", file.name),
        }),
    }
}
