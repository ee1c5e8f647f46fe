//! Progress on standard error: a bar that redraws itself on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use crate::output::{note, stderr_is_terminal};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Rate and time left are those of this time before now: longer than a batch takes, so that they do not jump with each.
const PACE_OVER: Duration = Duration::from_secs(30);

/// Progress over a known number of things.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    total: u64,
    state: Mutex<State>,
    terminal: bool,
}

#[derive(Debug)]
struct State {
    pace: Pace,
    last_line: Instant,
}

impl Progress {
    /// Progress over `total` things called `unit`.
    pub(crate) fn new(total: u64, unit: &'static str) -> Self {
        let terminal = stderr_is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:32} {msg}") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self {
            bar,
            unit,
            total,
            state: Mutex::new(State { pace: Pace::from(now), last_line: now }),
            terminal,
        }
    }

    /// Shows that `done` things are done, with a short remark.
    pub(crate) fn show(&self, done: u64, remark: impl FnOnce() -> String) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.pace.add(now, done);
        if self.terminal {
            self.bar.set_message(line(state.pace, done, self.total, self.unit, &remark()));
            self.bar.set_position(done);
        } else if now.duration_since(state.last_line) >= LINE_EVERY {
            state.last_line = now;
            note(&line(state.pace, done, self.total, self.unit, &remark()));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn line(pace: Pace, done: u64, total: u64, unit: &str, remark: &str) -> String {
    let rate = pace.rate();
    let left = total.saturating_sub(done) as f64 / rate.max(0.001);
    let left = HumanDuration(Duration::from_secs(left as u64));
    let remark = if remark.is_empty() { String::new() } else { format!(", {remark}") };
    format!("{done} of {total} {unit} ({rate:.1}/s, {left:#} left{remark})")
}

/// How fast things are done, over the last [`PACE_OVER`] or twice that.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Where the window before began, where the present one began, and the latest: times and things done.
    before: (Instant, u64),
    begin: (Instant, u64),
    latest: (Instant, u64),
}

impl Pace {
    fn from(start: Instant) -> Self {
        Self { before: (start, 0), begin: (start, 0), latest: (start, 0) }
    }

    fn add(&mut self, now: Instant, done: u64) {
        self.latest = (now, done);
        if now.duration_since(self.begin.0) >= PACE_OVER {
            self.before = std::mem::replace(&mut self.begin, self.latest);
        }
    }

    /// Things a second.
    fn rate(&self) -> f64 {
        let seconds = self.latest.0.duration_since(self.before.0).as_secs_f64();
        self.latest.1.saturating_sub(self.before.1) as f64 / seconds.max(0.001)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let start = Instant::now();
        let mut pace = Pace::from(start);
        pace.add(start + Duration::from_secs(10), 100);
        assert_eq!(
            line(pace, 100, 300, "images", "2 failed"),
            "100 of 300 images (10.0/s, 20s left, 2 failed)"
        );
    }

    #[test]
    fn the_rate_follows_the_last_minute_and_not_each_batch() {
        let start = Instant::now();
        let mut pace = Pace::from(start);
        // A thousand at once, stored before; then batches of 16 every four seconds.
        pace.add(start + Duration::from_secs(1), 1000);
        for batch in 1..=50 {
            pace.add(start + Duration::from_secs(1 + 4 * batch), 1000 + 16 * batch);
            pace.add(start + Duration::from_secs(1 + 4 * batch), 1000 + 16 * batch);
            if batch > 16 {
                assert!((3.5..4.5).contains(&pace.rate()), "{} after batch {batch}", pace.rate());
            }
        }
    }
}
