//! How far the import is: a line in the log every few seconds, and metrics.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta, Utc};
use medindex_pipeline::{Core, ImportProgress, ProgressCallback};
use medindex_runtime::core_metrics::CoreMetrics;
use medindex_runtime::operation::Gauges;
use medindex_sources::Remainder;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

/// Time between two lines in the log.
const PERIOD: Duration = Duration::from_secs(5);
/// The rate is that of the last minute: files that are there already pass faster than new ones.
const SIGHT: Duration = Duration::from_mins(1);

/// What the metrics say; set when they are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    files: Gauge,
    imported: Gauge,
    duplicates: Gauge,
    failed: Gauge,
    skipped: Gauge,
    waiting: Gauge,
    core: CoreMetrics,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { core: CoreMetrics::register(registry), ..Self::default() };
        let registry = registry.sub_registry_with_prefix("medindex_importer");
        registry.register("files", "Files to import", metrics.files.clone());
        registry.register("imported", "New images that are stored", metrics.imported.clone());
        registry.register("duplicates", "Files that were there already", metrics.duplicates.clone());
        registry.register("failed", "Files that failed", metrics.failed.clone());
        registry.register("skipped", "Files that are no images", metrics.skipped.clone());
        registry.register("waiting", "New images that are being embedded", metrics.waiting.clone());
        metrics
    }
}

/// The counts of an import.
pub(crate) struct Progress {
    total: u64,
    counts: Mutex<ImportProgress>,
    remainder: Arc<Mutex<Remainder>>,
}

impl Progress {
    pub(crate) fn new(total: u64, remainder: Arc<Mutex<Remainder>>) -> Arc<Self> {
        Arc::new(Self { total, counts: Mutex::default(), remainder })
    }

    /// What the import calls.
    pub(crate) fn callback(self: &Arc<Self>) -> ProgressCallback {
        let progress = Arc::clone(self);
        Arc::new(move |counts: &ImportProgress| *progress.counts.lock() = *counts)
    }

    /// Brings the metrics up to date.
    pub(crate) fn gauges(self: &Arc<Self>, metrics: Metrics, core: Arc<Core>) -> Gauges {
        let progress = Arc::clone(self);
        Arc::new(move || {
            metrics.core.set(&core);
            let (counts, skipped) = progress.now();
            metrics.files.set(progress.total as i64);
            metrics.imported.set(counts.stored as i64);
            metrics.duplicates.set(counts.duplicates as i64);
            metrics.failed.set(counts.failed as i64);
            metrics.skipped.set(skipped as i64);
            metrics.waiting.set(counts.waiting as i64);
            Box::pin(std::future::ready(()))
        })
    }

    fn now(&self) -> (ImportProgress, u64) {
        let skipped = self.remainder.lock().skipped.len() as u64;
        (*self.counts.lock(), skipped)
    }

    /// Writes a line every few seconds until `done`.
    pub(crate) async fn log(self: Arc<Self>, done: CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        let mut rate = Rate::default();
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                _ = period.tick() => {}
            }
            let (counts, skipped) = self.now();
            let finished = counts.stored + counts.duplicates + counts.failed + skipped;
            let per_second = rate.take(Instant::now(), finished);
            tracing::info!(
                files = self.total,
                imported = counts.stored,
                duplicates = counts.duplicates,
                failed = counts.failed,
                skipped,
                waiting = counts.waiting,
                files_per_second = (per_second * 10.0).round() / 10.0,
                expected_end = expected_end(self.total.saturating_sub(finished), per_second),
                "importing"
            );
        }
    }
}

/// When `left` files are done; `None` while nothing moves.
fn expected_end(left: u64, per_second: f64) -> Option<String> {
    let seconds = left as f64 / per_second;
    let left = TimeDelta::try_milliseconds((seconds * 1e3) as i64).filter(|_| seconds.is_finite())?;
    Some(Utc::now().checked_add_signed(left)?.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Files a second over the last minute.
#[derive(Debug, Default)]
struct Rate {
    seen: VecDeque<(Instant, u64)>,
}

impl Rate {
    fn take(&mut self, now: Instant, finished: u64) -> f64 {
        self.seen.push_back((now, finished));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, _)| now - *at > SIGHT) {
            self.seen.pop_front();
        }
        match self.seen.front() {
            Some((at, before)) if now > *at => (finished - before) as f64 / (now - *at).as_secs_f64(),
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        let mut at = |seconds, finished| rate.take(start + Duration::from_secs(seconds), finished);
        assert_eq!(at(0, 0).to_bits(), 0.0_f64.to_bits());
        assert!((at(10, 1_000) - 100.0).abs() < 1e-9);
        at(70, 1_060);
        assert!((at(80, 1_070) - 1.0).abs() < 1e-9, "the fast beginning is forgotten");
    }

    #[test]
    fn the_end_is_not_told_while_nothing_moves() {
        assert_eq!(expected_end(5, 0.0), None);
        assert!(expected_end(5, 1.0).unwrap().ends_with('Z'));
    }
}
