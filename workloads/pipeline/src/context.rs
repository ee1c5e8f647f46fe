//! What the flows that users call need beside the core: who embeds a query, and who searches.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::core::Core;
use crate::embedding::Embedding;
use crate::flight::SingleFlight;
use crate::hot_results::Caches;
use crate::ingest::direct::Direct;
use crate::report::Recognition;
use crate::searcher::Searcher;
use crate::shard::Shard;

/// Shared by the flows that users call.
pub(crate) struct Context {
    pub(crate) core: Arc<Core>,
    pub(crate) embedding: Arc<dyn Embedding>,
    pub(crate) searcher: Arc<dyn Searcher>,
    pub(crate) recognitions: SingleFlight<Recognition>,
    /// Embeds accepted images in this process, where it does not leave them to the queue.
    pub(crate) direct: Option<Direct>,
    pub(crate) caches: Caches,
    /// The whole index, where this process holds it.
    pub(crate) shard: Option<Arc<Shard>>,
    /// Whether embedders and shards of other processes were all there, once since the start.
    pub(crate) was_complete: AtomicBool,
}

impl Deref for Context {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}
