//! Waiting for what a program needs and does not have yet.
//!
//! What is not there, or is not as it has to be, is tried again, from half a second up to half a minute apart with jitter. Meanwhile the program is not
//! ready, says why in `/readyz` and in its log, and `medindex_waiting` is 1: it never restarts in a hot loop because a server is down. What an administrator
//! must mend (a wrong password, a missing table, another number of partitions) is tried again just as slowly, because the mending happens outside.

use std::fmt::{self, Display};
use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::operation::Readiness;

/// First and longest pause between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The catalog.
    Catalog,
    /// The image store.
    ImageStore,
    /// The queue.
    Queue,
    /// The cache.
    Cache,
    /// The index's description: its model and its partitions.
    Index,
    /// The folder of a shard's index.
    Folder,
}

impl Awaited {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::ImageStore => "image_store",
            Self::Queue => "queue",
            Self::Cache => "cache",
            Self::Index => "index",
            Self::Folder => "folder",
        }
    }
}

impl Display for Awaited {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Catalog => "the catalog",
            Self::ImageStore => "the image store",
            Self::Queue => "the queue",
            Self::Cache => "the cache",
            Self::Index => "the index that the first embedder describes",
            Self::Folder => "the folder of the index (--data)",
        })
    }
}

/// The program was told to stop while it waited.
#[derive(Debug, thiserror::Error)]
#[error("stopped while waiting for {0}")]
pub struct StopError(Awaited);

/// Tries again what does not succeed yet.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Told what is waited for.
    pub readiness: &'a Readiness,
    /// Ends the waiting.
    pub stop: &'a CancellationToken,
}

impl Waiting<'_> {
    /// Tries until it succeeds.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn until<T, E: Display>(
        &self,
        what: Awaited,
        mut attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, StopError> {
        let mut pause = PAUSES.0;
        self.readiness.waits(what, true);
        self.readiness.unready(format!("waiting for {what}"));
        loop {
            let outcome = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(StopError(what)),
                outcome = attempt() => outcome,
            };
            match outcome {
                Ok(value) => {
                    self.readiness.waits(what, false);
                    self.readiness.unready("it is starting");
                    return Ok(value);
                }
                Err(error) => {
                    tracing::warn!(%error, what = what.name(), retry_in = ?pause, "not there yet, or not as it has to be");
                    self.readiness.unready(format!("waiting for {what}: {error}"));
                }
            }
            let wait = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = self.stop.cancelled() => return Err(StopError(what)),
                () = tokio::time::sleep(wait) => {}
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fails_is_tried_ever_more_slowly_and_told_until_it_succeeds() {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let waiting = Waiting { readiness: &readiness, stop: &stop };
        let begun = tokio::time::Instant::now();
        let mut attempts = 0;
        let outcome = waiting.until(Awaited::Queue, async || {
            assert_eq!(readiness.is_waiting(Awaited::Queue), 1);
            if attempts > 0 {
                assert_eq!(readiness.reason().as_deref(), Some("waiting for the queue: no broker answers"));
            }
            attempts += 1;
            if attempts < 4 { Err("no broker answers") } else { Ok(attempts) }
        });
        assert_eq!(outcome.await.unwrap(), 4);
        assert_eq!(readiness.is_waiting(Awaited::Queue), 0);
        let took = begun.elapsed();
        // Half to all of 0.5, 1 and 2 s.
        assert!(took >= PAUSES.0 * 7 / 2, "{took:?}");
    }

    #[tokio::test]
    async fn a_program_that_is_told_to_stop_does_not_wait_on() {
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let waiting = Waiting { readiness: &readiness, stop: &stop };
        let never = waiting.until(Awaited::Folder, async || {
            stop.cancel();
            Err::<(), _>("in use")
        });
        let error = never.await.unwrap_err().to_string();
        assert_eq!(error, "stopped while waiting for the folder of the index (--data)");
    }
}
