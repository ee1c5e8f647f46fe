//! When something is an alarm and when not any more: pure, so that flickering causes can be tested without waiting.

use std::time::Duration;

/// Something that must be met several times in a row before it counts, either way.
#[derive(Debug, Clone)]
pub(super) struct InARow {
    raise_after: u32,
    clear_after: u32,
    met: u32,
    raised: bool,
}

impl InARow {
    /// Raised after `raise_after` bad looks in a row, cleared after `clear_after` good ones.
    pub(super) fn new(raise_after: u32, clear_after: u32) -> Self {
        Self { raise_after, clear_after, met: 0, raised: false }
    }

    /// Takes one look; returns whether it is raised.
    pub(super) fn look(&mut self, bad: bool) -> bool {
        if bad == self.raised {
            self.met = 0;
        } else {
            self.met += 1;
            if self.met >= if bad { self.raise_after } else { self.clear_after } {
                self.raised = bad;
                self.met = 0;
            }
        }
        self.raised
    }
}

/// A share that is too high above one bound and well again below a lower one.
#[derive(Debug, Clone)]
pub(super) struct Threshold {
    raise_above: f64,
    clear_below: f64,
    raised: bool,
}

impl Threshold {
    /// Bounds between 0 and 1, the second the lower one.
    pub(super) fn new(raise_above: f64, clear_below: f64) -> Self {
        Self { raise_above, clear_below, raised: false }
    }

    /// Takes one look; returns whether it is raised.
    pub(super) fn look(&mut self, share: f64) -> bool {
        self.raised = if self.raised { share > self.clear_below } else { share > self.raise_above };
        self.raised
    }
}

/// Work that waits while nothing of it is done.
#[derive(Debug, Clone)]
pub(super) struct Standstill {
    after: Duration,
    /// When it stood still first, and how much was done then.
    since: Option<(Duration, u64)>,
}

impl Standstill {
    /// Raised when nothing was done for `after` although something waits.
    pub(super) fn new(after: Duration) -> Self {
        Self { after, since: None }
    }

    /// Takes one look at a time that only grows: what waits, and how much was done so far; returns for how long it stands still, if too long.
    pub(super) fn look(&mut self, now: Duration, waiting: u64, done: u64) -> Option<Duration> {
        if waiting == 0 {
            self.since = None;
            return None;
        }
        match self.since {
            Some((since, before)) if before == done => {
                let stands = now.saturating_sub(since);
                (stands >= self.after).then_some(stands)
            }
            _ => {
                self.since = Some((now, done));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_look_is_no_alarm_and_one_good_look_clears_none() {
        let mut rule = InARow::new(2, 2);
        let looks = [true, false, true, true, false, true, false, false, true];
        let raised = looks.map(|bad| rule.look(bad));
        assert_eq!(raised, [false, false, false, true, true, true, true, false, false]);
    }

    #[test]
    fn a_share_between_the_bounds_changes_nothing() {
        let mut rule = Threshold::new(0.9, 0.85);
        let looks = [0.5, 0.89, 0.91, 0.89, 0.86, 0.92, 0.85, 0.89];
        let raised = looks.map(|share| rule.look(share));
        assert_eq!(raised, [false, false, true, true, true, true, false, false]);
    }

    #[test]
    fn work_stands_still_only_while_something_waits_and_nothing_is_done() {
        let mut rule = Standstill::new(Duration::from_mins(1));
        let at = Duration::from_secs;
        assert_eq!(rule.look(at(0), 5, 10), None);
        assert_eq!(rule.look(at(59), 9, 10), None);
        // One image was done in between: it moves.
        assert_eq!(rule.look(at(61), 9, 11), None);
        assert_eq!(rule.look(at(120), 9, 11), None);
        assert_eq!(rule.look(at(121), 9, 11), Some(at(60)));
        assert_eq!(rule.look(at(130), 0, 20), None);
        assert_eq!(rule.look(at(200), 1, 20), None);
        assert_eq!(rule.look(at(260), 1, 20), Some(at(60)));
    }
}
