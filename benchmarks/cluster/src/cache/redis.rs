//! Redis in its three modes, and none.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use medindex_backends::Cache;
use medindex_backends::cache::{CacheEntry, Result};
use medindex_backends::redis_cache::{RedisCache, RedisOptions, RedisServer, RedisServers};
use medindex_testbed::redis::{self, Redis, SENTINEL_SERVICE};

use crate::error::BenchError;

/// How Redis is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Without,
    Standalone,
    Sentinel,
    Cluster,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Without => "without a cache",
            Self::Standalone => "Redis, one server",
            Self::Sentinel => "Redis, three Sentinels",
            Self::Cluster => "Redis Cluster, six nodes",
        }
    }
}

/// The servers of a mode.
pub(super) struct Servers {
    mode: Mode,
    redis: Option<Redis>,
}

impl Servers {
    pub(super) fn start(mode: Mode) -> std::result::Result<Self, BenchError> {
        let options = redis::RedisOptions::default();
        let redis = match mode {
            Mode::Without => None,
            Mode::Standalone => Some(Redis::standalone(options)?),
            Mode::Sentinel => Some(Redis::sentinel(options)?),
            Mode::Cluster => Some(Redis::cluster(options)?),
        };
        Ok(Self { mode, redis })
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// A connection of its own, as each gateway has.
    pub(super) async fn connect(&self) -> std::result::Result<Arc<dyn Cache>, BenchError> {
        let Some(redis) = &self.redis else { return Ok(Arc::new(Nothing)) };
        let server = |port| RedisServer { host: "127.0.0.1".to_owned(), port };
        let servers = match self.mode {
            Mode::Sentinel => RedisServers::Sentinel {
                sentinels: redis.sentinel_ports().into_iter().map(server).collect(),
                service: SENTINEL_SERVICE.to_owned(),
                login: None,
            },
            Mode::Cluster => RedisServers::Cluster(redis.ports().into_iter().map(server).collect()),
            Mode::Without | Mode::Standalone => RedisServers::Standalone(server(redis.ports()[0])),
        };
        Ok(Arc::new(RedisCache::open(RedisOptions::new(servers, "bench")).await?))
    }

    /// Kills the server that takes writes.
    pub(super) fn kill_primary(&mut self) -> std::result::Result<(), BenchError> {
        let Some(redis) = &mut self.redis else { return Ok(()) };
        let primary = redis.primary()?.ok_or(BenchError::Wait("the primary to be known"))?;
        redis.kill(primary);
        Ok(())
    }
}

/// No cache: nothing is ever there.
struct Nothing;

#[async_trait]
impl Cache for Nothing {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        Ok(vec![None; keys.len()])
    }

    async fn set_many(&self, _entries: Vec<CacheEntry>) -> Result<()> {
        Ok(())
    }

    async fn set_if_absent(&self, _key: &str, _value: Bytes, _time_to_live: Duration) -> Result<bool> {
        Ok(true)
    }

    async fn delete_many(&self, _keys: &[&str]) -> Result<()> {
        Ok(())
    }
}
