//! Retrieval: building an index from raw vectors, opening it, and searching all queries.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use half::f16;
use half::slice::HalfFloatSliceExt;
use medindex_index::linear::Matrix;
use medindex_index::quantizer::{Quantizer, TrainingParameters};
use medindex_index::{
    Attributes, Change, Entry, EntryKey, Index, IndexOptions, LogPositions, SearchRequest, SearchResponse,
};

use super::clock::processor_seconds;
use super::memory::anonymous_bytes;
use super::protocol::{Answer, Build, BuildTime};
use super::{EngineError, read_matrix};

/// Vectors that the quantizer learns from, as many as the peers get.
const SAMPLE: usize = 262_144;
/// Changes applied at a time.
const CHANGES: usize = 8_192;
/// The "model" of the vectors.
const MODEL: &str = "benchmark";

/// Builds an index as a bulk import does: apply, freeze, learn, encode, activate, snapshot.
pub(crate) fn build(build: &Build) -> Result<Answer, EngineError> {
    let vectors = read_matrix(&build.base, build.dimension, Some(build.count))?;
    let parameters = parameters(&build.variant, build.dimension, build.count)?;
    if build.out.exists() {
        fs::remove_dir_all(&build.out).map_err(|source| file_error("remove", &build.out, source))?;
    }
    let (wall, start) = (Instant::now(), processor_seconds());
    let index = open(&build.out, build.dimension, build.count)?;
    apply(&index, &vectors)?;
    index.maintain().map_err(EngineError::engine("freeze the tail"))?;
    let before_training = processor_seconds();
    let rows: Vec<usize> = (0..build.count.min(SAMPLE)).collect();
    let quantizer = Quantizer::train(&vectors.select_rows(&rows), &parameters, &|_| ())
        .map_err(EngineError::engine("learn a quantizer"))?;
    let train = processor_seconds() - before_training;
    let generation = quantizer.generation();
    index.build_generation(quantizer, &|_| ()).map_err(EngineError::engine("build lists"))?;
    index.activate(generation).map_err(EngineError::engine("activate the generation"))?;
    index.snapshot().map_err(EngineError::engine("store a snapshot"))?;
    let time = BuildTime {
        wall: wall.elapsed().as_secs_f64(),
        cpu: processor_seconds() - start,
        train,
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    // Written last: its presence says that the folder is whole.
    let path = times_path(&build.out);
    let text = serde_json::json!({ "time": time, "dimension": build.dimension, "count": build.count });
    fs::write(&path, text.to_string()).map_err(|source| file_error("write", &path, source))?;
    Ok(Answer::Built(time))
}

/// Reads `PQ<sub-quantizers>x<bits>,IVF<lists>`.
fn parameters(variant: &str, dimension: usize, count: usize) -> Result<TrainingParameters, EngineError> {
    let parts = || {
        let (codes, lists) = variant.strip_prefix("PQ")?.split_once(",IVF")?;
        let (sub_quantizers, bits) = codes.split_once('x')?;
        Some((sub_quantizers.parse().ok()?, bits.parse().ok()?, lists.parse().ok()?))
    };
    let (sub_quantizers, bits, lists) = parts().ok_or_else(|| {
        let text = format!("{variant:?} is not like PQ64x4,IVF4096");
        EngineError::Request(serde::de::Error::custom(text))
    })?;
    Ok(TrainingParameters {
        dimension,
        sub_quantizers,
        bits,
        lists: Some(lists),
        expected_vectors: count,
        ..TrainingParameters::default()
    })
}

fn open(folder: &Path, dimension: usize, count: usize) -> Result<Index, EngineError> {
    // One segment, as a compacted index has: the tail takes everything and is frozen once.
    let options = IndexOptions { tail_rows: count, ..IndexOptions::new(dimension, MODEL) };
    Index::open(folder, options).map_err(EngineError::engine("open the index"))
}

fn apply(index: &Index, vectors: &Matrix) -> Result<(), EngineError> {
    for first in (0..vectors.rows()).step_by(CHANGES) {
        let end = vectors.rows().min(first + CHANGES);
        let changes: Vec<Change> =
            (first..end).map(|row| Change::Upsert(entry(row, vectors.row(row)))).collect();
        let positions = LogPositions::from([(0, end as u64)]);
        index.apply(&changes, &positions).map_err(EngineError::engine("apply changes"))?;
    }
    Ok(())
}

/// Row `row` as an entry: its number is its identity.
fn entry(row: usize, vector: &[f32]) -> Entry {
    let mut half = vec![f16::ZERO; vector.len()];
    half.convert_from_f32_slice(vector);
    let key = EntryKey::new((row as u128).to_be_bytes(), 0);
    Entry { key, vector: half, attributes: Attributes::default() }
}

fn file_error(action: &'static str, path: &Path, source: std::io::Error) -> EngineError {
    EngineError::File { action, path: path.to_owned(), source }
}

/// Beside the index's folder.
fn times_path(folder: &Path) -> PathBuf {
    folder.with_extension("json")
}

/// An open index and the effort of its searches.
#[derive(Debug)]
pub(crate) struct Retrieval {
    index: Index,
    probes: usize,
    rerank: usize,
}

#[derive(serde::Deserialize)]
struct Times {
    time: BuildTime,
    dimension: usize,
    count: usize,
}

impl Retrieval {
    /// Opens an index, measuring the memory it takes.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Answer), EngineError> {
        let path = times_path(folder);
        let text = fs::read(&path).map_err(|source| file_error("read", &path, source))?;
        let times: Times = serde_json::from_slice(&text).map_err(EngineError::Request)?;
        let before = anonymous_bytes()?;
        let index = open(folder, times.dimension, times.count)?;
        let bytes = anonymous_bytes()?.saturating_sub(before);
        let mapped = index.status().mapped_bytes;
        Ok((Self { index, probes: 16, rerank: 100 }, Answer::Opened { bytes, mapped, build: times.time }))
    }

    /// Sets the lists probed and the candidates scored exactly.
    pub(crate) fn set(&mut self, probes: usize, rerank: usize) {
        (self.probes, self.rerank) = (probes, rerank);
    }

    /// Searches the first `limit` queries once, `batch` at a time.
    pub(crate) fn search(
        &self,
        queries: &Matrix,
        batch: usize,
        k: usize,
        ids: bool,
        limit: Option<usize>,
    ) -> Result<Answer, EngineError> {
        let rows = limit.unwrap_or(queries.rows()).min(queries.rows());
        let requests: Vec<SearchRequest> = queries
            .iter_rows()
            .take(rows)
            .map(|query| SearchRequest {
                probes: Some(self.probes),
                rerank: Some(self.rerank.max(k)),
                parallel: false,
                ..SearchRequest::new(query.to_vec(), k)
            })
            .collect();
        let mut responses = Vec::with_capacity(rows);
        let start = processor_seconds();
        if batch == 1 {
            for request in &requests {
                responses.push(self.index.search(request).map_err(EngineError::engine("search"))?);
            }
        } else {
            for part in requests.chunks(batch) {
                responses.extend(self.index.search_batch(part).map_err(EngineError::engine("search"))?);
            }
        }
        let seconds = processor_seconds() - start;
        let ids = ids.then(|| responses.iter().map(rows_of).collect());
        Ok(Answer::Found { seconds, queries: rows, ids })
    }

    /// The index's own account of itself.
    pub(crate) fn status(&self) -> Result<Answer, EngineError> {
        let status = serde_json::to_value(self.index.status()).map_err(EngineError::Request)?;
        Ok(Answer::Status { status })
    }
}

/// Row numbers of the hits.
fn rows_of(response: &SearchResponse) -> Vec<u64> {
    response.hits.iter().map(|hit| u128::from_be_bytes(hit.key.id) as u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_names_codes_and_lists() {
        let read = parameters("PQ64x4,IVF4096", 256, 1_000_000).unwrap();
        assert_eq!((read.sub_quantizers, read.bits, read.lists), (64, 4, Some(4096)));
        assert!(parameters("IVF4096", 256, 10).is_err());
    }

    #[test]
    fn the_identity_of_an_entry_is_its_row() {
        let entry = entry(70_000, &[1.0, 0.0]);
        assert_eq!(u128::from_be_bytes(entry.key.id), 70_000);
        assert_eq!(entry.vector, [f16::ONE, f16::ZERO]);
    }
}
