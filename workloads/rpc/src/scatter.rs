//! Scatter and gather: one question to one replica of every shard, one answer from all.
//!
//! The replica with the fewest open questions is asked. When it fails, or takes longer than 95 of 100 of its answers did, or of the next one's,
//! which could have answered by then, the next one is asked too, and the first answer counts. When all of a shard fail, others that hold its
//! partitions are asked: while the number of shards changes, there are old and new ones. Guarantee: a query with a living replica of every
//! shard succeeds within the deadline, and with one for every partition where the others fail; of a shard whose replicas all hang, and of what
//! nobody answers for, the partitions are named in [`Found::missing_partitions`], never left out silently.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use medindex_backends::Positions;
use medindex_index::{Explain, Hit, IndexStatus, SearchRequest};
use medindex_pipeline::{BackendError, Found, ImageId, Searcher, ShardError};
use medindex_proto::identity::partition_of;
use medindex_proto::services as wire;
use tonic::Code;

use crate::convert::{read_explain, read_hits, write_request};
use crate::merge::{merge_explain, merge_hits, merge_status};
use crate::topology::{Replica, ShardGroup, Shards, Topology};
use crate::trace::carrying;

/// Bounds on waiting.
#[derive(Debug, Clone, Copy)]
pub struct ScatterOptions {
    /// How long a question may take in all.
    pub deadline: Duration,
    /// How long a deletion or an import waits for the shards to follow.
    pub catch_up: Duration,
}

impl Default for ScatterOptions {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(5), catch_up: Duration::from_secs(10) }
    }
}

/// Asks the shards of an index.
pub struct Scatter {
    topology: Arc<Topology>,
    partitions: u32,
    model_digest: String,
    options: ScatterOptions,
}

/// One shard's answer.
struct Answer {
    hits: Vec<Hit>,
    explain: Explain,
}

/// What all shards answered.
#[derive(Default)]
struct Gathered {
    hits: Vec<Vec<Hit>>,
    explains: Vec<Explain>,
    missing: BTreeSet<u32>,
    /// Why some did not answer: what was met last.
    last: Option<ShardError>,
}

impl Scatter {
    /// Asks the shards that `topology` knows.
    pub fn new(
        topology: Arc<Topology>,
        partitions: u32,
        model_digest: &str,
        options: ScatterOptions,
    ) -> Self {
        Self { topology, partitions, model_digest: model_digest.to_owned(), options }
    }

    /// Asks the replicas of a shard until one answers.
    async fn ask(&self, group: &ShardGroup, question: &wire::SearchRequest) -> Result<Answer, ShardError> {
        let mut untried = group.replicas.clone();
        // The least busy replica stands last.
        untried.sort_by_key(|replica| std::cmp::Reverse(replica.waiting.load(Ordering::Relaxed)));
        let mut running = FuturesUnordered::new();
        let mut last = ShardError::Ask { reason: "it has no replica".to_owned() };
        let mut asked = None;
        loop {
            if running.is_empty() {
                let Some(replica) = untried.pop() else { return Err(last) };
                asked = Some(Arc::clone(&replica));
                running.push(ask_replica(replica, question.clone()));
            }
            let both = untried.last().zip(asked.as_ref());
            let hedge_after =
                both.map(|(next, asked)| next.latency.hedge_after().min(asked.latency.hedge_after()));
            let hedge = async {
                match hedge_after {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(outcome) = running.next() => match outcome {
                    Ok(answer) => return Ok(answer),
                    // Every replica would refuse it.
                    Err(error @ ShardError::Refuse { .. }) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%error, partitions = ?group.partitions, "a replica failed");
                        last = error;
                    }
                },
                () = hedge => {
                    if let Some(replica) = untried.pop() {
                        asked = Some(Arc::clone(&replica));
                        running.push(ask_replica(replica, question.clone()));
                    }
                }
            }
        }
    }

    /// Asks a group for every partition, and as soon as one fails others that hold its partitions, as long as there are any that did not fail.
    ///
    /// # Errors
    /// A shard refuses the question: the others would too.
    async fn gather(&self, shards: &Shards, question: &wire::SearchRequest) -> Result<Gathered, ShardError> {
        let deadline = tokio::time::Instant::now() + self.options.deadline;
        let ask = |group: ShardGroup| async move { (self.ask(&group, question).await, group) };
        let mut gathered = Gathered { missing: (0..self.partitions).collect(), ..Gathered::default() };
        let mut failed = BTreeSet::new();
        let mut asked: FuturesUnordered<_> = shards.groups.iter().cloned().map(ask).collect();
        loop {
            match tokio::time::timeout_at(deadline, asked.next()).await {
                Ok(None) => return Ok(gathered),
                Ok(Some((Ok(answer), group))) => {
                    gathered.missing.retain(|partition| !group.partitions.contains(partition));
                    gathered.hits.push(answer.hits);
                    gathered.explains.push(answer.explain);
                }
                Ok(Some((Err(error @ ShardError::Refuse { .. }), _))) => return Err(error),
                Ok(Some((Err(error), group))) => {
                    gathered.last = Some(error);
                    failed.extend(group.replicas.iter().map(|replica| replica.address));
                    let mut wanted = &group.partitions & &gathered.missing;
                    asked.extend(shards.groups_without(&failed, &mut wanted).into_iter().map(ask));
                }
                Err(_) => {
                    let reason = format!("no answer within {:?}", self.options.deadline);
                    gathered.last.get_or_insert(ShardError::Ask { reason });
                    return Ok(gathered);
                }
            }
        }
    }

    /// The reports of one replica of every shard: the one that is furthest.
    fn statuses(&self) -> Vec<IndexStatus> {
        let shards = self.topology.shards();
        let furthest = |group: &ShardGroup| {
            let of_group = |report: &&crate::topology::Report| {
                report.unready.is_none() && report.partitions == group.partitions
            };
            let reports = shards.reports.iter().filter(of_group);
            reports
                .max_by_key(|report| report.index.log_positions.values().sum::<u64>())
                .map(|report| report.index.clone())
        };
        shards.groups.iter().filter_map(furthest).collect()
    }
}

/// Counts a question as open while it lives, also when its caller goes away.
struct Open<'a>(&'a Replica);

impl<'a> Open<'a> {
    fn new(replica: &'a Replica) -> Self {
        replica.waiting.fetch_add(1, Ordering::Relaxed);
        Self(replica)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn ask_replica(replica: Arc<Replica>, question: wire::SearchRequest) -> Result<Answer, ShardError> {
    let _open = Open::new(&replica);
    let started = Instant::now();
    let response =
        replica.client().search(carrying(question)).await.map_err(|status| shard_error(&replica, &status))?;
    replica.latency.record(started.elapsed());
    let response = response.into_inner();
    let hits = read_hits(&response.hits).map_err(|error| ShardError::Read {
        address: replica.address.to_string(),
        reason: error.to_string(),
    })?;
    Ok(Answer { hits, explain: read_explain(response.explain.unwrap_or_default()) })
}

fn shard_error(replica: &Replica, status: &tonic::Status) -> ShardError {
    match status.code() {
        Code::InvalidArgument => ShardError::Refuse { reason: status.message().to_owned() },
        _ => ShardError::Ask { reason: format!("{}: {}", replica.address, status.message()) },
    }
}

#[async_trait]
impl Searcher for Scatter {
    async fn search(&self, question: SearchRequest) -> Result<Found, BackendError> {
        let shards = self.topology.shards();
        let gathered = self.gather(&shards, &write_request(&question, &self.model_digest)).await?;
        if gathered.explains.is_empty() {
            let reason = || shards.trouble.clone().unwrap_or_else(|| "no shard is known".to_owned());
            return Err(gathered.last.unwrap_or_else(|| ShardError::Ask { reason: reason() }).into());
        }
        Ok(Found {
            hits: merge_hits(gathered.hits, question.k, question.group_by),
            explain: merge_explain(&gathered.explains),
            missing_partitions: gathered.missing.into_iter().collect(),
        })
    }

    /// Every ready replica of the image's shard has it: whichever is asked next finds it.
    async fn holds(&self, id: &ImageId) -> Result<bool, BackendError> {
        let partition = partition_of(id, self.partitions);
        let shards = self.topology.shards();
        let holders = shards.groups.iter().filter(|group| group.partitions.contains(&partition));
        let replicas: Vec<_> = holders.flat_map(|group| &group.replicas).collect();
        if replicas.is_empty() {
            return Ok(false);
        }
        let asked = replicas.into_iter().map(|replica| async move {
            let request = wire::HoldsRequest { image_id: Bytes::copy_from_slice(id.as_bytes()) };
            replica.client().holds(request).await
        });
        let answers = tokio::time::timeout(self.options.deadline, join_all(asked)).await;
        // A replica that does not answer now is not ready soon, and then nobody is sent to it.
        let answers = answers.unwrap_or_default();
        let holds: Vec<bool> =
            answers.into_iter().flatten().map(|answer| answer.into_inner().holds).collect();
        Ok(!holds.is_empty() && holds.into_iter().all(|holds| holds))
    }

    async fn generation(&self) -> Result<u64, BackendError> {
        Ok(merge_status(self.statuses()).generation)
    }

    /// As the replicas said when they were last asked, the one that is least far for each partition.
    async fn applied(&self) -> Result<Positions, BackendError> {
        let shards = self.topology.shards();
        let mut applied = Positions::new();
        for report in shards.reports.iter().filter(|report| report.unready.is_none()) {
            for partition in &report.partitions {
                let position = report.index.log_positions.get(partition).copied().unwrap_or(0);
                let least = applied.entry(*partition).or_insert(position);
                *least = position.min(*least);
            }
        }
        Ok(applied)
    }

    async fn status(&self) -> Result<IndexStatus, BackendError> {
        Ok(merge_status(self.statuses()))
    }

    async fn missing_partitions(&self) -> Vec<u32> {
        self.topology.shards().missing.clone()
    }

    /// Bounded: a shard that is down must not hold up a deletion, which searches see through the catalog at once anyway.
    async fn catch_up(&self, ends: &Positions) -> Result<(), BackendError> {
        let applied = async {
            loop {
                let applied = merge_status(self.statuses()).log_positions;
                let of = |partition: &u32| applied.get(partition).copied().unwrap_or(0);
                if ends.iter().all(|(partition, end)| of(partition) >= *end) {
                    return;
                }
                self.topology.look_again().await;
            }
        };
        if tokio::time::timeout(self.options.catch_up, applied).await.is_err() {
            tracing::warn!(
                "the search shards do not follow the change log within {:?}",
                self.options.catch_up
            );
        }
        Ok(())
    }

    async fn unready(&self) -> Option<String> {
        let shards = self.topology.shards();
        if shards.groups.is_empty() {
            let trouble = shards.trouble.clone().unwrap_or_else(|| "none was found".to_owned());
            return Some(format!("no search shard is ready: {trouble}"));
        }
        None
    }
}
