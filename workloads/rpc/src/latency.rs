//! How long answers took lately, and so how long to wait before another replica is asked too.
//!
//! Dean and Barroso, "The tail at scale" (CACM 2013): a second request after the 95th percentile of the first ones costs a few percent more
//! work and cuts the tail.

use std::time::Duration;

use parking_lot::Mutex;

/// Answers that are remembered.
const WINDOW: usize = 256;
/// Answers before the percentile means anything.
const ENOUGH: usize = 20;
/// Wait while there are too few answers.
const UNKNOWN: Duration = Duration::from_millis(100);
/// Shortest and longest wait: below, every hiccup would double the work; above, nobody is helped.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(3), Duration::from_secs(1));

/// The last answers' times.
#[derive(Debug, Default)]
pub struct Latency {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    micros: Vec<u32>,
    next: usize,
}

impl Latency {
    /// Remembers an answer's time.
    pub fn record(&self, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let mut recent = self.recent.lock();
        if recent.micros.len() < WINDOW {
            recent.micros.push(micros);
        } else {
            let place = recent.next;
            recent.micros[place] = micros;
            recent.next = (place + 1) % WINDOW;
        }
    }

    /// How long to wait for an answer before another replica is asked: the 95th percentile, within bounds.
    pub fn hedge_after(&self) -> Duration {
        let mut micros = self.recent.lock().micros.clone();
        if micros.len() < ENOUGH {
            return UNKNOWN;
        }
        let place = micros.len() * 95 / 100;
        let (_, percentile, _) = micros.select_nth_unstable(place);
        Duration::from_micros(u64::from(*percentile)).clamp(BOUNDS.0, BOUNDS.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_the_ninety_fifth_percentile_of_the_last_answers() {
        let latency = Latency::default();
        assert_eq!(latency.hedge_after(), UNKNOWN);
        for millis in 1..=100 {
            latency.record(Duration::from_millis(millis));
        }
        assert_eq!(latency.hedge_after(), Duration::from_millis(96));
        for _ in 0..WINDOW {
            latency.record(Duration::from_micros(10));
        }
        assert_eq!(latency.hedge_after(), BOUNDS.0);
    }
}
