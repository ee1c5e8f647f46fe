//! Embedding accepted images in this process, without the queue: what a bulk import on a cluster does.
//!
//! The steps and their order are the embedder's ([`super::embed`]); only the way there is another: images wait in a short channel, a few tasks take
//! them in batches. Guarantees: an image is stored, announced and marked as the embedder does it, or its record stays `received` and the
//! next import takes it up; a backend that fails is tried again until it answers or the process ends, when a batch that hangs is given up. Memory
//! is bounded by the images and the bytes at work.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use medindex_backends::Positions;
use medindex_backends::catalog::NewImage;
use medindex_index::{IndexStatus, SearchRequest};
use medindex_proto::identity::ImageId;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::backend_error::BackendError;
use crate::ingest::embed::{EmbedWorker, collect_direct, embed_and_store, finish_or_give_up};
use crate::ingest::import::BATCH;
use crate::retry::Backoff;
use crate::searcher::{Found, Searcher, ShardError};

/// How a bulk import embeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DirectOptions {
    /// Batches at work at the same time, at least 1: while one computes, another writes.
    pub batches: usize,
    /// New images a second at the most; `None` for no bound.
    pub images_per_second: Option<f64>,
}

/// KiB of files that wait or are at work at the most; a larger file has all of it.
const ROOM: u32 = 256 << 10;

/// An accepted image with its file, and the room that the file takes until it is stored.
struct Accepted {
    image: NewImage,
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// Takes accepted images and embeds them in the background.
pub(crate) struct Direct {
    images: mpsc::Sender<Accepted>,
    room: Arc<Semaphore>,
}

impl Direct {
    /// Starts the tasks. They end when the last image is embedded and nobody can bring another one, or the core stops. From `hurry` on nothing is
    /// held back, so that what is at work is finished soon.
    pub(crate) fn start(worker: EmbedWorker, options: DirectOptions, hurry: CancellationToken) -> Self {
        // An import that offers a batch gets it back before it is embedded, and can tell what became of the one before.
        let (images, waiting) = mpsc::channel(BATCH.max(worker.core.settings.batch));
        let pace = options.images_per_second.map(|rate| Pace::new(rate, hurry));
        let tasks = Arc::new(Tasks { worker, waiting: Mutex::new(waiting), pace });
        for _ in 0..options.batches.max(1) {
            tasks.worker.core.tasks.spawn(run(Arc::clone(&tasks)));
        }
        Self { images, room: Arc::new(Semaphore::new(ROOM as usize)) }
    }

    /// Takes images; waits while enough are at work.
    pub(crate) async fn take(&self, images: Vec<(NewImage, Bytes)>) {
        for (image, bytes) in images {
            let kibibytes = (bytes.len() >> 10).clamp(1, ROOM as usize) as u32;
            // Nobody closes it: it fails as the channel does, when the process ends.
            let room = Arc::clone(&self.room).acquire_many_owned(kibibytes).await;
            let sent = match room {
                Ok(room) => self.images.send(Accepted { image, bytes, _room: room }).await.is_ok(),
                Err(_) => false,
            };
            if !sent {
                tracing::warn!("an image is not embedded, because the process ends; import again to go on");
                return;
            }
        }
    }
}

/// What the tasks share.
struct Tasks {
    worker: EmbedWorker,
    waiting: Mutex<mpsc::Receiver<Accepted>>,
    pace: Option<Pace>,
}

/// A bound on the images a second.
struct Pace {
    /// Images that go together: what half a second allows, so that a slow import does not come in bursts.
    together: usize,
    interval: Mutex<Interval>,
    hurry: CancellationToken,
}

impl Pace {
    fn new(rate: f64, hurry: CancellationToken) -> Self {
        let mut interval = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        // What was not used is lost: a rate is a bound, not an average to catch up with.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { together: ((rate / 2.0) as usize).max(1), interval: Mutex::new(interval), hurry }
    }

    /// Waits until so many images may go on.
    async fn admit(&self, images: usize) {
        let wait = async {
            let mut interval = self.interval.lock().await;
            for _ in 0..images {
                interval.tick().await;
            }
        };
        tokio::select! {
            () = wait => {}
            () = self.hurry.cancelled() => {}
        }
    }
}

async fn run(tasks: Arc<Tasks>) {
    let core = &tasks.worker.core;
    let most = tasks.pace.as_ref().map_or(usize::MAX, |pace| pace.together).min(core.settings.batch);
    loop {
        let batch = tokio::select! {
            () = core.stop.cancelled() => return,
            batch = next_batch(&tasks, most) => batch,
        };
        if batch.is_empty() {
            return;
        }
        let mut backoff = Backoff::default();
        loop {
            let work = process(&tasks.worker, &batch);
            let Some(outcome) = finish_or_give_up(core, batch.len(), work).await else { return };
            let Err(error) = outcome else { break };
            tracing::error!(%error, images = batch.len(), "importing is interrupted and will be tried again");
            tokio::select! {
                () = core.stop.cancelled() => return,
                () = backoff.wait() => {}
            }
        }
        core.announce_change();
    }
}

/// At least one image, as soon as it may go on; none when there will be none any more.
async fn next_batch(tasks: &Tasks, most: usize) -> Vec<Accepted> {
    let mut batch = Vec::with_capacity(most);
    tasks.waiting.lock().await.recv_many(&mut batch, most).await;
    if let Some(pace) = &tasks.pace {
        pace.admit(batch.len()).await;
    }
    batch
}

async fn process(worker: &EmbedWorker, batch: &[Accepted]) -> Result<(), BackendError> {
    let images = batch.iter().map(|accepted| (accepted.image.id, &accepted.bytes));
    let jobs = collect_direct(worker, images).await?;
    embed_and_store(worker, jobs).await
}

/// A process that only brings images: the shards follow in their own time.
pub(crate) struct Elsewhere;

impl Elsewhere {
    fn refusal() -> BackendError {
        ShardError::Ask { reason: "an import does not search; ask a gateway".to_owned() }.into()
    }
}

#[async_trait]
impl Searcher for Elsewhere {
    async fn search(&self, _question: SearchRequest) -> Result<Found, BackendError> {
        Err(Self::refusal())
    }

    async fn holds(&self, _id: &ImageId) -> Result<bool, BackendError> {
        Err(Self::refusal())
    }

    async fn generation(&self) -> Result<u64, BackendError> {
        Err(Self::refusal())
    }

    async fn status(&self) -> Result<IndexStatus, BackendError> {
        Err(Self::refusal())
    }

    async fn applied(&self) -> Result<Positions, BackendError> {
        Err(Self::refusal())
    }

    async fn catch_up(&self, _ends: &Positions) -> Result<(), BackendError> {
        Ok(())
    }

    async fn unready(&self) -> Option<String> {
        None
    }
}
