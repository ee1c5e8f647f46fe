//! Who asks and who uploads while things move, and what they saw.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use medindex_system_tests::pictures::{Picture, pattern};
use medindex_system_tests::servers::Servers;
use medindex_system_tests::statistics::percentiles;
use medindex_system_tests::{Client, cluster::Process};

use crate::plot::{Event, Sample};

/// People who ask at the same time.
pub(crate) const ASKERS: usize = 4;
/// A person asks this often, unless an answer takes longer.
pub(crate) const EVERY: Duration = Duration::from_millis(200);
/// An upload begins this often.
const UPLOAD_EVERY: Duration = Duration::from_millis(400);
/// Queries before and after something moves, and while something is away: two seconds of them.
const MOMENT: usize = 40;
pub(crate) const PATIENCE: Duration = Duration::from_mins(4);

/// What the askers and the uploader saw, and what moved meanwhile.
pub(crate) struct Watch {
    begun: Instant,
    stop: AtomicBool,
    asked: AtomicUsize,
    uploads: AtomicU32,
    pub(crate) samples: Mutex<Vec<Sample>>,
    /// Queries that got no answer, or a partial one, or an error.
    pub(crate) failures: Mutex<Vec<String>>,
    pub(crate) events: Mutex<Vec<Event>>,
    /// Ids of the images that were accepted meanwhile.
    pub(crate) accepted: Mutex<Vec<String>>,
    /// Why others were not.
    pub(crate) refused: Mutex<Vec<String>>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            uploads: AtomicU32::new(0),
            samples: Mutex::default(),
            failures: Mutex::default(),
            events: Mutex::default(),
            accepted: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Ends askers and uploader.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Asks until it is told to stop: by turns from a stored image and with a file, never the same question twice in a row of hundreds.
    pub(crate) fn ask(&self, client: &Client, stored: &[String], pictures: &[Picture]) {
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let (at, begun) = (self.begun.elapsed(), Instant::now());
            let by_id = number.is_multiple_of(2);
            let answer = if by_id {
                client.try_search_stored(&stored[number % stored.len()])
            } else {
                // Another number of results each time, so that shards answer and never the cache.
                let k = (5 + number % 500).to_string();
                client.try_search(&pictures[number % pictures.len()].bytes, &[("k", &k)])
            };
            let failure = match answer {
                Ok(answer) if answer.status == 200 && answer.body["partial"] == false => None,
                Ok(answer) => Some(format!("{} {:.600}", answer.status, answer.body.to_string())),
                Err(error) => Some(error.to_string()),
            };
            let took = begun.elapsed();
            self.samples.lock().unwrap().push(Sample { at, took, by_id });
            if let Some(failure) = failure {
                let kind = if by_id { "by id" } else { "by file" };
                self.failures.lock().unwrap().push(format!("{:.1} s, {kind}: {failure}", at.as_secs_f64()));
            }
            std::thread::park_timeout(EVERY.saturating_sub(took));
        }
    }

    /// Uploads a new image every [`UPLOAD_EVERY`] until it is told to stop.
    pub(crate) fn upload_until_stopped(&self, client: &Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            self.upload_one(client);
            std::thread::park_timeout(UPLOAD_EVERY.saturating_sub(begun.elapsed()));
        }
    }

    fn upload_one(&self, client: &Client) -> Option<String> {
        let picture = pattern(self.uploads.fetch_add(1, Ordering::Relaxed));
        match client.try_upload(&picture.name, &picture.bytes, Some(&picture.label)) {
            Ok(answer) if answer.status == 202 => {
                let id = answer.body["id"].as_str().unwrap().to_owned();
                self.accepted.lock().unwrap().push(id.clone());
                return Some(id);
            }
            Ok(answer) => self.refused.lock().unwrap().push(format!("{} {}", answer.status, answer.body)),
            Err(error) => self.refused.lock().unwrap().push(error.to_string()),
        }
        None
    }

    /// Uploads until images in a row of all partitions can be expected, and waits until those are searchable.
    pub(crate) fn upload_to_every_partition(&self, client: &Client) {
        let mut ids: VecDeque<String> = (0..24).filter_map(|_| self.upload_one(client)).collect();
        assert!(!ids.is_empty(), "nothing was accepted: {:?}", self.refused.lock().unwrap());
        while let Some(id) = ids.pop_front() {
            assert_eq!(client.wait_for(&id, PATIENCE), "indexed");
        }
    }

    /// Lets queries go on for a moment.
    pub(crate) fn moment(&self) {
        let until = self.asked.load(Ordering::Relaxed) + MOMENT;
        let go_on = || self.asked.load(Ordering::Relaxed) >= until;
        Servers::wait_until("queries to go on", PATIENCE, go_on);
    }

    /// Does something to the cluster, and lets queries go on for a moment before and after.
    pub(crate) fn during(&self, name: &str, act: impl FnOnce()) {
        let moment = || {
            let until = self.asked.load(Ordering::Relaxed) + MOMENT;
            Servers::wait_until("queries to go on", PATIENCE, || self.asked.load(Ordering::Relaxed) >= until);
        };
        moment();
        let begun = self.begun.elapsed();
        act();
        let done = self.begun.elapsed();
        moment();
        let event = Event { name: name.to_owned(), begun, done, ended: self.begun.elapsed() };
        let times: Vec<Duration> = {
            let samples = self.samples.lock().unwrap();
            samples.iter().filter(|sample| event.covers(sample)).map(|sample| sample.took).collect()
        };
        let failed = self.failures.lock().unwrap().len();
        println!(
            "{name}, {:.1} s: {}; {failed} failed so far",
            done.saturating_sub(begun).as_secs_f64(),
            percentiles(&times)
        );
        self.events.lock().unwrap().push(event);
    }
}

/// How often an embedder was given partitions of the uploads, as its log tells.
pub(crate) fn assignments(embedder: &Process) -> usize {
    let log = embedder.log();
    let given = |line: &&str| {
        line.contains("partitions change hands") && line.contains("Assign") && line.contains("imageupload")
    };
    log.lines().filter(given).count()
}
