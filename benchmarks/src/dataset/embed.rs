//! Embeds four views of each image of an archive, through the same crates as an upload.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use medindex_embedding::{Model, ModelError, RuntimeError, RuntimeOptions};
use medindex_imaging::{FrameSelection, ImagingError, Limits, Rendered, WindowChoice, decode};

use super::archive::{ArchiveError, ArchivedImage, read_images};
use super::store::{Description, EmbeddingStore, StoreError};
use super::views::{VIEWS, make_views};

/// Results with the numbers of the images they belong to, in any order.
type Numbered<T> = Vec<(usize, T)>;

/// Images between two writes to the store.
const IMAGES_A_STEP: usize = 64;

/// What can go wrong while embedding.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmbedError {
    /// See [`ArchiveError`].
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
    /// See [`RuntimeError`].
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model cannot be loaded or run.
    #[error("cannot embed with the model in {}", folder.display())]
    Model {
        /// The model's folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<ModelError>,
    },
    /// An image of the archive cannot be read.
    #[error("cannot read the image {name} of the archive")]
    Decode {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: Box<ImagingError>,
    },
}

/// `medindex-bench embed`
#[derive(Debug, clap::Args)]
pub(crate) struct EmbedArguments {
    /// The archive: a .tar.gz with one folder a label.
    #[arg(long)]
    archive: PathBuf,
    /// The model's folder.
    #[arg(long)]
    model: PathBuf,
    /// The folder that the embeddings go to; a run that was interrupted goes on.
    #[arg(long)]
    out: PathBuf,
    /// Take only every n-th image.
    #[arg(long, default_value_t = 1)]
    every: usize,
    /// Threads; 0 for as many as there are cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Embeds every image of the archive that is not in the store yet.
///
/// Each core runs a model of its own on one thread: on a machine that does other work too, threads that
/// share one batch spend their time waiting for the slowest.
pub(crate) fn embed_archive(arguments: &EmbedArguments) -> Result<(), EmbedError> {
    let mut images = read_images(&arguments.archive)?;
    if arguments.every > 1 {
        images = images.into_iter().step_by(arguments.every).collect();
    }
    let options = RuntimeOptions::from_environment()?.with_threads(arguments.threads);
    let models = (0..options.effective_threads())
        .map(|_| Model::load(&arguments.model, &options.clone().with_threads(1)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| model_error(arguments, source))?;
    let Some(model) = models.first() else { return Ok(()) };
    let description = Description {
        model: model.manifest().name.clone(),
        digest: model.digest().to_owned(),
        dimension: model.dimension(),
        views: VIEWS,
        labels: images.iter().map(|image| image.label().to_owned()).collect(),
    };
    let mut store = EmbeddingStore::open(&arguments.out, &description)?;
    let bar = progress(images.len(), store.images());
    while store.images() < images.len() {
        let first = store.images();
        let step = &images[first..images.len().min(first + IMAGES_A_STEP)];
        store.append(&embed_step(arguments, &models, step, first)?, step.len())?;
        bar.inc(step.len() as u64);
    }
    bar.finish();
    Ok(())
}

/// The rows of `images`, in order; the models take one image after the other. `first` is the first image's number.
fn embed_step(
    arguments: &EmbedArguments,
    models: &[Model],
    images: &[ArchivedImage],
    first: usize,
) -> Result<Vec<Vec<f32>>, EmbedError> {
    let next = AtomicUsize::new(0);
    let work = |model: &Model| -> Result<Numbered<Vec<Vec<f32>>>, EmbedError> {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = images.get(i) else { return Ok(done) };
            let views = read_views(image, (first + i) as u64)?;
            done.push((i, model.embed(&views).map_err(|source| model_error(arguments, source))?));
        }
    };
    let mut rows = std::thread::scope(|scope| {
        let workers: Vec<_> = models.iter().map(|model| scope.spawn(|| work(model))).collect();
        let mut rows = Vec::with_capacity(images.len());
        for worker in workers {
            match worker.join() {
                Ok(done) => rows.extend(done?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<_, EmbedError>(rows)
    })?;
    rows.sort_by_key(|(i, _)| *i);
    Ok(rows.into_iter().flat_map(|(_, rows)| rows).collect())
}

fn model_error(arguments: &EmbedArguments, source: ModelError) -> EmbedError {
    EmbedError::Model { folder: arguments.model.clone(), source: Box::new(source) }
}

fn read_views(image: &ArchivedImage, number: u64) -> Result<[Rendered; VIEWS], EmbedError> {
    let failed = |source| EmbedError::Decode { name: image.name.clone(), source: Box::new(source) };
    let decoded = decode(&image.bytes, &Limits::default(), FrameSelection::Middle).map_err(failed)?;
    let rendered = decoded.frames[0].render(&WindowChoice::File);
    make_views(&rendered, number).map_err(failed)
}

fn progress(images: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::new(images as u64).with_position(done as u64);
    let style = "embedding {bar:30} {pos}/{len} images, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar.reset_eta();
    bar
}
