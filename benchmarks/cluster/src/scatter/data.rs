//! The vectors, and an index of them for every layout: the same codes everywhere, because shards take their rows out of the whole one.

use std::path::{Path, PathBuf};

use half::f16;
use medindex_embedding::Manifest;
use medindex_index::quantizer::{Quantizer, TrainingParameters};
use medindex_index::{Attributes, Change, Entry, EntryKey, Index, IndexOptions, LogPositions};
use medindex_proto::identity::{ImageId, partition_of};
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::PARTITIONS;
use crate::error::BenchError;

const SEED: u64 = 0x5343_4154;
/// Clusters of the vectors, as kinds of images are.
const CLUSTERS: usize = 500;
/// Directions in which the vectors of a cluster differ.
const DIRECTIONS: usize = 24;
/// Entries applied at once.
const BATCH: usize = 4_096;
/// Vectors that the quantizer learns from.
const SAMPLE: usize = 32_768;

/// Draws unit vectors in clusters: a centre, steps along a few directions of the cluster's own, and noise in all of them.
pub(super) struct Generator {
    random: Pcg64,
    dimension: usize,
    clusters: Vec<(Vec<f32>, Vec<Vec<f32>>)>,
}

impl Generator {
    pub(super) fn new(dimension: usize) -> Self {
        let mut random = Pcg64::seed_from_u64(SEED);
        let mut draw = |scale: f32| -> Vec<f32> {
            (0..dimension).map(|_| scale * random.random_range(-1.0_f32..1.0)).collect()
        };
        let clusters =
            (0..CLUSTERS).map(|_| (draw(1.0), (0..DIRECTIONS).map(|_| draw(0.35)).collect())).collect();
        Self { random: Pcg64::seed_from_u64(SEED + 1), dimension, clusters }
    }

    /// The next vector of norm 1.
    pub(super) fn next(&mut self) -> Vec<f32> {
        let (centre, directions) = &self.clusters[self.random.random_range(0..CLUSTERS)];
        let mut vector = centre.clone();
        for direction in directions {
            let step = self.random.random_range(-1.0_f32..1.0);
            vector.iter_mut().zip(direction).for_each(|(value, along)| *value += step * along);
        }
        for value in &mut vector {
            *value += 0.1 * self.random.random_range(-1.0_f32..1.0);
        }
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        debug_assert_eq!(vector.len(), self.dimension);
        vector.iter().map(|value| value / norm).collect()
    }
}

/// Folders of the indexes.
pub(super) struct Layouts {
    root: PathBuf,
}

impl Layouts {
    pub(super) fn whole(&self) -> PathBuf {
        self.root.join("whole")
    }

    pub(super) fn shard(&self, shards: u32, number: u32) -> PathBuf {
        self.root.join(format!("of-{shards}")).join(number.to_string())
    }
}

/// Partitions of a shard.
pub(super) fn partitions(shards: u32, number: u32) -> Vec<u32> {
    (0..PARTITIONS).filter(|partition| partition % shards == number).collect()
}

/// Makes all indexes, unless they are there from an earlier run with the same numbers.
pub(super) fn prepare(
    scratch: &Path,
    model: &Manifest,
    vectors: usize,
    layouts: &[u32],
) -> Result<Layouts, BenchError> {
    let dimension = model.embedding.dimension;
    let root = scratch.join(format!("{vectors}x{dimension}"));
    let stamp = root.join("complete");
    let made = Layouts { root: root.clone() };
    if stamp.is_file() {
        return Ok(made);
    }
    if root.exists() {
        std::fs::remove_dir_all(&root).map_err(BenchError::file("remove", &root))?;
    }
    let options = || IndexOptions::new(dimension, model.digest());
    let source = Index::open(&root.join("source"), options())?;
    fill(&source, vectors, dimension)?;
    eprintln!("{vectors} vectors are stored; learning the quantizer");
    let quantizer = learn(&source, vectors)?;
    source.build_generation(quantizer.clone(), &|_| ())?;
    source.activate(1)?;
    let take = |folder: &Path, held: &[u32]| -> Result<(), BenchError> {
        let index = Index::open(folder, options())?;
        index.build_generation(quantizer.clone(), &|_| ())?;
        index.activate(1)?;
        let positions: LogPositions = held.iter().map(|partition| (*partition, 0)).collect();
        let keep = |key: &EntryKey| held.contains(&partition_of(&ImageId::from_bytes(key.id), PARTITIONS));
        Ok(index.absorb(&source, keep, &positions)?)
    };
    // One segment everywhere, so that nothing but the division differs.
    take(&made.whole(), &partitions(1, 0))?;
    for &shards in layouts {
        for number in 0..shards {
            take(&made.shard(shards, number), &partitions(shards, number))?;
        }
    }
    drop(source);
    let source = root.join("source");
    std::fs::remove_dir_all(&source).map_err(BenchError::file("remove", &source))?;
    std::fs::write(&stamp, "").map_err(BenchError::file("write", &stamp))?;
    Ok(made)
}

fn fill(index: &Index, vectors: usize, dimension: usize) -> Result<(), BenchError> {
    let mut generator = Generator::new(dimension);
    let mut random = Pcg64::seed_from_u64(SEED + 2);
    let mut changes = Vec::with_capacity(BATCH);
    for number in 0..vectors {
        let key = EntryKey::new(random.random::<u128>().to_be_bytes(), 0);
        let vector = generator.next().into_iter().map(f16::from_f32).collect();
        changes.push(Change::Upsert(Entry { key, vector, attributes: Attributes::default() }));
        if changes.len() == BATCH || number + 1 == vectors {
            index.apply(&changes, &LogPositions::new())?;
            index.maintain()?;
            changes.clear();
        }
    }
    index.snapshot()?;
    Ok(())
}

fn learn(index: &Index, vectors: usize) -> Result<Quantizer, BenchError> {
    let sample = index.sample_vectors(SAMPLE, SEED);
    let parameters = TrainingParameters {
        generation: 1,
        dimension: sample.columns().min(256),
        sub_quantizers: 64,
        bits: 4,
        expected_vectors: vectors,
        seed: SEED,
        ..TrainingParameters::default()
    };
    Ok(Quantizer::train(&sample, &parameters, &|_| {})?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_norm_one_and_are_nearer_inside_their_cluster() {
        let mut generator = Generator::new(64);
        let vectors: Vec<Vec<f32>> = (0..2_000).map(|_| generator.next()).collect();
        let inner = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert!((inner(&vectors[0], &vectors[0]) - 1.0).abs() < 1e-4);
        let nearest = vectors[1..].iter().map(|other| inner(&vectors[0], other)).fold(-1.0, f32::max);
        assert!(nearest > 0.3, "{nearest}");
    }

    #[test]
    fn shards_hold_every_partition_once() {
        for shards in [1, 3, 9] {
            let mut all: Vec<u32> = (0..shards).flat_map(|number| partitions(shards, number)).collect();
            all.sort_unstable();
            assert_eq!(all, (0..PARTITIONS).collect::<Vec<_>>());
        }
    }
}
