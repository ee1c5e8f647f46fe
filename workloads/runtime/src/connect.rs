//! Connecting to the backends of an index, and waiting for those that are not there yet.
//!
//! A backend that does not answer is tried again, from half a second up to half a minute apart with jitter, and the probe says which one is waited
//! for: a program never restarts in a hot loop because a server is down. What an administrator must mend (a wrong password, a missing table) is
//! tried again just as slowly, because the mending may happen outside.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use medindex_backends::hbase::HbaseImageStore;
use medindex_backends::kafka::KafkaQueue;
use medindex_backends::mysql_catalog::open_mysql_catalog;
use medindex_backends::redis_cache::RedisCache;
use medindex_backends::{Catalog, ImageStore, Queue, QueueError};
use medindex_pipeline::Ports;
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::arguments::{ArgumentError, BackendArguments};
use crate::operation::Readiness;

/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Why there are no connections.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The settings do not fit each other.
    #[error(transparent)]
    ReadArguments(#[from] ArgumentError),
    /// The program was told to stop while it waited.
    #[error("stopped while waiting for {0}")]
    Stop(&'static str),
}

/// Opens all four backends, each as soon as it answers.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(
    arguments: &BackendArguments,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<Ports, ConnectError> {
    let index = arguments.index.index.as_str();
    let (kafka, hbase) = (arguments.kafka.options(index)?, arguments.hbase.options(index)?);
    let (mysql, redis) = (arguments.mysql.options(index)?, arguments.redis.options(index)?);
    let waiting = Waiting { readiness, stop };
    let catalog: Arc<dyn Catalog> =
        waiting.until("the catalog", async || open_mysql_catalog(mysql.clone()).await.map(Arc::new)).await?;
    let store: Arc<dyn ImageStore> =
        waiting.until("the image store", async || HbaseImageStore::open(&hbase).await.map(Arc::new)).await?;
    let partitions = arguments.index.partitions;
    let queue: Arc<dyn Queue> = waiting
        .until("the queue", async || {
            let queue = KafkaQueue::open(kafka.clone()).await?;
            check_topics(&queue, partitions).await?;
            Ok::<_, QueueError>(Arc::new(queue))
        })
        .await?;
    let cache =
        waiting.until("the cache", async || RedisCache::open(redis.clone()).await.map(Arc::new)).await?;
    Ok(Ports { store, queue, catalog, cache })
}

/// The topics must be there with the index's number of partitions: an embedder on other partitions would put images where no shard looks.
async fn check_topics(queue: &KafkaQueue, wanted: u32) -> Result<(), QueueError> {
    for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
        let found = queue.partitions(topic).await?;
        if found != wanted {
            return Err(QueueError::PartitionCount { topic: topic.to_owned(), found, wanted });
        }
    }
    Ok(())
}

/// Tries again what does not succeed yet.
pub struct Waiting<'a> {
    /// Told what is waited for.
    pub readiness: &'a Readiness,
    /// Ends the waiting.
    pub stop: &'a CancellationToken,
}

impl Waiting<'_> {
    /// Tries until it succeeds.
    ///
    /// # Errors
    /// [`ConnectError::Stop`].
    pub async fn until<T, E: Display>(
        &self,
        what: &'static str,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, ConnectError> {
        let mut pause = PAUSES.0;
        loop {
            let outcome = tokio::select! {
                () = self.stop.cancelled() => return Err(ConnectError::Stop(what)),
                outcome = attempt() => outcome,
            };
            match outcome {
                Ok(value) => return Ok(value),
                Err(error) => {
                    tracing::warn!(%error, what, retry_in = ?pause, "not there yet");
                    self.readiness.unready(format!("waiting for {what}: {error}"));
                }
            }
            let wait = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = self.stop.cancelled() => return Err(ConnectError::Stop(what)),
                () = tokio::time::sleep(wait) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}
