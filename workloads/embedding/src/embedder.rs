//! A model behind its own thread, with dynamic batching.
//!
//! Callers hand in one image each and wait; the worker takes what has gathered, at most
//! [`BatchingOptions::max_batch`] images, waiting at most [`BatchingOptions::max_delay`] after the first for
//! more. Guarantees: answers go to the caller they belong to, in any order of arrival; one image without a
//! usable output fails alone; at most [`BatchingOptions::queue`] images wait, and a caller over that waits
//! for room (back-pressure, first come first served); a caller that goes away costs nothing unless its batch
//! has begun; a panic in one batch fails that batch and no other. When the last handle is dropped, the drop
//! waits for the batch in work and for the thread: dropping ends everything, and blocks that long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use medindex_imaging::Rendered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::ModelError;
use crate::model::{ClassProbability, MAX_BATCH, Model};

/// What can fail for one image.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbedError {
    /// The model failed; every image of the batch may share the cause.
    #[error(transparent)]
    Model(Arc<ModelError>),
    /// The worker could not be started.
    #[error("cannot start the embedder's thread")]
    Start(#[source] Arc<std::io::Error>),
    /// The batching options contradict each other.
    #[error(
        "the embedder's max_batch must be at least 1 and its queue at least max_batch, not {max_batch} and {queue}"
    )]
    Options {
        /// Most images in a batch.
        max_batch: usize,
        /// Most images waiting or in work.
        queue: usize,
    },
    /// The worker panicked on the image's batch, or has ended.
    #[error("the embedder failed while it computed this image's batch; its log names the reason")]
    Lost,
}

/// How images are gathered into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchingOptions {
    /// Most images in a batch, at least 1.
    pub max_batch: usize,
    /// How long the first image of a batch waits for others.
    pub max_delay: Duration,
    /// Most images waiting or in work, at least `max_batch`.
    pub queue: usize,
}

impl Default for BatchingOptions {
    fn default() -> Self {
        Self { max_batch: MAX_BATCH, max_delay: Duration::from_millis(1), queue: 16 * MAX_BATCH }
    }
}

/// A model behind its own thread. Cheap to clone; the thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct Embedder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    model: Arc<Model>,
    /// `None` only while dropping: the worker ends when the sender is gone.
    jobs: Option<Sender<Job>>,
    room: Arc<Semaphore>,
    worker: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// What an embedder has computed since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchingStatistics {
    /// Batches that were run, counting embedding and recognition each for itself.
    pub batches: u64,
    /// Images in them.
    pub images: u64,
}

#[derive(Debug, Default)]
struct Counters {
    batches: AtomicU64,
    images: AtomicU64,
}

impl Counters {
    fn count(&self, images: usize) {
        if images > 0 {
            self.batches.fetch_add(1, Ordering::Relaxed);
            self.images.fetch_add(images as u64, Ordering::Relaxed);
        }
    }
}

/// One image waiting, and where its answer goes. The permit is its place in the queue.
struct Job {
    image: Rendered,
    answer: Answer,
    place: OwnedSemaphorePermit,
}

enum Answer {
    Embedding(oneshot::Sender<Result<Vec<f32>, EmbedError>>),
    Classes(oneshot::Sender<Result<Vec<ClassProbability>, EmbedError>>),
}

impl Answer {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Embedding(sender) => !sender.is_closed(),
            Self::Classes(sender) => !sender.is_closed(),
        }
    }
}

impl Embedder {
    /// Starts a worker thread for `model`.
    ///
    /// # Errors
    /// [`EmbedError::Options`] for options that contradict each other, [`EmbedError::Start`] when the system
    /// gives no thread.
    pub fn start(model: Arc<Model>, options: BatchingOptions) -> Result<Self, EmbedError> {
        let BatchingOptions { max_batch, queue, .. } = options;
        if max_batch == 0 || queue < max_batch || queue > Semaphore::MAX_PERMITS {
            return Err(EmbedError::Options { max_batch, queue });
        }
        let (jobs, waiting) = channel();
        let counters = Arc::new(Counters::default());
        let (its_model, its_counters) = (Arc::clone(&model), Arc::clone(&counters));
        let worker = std::thread::Builder::new()
            .name("embedder".to_owned())
            .spawn(move || work(&waiting, options, |batch| compute(&its_model, &its_counters, batch)))
            .map_err(|source| EmbedError::Start(Arc::new(source)))?;
        let room = Arc::new(Semaphore::new(queue));
        Ok(Self { inner: Arc::new(Inner { model, jobs: Some(jobs), room, worker: Some(worker), counters }) })
    }

    /// The model behind it.
    pub fn model(&self) -> &Arc<Model> {
        &self.inner.model
    }

    /// What it has computed so far; images over batches is the mean batch.
    pub fn statistics(&self) -> BatchingStatistics {
        let counters = &self.inner.counters;
        BatchingStatistics {
            batches: counters.batches.load(Ordering::Relaxed),
            images: counters.images.load(Ordering::Relaxed),
        }
    }

    /// The image's embedding: [`Model::dimension`] components, length 1.
    ///
    /// # Errors
    /// [`EmbedError::Model`] when the model gave no usable output, [`EmbedError::Lost`] when the worker failed.
    pub async fn embed(&self, image: Rendered) -> Result<Vec<f32>, EmbedError> {
        let (sender, answer) = oneshot::channel();
        self.enqueue(image, Answer::Embedding(sender)).await?;
        answer.await.map_err(|_| EmbedError::Lost)?
    }

    /// The embeddings of `images`, in order, each with its own outcome.
    pub async fn embed_each(&self, images: Vec<Rendered>) -> Vec<Result<Vec<f32>, EmbedError>> {
        // Places are taken one after another, so that a long list leaves room for other callers in between;
        // the answers are waited for at the end, so that the list fills batches.
        let mut answers = Vec::with_capacity(images.len());
        for image in images {
            let (sender, answer) = oneshot::channel();
            answers.push(self.enqueue(image, Answer::Embedding(sender)).await.map(|()| answer));
        }
        let mut embeddings = Vec::with_capacity(answers.len());
        for answer in answers {
            embeddings.push(match answer {
                Ok(answer) => answer.await.unwrap_or(Err(EmbedError::Lost)),
                Err(error) => Err(error),
            });
        }
        embeddings
    }

    /// The embeddings of `images`, in order.
    ///
    /// # Errors
    /// The first image's error, as [`Embedder::embed`]; use [`Embedder::embed_each`] to keep the others.
    pub async fn embed_many(&self, images: Vec<Rendered>) -> Result<Vec<Vec<f32>>, EmbedError> {
        self.embed_each(images).await.into_iter().collect()
    }

    /// The image's classes, most probable first.
    ///
    /// # Errors
    /// As [`Embedder::embed`]; [`ModelError::Classify`] inside when the model recognises no classes.
    pub async fn classify(&self, image: Rendered) -> Result<Vec<ClassProbability>, EmbedError> {
        let (sender, answer) = oneshot::channel();
        self.enqueue(image, Answer::Classes(sender)).await?;
        answer.await.map_err(|_| EmbedError::Lost)?
    }

    /// Waits for a place in the queue and takes it.
    async fn enqueue(&self, image: Rendered, answer: Answer) -> Result<(), EmbedError> {
        let place = Arc::clone(&self.inner.room).acquire_owned().await.map_err(|_| EmbedError::Lost)?;
        let job = Job { image, answer, place };
        self.inner.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or(EmbedError::Lost)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(worker) = self.worker.take()
            && worker.join().is_err()
        {
            tracing::error!("the embedder's thread had panicked");
        }
    }
}

/// The thread's side: gathers batches and hands them to `compute` until every sender is gone.
fn work(waiting: &Receiver<Job>, options: BatchingOptions, mut compute: impl FnMut(Vec<Job>)) {
    while let Ok(first) = waiting.recv() {
        let batch = gather(first, waiting, options);
        let images = batch.len();
        // The model's state is behind a lock that recovers from a panic, so the next batch is unharmed.
        if catch_unwind(AssertUnwindSafe(|| compute(batch))).is_err() {
            tracing::error!(images, "a batch panicked; its images got no answer");
        }
    }
}

/// `first` and what else comes until the batch is full or has waited long enough.
fn gather(first: Job, waiting: &Receiver<Job>, options: BatchingOptions) -> Vec<Job> {
    let began = Instant::now();
    let mut batch = vec![first];
    while batch.len() < options.max_batch {
        let left = options.max_delay.saturating_sub(began.elapsed());
        match waiting.recv_timeout(left) {
            Ok(job) => batch.push(job),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    batch
}

/// Computes what is still wanted of `batch`, and answers.
fn compute(model: &Model, counters: &Counters, batch: Vec<Job>) {
    let (mut embeddings, mut classes) = (Vec::new(), Vec::new());
    for Job { image, answer, place } in batch.into_iter().filter(|job| job.answer.is_wanted()) {
        match answer {
            Answer::Embedding(sender) => embeddings.push((image, sender, place)),
            Answer::Classes(sender) => classes.push((image, sender, place)),
        }
    }
    counters.count(embeddings.len());
    answer_all(embeddings, |images| model.embed_each(images));
    counters.count(classes.len());
    answer_all(classes, |images| model.classify_each(images));
}

/// An image, where its answer goes, and its place in the queue.
type Waiting<T> = (Rendered, oneshot::Sender<Result<T, EmbedError>>, OwnedSemaphorePermit);

/// Computes the jobs' images in one call and sends each its outcome.
fn answer_all<T>(
    jobs: Vec<Waiting<T>>,
    compute: impl FnOnce(&[&Rendered]) -> Result<Vec<Result<T, ModelError>>, ModelError>,
) {
    if jobs.is_empty() {
        return;
    }
    let images: Vec<&Rendered> = jobs.iter().map(|(image, _, _)| image).collect();
    // A caller that went away meanwhile no longer takes its answer: that is no error.
    match compute(&images) {
        Ok(outcomes) => {
            for ((_, sender, _), outcome) in jobs.into_iter().zip(outcomes) {
                let _ = sender.send(outcome.map_err(|error| EmbedError::Model(Arc::new(error))));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for (_, sender, _) in jobs {
                let _ = sender.send(Err(EmbedError::Model(Arc::clone(&error))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use medindex_imaging::Channels;

    use super::*;

    fn job(room: &Arc<Semaphore>) -> (Job, oneshot::Receiver<Result<Vec<f32>, EmbedError>>) {
        let (sender, answer) = oneshot::channel();
        let image = Rendered::new(1, 1, Channels::Grey, vec![0]).unwrap();
        let place = Arc::clone(room).try_acquire_owned().unwrap();
        (Job { image, answer: Answer::Embedding(sender), place }, answer)
    }

    #[test]
    fn a_panic_loses_its_batch_and_not_the_next() {
        let room = Arc::new(Semaphore::new(2));
        let ((bad, lost), (good, answered)) = (job(&room), job(&room));
        let (jobs, waiting) = channel();
        jobs.send(bad).unwrap();
        jobs.send(good).unwrap();
        drop(jobs);
        let mut batches = 0;
        let options = BatchingOptions { max_batch: 1, ..BatchingOptions::default() };
        work(&waiting, options, |batch| {
            batches += 1;
            assert_ne!(batches, 1, "the first batch fails on purpose");
            for job in batch {
                let Answer::Embedding(sender) = job.answer else { unreachable!("only embeddings were sent") };
                sender.send(Ok(vec![1.0])).unwrap();
            }
        });
        assert!(lost.blocking_recv().is_err());
        assert_eq!(answered.blocking_recv().unwrap().unwrap(), [1.0]);
        assert_eq!(room.available_permits(), 2, "every place in the queue is free again");
    }
}
