//! The index: one search shard in one folder.
//!
//! An index holds immutable segments, an append tail and the marks of removed rows. A search works on the view
//! that was current when it began: it never waits for a writer, and a writer never waits for a search. Segments
//! without inverted lists of the active generation, and the tail, are searched exactly, so every answer covers
//! everything that was applied.
//!
//! Guarantees: what [`Index::apply`] was given is found by every search that begins after it returned. After
//! a crash [`Index::open`] shows the last snapshot; replaying the log from [`Index::log_positions`] restores the
//! rest, and replaying more than that changes nothing.
//! Assumptions: the caller keeps a log of the changes, applies each partition of it in order, and calls
//! [`Index::maintain`] and [`Index::snapshot`] from time to time.
//! Failure modes: see [`IndexError`]; every error leaves the index usable and what was stored before unchanged.

mod apply;
mod error;
pub(crate) mod generation;
mod generations;
mod inspect;
mod maintain;
mod open;
mod options;
mod recall;
mod status;
mod stored;
mod transfer;
mod view;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::entry::LogPositions;
use crate::segment::SegmentId;
use crate::snapshot::folder::Folder;

pub(crate) use generation::Generation;
pub(crate) use view::View;

pub use error::IndexError;
pub use generations::BuildProgress;
pub use inspect::DamagedSegment;
pub use maintain::Maintenance;
pub use options::IndexOptions;
pub use recall::Recall;
pub use status::IndexStatus;
pub use transfer::{Export, ExportedFile};

/// One search shard in one folder. All methods take `&self`, block, and may be called from any thread.
#[derive(Debug)]
pub struct Index {
    pub(crate) options: IndexOptions,
    folder: Folder,
    pub(crate) view: ArcSwap<View>,
    /// Held for the short time of publishing another view.
    writer: Mutex<Writer>,
    /// Held while stored segments change: freezing, merging, committing. Taken before `writer`.
    stored: Mutex<stored::Stored>,
    /// Held while a generation is built, which takes long. Taken before `stored`.
    building: Mutex<()>,
}

/// What publishing a view needs.
#[derive(Debug, Default)]
struct Writer {
    positions: LogPositions,
    /// How many segments at the front of the tail are being frozen and must stay as they are.
    freezing: usize,
    next_tail_segment: SegmentId,
    committed: stored::Committed,
}

impl Writer {
    /// A number for a segment of the tail, which tells it from others in memory only.
    fn next_tail_segment(&mut self) -> SegmentId {
        self.next_tail_segment += 1;
        self.next_tail_segment
    }
}
