//! Alarms: what needs a person, as rows of the catalog with the times of raising and clearing, and as metrics.
//!
//! An alarm is a lease. Whoever sees its cause says so again every [`alarm_period`](crate::Settings::alarm_period); one that nobody has seen for as long as its kind says
//! ([`AlarmKind::quiet`]) is over, and whichever process notices first clears it. So several processes that see one cause make one row, one that was
//! killed leaves none behind for ever, and a cause that one process sees and another does not is no flicker.
//!
//! Guarantees: a row and an event in the operation log for each alarm, not for each occurrence. While the catalog is down, alarms are kept in memory
//! (and in the metrics) and written with their times when it is back. Where clocks disagree, times in rows are wrong by as much, and one that is said again
//! is cleared by nobody all the same: it counts as unseen only if its row did not change for as long by the own clock.

mod board;
mod check;
mod kind;
mod monitor;
mod resources;
mod rules;
mod watch;

pub(crate) use board::AlarmBoard;
pub use board::RaisedAlarm;
pub use check::{AlarmCheck, Finding};
pub use kind::{ALARM_KINDS, AlarmKind, Severity};
pub(crate) use monitor::run;
pub use resources::{DiskCheck, MemoryCheck};
pub(crate) use watch::{
    BackendCheck, ClockCheck, IndexLagCheck, LostOperationsCheck, MissingShardCheck, StoreDamageCheck,
    UploadLagCheck,
};
