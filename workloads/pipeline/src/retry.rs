//! Waiting between attempts.

use std::time::Duration;

use rand::RngExt as _;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// Waits twice as long after every failure, up to ten seconds, with jitter; starts anew after a success.
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// After a failure: half to all of the present wait, so that several processes do not come back together.
    pub(crate) async fn wait(&mut self) {
        let wait = self.next.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.next = (self.next * 2).min(LONGEST);
        tokio::time::sleep(wait).await;
    }
}
