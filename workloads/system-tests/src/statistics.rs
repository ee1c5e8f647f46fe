//! Percentiles of times, for what the tests print.

use std::fmt;
use std::time::Duration;

/// A few percentiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Half took less.
    pub p50: Duration,
    /// All but one in a hundred took less.
    pub p99: Duration,
    /// The longest.
    pub most: Duration,
}

impl fmt::Display for Percentiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        let Self { p50, p99, most } = self;
        write!(
            formatter,
            "p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
            millis(*p50),
            millis(*p99),
            millis(*most)
        )
    }
}

/// Percentiles by the nearest rank.
pub fn percentiles(times: &[Duration]) -> Percentiles {
    assert!(!times.is_empty(), "nothing was measured");
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank =
        |share: f64| sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1];
    Percentiles { p50: rank(0.5), p99: rank(0.99), most: rank(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let found = percentiles(&times);
        assert_eq!((found.p50, found.p99), (Duration::from_millis(50), Duration::from_millis(99)));
        assert_eq!(found.most, Duration::from_millis(100));
    }
}
