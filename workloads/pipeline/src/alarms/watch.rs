//! Causes that every process of a kind looks for: backends that are down, work that stands still, shards that are missing.

use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use medindex_backends::embedded::EmbeddedStore;
use medindex_proto::names::{TOPIC_IMAGE_UPLOAD, recognition_cache_key};

use super::rules::{InARow, Standstill};
use super::{AlarmCheck, AlarmKind, Finding};
use crate::core::Core;
use crate::description::DESCRIPTION_BLOB;
use crate::generations::POINTER_SETTING;
use crate::ingest::embed::GROUP;
use crate::searcher::Searcher;
use crate::settings::Settings;
use crate::shard::Shard;

/// How long a backend may take to answer a question that is nothing to it.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// Bad looks in a row until something is an alarm, and good ones until it is over.
const LOOKS: (u32, u32) = (2, 1);

/// Asks every backend for something small.
pub(crate) struct BackendCheck {
    rules: [(AlarmKind, InARow); 4],
}

impl Default for BackendCheck {
    fn default() -> Self {
        use AlarmKind::{CacheDown, CatalogDown, QueueDown, StoreDown};
        Self {
            rules: [QueueDown, StoreDown, CatalogDown, CacheDown]
                .map(|kind| (kind, InARow::new(LOOKS.0, LOOKS.1))),
        }
    }
}

async fn trouble<T, E: Display>(question: impl Future<Output = Result<T, E>>) -> Option<String> {
    match tokio::time::timeout(ANSWER_WITHIN, question).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {ANSWER_WITHIN:?}")),
    }
}

#[async_trait]
impl AlarmCheck for BackendCheck {
    async fn look(&mut self, core: &Core) -> Vec<Finding> {
        let ports = &core.ports;
        let key = recognition_cache_key("probe");
        let troubles = tokio::join!(
            trouble(ports.queue.end_offsets(TOPIC_IMAGE_UPLOAD)),
            trouble(ports.store.get_blob(DESCRIPTION_BLOB)),
            trouble(ports.catalog.setting(POINTER_SETTING)),
            trouble(ports.cache.get(&key)),
        );
        let mut findings = Vec::new();
        for ((kind, rule), trouble) in
            self.rules.iter_mut().zip([troubles.0, troubles.1, troubles.2, troubles.3])
        {
            if rule.look(trouble.is_some()) {
                let met = trouble.unwrap_or_else(|| "it answers again".to_owned());
                findings.push(Finding::of_all(*kind, format!("{} met: {met}", core.settings.process)));
            }
        }
        findings
    }
}

/// Uploads that wait while none is embedded.
pub(crate) struct UploadLagCheck {
    rule: Standstill,
    started: Instant,
}

impl UploadLagCheck {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { rule: Standstill::new(settings.standstill), started: Instant::now() }
    }
}

#[async_trait]
impl AlarmCheck for UploadLagCheck {
    async fn look(&mut self, core: &Core) -> Vec<Finding> {
        let queue = &core.ports.queue;
        let asked = async {
            let done = queue.committed(TOPIC_IMAGE_UPLOAD, GROUP).await?;
            Ok::<_, medindex_backends::QueueError>((queue.end_offsets(TOPIC_IMAGE_UPLOAD).await?, done))
        };
        // A queue that does not answer is another alarm.
        let Ok(Ok((ends, done))) = tokio::time::timeout(ANSWER_WITHIN, asked).await else {
            return Vec::new();
        };
        let waiting = crate::ingest::embed::waiting(&ends, &done);
        let stands = self.rule.look(self.started.elapsed(), waiting, done.values().sum());
        let told = stands.map(|stands| {
            let seconds = stands.as_secs();
            Finding::of_all(
                AlarmKind::UploadLag,
                format!("{waiting} uploads wait and none was embedded for {seconds} s"),
            )
        });
        told.into_iter().collect()
    }
}

/// Damage that the embedded store met since it was opened.
pub(crate) struct StoreDamageCheck {
    store: EmbeddedStore,
}

impl StoreDamageCheck {
    pub(crate) fn new(store: EmbeddedStore) -> Self {
        Self { store }
    }
}

#[async_trait]
impl AlarmCheck for StoreDamageCheck {
    async fn look(&mut self, _core: &Core) -> Vec<Finding> {
        let damage = self.store.damage();
        damage.map(|found| Finding::of_all(AlarmKind::StoreDamaged, found)).into_iter().collect()
    }
}

/// Partitions that no search shard answers for, as a gateway sees it.
pub(crate) struct MissingShardCheck {
    searcher: Arc<dyn Searcher>,
    rule: InARow,
    last: Vec<u32>,
}

impl MissingShardCheck {
    pub(crate) fn new(searcher: Arc<dyn Searcher>) -> Self {
        Self { searcher, rule: InARow::new(LOOKS.0, LOOKS.1), last: Vec::new() }
    }
}

#[async_trait]
impl AlarmCheck for MissingShardCheck {
    async fn look(&mut self, _core: &Core) -> Vec<Finding> {
        let missing = self.searcher.missing_partitions().await;
        let raised = self.rule.look(!missing.is_empty());
        if !missing.is_empty() {
            self.last = missing;
        }
        if !raised {
            return Vec::new();
        }
        vec![Finding::of_all(
            AlarmKind::ShardMissing,
            format!("no search shard answers for partitions {:?}", self.last),
        )]
    }
}

/// A shard that does not follow the change log.
pub(crate) struct IndexLagCheck {
    /// Weak: the shard's tasks end with it.
    shard: Weak<Shard>,
    rule: Standstill,
    started: Instant,
}

impl IndexLagCheck {
    pub(crate) fn new(shard: &Arc<Shard>) -> Self {
        Self {
            shard: Arc::downgrade(shard),
            rule: Standstill::new(shard.settings.standstill),
            started: Instant::now(),
        }
    }
}

#[async_trait]
impl AlarmCheck for IndexLagCheck {
    async fn look(&mut self, _core: &Core) -> Vec<Finding> {
        let Some(shard) = self.shard.upgrade() else { return Vec::new() };
        // One that loads says so by itself; a queue that does not answer is another alarm.
        if shard.loading.lock().is_some() {
            return Vec::new();
        }
        let Ok(Ok(lag)) = tokio::time::timeout(ANSWER_WITHIN, shard.lag()).await else { return Vec::new() };
        let done = shard.index.log_positions().values().sum();
        let Some(stands) = self.rule.look(self.started.elapsed(), lag, done) else { return Vec::new() };
        let failure = shard.follower.failure();
        let because = failure.map(|failure| format!(", because {failure}")).unwrap_or_default();
        let detail = format!("{lag} changes wait and none was applied for {} s{because}", stands.as_secs());
        vec![Finding { kind: AlarmKind::ShardLagging, subject: shard.name(), detail }]
    }
}

/// Times in the future, of what this process read.
pub(crate) struct ClockCheck;

#[async_trait]
impl AlarmCheck for ClockCheck {
    async fn look(&mut self, core: &Core) -> Vec<Finding> {
        let Some((ahead, what)) = core.clock.ahead() else { return Vec::new() };
        let process = &core.settings.process;
        let seconds = ahead.as_secs();
        let detail = format!("{process} read {what} whose time lies {seconds} s in its future");
        vec![Finding { kind: AlarmKind::ClockSkew, subject: process.clone(), detail }]
    }
}

/// Events of the operation log that were lost since the look before.
#[derive(Default)]
pub(crate) struct LostOperationsCheck {
    before: u64,
}

#[async_trait]
impl AlarmCheck for LostOperationsCheck {
    async fn look(&mut self, core: &Core) -> Vec<Finding> {
        let lost = core.operations.counts().dropped;
        let is_new = lost > self.before;
        self.before = lost;
        if !is_new {
            return Vec::new();
        }
        let detail =
            format!("{lost} operations of {} were not recorded since it began", core.settings.process);
        vec![Finding { kind: AlarmKind::OperationsLost, subject: core.settings.process.clone(), detail }]
    }
}
