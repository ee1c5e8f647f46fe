//! Generations: building inverted lists for a new quantizer beside the old ones, and switching between them.
//!
//! A generation is a quantizer and, for each segment, a file of inverted lists. Building adds files; activating
//! commits a manifest that names the other generation and publishes a view with its lists. Both of the last two
//! generations are kept, so that going back is the same as going on. Vectors are never rewritten.

use std::sync::Arc;

use serde::Serialize;
use tracing::warn;

use crate::index::generation::describe;
use crate::index::stored::Stored;
use crate::index::{Generation, Index, IndexError};
use crate::quantizer::Quantizer;
use crate::segment::SegmentView;
use crate::segment::lists::InvertedLists;
use crate::snapshot::section_file::FileRecord;

/// How far [`Index::build_generation`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BuildProgress {
    /// Rows that have a list and a code of the new generation.
    pub encoded: usize,
    /// Rows in all, as of now.
    pub rows: usize,
}

impl Index {
    /// Builds inverted lists of the quantizer's generation for everything stored, beside the active generation.
    /// Searches, changes and maintenance go on meanwhile. Takes about as long as encoding all vectors. What
    /// changes while it runs is searched exactly after [`Index::activate`], until [`Index::maintain`] gives it
    /// lists too. A generation built before but never activated is dropped.
    ///
    /// # Errors
    /// When the quantizer is of another dimension, its generation is 0 or already kept, or a file cannot be
    /// written. The active generation stays in any case.
    pub fn build_generation(
        &self,
        quantizer: Quantizer,
        progress: &dyn Fn(BuildProgress),
    ) -> Result<(), IndexError> {
        let _building = self.building.lock();
        let number = quantizer.generation();
        self.check_generation(&quantizer)?;
        let generation = Arc::new(Generation::new(quantizer));
        {
            let mut stored = self.stored.lock();
            self.freeze(&mut stored)?;
            let record = self.save_quantizer(&mut stored, &generation.quantizer)?;
            if let Some(built) = stored.manifest.built.take() {
                drop_generation(&mut stored, built);
            }
            stored.manifest.quantizers.insert(number, record);
            self.commit(&mut stored)?;
        }
        self.list_segments(&generation, progress)?;
        let mut stored = self.stored.lock();
        stored.manifest.built = Some(number);
        self.commit(&mut stored)
    }

    fn check_generation(&self, quantizer: &Quantizer) -> Result<(), IndexError> {
        let generation = quantizer.generation();
        let invalid = |reason: String| Err(IndexError::InvalidGeneration { generation, reason });
        if quantizer.input_dimension() != self.options.dimension {
            return invalid(format!(
                "it is for {} components and the index stores {}; train it on this index's vectors",
                quantizer.input_dimension(),
                self.options.dimension
            ));
        }
        let stored = self.stored.lock();
        if generation == 0 || [stored.manifest.active, stored.manifest.previous].contains(&Some(generation)) {
            return invalid("its number is taken; give it a number above those in use".to_owned());
        }
        Ok(())
    }

    fn save_quantizer(&self, stored: &mut Stored, quantizer: &Quantizer) -> Result<FileRecord, IndexError> {
        let generation = quantizer.generation();
        let name = format!("{generation}.{:010}.quantizer", stored.next_number());
        let failed = |reason| IndexError::Quantize { generation, action: "saving it", reason };
        quantizer.save(&self.folder.data().join(&name)).map_err(|error| failed(describe(&error)))?;
        let bytes = quantizer.to_bytes();
        Ok(FileRecord { name, bytes: bytes.len() as u64, checksum: crc32fast::hash(&bytes) })
    }

    /// Gives every stored segment lists of `generation`, one after the other, until none lacks them.
    fn list_segments(
        &self,
        generation: &Generation,
        progress: &dyn Fn(BuildProgress),
    ) -> Result<(), IndexError> {
        let number = generation.number();
        loop {
            let (next, mut encoded, rows, file_number) = {
                let mut stored = self.stored.lock();
                let view = self.view.load();
                let listed = |segment: &SegmentView| {
                    let id = segment.segment.id;
                    let files = stored.manifest.segments.iter().find(|files| files.id == id);
                    files.is_some_and(|files| files.lists.contains_key(&number))
                };
                let encoded =
                    view.segments.iter().filter(|segment| listed(segment)).map(SegmentView::rows).sum();
                let next = view.segments.iter().find(|segment| !listed(segment)).cloned();
                (next, encoded, view.segments.iter().map(SegmentView::rows).sum(), stored.next_number())
            };
            progress(BuildProgress { encoded, rows });
            let Some(segment) = next else { return Ok(()) };
            let id = segment.segment.id;
            let rows_encoded = generation.encode_segment(&segment.segment, &mut |more| {
                encoded += more;
                progress(BuildProgress { encoded, rows });
            })?;
            let name = format!("{id:010}.g{number}.{file_number:010}.lists");
            let path = self.folder.data().join(&name);
            let (lists, shape) = (generation.lists(), generation.shape());
            let record = InvertedLists::write(&path, id, number, lists, shape, &rows_encoded)?;
            let mut stored = self.stored.lock();
            match stored.segment_mut(id) {
                Some(files) => {
                    files.lists.insert(number, record);
                }
                // The segment was merged meanwhile; the one it went into comes next.
                None => self.folder.remove(&name)?,
            }
        }
    }

    /// Searches by the generation that was built last, from the next search on. The one that was active is kept
    /// for [`Index::rollback`]; the one before it is dropped.
    ///
    /// # Errors
    /// When `generation` is not the one that was built, or a file cannot be read or written: the active
    /// generation stays.
    pub fn activate(&self, generation: u64) -> Result<(), IndexError> {
        let _building = self.building.lock();
        if self.stored.lock().manifest.built != Some(generation) {
            let reason = "it is not built; build it first".to_owned();
            return Err(IndexError::InvalidGeneration { generation, reason });
        }
        self.switch_to(Some(generation))
    }

    /// Searches by the generation before the active one again (by none, exactly, if there was none before); the
    /// active one takes its place, so that a second call returns to it. Returns the generation that is active
    /// then, 0 for none.
    ///
    /// # Errors
    /// When no generation is active, or a file cannot be read or written: the active generation stays.
    pub fn rollback(&self) -> Result<u64, IndexError> {
        let _building = self.building.lock();
        let (active, previous) = {
            let stored = self.stored.lock();
            (stored.manifest.active, stored.manifest.previous)
        };
        if active.is_none() && previous.is_none() {
            let reason = "no generation was ever active; there is nothing to go back to".to_owned();
            return Err(IndexError::InvalidGeneration { generation: 0, reason });
        }
        self.switch_to(previous)?;
        Ok(previous.unwrap_or(0))
    }

    /// Makes `target` the active generation and the active one the previous.
    fn switch_to(&self, target: Option<u64>) -> Result<(), IndexError> {
        let generation = target.map(|number| self.load_generation(number)).transpose()?;
        if let Some(generation) = &generation {
            // Segments that came since it was built or active.
            self.list_segments(generation, &|_| ())?;
        }
        let mut stored = self.stored.lock();
        let mut lists = Vec::new();
        if let Some(generation) = &generation {
            let view = self.view.load_full();
            for segment in &view.segments {
                lists.push((segment.segment.id, self.open_lists(&mut stored, segment, generation)?));
            }
        }
        let manifest = &mut stored.manifest;
        let before = (manifest.active, manifest.previous, manifest.built);
        manifest.previous = std::mem::replace(&mut manifest.active, target);
        manifest.built = manifest.built.filter(|built| Some(*built) != target);
        if let Err(error) = self.commit(&mut stored) {
            (stored.manifest.active, stored.manifest.previous, stored.manifest.built) = before;
            return Err(error);
        }
        self.publish_generation(generation, &lists);
        if let Some(dropped) = before.1.filter(|dropped| Some(*dropped) != target) {
            drop_generation(&mut stored, dropped);
            if let Err(error) = self.commit(&mut stored) {
                // The switch is done and durable; the space is freed by the next commit.
                warn!(generation = dropped, %error, "cannot drop the generation before the previous one");
            }
        }
        Ok(())
    }

    /// The segment's lists of `generation`; `None` when it came too late to have any.
    pub(crate) fn open_lists(
        &self,
        stored: &mut Stored,
        segment: &SegmentView,
        generation: &Generation,
    ) -> Result<Option<Arc<InvertedLists>>, IndexError> {
        let (id, number) = (segment.segment.id, generation.number());
        let Some(record) = stored.segment_mut(id).and_then(|files| files.lists.get(&number).cloned()) else {
            return Ok(None);
        };
        let data = self.folder.data();
        let lists = InvertedLists::open(data, &record, id, segment.rows(), number, generation.kernel)?;
        Ok(Some(Arc::new(lists)))
    }

    fn publish_generation(
        &self,
        generation: Option<Arc<Generation>>,
        lists: &[(u64, Option<Arc<InvertedLists>>)],
    ) {
        let _writer = self.writer.lock();
        let mut view = self.view.load().as_ref().clone();
        view.generation = generation;
        for segment in &mut view.segments {
            let found = lists.iter().find(|(id, _)| *id == segment.segment.id);
            *segment = segment.with_lists(found.and_then(|(_, lists)| lists.clone()));
        }
        self.view.store(Arc::new(view));
    }

    /// Loads a kept quantizer and checks it against the manifest.
    pub(crate) fn load_generation(&self, number: u64) -> Result<Arc<Generation>, IndexError> {
        let record = self.stored.lock().manifest.quantizers.get(&number).cloned();
        let Some(record) = record else {
            let reason = "its quantizer is not kept; build it again".to_owned();
            return Err(IndexError::InvalidGeneration { generation: number, reason });
        };
        crate::index::open::load_quantizer(self.folder.data(), &record, number)
    }

    /// The active quantizer, for encoding what is published beside the index.
    pub fn quantizer(&self) -> Option<Arc<Quantizer>> {
        self.view.load().generation.as_ref().map(|generation| Arc::clone(&generation.quantizer))
    }
}

/// Takes a generation out of the manifest and marks its files.
pub(crate) fn drop_generation(stored: &mut Stored, number: u64) {
    let mut files: Vec<FileRecord> = stored.manifest.quantizers.remove(&number).into_iter().collect();
    for segment in &mut stored.manifest.segments {
        files.extend(segment.lists.remove(&number));
    }
    for file in files {
        stored.discard(file);
    }
}
