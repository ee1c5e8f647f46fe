//! What the operator tells of itself, and what lies between two readings.

use std::collections::BTreeMap;
use std::fs;

use serde::Serialize;

use crate::error::BenchError;

/// The operator's counters and its use of the machine at a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Reconciles by the upper bound of their time, cumulative, as Prometheus has them.
    buckets: Vec<(f64, f64)>,
    errors: f64,
    /// Calls to the API server by name.
    calls: BTreeMap<String, f64>,
    resident_kib: f64,
    most_resident_kib: f64,
    processor_seconds: f64,
}

/// What happened between two readings.
#[derive(Debug, Serialize)]
pub(super) struct Span {
    pub(super) reconciles: f64,
    pub(super) failed: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// Calls to the API server for one reconcile, but for watches.
    pub(super) calls_a_reconcile: f64,
    /// Of those the ones that write.
    pub(super) writes: f64,
    /// Calls by name.
    pub(super) calls: BTreeMap<String, f64>,
    /// Resident memory at the end.
    pub(super) resident_mib: f64,
    /// The most since the operator began.
    pub(super) most_resident_mib: f64,
    pub(super) processor_seconds: f64,
}

impl Reading {
    /// Asks the operator and the kernel.
    pub(super) fn take(port: u16, process: u32) -> Result<Self, BenchError> {
        let failed = |error: ureq::Error| BenchError::Check(format!("the operator's metrics: {error}"));
        let address = format!("http://127.0.0.1:{port}/metrics");
        let text = ureq::get(address).call().map_err(failed)?.body_mut().read_to_string().map_err(failed)?;
        let mut reading = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let label = |wanted: &str| {
                let (_, rest) = name.split_once(&format!("{wanted}=\""))?;
                rest.split('"').next()
            };
            if name.starts_with("medindex_operator_reconcile_duration_seconds_bucket") {
                let bound = label("le").and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
                reading.buckets.push((bound, value));
            } else if name.starts_with("medindex_operator_reconciles_total")
                && label("outcome") == Some("error")
            {
                reading.errors += value;
            } else if name.starts_with("medindex_operator_api_calls_total")
                && let Some(call) = label("call")
            {
                *reading.calls.entry(call.to_owned()).or_default() += value;
            }
        }
        reading.add_use(process)?;
        Ok(reading)
    }

    fn add_use(&mut self, process: u32) -> Result<(), BenchError> {
        let read = |path: String| {
            let failed = BenchError::file("read", &path);
            fs::read_to_string(&path).map_err(failed)
        };
        let status = read(format!("/proc/{process}/status"))?;
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
        };
        (self.resident_kib, self.most_resident_kib) = (kibibytes("VmRSS:"), kibibytes("VmHWM:"));
        let stat = read(format!("/proc/{process}/stat"))?;
        let ticks: f64 = stat
            .rsplit_once(") ")
            .map_or("", |(_, rest)| rest)
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum();
        // proc(5): in units of sysconf(_SC_CLK_TCK), which is 100 on every Linux of today.
        self.processor_seconds = ticks / 100.0;
        Ok(())
    }
}

impl Span {
    pub(super) fn between(before: &Reading, after: &Reading) -> Self {
        let known = |bound: f64| {
            let found = before.buckets.iter().find(|(other, _)| other.total_cmp(&bound).is_eq());
            found.map_or(0.0, |(_, count)| *count)
        };
        let buckets: Vec<(f64, f64)> =
            after.buckets.iter().map(|(bound, count)| (*bound, count - known(*bound))).collect();
        let reconciles = buckets.last().map_or(0.0, |(_, count)| *count);
        let calls: BTreeMap<String, f64> = after
            .calls
            .iter()
            .map(|(call, count)| (call.clone(), count - before.calls.get(call).copied().unwrap_or_default()))
            .filter(|(_, count)| *count > 0.0)
            .collect();
        let sum = |wanted: fn(&str) -> bool| {
            calls.iter().filter(|(call, _)| wanted(call)).fold(0.0, |sum, (_, count)| sum + count)
        };
        // The lease is kept whether there is anything to reconcile or not.
        let asked = sum(|call| !call.starts_with("watch ") && !call.ends_with(" leases"));
        Self {
            reconciles,
            failed: after.errors - before.errors,
            p50_ms: quantile(&buckets, 0.5) * 1e3,
            p99_ms: quantile(&buckets, 0.99) * 1e3,
            calls_a_reconcile: asked / reconciles.max(1.0),
            writes: sum(|call| {
                let verb = call.split(' ').next().unwrap_or_default();
                ["patch", "create", "delete"].contains(&verb) && !call.ends_with(" leases")
            }),
            calls,
            resident_mib: after.resident_kib / 1024.0,
            most_resident_mib: after.most_resident_kib / 1024.0,
            processor_seconds: after.processor_seconds - before.processor_seconds,
        }
    }
}

/// A quantile out of cumulative buckets, as Prometheus' `histogram_quantile` finds it: on a straight line inside the bucket.
fn quantile(buckets: &[(f64, f64)], share: f64) -> f64 {
    let wanted = buckets.last().map_or(0.0, |(_, count)| *count) * share;
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= wanted && *count > below {
            if bound.is_infinite() {
                return lower;
            }
            return lower + (bound - lower) * (wanted - below) / (count - below);
        }
        (lower, below) = (*bound, *count);
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_on_a_line_inside_their_bucket() {
        let buckets = [(0.1, 50.0), (0.5, 90.0), (1.0, 100.0), (f64::INFINITY, 100.0)];
        assert!((quantile(&buckets, 0.5) - 0.1).abs() < 1e-9);
        assert!((quantile(&buckets, 0.7) - 0.3).abs() < 1e-9);
        assert!((quantile(&buckets, 0.99) - 0.95).abs() < 1e-9);
        assert!(quantile(&[], 0.5).abs() < 1e-9);
    }
}
