//! The adapters of the one-process profile: everything in one data folder, nothing to install beside it.
//!
//! - [`EmbeddedStore`]: image store and queue in one `store.redb`, opened once and shared;
//! - [`open_catalog`]: the catalog in `catalog.sqlite`, by the same SQL as on a cluster;
//! - [`MemoryCache`]: a cache bounded by bytes.
//!
//! Guarantees: those of the ports. A write that returned survives a kill at any moment (it was fsynced); one that
//! did not return happened whole or not at all. One process at a time: a second one gets a clear error.
//! Values carry checksums: a damaged one is refused, never returned. Damage in the search tree between them can hide a row, which then
//! reads as missing; the catalog knows that it should be there, and [`EmbeddedStore::salvage`] saves the others.

mod aside;
mod catalog;
mod consumer;
mod database;
mod extent;
mod image_store;
mod log;
mod memory_cache;
mod mended;
mod ordered;
mod overlay;
mod pieces;
mod queue;
mod salvage;
mod store;
mod tables;
mod writer;

pub use catalog::{CATALOG_FILE, open_catalog, set_damaged_catalog_aside};
pub use memory_cache::MemoryCache;
pub use salvage::Salvaged;
pub use store::{EmbeddedStore, LOCK_FILE, STORE_FILE, StoreOptions};
