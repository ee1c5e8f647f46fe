//! What an index holds at a moment.

use serde::Serialize;

use crate::entry::LogPositions;

/// What an index holds at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IndexStatus {
    /// Entries that can be found.
    pub entries: usize,
    /// Rows of removed or replaced entries whose space is not yet freed.
    pub removed: usize,
    /// Rows in the append tail, which only the caller's log makes durable until the next snapshot.
    pub tail_rows: usize,
    /// Immutable segments.
    pub segments: usize,
    /// Segments that are searched by codes.
    pub coded_segments: usize,
    /// The active quantizer's generation; 0 before one is trained.
    pub generation: u64,
    /// The generation that [`crate::Index::rollback`] returns to.
    pub previous_generation: Option<u64>,
    /// A generation that is built and waits for [`crate::Index::activate`].
    pub built_generation: Option<u64>,
    /// Coarse lists of the active generation; 0 before one is trained.
    pub lists: usize,
    /// Main memory held beside the mapped files, in bytes.
    pub memory_bytes: u64,
    /// Size of the mapped files, in bytes.
    pub mapped_bytes: u64,
    /// Next offsets of the change log: everything before is applied.
    pub log_positions: LogPositions,
    /// Next offsets of the change log as of the last snapshot: everything before is durable here.
    pub durable_positions: LogPositions,
}

impl IndexStatus {
    /// Main memory for each entry beside the mapped files, in bytes; 0 for an empty index.
    pub fn memory_bytes_per_entry(&self) -> f64 {
        if self.entries == 0 { 0.0 } else { self.memory_bytes as f64 / self.entries as f64 }
    }
}
