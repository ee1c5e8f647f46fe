//! gRPC between the processes of a cluster.
//!
//! - [`shard_server`] serves a search shard; [`scatter`] asks all shards and merges their answers ([`medindex_pipeline::Searcher`]).
//! - [`embed_server`] serves the model; [`remote_embedder`] asks it ([`medindex_pipeline::Embedding`]).
//! - [`serving`] listens and ends in order.
//! - [`discovery`] finds the processes: a fixed list, or the addresses behind a headless Service's name.
//!
//! Guarantees: a question is asked of one replica of every shard; when it fails, or takes longer than most, another replica is asked too.
//! A partition that nobody answers for is named in the answer. Assumes that the shards of an index hold disjoint sets of partitions, and that
//! the processes run releases that differ by one at most.

mod channel;
pub mod convert;
pub mod discovery;
pub mod embed_server;
pub mod latency;
pub mod merge;
pub mod remote_embedder;
pub mod scatter;
pub mod serving;
pub mod shard_server;
pub mod topology;
mod trace;

/// Largest message in bytes: a rendered image of 64 megapixels, or the answer to a search for ten thousand.
pub const MAX_MESSAGE: usize = 256 << 20;
