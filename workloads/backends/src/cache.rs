//! The cache: bounded and forgetful.
//!
//! Guarantees: a get returns the last value set for the key and not deleted since, or nothing. Values past their
//! time to live are never returned. Nothing else: any entry may vanish at any time, so callers must be able to
//! compute what they miss.
//!
//! Failure modes: an error means that the cache could not be asked; a caller goes on without it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::fault::Fault;

/// Why the cache could not be asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The cache could not be set up as the settings say.
    #[error("opening the cache failed: {0}")]
    Open(#[source] Fault),
    /// Values could not be read.
    #[error("reading {keys} keys of the cache failed: {source}")]
    Get {
        /// Keys asked for.
        keys: usize,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Values could not be set.
    #[error("setting {keys} keys of the cache failed: {source}")]
    Set {
        /// Keys to be set.
        keys: usize,
        /// Why.
        #[source]
        source: Fault,
    },
    /// Keys could not be deleted.
    #[error("deleting {keys} keys of the cache failed: {source}")]
    Delete {
        /// Keys to be deleted.
        keys: usize,
        /// Why.
        #[source]
        source: Fault,
    },
}

/// Result of an action on the cache.
pub type Result<T, E = CacheError> = std::result::Result<T, E>;

/// A value to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// How long it may be returned.
    pub time_to_live: Duration,
}

/// Keys and values. See the module for the guarantees.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.get_many(&[key]).await?.pop().flatten())
    }

    /// The values of several keys, in the order asked for.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>>;

    /// Sets a value for a time.
    async fn set(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<()> {
        self.set_many(vec![CacheEntry { key: key.to_owned(), value, time_to_live }]).await
    }

    /// Sets several values.
    async fn set_many(&self, entries: Vec<CacheEntry>) -> Result<()>;

    /// Sets a value unless the key has one; returns whether it was set. Atomic: of several at once, one wins.
    /// Processes agree by it on who computes what all of them miss.
    async fn set_if_absent(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<bool>;

    /// Deletes a key.
    async fn delete(&self, key: &str) -> Result<()> {
        self.delete_many(&[key]).await
    }

    /// Deletes several keys.
    async fn delete_many(&self, keys: &[&str]) -> Result<()>;
}
