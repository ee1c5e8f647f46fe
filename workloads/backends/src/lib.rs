//! The four ports (image store, queue, catalog, cache) and their embedded adapters.
//!
//! A port is an object-safe trait whose meaning every adapter shares, on one machine and on a cluster:
//!
//! - [`image_store`]: image bytes, vectors and codes by row key, and named blobs (`HBase` on a cluster);
//! - [`queue`]: partitioned durable logs, at least once, with manual commits (Kafka);
//! - [`catalog`]: what a database answers: image records, operation log, alarms, settings (`MySQL`);
//! - [`cache`]: bounded, forgetful (Redis).
//!
//! [`embedded`] has the adapters of the one-process profile; `hbase`, `kafka`, `mysql_catalog` and `redis_cache` those of a cluster
//! (cargo feature `cluster`). The suites under `contract` (cargo feature
//! `contract`) say in code what a port promises; every adapter runs them unchanged.

pub mod cache;
pub mod catalog;
pub mod cells;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "cluster")]
pub mod credentials;
pub mod embedded;
pub mod fault;
#[cfg(feature = "cluster")]
pub mod hbase;
pub mod image_store;
#[cfg(feature = "cluster")]
pub mod kafka;
#[cfg(feature = "cluster")]
pub mod mysql_catalog;
pub mod queue;
#[cfg(feature = "cluster")]
pub mod redis_cache;
pub mod sql_catalog;

pub use cache::{Cache, CacheError};
pub use catalog::{Catalog, CatalogError};
pub use fault::Fault;
pub use image_store::{
    Columns, FrameVector, ImageFacts, ImageInformation, ImageRow, ImageStore, ImageStoreError,
};
pub use queue::{Consumer, Delivery, Follower, Message, Positions, Queue, QueueError};
