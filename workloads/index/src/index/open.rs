//! Opening an index: locking its folder and loading what the manifest names.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::index::generation::describe;
use crate::index::generations::drop_generation;
use crate::index::stored::{Committed, Stored};
use crate::index::{Generation, Index, IndexError, IndexOptions, View, Writer};
use crate::quantizer::Quantizer;
use crate::segment::lists::InvertedLists;
use crate::segment::{Removed, Segment, SegmentView};
use crate::snapshot::folder::Folder;
use crate::snapshot::manifest::{MANIFEST, Manifest, SegmentRecord};
use crate::snapshot::removed_rows;
use crate::snapshot::section_file::FileRecord;

/// The most components of an embedding.
const MOST_COMPONENTS: usize = 65_536;

impl Index {
    /// Opens the index in `folder`, or creates it there. Shows the last snapshot; what came later is in the
    /// caller's log from [`Index::log_positions`] on.
    ///
    /// # Errors
    /// When a setting is out of range, the folder is in use or holds embeddings of another model, or a file is
    /// missing or damaged (the error names it): then [`Index::recreate`] starts anew.
    pub fn open(folder: &Path, options: IndexOptions) -> Result<Self, IndexError> {
        check(&options)?;
        let folder = Folder::lock(folder)?;
        let manifest = match Manifest::read(folder.root())? {
            Some(manifest) => manifest,
            None if folder.has_data()? => {
                let reason = "it is missing, but there are data files".to_owned();
                return Err(IndexError::Corrupt { path: folder.root().join(MANIFEST), reason });
            }
            None => {
                let (model, dimension) = (options.model.clone(), options.dimension);
                let manifest = Manifest { model, dimension, ..Manifest::default() };
                folder.commit(&manifest)?;
                manifest
            }
        };
        check_model(folder.root(), &manifest, &options)?;
        Self::load(folder, manifest, options)
    }

    /// Removes the index in `folder`, damaged or not, and creates an empty one: the caller fills it again from
    /// the image store.
    ///
    /// # Errors
    /// When a setting is out of range, the folder is in use, or a file cannot be removed or written.
    pub fn recreate(folder: &Path, options: IndexOptions) -> Result<Self, IndexError> {
        check(&options)?;
        let folder = Folder::lock(folder)?;
        let empty =
            Manifest { model: options.model.clone(), dimension: options.dimension, ..Manifest::default() };
        // The manifest goes first: a crash in between leaves an empty index and files that the next open removes.
        folder.commit(&empty)?;
        folder.remove_others(&empty)?;
        Self::load(folder, empty, options)
    }

    fn load(folder: Folder, manifest: Manifest, options: IndexOptions) -> Result<Self, IndexError> {
        let committed = Committed::of(&manifest);
        let mut stored = Stored::new(manifest);
        let view = load_view(&folder, &mut stored, &options)?;
        folder.remove_others(&stored.manifest)?;
        let writer = Writer { positions: committed.positions.clone(), committed, ..Writer::default() };
        Ok(Self {
            options,
            folder,
            view: ArcSwap::from_pointee(view),
            writer: Mutex::new(writer),
            stored: Mutex::new(stored),
            building: Mutex::new(()),
        })
    }
}

/// Opens what the manifest names.
pub(crate) fn load_view(
    folder: &Folder,
    stored: &mut Stored,
    options: &IndexOptions,
) -> Result<View, IndexError> {
    drop_unfinished_generations(stored);
    let generation = match stored.manifest.active {
        Some(number) => Some(load_active(folder, &stored.manifest, number)?),
        None => None,
    };
    let mut view = View { generation, ..View::default() };
    let bytes: u64 = stored.manifest.segments.iter().map(|files| files.rows.bytes).sum();
    let verify_vectors = bytes <= options.verify_vectors_up_to;
    for files in &stored.manifest.segments {
        let segment = load_segment(
            folder.data(),
            files,
            view.generation.as_deref(),
            options.dimension,
            verify_vectors,
        )?;
        if let Some(removed) = &segment.removed {
            stored.removed.insert(files.id, Arc::clone(removed));
        }
        view.segments.push(segment);
    }
    Ok(view)
}

/// Refuses what another model made.
pub(crate) fn check_model(
    folder: &Path,
    manifest: &Manifest,
    options: &IndexOptions,
) -> Result<(), IndexError> {
    if manifest.model == options.model && manifest.dimension == options.dimension {
        return Ok(());
    }
    Err(IndexError::OtherModel {
        folder: folder.to_owned(),
        stored_model: manifest.model.clone(),
        stored_dimension: manifest.dimension,
        model: options.model.clone(),
        dimension: options.dimension,
    })
}

fn check(options: &IndexOptions) -> Result<(), IndexError> {
    let invalid = |name, value: String, range| Err(IndexError::InvalidSetting { name, value, range });
    if options.dimension == 0 || options.dimension > MOST_COMPONENTS {
        return invalid("dimension", options.dimension.to_string(), "1 to 65,536");
    }
    if options.merge_segments < 2 {
        return invalid("merge_segments", options.merge_segments.to_string(), "at least 2");
    }
    if !(0.0..=1.0).contains(&options.rewrite_share) {
        return invalid("rewrite_share", options.rewrite_share.to_string(), "0 to 1");
    }
    if options.segment_rows == 0 || u32::try_from(options.segment_rows).is_err() {
        return invalid("segment_rows", options.segment_rows.to_string(), "1 to 4,294,967,295");
    }
    Ok(())
}

/// A generation whose building was interrupted is not in use by anything.
fn drop_unfinished_generations(stored: &mut Stored) {
    let manifest = &stored.manifest;
    let used = [manifest.active, manifest.previous, manifest.built];
    let unused: Vec<u64> =
        manifest.quantizers.keys().copied().filter(|&number| !used.contains(&Some(number))).collect();
    for number in unused {
        drop_generation(stored, number);
    }
}

fn load_active(folder: &Folder, manifest: &Manifest, number: u64) -> Result<Arc<Generation>, IndexError> {
    let Some(record) = manifest.quantizers.get(&number) else {
        let reason = format!("it does not name the quantizer of its active generation {number}");
        return Err(IndexError::Corrupt { path: folder.root().join(MANIFEST), reason });
    };
    load_quantizer(folder.data(), record, number)
}

/// Loads a quantizer and compares it with the manifest.
pub(crate) fn load_quantizer(
    data: &Path,
    record: &FileRecord,
    number: u64,
) -> Result<Arc<Generation>, IndexError> {
    let path = data.join(&record.name);
    let bytes = fs::read(&path).map_err(|source| IndexError::Read { path: path.clone(), source })?;
    let corrupt = |reason: String| IndexError::Corrupt { path: path.clone(), reason };
    if bytes.len() as u64 != record.bytes || crc32fast::hash(&bytes) != record.checksum {
        return Err(corrupt("its size or checksum does not match".to_owned()));
    }
    let quantizer = Quantizer::from_bytes(&bytes).map_err(|error| corrupt(describe(&error)))?;
    if quantizer.generation() != number {
        return Err(corrupt(format!("it is of generation {}, not {number}", quantizer.generation())));
    }
    Ok(Arc::new(Generation::new(quantizer)))
}

fn load_segment(
    data: &Path,
    files: &SegmentRecord,
    generation: Option<&Generation>,
    dimension: usize,
    verify_vectors: bool,
) -> Result<SegmentView, IndexError> {
    let segment = Segment::open(data, &files.rows, files.id, dimension, verify_vectors)?;
    let rows = segment.rows();
    let mut lists = None;
    if let Some(generation) = generation
        && let Some(record) = files.lists.get(&generation.number())
    {
        let number = generation.number();
        let opened = InvertedLists::open(data, record, files.id, rows, number, generation.kernel)?;
        lists = Some(Arc::new(opened));
    }
    let removed = match &files.removed {
        Some(record) => {
            let removed = removed_rows::read(data, record, files.id, rows)?;
            Some(Arc::new(Removed::new(removed, lists.as_deref())))
        }
        None => None,
    };
    Ok(SegmentView { segment: Arc::new(segment), lists, removed })
}
