//! Settings of the flows, with defaults that suit one machine.

use std::time::Duration;

use medindex_imaging::{FrameSelection, Limits};

/// Which frames of a multi-frame image become searchable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchableFrames {
    /// Only the middle frame: one vector an image.
    #[default]
    Middle,
    /// Every frame: a vector each, one result an image.
    All,
}

impl SearchableFrames {
    pub(crate) fn selection(self) -> FrameSelection {
        match self {
            Self::Middle => FrameSelection::Middle,
            Self::All => FrameSelection::All,
        }
    }
}

/// Bytes that files may take while they are decoded, when nothing else is said: 2 GiB, some 90 frames of 1,000 x 1,000 pixels at a time.
pub const DECODE_MEMORY: u64 = 2 << 30;

/// When the index trains itself, and when a new generation is refused.
#[derive(Debug, Clone)]
pub struct TrainingPolicy {
    /// Train without being asked.
    pub automatic: bool,
    /// Images before the first training; search is exact until then.
    pub first_at: usize,
    /// Train again when there are this many times the vectors of the last training.
    pub growth: usize,
    /// Vectors to learn from at the most.
    pub sample: usize,
    /// Held-out queries for the recall of a new generation.
    pub held_out: usize,
    /// Recall@10 against exact search under which a new generation is refused, 0 to 1.
    pub recall_gate: f64,
    /// Coarse lists; chosen by the number of vectors when `None`.
    pub lists: Option<usize>,
    /// Sub-quantizers of a code; they divide the components of a vector, of which 256 are coded at the most.
    pub sub_quantizers: usize,
    /// Bits of a sub-quantizer: 4 scans fastest, 8 is more exact.
    pub bits: u32,
}

impl Default for TrainingPolicy {
    fn default() -> Self {
        Self {
            automatic: true,
            first_at: 2_048,
            growth: 4,
            sample: 65_536,
            held_out: 200,
            recall_gate: 0.9,
            lists: None,
            // Codes of 32 bytes, four components each.
            sub_quantizers: 64,
            bits: 4,
        }
    }
}

/// Everything the flows can be told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Organisation that uploads belong to.
    pub organisation: String,
    /// Who the operation log says did what people do, until people sign in.
    pub user: String,
    /// Name of this process in the operation log and in alarms.
    pub process: String,
    /// Partitions of a new data folder; an existing one keeps its own.
    pub partitions: u32,
    /// Bounds on what is decoded.
    pub limits: Limits,
    /// Bytes that files may take while they are decoded, all together; a file that needs more is decoded alone.
    pub decode_memory: u64,
    /// Frames that become searchable.
    pub frames: SearchableFrames,
    /// Uploads up to this size travel in the queue's message; larger ones go to the image store first.
    pub inline_bytes: usize,
    /// Images embedded in one batch at the most.
    pub batch: usize,
    /// Uploads waiting to be embedded before a bulk import pauses.
    pub backlog: usize,
    /// Age after which an upload that is still not embedded is sent again.
    pub resend_after: Duration,
    /// Results of one search at the most.
    pub max_results: usize,
    /// Neighbours that vote in a recognition.
    pub voters: usize,
    /// How long a recognition stays cached.
    pub recognition_ttl: Duration,
    /// How long the answer to a search stays cached, while nothing changes.
    pub results_ttl: Duration,
    /// How long a preview stays cached.
    pub preview_ttl: Duration,
    /// Bytes of the cache.
    pub cache_bytes: u64,
    /// Changes between two snapshots of the index.
    pub snapshot_every: u64,
    /// How often causes of alarms are looked for; an alarm that lasts is over when nobody has seen it for three times as long.
    pub alarm_period: Duration,
    /// How long work may wait while none is done until that is an alarm.
    pub standstill: Duration,
    /// How often the checksums of all stored vectors are compared; first a minute after the start.
    pub verify_every: Duration,
    /// Training.
    pub training: TrainingPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            organisation: "default".to_owned(),
            user: "local".to_owned(),
            process: "medindex".to_owned(),
            partitions: medindex_proto::names::DEFAULT_PARTITIONS,
            limits: Limits::default(),
            decode_memory: DECODE_MEMORY,
            frames: SearchableFrames::default(),
            inline_bytes: 1 << 20,
            batch: 16,
            backlog: 256,
            resend_after: Duration::from_mins(1),
            max_results: 1_000,
            voters: 10,
            recognition_ttl: Duration::from_hours(24),
            results_ttl: Duration::from_mins(10),
            preview_ttl: Duration::from_hours(24),
            cache_bytes: 256 << 20,
            snapshot_every: 4_096,
            alarm_period: Duration::from_secs(5),
            standstill: Duration::from_mins(1),
            verify_every: Duration::from_hours(24),
            training: TrainingPolicy::default(),
        }
    }
}
