//! Noticing clocks that disagree.
//!
//! Whoever reads a message or a row looks whether its time lies in the future. If it does by more than [`TOLERANCE`], the clock of this process is late, or
//! that of whoever wrote it is early: an alarm, and a gauge, until nothing of that kind was read for [`REMEMBERED`]. Nothing waits for a time or is
//! refused for it.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::core::{Core, now_ms};

/// How far clocks may differ; leases of alarms are fifteen seconds.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(10);
/// How long a difference counts after it was noticed last.
const REMEMBERED: Duration = Duration::from_mins(5);

/// The largest difference of late.
#[derive(Debug, Clone)]
struct Noticed {
    last: Instant,
    ahead: Duration,
    what: &'static str,
}

/// What this process noticed of clocks.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    noticed: Mutex<Option<Noticed>>,
}

impl ClockWatch {
    /// Looks at the time of something that was read.
    pub(crate) fn look(&self, what: &'static str, at_ms: i64) {
        self.compare(what, at_ms, now_ms());
    }

    fn compare(&self, what: &'static str, at_ms: i64, now_ms: i64) {
        let ahead = Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0));
        if ahead <= TOLERANCE {
            return;
        }
        let mut noticed = self.noticed.lock();
        let last = Instant::now();
        match noticed.as_mut().filter(|before| before.last.elapsed() < REMEMBERED && before.ahead >= ahead) {
            Some(before) => before.last = last,
            None => *noticed = Some(Noticed { last, ahead, what }),
        }
    }

    /// How far the furthest time in the future lay ahead, and of what it was.
    pub(crate) fn ahead(&self) -> Option<(Duration, &'static str)> {
        let noticed = self.noticed.lock();
        let current = noticed.as_ref().filter(|noticed| noticed.last.elapsed() < REMEMBERED);
        current.map(|noticed| (noticed.ahead, noticed.what))
    }
}

impl Core {
    /// How far in the future the furthest time lay that this process read of late; nothing while clocks agree.
    pub fn clock_ahead(&self) -> Duration {
        self.clock.ahead().map_or(Duration::ZERO, |(ahead, _)| ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_beyond_the_tolerance_count_and_the_furthest_is_told() {
        let watch = ClockWatch::default();
        let now = 1_700_000_000_000;
        for at_ms in [i64::MIN, 0, now - 60_000, now, now + TOLERANCE.as_millis() as i64] {
            watch.compare("a row", at_ms, now);
        }
        assert_eq!(watch.ahead(), None);
        for seconds in [30, 1_200, 40] {
            watch.compare("a message", now + seconds * 1_000, now);
        }
        assert_eq!(watch.ahead(), Some((Duration::from_mins(20), "a message")));
        watch.compare("a row", i64::MAX, now);
        assert_eq!(watch.ahead().unwrap().1, "a row");
    }
}
