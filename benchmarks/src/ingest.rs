//! `medindex-bench steps`: what each step of making an image searchable costs by itself, on one thread.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use half::f16;
use half::slice::HalfFloatSliceExt;
use medindex_embedding::{Model, ModelError, RuntimeError, RuntimeOptions};
use medindex_imaging::{Decoded, FrameSelection, ImagingError, Limits, Rendered, WindowChoice, decode};
use medindex_index::{
    Attributes, Change, Entry, EntryKey, Index, IndexError, IndexOptions, LogPositions, SearchRequest,
};
use serde::Serialize;

use crate::dataset::{ArchiveError, ArchivedImage, read_images};

/// Images embedded together in the batch measurement.
const BATCH: usize = 16;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepsError {
    /// See [`ArchiveError`].
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// See [`RuntimeError`].
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// An image of the archive cannot be read.
    #[error("cannot read an image of the archive")]
    Decode(#[source] Box<ImagingError>),
    /// The model cannot be loaded or run.
    #[error("cannot embed")]
    Embed(#[source] Box<ModelError>),
    /// The index refuses.
    #[error("cannot index")]
    Index(#[source] Box<IndexError>),
    /// The result cannot be printed.
    #[error("cannot print the result")]
    Print(#[source] serde_json::Error),
}

/// Arguments of `medindex-bench steps`.
#[derive(Debug, clap::Args)]
pub(crate) struct StepsArguments {
    /// The archive: a .tar.gz with one folder a label.
    #[arg(long)]
    archive: PathBuf,
    /// The model's folder.
    #[arg(long)]
    model: PathBuf,
    /// An empty folder for an index.
    #[arg(long)]
    scratch: PathBuf,
    /// How many images.
    #[arg(long, default_value_t = 64)]
    images: usize,
    /// Threads of the model.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Milliseconds an image; medians, but for the batch, whose images cannot be told apart.
#[derive(Debug, Serialize)]
struct Steps {
    model: String,
    threads: usize,
    images: usize,
    decode: f64,
    render: f64,
    tensor: f64,
    embed_single: f64,
    embed_batch: f64,
    index_apply: f64,
    search: f64,
}

/// Measures and prints one JSON object.
pub(crate) fn measure_steps(arguments: &StepsArguments) -> Result<(), StepsError> {
    let all = read_images(&arguments.archive)?;
    let stride = (all.len() / arguments.images.max(1)).max(1);
    let images: Vec<&ArchivedImage> = all.iter().step_by(stride).take(arguments.images).collect();
    let options = RuntimeOptions::from_environment()?.with_threads(arguments.threads);
    let model = Model::load(&arguments.model, &options).map_err(embed_error)?;

    let read = |image: &&ArchivedImage| {
        decode(&image.bytes, &Limits::default(), FrameSelection::Middle).map_err(decode_error)
    };
    let (decode_time, decoded) = each(&images, read)?;
    let render = |image: &Decoded| Ok(image.frames[0].render(&WindowChoice::File));
    let (render_time, rendered) = each(&decoded, render)?;
    let spec = model.manifest().embedding.input.to_spec();
    let tensor = |image: &Rendered| image.to_tensor(&spec).map_err(decode_error);
    let (tensor_time, tensors) = each(&rendered, tensor)?;
    drop(black_box(tensors));
    let embed = |image: &Rendered| model.embed(std::slice::from_ref(image)).map_err(embed_error);
    let (single, vectors) = each(&rendered, embed)?;
    let start = Instant::now();
    for batch in rendered.chunks(BATCH) {
        black_box(model.embed(batch).map_err(embed_error)?);
    }
    let batch = milliseconds(start) / rendered.len() as f64;
    let vectors: Vec<Vec<f32>> = vectors.into_iter().flatten().collect();
    let (apply, search) = index_steps(arguments, &model, &vectors)?;

    let steps = Steps {
        model: model.manifest().name.clone(),
        threads: arguments.threads,
        images: images.len(),
        decode: decode_time,
        render: render_time,
        tensor: tensor_time,
        embed_single: single,
        embed_batch: batch,
        index_apply: apply,
        search,
    };
    serde_json::to_writer(std::io::stdout().lock(), &steps).map_err(StepsError::Print)
}

/// Milliseconds to apply one image, and to search for one afterwards.
fn index_steps(
    arguments: &StepsArguments,
    model: &Model,
    vectors: &[Vec<f32>],
) -> Result<(f64, f64), StepsError> {
    let options = IndexOptions::new(model.dimension(), model.digest());
    let index = Index::open(&arguments.scratch, options).map_err(index_error)?;
    let numbered: Vec<(usize, &Vec<f32>)> = vectors.iter().enumerate().collect();
    let (apply, _) = each(&numbered, |(number, vector)| {
        let mut half = vec![f16::ZERO; vector.len()];
        half.convert_from_f32_slice(vector);
        let key = EntryKey::new((*number as u128).to_be_bytes(), 0);
        let entry = Entry { key, vector: half, attributes: Attributes::default() };
        let positions = LogPositions::from([(0, *number as u64 + 1)]);
        index.apply(&[Change::Upsert(entry)], &positions).map_err(index_error)
    })?;
    let search =
        |vector: &Vec<f32>| index.search(&SearchRequest::new(vector.clone(), 10)).map_err(index_error);
    let (search, _) = each(vectors, search)?;
    Ok((apply, search))
}

/// Does `work` for each item: median milliseconds, and the results. The first item warms up and does not count.
fn each<T, R>(
    items: &[T],
    mut work: impl FnMut(&T) -> Result<R, StepsError>,
) -> Result<(f64, Vec<R>), StepsError> {
    if let Some(first) = items.first() {
        black_box(work(first)?);
    }
    let mut times = Vec::with_capacity(items.len());
    let mut results = Vec::with_capacity(items.len());
    for item in items {
        let start = Instant::now();
        results.push(work(item)?);
        times.push(milliseconds(start));
    }
    times.sort_by(f64::total_cmp);
    Ok((times.get(times.len() / 2).copied().unwrap_or(f64::NAN), results))
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

fn decode_error(source: ImagingError) -> StepsError {
    StepsError::Decode(Box::new(source))
}

fn embed_error(source: ModelError) -> StepsError {
    StepsError::Embed(Box::new(source))
}

fn index_error(source: IndexError) -> StepsError {
    StepsError::Index(Box::new(source))
}
