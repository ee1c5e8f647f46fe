//! Progress on standard error: a bar that redraws itself on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

use crate::output::{note, stderr_is_terminal};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Progress over a known number of things.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    total: u64,
    started: Instant,
    last_line: Mutex<Instant>,
    terminal: bool,
}

impl Progress {
    /// Progress over `total` things called `unit`.
    pub(crate) fn new(total: u64, unit: &'static str) -> Self {
        let terminal = stderr_is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = "{bar:32} {pos}/{len} {prefix}  {per_sec}  {eta} left  {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(unit);
        let now = Instant::now();
        Self { bar, unit, total, started: now, last_line: Mutex::new(now), terminal }
    }

    /// Shows that `done` things are done, with a short remark.
    pub(crate) fn show(&self, done: u64, remark: impl FnOnce() -> String) {
        if self.terminal {
            self.bar.set_message(remark());
            self.bar.set_position(done);
            return;
        }
        let mut last = self.last_line.lock();
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            note(&self.line(done, &remark()));
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, done: u64, remark: &str) -> String {
        let rate = done as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let left = self.total.saturating_sub(done) as f64 / rate.max(0.001);
        let remark = if remark.is_empty() { String::new() } else { format!(", {remark}") };
        format!("{done} of {} {} ({rate:.1}/s, {left:.0} s left{remark})", self.total, self.unit)
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
    fn a_plain_line_tells_rate_and_time_left() {
        let mut progress = Progress::new(300, "images");
        progress.started = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        let line = progress.line(100, "2 failed");
        assert_eq!(line, "100 of 300 images (10.0/s, 20 s left, 2 failed)");
    }
}
