//! Connecting to the backends of an index.
//!
//! Each is waited for until it is there and as it has to be ([`crate::waiting`]).

use std::sync::Arc;

use medindex_backends::hbase::HbaseImageStore;
use medindex_backends::kafka::KafkaQueue;
use medindex_backends::mysql_catalog::open_mysql_catalog;
use medindex_backends::redis_cache::RedisCache;
use medindex_backends::{Catalog, ImageStore, Queue, QueueError};
use medindex_pipeline::Ports;
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};

use crate::arguments::{ArgumentError, BackendArguments};
use crate::waiting::{Awaited, StopError, Waiting};

/// Why there are no connections.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The settings do not fit each other.
    #[error(transparent)]
    ReadArguments(#[from] ArgumentError),
    /// The program was told to stop while it waited.
    #[error(transparent)]
    Stop(#[from] StopError),
}

/// Opens all four backends, each as soon as it answers.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(arguments: &BackendArguments, waiting: &Waiting<'_>) -> Result<Ports, ConnectError> {
    let index = arguments.index.index.as_str();
    let (kafka, hbase) = (arguments.kafka.options(index)?, arguments.hbase.options(index)?);
    let (mysql, redis) = (arguments.mysql.options(index)?, arguments.redis.options(index)?);
    let catalog: Arc<dyn Catalog> = waiting
        .until(Awaited::Catalog, async || open_mysql_catalog(mysql.clone()).await.map(Arc::new))
        .await?;
    let store: Arc<dyn ImageStore> = waiting
        .until(Awaited::ImageStore, async || HbaseImageStore::open(&hbase).await.map(Arc::new))
        .await?;
    let partitions = arguments.index.partitions;
    let queue: Arc<dyn Queue> = waiting
        .until(Awaited::Queue, async || {
            let queue = KafkaQueue::open(kafka.clone()).await?;
            check_topics(&queue, partitions).await?;
            Ok::<_, QueueError>(Arc::new(queue))
        })
        .await?;
    let cache =
        waiting.until(Awaited::Cache, async || RedisCache::open(redis.clone()).await.map(Arc::new)).await?;
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
