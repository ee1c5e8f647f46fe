//! Who finds the nearest vectors: the index in this process, or search shards in others.

use async_trait::async_trait;
use medindex_backends::Positions;
use medindex_index::{Explain, Hit, IndexStatus, SearchRequest};
use medindex_proto::identity::ImageId;

use crate::backend_error::BackendError;

/// Why the shards did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShardError {
    /// No replica of any shard answered.
    #[error("no search shard answers: {reason}; try again in a moment")]
    Ask {
        /// What was met last.
        reason: String,
    },
    /// A shard refused the question.
    #[error("{reason}")]
    Refuse {
        /// Why.
        reason: String,
    },
    /// What a shard answered cannot be read.
    #[error(
        "the search shard at {address} answered what cannot be read: {reason}; its release may differ from this one's"
    )]
    Read {
        /// The shard.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

/// An answer of all shards together.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The hits by ascending distance, one of each group.
    pub hits: Vec<Hit>,
    /// How they were found; sums over shards, times of the slowest.
    pub explain: Explain,
    /// Partitions that nobody answered for; empty when the answer is whole.
    pub missing_partitions: Vec<u32>,
}

/// Searches an index, wherever it is.
#[async_trait]
pub trait Searcher: Send + Sync {
    /// The nearest entries.
    async fn search(&self, question: SearchRequest) -> Result<Found, BackendError>;

    /// Whether an image's entries can be found already.
    async fn holds(&self, id: &ImageId) -> Result<bool, BackendError>;

    /// The generation that answers; 0 while search is exact.
    async fn generation(&self) -> Result<u64, BackendError>;

    /// Next offsets of the change log: whoever is asked has applied everything before them.
    async fn applied(&self) -> Result<Positions, BackendError>;

    /// What the index holds; sums over shards.
    async fn status(&self) -> Result<IndexStatus, BackendError>;

    /// Waits until everything before these positions of the change log can be found, or the process stops.
    async fn catch_up(&self, ends: &Positions) -> Result<(), BackendError>;

    /// Partitions that nobody would answer for right now.
    async fn missing_partitions(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Why searches cannot be answered right now; `None` when they can.
    async fn unready(&self) -> Option<String>;
}
