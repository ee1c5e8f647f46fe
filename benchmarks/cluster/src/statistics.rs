//! Percentiles of times.

use std::time::Duration;

use serde::Serialize;

/// A few percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
    pub(crate) count: usize,
}

/// Percentiles by the nearest rank; zeros where nothing was measured.
pub(crate) fn percentiles(times: &[Duration]) -> Percentiles {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    sorted.sort_by(f64::total_cmp);
    let rank = |share: f64| {
        let place = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(place.max(1) - 1).copied().unwrap_or_default()
    };
    Percentiles { p50: rank(0.5), p99: rank(0.99), most: rank(1.0), count: times.len() }
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let found = percentiles(&times);
        assert_eq!((found.p50, found.p99, found.most, found.count), (50.0, 99.0, 100.0, 100));
        assert_eq!(percentiles(&[]).count, 0);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
