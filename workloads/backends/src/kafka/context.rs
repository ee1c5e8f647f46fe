//! What the client library tells while it runs: its log, its errors, and which partitions a member of a group has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::faults::is_refusal;

/// An error that the library reported beside any action.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) at: Instant,
    pub(super) reason: String,
}

/// How long an error explains later ones: the library tells the same error of a broker every 30 s at most.
const MEMORY: Duration = Duration::from_secs(40);

/// The latest errors of a client since it last got what it asked for: an action that merely timed out is explained by them.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    latest: Mutex<Option<Trouble>>,
    refusal: Mutex<Option<Trouble>>,
}

impl Troubles {
    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let trouble = Trouble { at: Instant::now(), reason: reason.to_owned() };
        if is_refusal(code, reason) {
            *self.refusal.lock() = Some(trouble.clone());
        }
        // That all brokers are down says less than why the last one is.
        if code != RDKafkaErrorCode::AllBrokersDown || self.latest().is_none() {
            *self.latest.lock() = Some(trouble);
        }
    }

    /// The server answered: what was before explains nothing any more.
    pub(super) fn forget(&self) {
        *self.latest.lock() = None;
        *self.refusal.lock() = None;
    }

    /// The latest error.
    pub(super) fn latest(&self) -> Option<Trouble> {
        self.latest.lock().clone().filter(|trouble| trouble.at.elapsed() < MEMORY)
    }

    /// The latest refusal of credentials, certificates or rights.
    pub(super) fn refusal(&self) -> Option<Trouble> {
        self.refusal.lock().clone().filter(|trouble| trouble.at.elapsed() < MEMORY)
    }
}

/// Which partitions a member of a group has, each with the number of the assignment that gave it.
#[derive(Debug, Default)]
pub(super) struct Owned(Mutex<BTreeMap<u32, u64>>);

/// Numbers of assignments; no two are the same in a process.
static ASSIGNMENTS: AtomicU64 = AtomicU64::new(1);

impl Owned {
    /// The number of the assignment that gave the partition, if the member has it now.
    pub(super) fn assignment(&self, partition: u32) -> Option<u64> {
        self.0.lock().get(&partition).copied()
    }

    pub(super) fn partitions(&self) -> Vec<u32> {
        self.0.lock().keys().copied().collect()
    }

    fn change(&self, rebalance: &Rebalance<'_>) {
        let mut owned = self.0.lock();
        match rebalance {
            Rebalance::Assign(list) => {
                let assignment = ASSIGNMENTS.fetch_add(1, Ordering::Relaxed);
                owned.extend(partitions(list).map(|partition| (partition, assignment)));
            }
            Rebalance::Revoke(list) => {
                for partition in partitions(list) {
                    owned.remove(&partition);
                }
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "sharing out the partitions failed; it is tried again");
            }
        }
    }
}

fn partitions(list: &TopicPartitionList) -> impl Iterator<Item = u32> {
    let numbers: Vec<_> = list.elements().iter().map(|element| element.partition() as u32).collect();
    numbers.into_iter()
}

/// Receives what a client tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    pub(super) troubles: Arc<Troubles>,
    pub(super) owned: Arc<Owned>,
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        match level {
            // The library calls errors what it copes with: a connection lost, a broker that is down.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{text}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(target: "librdkafka", facility, "{text}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{text}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "error");
        if let Some(code) = error.rdkafka_error_code() {
            self.troubles.note(code, reason);
        }
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        tracing::debug!(?rebalance, "partitions change hands");
        self.owned.change(rebalance);
    }
}
