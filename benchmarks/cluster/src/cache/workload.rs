//! Requests as people send them: the n-th most wanted picture is asked for 1/n times as often as the first.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::StreamExt as _;
use medindex_pipeline::CacheCounts;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::site::{Gateways, picture};
use crate::error::BenchError;
use crate::statistics::{Percentiles, percentiles};

const SEED: u64 = 0x4341_4348;
/// Requests open at the same time.
const AT_ONCE: usize = 4;
/// Pictures for searches and recognitions: not those that are stored.
const FIRST_PICTURE: u32 = 100_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Recognise,
    Search,
    Preview,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Recognise => "recognise",
            Self::Search => "search by file",
            Self::Preview => "preview",
        }
    }

    fn read(self, counts: CacheCounts) -> (u64, u64) {
        match self {
            Self::Recognise => (counts.recognition_hits, counts.recognition_misses),
            Self::Search => (counts.result_hits, counts.result_misses),
            Self::Preview => (counts.preview_hits, counts.preview_misses),
        }
    }
}

/// What became of some requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) times: Vec<Duration>,
    pub(super) failed: usize,
    hits: u64,
    misses: u64,
}

impl Outcome {
    pub(super) fn hit_ratio(&self) -> f64 {
        self.hits as f64 / (self.hits + self.misses).max(1) as f64
    }

    pub(super) fn latency(&self) -> Percentiles {
        percentiles(&self.times)
    }

    pub(super) fn joined(outcomes: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for outcome in outcomes {
            all.times.extend(outcome.times);
            all.failed += outcome.failed;
            all.hits += outcome.hits;
            all.misses += outcome.misses;
        }
        all
    }
}

/// Requests in an order that every mode repeats.
pub(super) struct Workload {
    pictures: Vec<Bytes>,
    wanted: Vec<usize>,
    unseen: AtomicU32,
}

impl Workload {
    pub(super) fn new(pictures: u32, requests: usize) -> Result<Self, BenchError> {
        let weights: Vec<f64> = (1..=pictures).map(|rank| 1.0 / f64::from(rank)).collect();
        let total: f64 = weights.iter().sum();
        let mut random = Pcg64::seed_from_u64(SEED);
        let mut draw = || {
            let mut left = random.random_range(0.0..total);
            let place = weights.iter().position(|weight| {
                left -= weight;
                left <= 0.0
            });
            place.unwrap_or(0)
        };
        let wanted = (0..requests).map(|_| draw()).collect();
        let unseen = AtomicU32::new(FIRST_PICTURE + pictures);
        let pictures = (0..pictures).map(|number| picture(FIRST_PICTURE + number));
        Ok(Self { pictures: pictures.collect::<Result<_, _>>()?, wanted, unseen })
    }

    /// A picture that nobody has asked for.
    pub(super) fn unseen(&self) -> Result<Bytes, BenchError> {
        picture(self.unseen.fetch_add(1, Ordering::Relaxed))
    }

    /// Sends all requests, four at a time.
    pub(super) async fn run(&self, gateways: &Gateways, kind: Kind) -> Outcome {
        let before = kind.read(gateways.counts());
        let asked = self.wanted.iter().enumerate().map(|(number, wanted)| async move {
            let bytes = &self.pictures[*wanted];
            let begun = Instant::now();
            match kind {
                Kind::Recognise => gateways.recognise(number, bytes).await.map(drop)?,
                Kind::Search => gateways.search(number, bytes).await?,
                Kind::Preview => gateways.preview(number, *wanted).await?,
            }
            Ok::<_, BenchError>(begun.elapsed())
        });
        let outcomes: Vec<_> = futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
        let mut outcome = Outcome::default();
        for each in outcomes {
            match each {
                Ok(time) => outcome.times.push(time),
                Err(error) => {
                    eprintln!("a request failed: {error}");
                    outcome.failed += 1;
                }
            }
        }
        let after = kind.read(gateways.counts());
        (outcome.hits, outcome.misses) = (after.0 - before.0, after.1 - before.1);
        outcome
    }

    /// Recognises every picture once.
    pub(super) async fn fill(&self, gateways: &Gateways) -> Result<(), BenchError> {
        for (number, picture) in self.pictures.iter().enumerate() {
            gateways.recognise(number, picture).await?;
        }
        Ok(())
    }

    /// Whether both gateways answer the most wanted picture out of the cache.
    pub(super) async fn is_cached(&self, gateways: &Gateways) -> Result<bool, BenchError> {
        let most_wanted = &self.pictures[0];
        Ok(gateways.recognise(0, most_wanted).await? && gateways.recognise(1, most_wanted).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_pictures_are_wanted_often_and_the_order_repeats() {
        let workload = Workload::new(60, 1_000).unwrap();
        let most = workload.wanted.iter().filter(|wanted| **wanted == 0).count();
        let least = workload.wanted.iter().filter(|wanted| **wanted == 59).count();
        assert!(most > 10 * least.max(1), "{most} and {least}");
        assert_eq!(workload.wanted, Workload::new(60, 1_000).unwrap().wanted);
    }
}
