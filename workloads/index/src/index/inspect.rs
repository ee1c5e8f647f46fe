//! Looking into an index: status, verification, samples and stored entries.

use std::path::Path;

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_pcg::Pcg64;
use rayon::slice::ParallelSliceMut;

use half::f16;

use crate::entry::{EntryKey, LogPositions};
use crate::index::{Index, IndexError, IndexStatus};
use crate::linear::Matrix;
use crate::segment::lists::InvertedLists;
use crate::segment::{Segment, SegmentView};
use crate::snapshot::manifest::{Manifest, SegmentRecord};
use crate::snapshot::removed_rows;

/// A stored segment that is not the one that was written.
#[derive(Debug)]
pub struct DamagedSegment {
    /// Names its file.
    pub error: IndexError,
    /// The entries that it holds, without those that were removed, where only vectors are damaged. Else nothing that it says can be
    /// relied on, and the index has to be made anew.
    pub keys: Option<Vec<EntryKey>>,
}

impl Index {
    /// The next offsets of the change log to apply: right after opening, those of the last snapshot.
    pub fn log_positions(&self) -> LogPositions {
        self.writer.lock().positions.clone()
    }

    /// What the index holds now.
    pub fn status(&self) -> IndexStatus {
        let (committed, log_positions) = {
            let writer = self.writer.lock();
            (writer.committed.clone(), writer.positions.clone())
        };
        let view = self.view.load_full();
        let coded =
            |segment: &&SegmentView| segment.lists.as_ref().is_some_and(|lists| lists.packed().is_some());
        IndexStatus {
            entries: view.live(),
            removed: view.all().map(SegmentView::removed_count).sum(),
            tail_rows: view.tail_rows(),
            segments: view.segments.len(),
            coded_segments: view.segments.iter().filter(coded).count(),
            generation: view.generation.as_ref().map_or(0, |generation| generation.number()),
            previous_generation: committed.previous,
            built_generation: committed.built,
            lists: view.generation.as_ref().map_or(0, |generation| generation.lists()),
            memory_bytes: view.all().map(SegmentView::memory_bytes).sum::<u64>()
                + view.generation.as_ref().map_or(0, |generation| generation.memory_bytes()),
            mapped_bytes: view.all().map(SegmentView::mapped_bytes).sum(),
            log_positions,
            durable_positions: committed.positions,
        }
    }

    /// Reads every stored file and compares its checksums. Takes as long as the disk needs.
    ///
    /// # Errors
    /// When a file cannot be read or differs from what was written; the error names it.
    pub fn verify(&self) -> Result<(), IndexError> {
        let stored = self.stored.lock();
        verify_files(self.folder.data(), &stored.manifest)
    }

    /// Compares the checksums of all segments' files, those of the vectors too, which opening leaves out where there are many. The index goes on
    /// meanwhile, and answers with what it has: who applies the entries of a damaged segment again mends it, where its keys are whole.
    /// Takes as long as the disk needs.
    pub fn damaged(&self) -> Vec<DamagedSegment> {
        let mut damaged = Vec::new();
        let mut beyond_mending = Vec::new();
        {
            // Nothing is merged or removed while the files are read by name.
            let stored = self.stored.lock();
            for files in &stored.manifest.segments {
                if let Err(error) = verify_segment(self.folder.data(), files, false) {
                    beyond_mending.push(files.id);
                    damaged.push(DamagedSegment { error, keys: None });
                }
            }
        }
        let view = self.view.load_full();
        let others = view.segments.iter().filter(|segment| !beyond_mending.contains(&segment.segment.id));
        damaged.extend(others.filter_map(|segment| {
            let error = segment.segment.verify_vectors().err()?;
            let keys = segment.segment.keys();
            let keys = segment.live_rows().ones().map(|row| keys[row]).collect();
            Some(DamagedSegment { error, keys: Some(keys) })
        }));
        damaged
    }

    /// Up to `count` stored vectors (`n x dimension`), drawn without replacement; the same ones for the same
    /// `seed` and state. What a quantizer is trained on.
    pub fn sample_vectors(&self, count: usize, seed: u64) -> Matrix {
        let view = self.view.load_full();
        let live = view.live();
        let mut chosen = sample(&mut Pcg64::seed_from_u64(seed), live, count.min(live)).into_vec();
        chosen.sort_unstable();
        let mut vectors = Matrix::zeros(chosen.len(), self.options.dimension);
        let mut next = chosen.iter().copied().enumerate().peekable();
        let mut first = 0;
        for segment in view.all() {
            let rows = segment.live_rows();
            for (at, row) in rows.ones().enumerate() {
                if let Some((sampled, _)) = next.next_if(|&(_, place)| place == first + at) {
                    for (value, stored) in
                        vectors.row_mut(sampled).iter_mut().zip(segment.segment.vector(row))
                    {
                        *value = stored.to_f32();
                    }
                }
            }
            first += segment.live();
        }
        vectors
    }

    /// The stored vector of an entry: what a search from a stored image asks with.
    pub fn vector(&self, key: EntryKey) -> Option<Vec<f16>> {
        let view = self.view.load();
        view.all().find_map(|segment| {
            let row = segment.segment.find(key).filter(|&row| segment.is_live(row))?;
            Some(segment.segment.vector(row).to_vec())
        })
    }

    /// The keys of the stored frames of an image, by ascending frame; none when the image is not stored.
    pub fn frames(&self, id: [u8; 16]) -> Vec<EntryKey> {
        let view = self.view.load();
        let live = |segment: &SegmentView| {
            let rows = segment.segment.find_image(id).filter(|&row| segment.is_live(row));
            rows.map(|row| segment.segment.keys()[row]).collect::<Vec<_>>()
        };
        let mut keys: Vec<EntryKey> = view.all().flat_map(live).collect();
        keys.sort_unstable();
        keys
    }

    /// The images that have at least one entry, in the order of their ids. Gathered anew: `O(n log n)` for `n` entries, with 16 bytes of
    /// memory for each.
    pub fn image_ids(&self) -> Vec<[u8; 16]> {
        let view = self.view.load_full();
        let mut ids = Vec::with_capacity(view.live());
        for segment in view.all() {
            let keys = segment.segment.keys();
            ids.extend(segment.live_rows().ones().map(|row| keys[row].id));
        }
        ids.par_sort_unstable();
        ids.dedup();
        ids
    }

    /// How many these are.
    pub fn image_count(&self) -> usize {
        self.image_ids().len()
    }

    /// How many entries can be found.
    pub fn len(&self) -> usize {
        self.view.load().live()
    }

    /// How many rows are held, those of removed entries included whose space is not freed yet.
    pub fn row_count(&self) -> usize {
        self.view.load().all().map(SegmentView::rows).sum()
    }

    /// Whether there is nothing to find.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Compares the checksums of a segment's files, those of its vectors only with `vectors`.
fn verify_segment(data: &Path, files: &SegmentRecord, vectors: bool) -> Result<(), IndexError> {
    Segment::verify(data, &files.rows, vectors)?;
    files.lists.values().try_for_each(|record| InvertedLists::verify(data, record))?;
    files.removed.iter().try_for_each(|record| removed_rows::verify(data, record))
}

/// Reads every file that the manifest names, in `data`, and compares its checksums.
pub(crate) fn verify_files(data: &Path, manifest: &Manifest) -> Result<(), IndexError> {
    for segment in &manifest.segments {
        verify_segment(data, segment, true)?;
    }
    for (&number, record) in &manifest.quantizers {
        super::open::load_quantizer(data, record, number)?;
    }
    Ok(())
}
