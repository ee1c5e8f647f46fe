//! Which replicas hold which partitions, as they say themselves.
//!
//! Every [`PERIOD`], sooner when somebody waits, the addresses are looked up again and each process is asked for its status. One that does not answer is not ready; one whose
//! address is gone is forgotten. Nothing is ever assumed from a name or an order, so scaling and moving need no configuration here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use medindex_index::IndexStatus;
use medindex_proto::services::StatusRequest;
use medindex_proto::services::search_shard_client::SearchShardClient;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::MAX_MESSAGE;
use crate::channel;
use crate::convert::read_status;
use crate::discovery::Targets;
use crate::latency::Latency;

/// How often replicas are looked up and asked.
pub const PERIOD: Duration = Duration::from_millis(500);
/// How long a replica may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest time between two looks, when somebody waits for news.
const HASTE: Duration = Duration::from_millis(100);

/// One process that serves a shard.
#[derive(Debug)]
pub struct Replica {
    /// Where it is.
    pub address: SocketAddr,
    channel: Channel,
    /// Questions that it has not answered yet.
    pub waiting: AtomicUsize,
    /// How long its answers take.
    pub latency: Latency,
}

impl Replica {
    fn new(address: SocketAddr) -> Option<Self> {
        let channel = channel::open(address)?;
        Some(Self { address, channel, waiting: AtomicUsize::new(0), latency: Latency::default() })
    }

    /// A client for one call.
    pub fn client(&self) -> SearchShardClient<Channel> {
        SearchShardClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

/// What a replica said last.
#[derive(Debug, Clone)]
pub struct Report {
    /// The replica.
    pub replica: Arc<Replica>,
    /// Partitions that it holds.
    pub partitions: BTreeSet<u32>,
    /// Digest of the model whose vectors it holds.
    pub model_digest: String,
    /// Why it should not be asked.
    pub unready: Option<String>,
    /// What its index holds.
    pub index: IndexStatus,
}

/// Replicas that hold the same partitions: a shard.
#[derive(Debug, Clone)]
pub struct ShardGroup {
    /// Partitions.
    pub partitions: BTreeSet<u32>,
    /// Ready replicas.
    pub replicas: Vec<Arc<Replica>>,
}

/// All shards at a moment.
#[derive(Debug, Clone, Default)]
pub struct Shards {
    /// Groups of ready replicas that together hold as many partitions as can be had.
    pub groups: Vec<ShardGroup>,
    /// Partitions that no ready replica holds.
    pub missing: Vec<u32>,
    /// Everything that was said.
    pub reports: Vec<Report>,
    /// Why there may be too few: what was met last.
    pub trouble: Option<String>,
}

impl Shards {
    /// Groups of ready replicas, the `failed` ones left out, that hold as many of `wanted` as can be had; `wanted` keeps the others.
    pub fn groups_without(
        &self,
        failed: &BTreeSet<SocketAddr>,
        wanted: &mut BTreeSet<u32>,
    ) -> Vec<ShardGroup> {
        let living = |report: &&Report| report.unready.is_none() && !failed.contains(&report.replica.address);
        cover(self.reports.iter().filter(living), wanted)
    }
}

/// Looks up replicas and keeps what they say.
#[derive(Debug)]
pub struct Topology {
    targets: Targets,
    partitions: u32,
    model_digest: String,
    shards: ArcSwap<Shards>,
    /// Somebody waits for news.
    wanted: Notify,
    /// Looks that ended.
    looks: watch::Sender<u64>,
}

impl Topology {
    /// For an index of `partitions` partitions, with vectors of the model `model_digest`.
    pub fn new(targets: Targets, partitions: u32, model_digest: &str) -> Arc<Self> {
        let shards = Shards {
            missing: (0..partitions).collect(),
            trouble: Some("the shards were not looked up yet".to_owned()),
            ..Shards::default()
        };
        let shards = ArcSwap::from_pointee(shards);
        let model_digest = model_digest.to_owned();
        let (wanted, looks) = (Notify::new(), watch::Sender::new(0));
        Arc::new(Self { targets, partitions, model_digest, shards, wanted, looks })
    }

    /// The shards as last looked up.
    pub fn shards(&self) -> Arc<Shards> {
        self.shards.load_full()
    }

    /// Looks up again and again until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            self.refresh().await;
            let next = async {
                tokio::time::sleep(HASTE).await;
                let _ = tokio::time::timeout(PERIOD.saturating_sub(HASTE), self.wanted.notified()).await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next => {}
            }
        }
    }

    /// Waits for the next look, which comes at once; the looks of all who wait are one. Never ends where nobody [runs](Self::run) it.
    pub async fn look_again(&self) {
        let mut looks = self.looks.subscribe();
        self.wanted.notify_one();
        // The sender lives as long as this borrow.
        let _ = looks.changed().await;
    }

    /// Looks up once.
    pub async fn refresh(&self) {
        let (addresses, failure) = self.targets.resolve().await;
        let mut trouble = failure.map(|error| format!("cannot look up {error}"));
        let before = self.shards.load_full();
        let mut known: BTreeMap<SocketAddr, Arc<Replica>> = before
            .reports
            .iter()
            .map(|report| (report.replica.address, Arc::clone(&report.replica)))
            .collect();
        let replicas = addresses
            .into_iter()
            .filter_map(|address| known.remove(&address).or_else(|| Replica::new(address).map(Arc::new)));
        let reports = join_all(replicas.map(|replica| self.ask(replica))).await;
        for report in &reports {
            if let Some(reason) = &report.unready {
                trouble = Some(format!("{}: {reason}", report.replica.address));
            }
        }
        self.shards.store(Arc::new(group(reports, self.partitions, trouble)));
        self.looks.send_modify(|looks| *looks = looks.wrapping_add(1));
    }

    async fn ask(&self, replica: Arc<Replica>) -> Report {
        let mut client = replica.client();
        let asked = tokio::time::timeout(PATIENCE, client.status(StatusRequest {})).await;
        let failed = |replica, reason: String| Report {
            replica,
            partitions: BTreeSet::new(),
            model_digest: String::new(),
            unready: Some(reason),
            index: IndexStatus::default(),
        };
        let status = match asked {
            Ok(Ok(status)) => status.into_inner(),
            Ok(Err(error)) => return failed(replica, format!("does not say how it is: {}", error.message())),
            Err(_) => return failed(replica, format!("did not say within {PATIENCE:?} how it is")),
        };
        let wrong = self.mismatch(&status.partitions, &status.model_digest);
        Report {
            replica,
            partitions: status.partitions.into_iter().collect(),
            model_digest: status.model_digest,
            unready: status.unready.or(wrong),
            index: read_status(status.index.unwrap_or_default()),
        }
    }

    /// Why a shard does not belong to this index.
    fn mismatch(&self, partitions: &[u32], model_digest: &str) -> Option<String> {
        if model_digest != self.model_digest {
            return Some(format!("holds vectors of model {model_digest}, not of {}", self.model_digest));
        }
        let beyond = partitions.iter().find(|partition| **partition >= self.partitions)?;
        Some(format!("holds partition {beyond}, but the index has {} partitions", self.partitions))
    }
}

/// All shards, as replicas reported them.
fn group(reports: Vec<Report>, partitions: u32, trouble: Option<String>) -> Shards {
    let mut missing: BTreeSet<u32> = (0..partitions).collect();
    let groups = cover(reports.iter().filter(|report| report.unready.is_none()), &mut missing);
    Shards { groups, missing: missing.into_iter().collect(), reports, trouble }
}

/// Groups of replicas with equal partitions that together hold all of `wanted` that can be had, those that hold most of it first; `wanted` keeps
/// what nobody holds.
///
/// While the number of shards changes, sets of partitions overlap; each partition is then asked of one group only where that suffices.
fn cover<'a>(reports: impl Iterator<Item = &'a Report>, wanted: &mut BTreeSet<u32>) -> Vec<ShardGroup> {
    let mut by_partitions: BTreeMap<&BTreeSet<u32>, Vec<Arc<Replica>>> = BTreeMap::new();
    for report in reports {
        by_partitions.entry(&report.partitions).or_default().push(Arc::clone(&report.replica));
    }
    let mut candidates: Vec<(&BTreeSet<u32>, Vec<Arc<Replica>>)> = by_partitions.into_iter().collect();
    let mut groups = Vec::new();
    while !wanted.is_empty() {
        let gain = |held: &BTreeSet<u32>| held.intersection(wanted).count();
        let best = candidates.iter().enumerate().max_by_key(|(_, (held, _))| gain(held));
        let Some((place, (held, _))) = best else { break };
        if gain(held) == 0 {
            break;
        }
        let (held, replicas) = candidates.swap_remove(place);
        wanted.retain(|partition| !held.contains(partition));
        groups.push(ShardGroup { partitions: held.clone(), replicas });
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(port: u16, partitions: &[u32], unready: Option<&str>) -> Report {
        Report {
            replica: Arc::new(Replica::new(SocketAddr::from(([127, 0, 0, 1], port))).unwrap()),
            partitions: partitions.iter().copied().collect(),
            model_digest: String::new(),
            unready: unready.map(str::to_owned),
            index: IndexStatus::default(),
        }
    }

    #[tokio::test]
    async fn replicas_of_a_shard_are_one_group_and_unready_ones_are_left_out() {
        let reports = vec![
            report(1, &[0, 2], None),
            report(2, &[1], None),
            report(3, &[0, 2], None),
            report(4, &[1], Some("loading")),
        ];
        let shards = group(reports, 3, None);
        let sizes: Vec<usize> = shards.groups.iter().map(|group| group.replicas.len()).collect();
        assert_eq!(sizes, [2, 1]);
        assert!(shards.missing.is_empty());
    }

    #[tokio::test]
    async fn partitions_that_nobody_holds_are_missing() {
        let shards = group(vec![report(1, &[0, 2], None), report(2, &[1], Some("dead"))], 4, None);
        assert_eq!(shards.missing, [1, 3]);
    }

    #[tokio::test]
    async fn while_shards_change_each_partition_is_asked_of_few_groups() {
        // From two shards to three: the old ones still answer.
        let reports = vec![
            report(1, &[0, 2, 4], None),
            report(2, &[1, 3, 5], None),
            report(3, &[0, 3], None),
            report(4, &[1, 4], None),
        ];
        let shards = group(reports, 6, None);
        assert_eq!(shards.groups.len(), 2);
        assert!(shards.missing.is_empty());
    }
}
