//! A cache in memory, bounded by bytes; what was least recently and least often used goes first.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::future::Cache as Entries;
use moka::ops::compute::{CompResult, Op};

use crate::cache::{Cache, CacheEntry, Result};

/// Bytes that an entry takes beside its key and value, about.
const ENTRY_OVERHEAD: usize = 128;

#[derive(Clone)]
struct Value {
    bytes: Bytes,
    time_to_live: Duration,
}

/// Entries live as long as they were set for, from when they were set.
struct OwnTimeToLive;

impl Expiry<String, Value> for OwnTimeToLive {
    fn expire_after_create(&self, _key: &String, value: &Value, _now: Instant) -> Option<Duration> {
        Some(value.time_to_live)
    }

    fn expire_after_update(
        &self,
        _key: &String,
        value: &Value,
        _now: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.time_to_live)
    }
}

/// The cache of the one-process profile.
#[derive(Clone)]
pub struct MemoryCache {
    entries: Entries<String, Value>,
}

impl MemoryCache {
    /// A cache that holds about `max_bytes` bytes of keys and values at most.
    pub fn new(max_bytes: u64) -> Self {
        let weigh = |key: &String, value: &Value| {
            u32::try_from(key.len() + value.bytes.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        let entries =
            Entries::builder().max_capacity(max_bytes).weigher(weigh).expire_after(OwnTimeToLive).build();
        Self { entries }
    }

    /// Bytes of the entries held, about.
    pub async fn bytes(&self) -> u64 {
        self.entries.run_pending_tasks().await;
        self.entries.weighted_size()
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            values.push(self.entries.get(*key).await.map(|value| value.bytes));
        }
        Ok(values)
    }

    async fn set_many(&self, entries: Vec<CacheEntry>) -> Result<()> {
        for CacheEntry { key, value: bytes, time_to_live } in entries {
            self.entries.insert(key, Value { bytes, time_to_live }).await;
        }
        Ok(())
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, time_to_live: Duration) -> Result<bool> {
        let decide = |held: Option<_>| {
            let decision =
                if held.is_some() { Op::Nop } else { Op::Put(Value { bytes: value, time_to_live }) };
            std::future::ready(decision)
        };
        let outcome = self.entries.entry(key.to_owned()).and_compute_with(decide).await;
        Ok(matches!(outcome, CompResult::Inserted(_)))
    }

    async fn delete_many(&self, keys: &[&str]) -> Result<()> {
        for key in keys {
            self.entries.invalidate(*key).await;
        }
        Ok(())
    }
}
