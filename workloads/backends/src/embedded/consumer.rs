//! Consumers that share a topic in a group, and followers that read alone.
//!
//! Membership lives in memory, because all members are in this process; positions live in the store. Partition
//! `p` belongs to member number `p` modulo the number of members, in the order in which they joined. A partition
//! that changes hands starts from its committed position, and a commit by the one who lost it is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::log;
use super::queue::read_error;
use super::store::EmbeddedStore;
use super::tables::Tables;
use crate::queue::{Consumer, Delivery, Follower, Positions, QueueError, Result};

/// The groups of all topics.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<GroupName, Group>>);

/// Topic and group.
type GroupName = (Arc<str>, Arc<str>);

struct Group {
    members: Vec<u64>,
    /// Owner of each partition, and since which change of the group.
    owners: Vec<(u64, u64)>,
    changes: watch::Sender<u64>,
}

impl Group {
    fn new(partitions: u32) -> Self {
        Self {
            members: Vec::new(),
            owners: vec![(0, 0); partitions as usize],
            changes: watch::Sender::new(0),
        }
    }

    /// Shares the partitions out anew after a change of the members.
    fn share_out(&mut self) {
        let change = *self.changes.borrow() + 1;
        if !self.members.is_empty() {
            for (partition, owner) in self.owners.iter_mut().enumerate() {
                let member = self.members[partition % self.members.len()];
                if owner.0 != member {
                    *owner = (member, change);
                }
            }
        }
        self.changes.send_replace(change);
    }
}

impl Groups {
    /// Adds a member; returns its number and a receiver that sees the group's changes.
    fn join(&self, topic: &Arc<str>, group: &Arc<str>, partitions: u32) -> (u64, watch::Receiver<u64>) {
        let mut groups = self.0.lock();
        let key = (Arc::clone(topic), Arc::clone(group));
        let group = groups.entry(key).or_insert_with(|| Group::new(partitions));
        // Above every number that was ever given, so that no two members are mistaken for each other.
        let member = *group.changes.borrow() + 1;
        group.members.push(member);
        group.share_out();
        (member, group.changes.subscribe())
    }

    fn leave(&self, topic: &Arc<str>, group: &Arc<str>, member: u64) {
        let mut groups = self.0.lock();
        if let Some(group) = groups.get_mut(&(Arc::clone(topic), Arc::clone(group))) {
            group.members.retain(|other| *other != member);
            group.share_out();
        }
    }

    /// The partitions of a member, with the change since when it has them.
    fn owned(&self, topic: &Arc<str>, group: &Arc<str>, member: u64) -> BTreeMap<u32, u64> {
        let groups = self.0.lock();
        let group = groups.get(&(Arc::clone(topic), Arc::clone(group)));
        let owners = group.map_or(&[][..], |group| &group.owners);
        (0..).zip(owners).filter(|(_, owner)| owner.0 == member).map(|(p, owner)| (p, owner.1)).collect()
    }
}

/// A member of a group.
pub(super) struct EmbeddedConsumer {
    store: EmbeddedStore,
    topic: Arc<str>,
    group: Arc<str>,
    member: u64,
    changes: watch::Receiver<u64>,
    /// Since which change of the group it has each partition whose position it knows.
    since: BTreeMap<u32, u64>,
    positions: Positions,
    turn: usize,
}

impl EmbeddedConsumer {
    pub(super) fn join(store: EmbeddedStore, topic: Arc<str>, group: Arc<str>, partitions: u32) -> Self {
        let (member, changes) = store.shared.groups.join(&topic, &group, partitions);
        let (since, positions) = (BTreeMap::new(), Positions::new());
        Self { store, topic, group, member, changes, since, positions, turn: 0 }
    }

    /// Learns which partitions it has, and where to begin in those that are new.
    async fn refresh(&mut self) -> Result<()> {
        let owned = self.store.shared.groups.owned(&self.topic, &self.group, self.member);
        if owned == self.since {
            return Ok(());
        }
        let (topic, group) = (Arc::clone(&self.topic), Arc::clone(&self.group));
        let committed = self.store.read(move |transaction| log::committed(transaction, &topic, &group)).await;
        let committed = committed.map_err(|source| read_error(&self.topic, source))?;
        let kept = |partition| {
            let is_kept = self.since.get(partition) == owned.get(partition);
            self.positions.get(partition).filter(|_| is_kept)
        };
        let position = |partition| kept(partition).or_else(|| committed.get(partition)).copied().unwrap_or(0);
        self.positions = owned.keys().map(|partition| (*partition, position(partition))).collect();
        self.since = owned;
        Ok(())
    }
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn poll(&mut self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + timeout;
        let mut grown = self.store.watch_topic(&self.topic);
        loop {
            grown.mark_unchanged();
            self.changes.mark_unchanged();
            self.refresh().await?;
            let deliveries =
                self.store.read_onwards(&self.topic, self.positions.clone(), self.turn, max).await?;
            self.turn = self.turn.wrapping_add(1);
            advance(&mut self.positions, &deliveries);
            if !deliveries.is_empty() || max == 0 {
                return Ok(deliveries);
            }
            let woken = async {
                tokio::select! {
                    outcome = grown.changed() => outcome,
                    outcome = self.changes.changed() => outcome,
                }
            };
            if !matches!(timeout_at(deadline, woken).await, Ok(Ok(()))) {
                return Ok(Vec::new());
            }
        }
    }

    async fn commit(&mut self, positions: &Positions) -> Result<()> {
        let owned = self.store.shared.groups.owned(&self.topic, &self.group, self.member);
        for partition in positions.keys() {
            let since = self.since.get(partition);
            if since.is_none() || since != owned.get(partition) {
                let (topic, group) = (self.topic.to_string(), self.group.to_string());
                return Err(QueueError::Reassigned { topic, group, partition: *partition });
            }
        }
        let (topic, group, kept) = (Arc::clone(&self.topic), Arc::clone(&self.group), positions.clone());
        let work = move |tables: &mut Tables<'_>| log::commit(tables, &topic, &group, &kept);
        self.store.write(positions.len() * 64, work, |_| ()).await.map_err(|source| QueueError::Commit {
            topic: self.topic.to_string(),
            group: self.group.to_string(),
            source,
        })?
    }

    async fn rewind(&mut self) -> Result<()> {
        self.since.clear();
        self.refresh().await
    }

    async fn assignment(&mut self) -> Result<Vec<u32>> {
        self.refresh().await?;
        Ok(self.positions.keys().copied().collect())
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.store.shared.groups.leave(&self.topic, &self.group, self.member);
    }
}

/// A reader that keeps its own positions.
pub(super) struct EmbeddedFollower {
    store: EmbeddedStore,
    topic: Arc<str>,
    positions: Positions,
    turn: usize,
}

impl EmbeddedFollower {
    pub(super) fn new(store: EmbeddedStore, topic: Arc<str>, positions: Positions) -> Self {
        Self { store, topic, positions, turn: 0 }
    }
}

#[async_trait]
impl Follower for EmbeddedFollower {
    async fn poll(&mut self, max: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        let deadline = Instant::now() + timeout;
        let mut grown = self.store.watch_topic(&self.topic);
        loop {
            grown.mark_unchanged();
            let deliveries =
                self.store.read_exactly(&self.topic, self.positions.clone(), self.turn, max).await?;
            self.turn = self.turn.wrapping_add(1);
            advance(&mut self.positions, &deliveries);
            if !deliveries.is_empty() || max == 0 {
                return Ok(deliveries);
            }
            if !matches!(timeout_at(deadline, grown.changed()).await, Ok(Ok(()))) {
                return Ok(Vec::new());
            }
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }
}

fn advance(positions: &mut Positions, deliveries: &[Delivery]) {
    for delivery in deliveries {
        positions.insert(delivery.partition, delivery.offset + 1);
    }
}
