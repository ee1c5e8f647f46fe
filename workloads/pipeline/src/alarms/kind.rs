//! The kinds of alarms: name, severity, what to do, and when one is over.

use std::time::Duration;

use medindex_backends::catalog::MAX_LONG_TEXT;
use serde::{Deserialize, Serialize};

/// How soon a person is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Soon: it works, with less reserve or for fewer images.
    Warning,
    /// Now: requests fail, or answers lack images.
    Critical,
}

impl Severity {
    /// Its name in interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlarmKind {
    /// The queue (Kafka) does not answer.
    QueueDown,
    /// The image store (`HBase`) does not answer.
    StoreDown,
    /// The catalog (`MySQL`) does not answer.
    CatalogDown,
    /// The cache (Redis) does not answer.
    CacheDown,
    /// The queue did not take uploads.
    SendFailed,
    /// Messages could not be processed.
    DeadLetter,
    /// Uploads wait and none is embedded.
    UploadLag,
    /// No search shard answers for some partitions.
    ShardMissing,
    /// A shard does not follow the change log.
    ShardLagging,
    /// A shard cannot load its index.
    ShardNotLoading,
    /// A shard's segments cannot be published.
    SegmentsUnpublished,
    /// A generation cannot be taken up.
    GenerationFailed,
    /// Stored vectors of an index are damaged.
    IndexDamaged,
    /// The embedded store is damaged.
    StoreDamaged,
    /// Upkeep of an index fails.
    MaintenanceFailed,
    /// A disk is nearly full.
    DiskShort,
    /// A process is near its memory limit.
    MemoryShort,
    /// Events of the operation log were lost.
    OperationsLost,
    /// Clocks of processes or servers disagree.
    ClockSkew,
}

/// All kinds, in the order of the documents.
pub const ALARM_KINDS: [AlarmKind; 19] = [
    AlarmKind::QueueDown,
    AlarmKind::StoreDown,
    AlarmKind::CatalogDown,
    AlarmKind::CacheDown,
    AlarmKind::SendFailed,
    AlarmKind::DeadLetter,
    AlarmKind::UploadLag,
    AlarmKind::ShardMissing,
    AlarmKind::ShardLagging,
    AlarmKind::ShardNotLoading,
    AlarmKind::SegmentsUnpublished,
    AlarmKind::GenerationFailed,
    AlarmKind::IndexDamaged,
    AlarmKind::StoreDamaged,
    AlarmKind::MaintenanceFailed,
    AlarmKind::DiskShort,
    AlarmKind::MemoryShort,
    AlarmKind::OperationsLost,
    AlarmKind::ClockSkew,
];

/// What is said again every period is over after this many.
const LEASE_PERIODS: u32 = 3;

impl AlarmKind {
    /// Its name in catalog, metrics and interfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueDown => "queue_down",
            Self::StoreDown => "store_down",
            Self::CatalogDown => "catalog_down",
            Self::CacheDown => "cache_down",
            Self::SendFailed => "send_failed",
            Self::DeadLetter => "dead_letter",
            Self::UploadLag => "upload_lag",
            Self::ShardMissing => "shard_missing",
            Self::ShardLagging => "shard_lagging",
            Self::ShardNotLoading => "shard_not_loading",
            Self::SegmentsUnpublished => "segments_not_published",
            Self::GenerationFailed => "generation_failed",
            Self::IndexDamaged => "index_damaged",
            Self::StoreDamaged => "store_damaged",
            Self::MaintenanceFailed => "maintenance_failed",
            Self::DiskShort => "disk_short",
            Self::MemoryShort => "memory_short",
            Self::OperationsLost => "operations_lost",
            Self::ClockSkew => "clock_skew",
        }
    }

    /// The kind of a name; `None` for one of another release.
    pub fn of_name(name: &str) -> Option<Self> {
        ALARM_KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// How soon a person is needed.
    pub fn severity(self) -> Severity {
        match self {
            Self::QueueDown
            | Self::StoreDown
            | Self::CatalogDown
            | Self::SendFailed
            | Self::UploadLag
            | Self::ShardMissing
            | Self::ShardNotLoading
            | Self::IndexDamaged
            | Self::StoreDamaged
            | Self::DiskShort => Severity::Critical,
            Self::CacheDown
            | Self::DeadLetter
            | Self::ShardLagging
            | Self::SegmentsUnpublished
            | Self::GenerationFailed
            | Self::MaintenanceFailed
            | Self::MemoryShort
            | Self::OperationsLost
            | Self::ClockSkew => Severity::Warning,
        }
    }

    /// What to do.
    pub fn advice(self) -> &'static str {
        match self {
            Self::QueueDown => {
                "see whether Kafka's brokers run and the login is right; uploads are kept meanwhile"
            }
            Self::StoreDown => "see whether HBase, its region servers and Thrift servers run",
            Self::CatalogDown => {
                "see whether the database runs and the login is right; requests fail until then"
            }
            Self::CacheDown => "see whether Redis runs; requests are slower until then, none fails",
            Self::SendFailed => {
                "see whether Kafka's brokers run, in one process whether its disk is full; what was acknowledged is sent again by itself"
            }
            Self::DeadLetter => "look at the images with status failed; upload them again or delete them",
            Self::UploadLag => "see whether the embedders run and what their logs say",
            Self::ShardMissing => "see whether its search processes run; answers lack its images until then",
            Self::ShardLagging => "see its log; searches do not find the latest images there",
            Self::ShardNotLoading => "see its log; give it what it lacks, such as memory or disk",
            Self::SegmentsUnpublished => {
                "see its log and whether HBase runs; new replicas load more slowly until then"
            }
            Self::GenerationFailed => "see the log; train again, or go back one generation",
            Self::IndexDamaged => {
                "wait until it has read its vectors from the image store again, answers may be wrong until then; look after its disk"
            }
            Self::StoreDamaged => {
                "stop the server, copy the data folder and run `medindex repair`, which saves all that can be read; look after the disk"
            }
            Self::MaintenanceFailed => "see the log; the index grows and restarts take longer until then",
            Self::DiskShort => "give it a larger disk, or more shards, before it is full",
            Self::MemoryShort => "raise its memory limit, or run more of its kind, before it is killed",
            Self::OperationsLost => "see whether queue and catalog run; the operation log has a gap",
            Self::ClockSkew => {
                "see whether the nodes' clocks are set over the network (NTP); times in lists, filters and alarms are wrong until then, and nothing is lost"
            }
        }
    }

    /// What was met, with what to do, as rows have it.
    pub(crate) fn told(self, detail: &str) -> String {
        format!("{detail}; {}", self.advice()).chars().take(MAX_LONG_TEXT).collect()
    }

    /// How long nobody must have seen its cause until it is over, where causes are looked for every `period`.
    pub fn quiet(self, period: Duration) -> Duration {
        match self {
            // Causes that happen instead of lasting.
            Self::DeadLetter | Self::OperationsLost => Duration::from_hours(1),
            Self::SendFailed => Duration::from_mins(1),
            _ => Self::lease(period),
        }
    }

    /// Within which time whoever sees a cause that lasts says so again.
    pub(super) fn lease(period: Duration) -> Duration {
        period * LEASE_PERIODS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_told_in_the_documents() {
        let document = include_str!("../../../../docs/operation-log-and-alarms.md");
        for kind in ALARM_KINDS {
            assert_eq!(AlarmKind::of_name(kind.name()), Some(kind));
            let row = format!("| `{}` | {} |", kind.name(), kind.severity().name());
            assert!(document.contains(&row), "{row} is not in the document");
            assert!(
                document.contains(kind.advice()),
                "what to do about {} is not in the document",
                kind.name()
            );
        }
        assert_eq!(AlarmKind::of_name("of a later release"), None);
        // The last variant's number is the number of the others.
        assert_eq!(AlarmKind::ClockSkew as usize + 1, ALARM_KINDS.len());
    }
}
