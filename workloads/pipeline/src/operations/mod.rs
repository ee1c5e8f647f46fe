//! The operation log: what people and the system did, as events on a topic of the queue, kept in the catalog.
//!
//! Guarantees
//! - What somebody was told to be done and stays done (an upload accepted, an image deleted, a generation published) is in the log before they are
//!   told: [`record`] returns when the event is durable, in the queue, or in the catalog where the queue does not take it.
//! - What changes nothing (a search, a recognition, a refusal) waits for nothing: [`note`] puts the event into a buffer of
//!   [`BUFFERED`] events that a task empties; what does not fit is counted and alarmed, never waited for.
//! - An event that comes twice is in the log once: it is known by its id.
//!
//! The log names people's actions, so it holds names of files and ids of patients where they were part of the action; it never holds pixels.
//! Failure modes: a process that is killed loses the events that it has noted in the last [`LINGER`].

mod consume;
mod event;
mod publish;
mod read;

use std::time::Duration;

pub(crate) use consume::{GROUP, drain, run as consume};
pub use event::{ACTIONS, Action, ActionDescription};
pub(crate) use event::{Event, outcome};
pub use publish::OperationLogCounts;
pub(crate) use publish::{OperationLog, note, record, run as publish, stamp};
pub(crate) use read::list;
pub use read::{OperationEntry, OperationPage, OperationRequest};

/// Events that may wait to be published.
pub(crate) const BUFFERED: usize = 4_096;
/// How long the first event of a batch waits for others, so that searches share a write.
pub(crate) const LINGER: Duration = Duration::from_millis(250);
