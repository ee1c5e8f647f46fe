//! A process killed at any moment leaves a readable state from which the log restores the rest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod search_support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use medindex_index::{Change, LogPositions, SearchRequest};
use rand::RngExt;
use search_support::{DIMENSION, Model, entry, id, learn, open, random, vector};

/// Names the folder the child works in.
const FOLDER: &str = "MEDINDEX_CRASH_TEST_FOLDER";

/// Change number `offset` of an endless log, the same in every process.
fn change(offset: u64) -> Change {
    let mut rng = random(offset);
    if offset % 7 == 3 {
        Change::Remove { id: id(rng.random_range(0..offset)) }
    } else {
        let number = if offset.is_multiple_of(5) { rng.random_range(0..=offset) } else { offset };
        Change::Upsert(entry(&mut rng, DIMENSION, number, 0))
    }
}

fn log(from: u64, to: u64) -> Vec<Change> {
    (from..to).map(change).collect()
}

/// What the child does until it is killed: applies, maintains, snapshots, trains, and says how far it is durable.
#[test]
fn work_until_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let index = open(Path::new(&folder));
    let mut at = index.log_positions().get(&0).copied().unwrap_or(0);
    let mut generation = index.status().generation + 1;
    println!("durable {at}");
    for round in 0_u64.. {
        let next = at + 40;
        index.apply(&log(at, next), &LogPositions::from([(0, next)])).unwrap();
        at = next;
        index.maintain().unwrap();
        if round % 3 == 2 {
            let durable = index.snapshot().unwrap();
            println!("durable {}", durable[&0]);
        }
        if round % 10 == 9 {
            index.build_generation(learn(&index, generation, 3, 4, 4), &|_| ()).unwrap();
            index.activate(generation).unwrap();
            generation += 1;
        }
    }
}

/// Starts the child, kills it after it said `lines` lines and a little more, and returns its last word.
fn run_and_kill(folder: &Path, lines: usize, delay: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "work_until_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut durable = 0;
    let word = |line: &str| line.rsplit("durable ").next().and_then(|number| number.trim().parse().ok());
    for _ in 0..lines {
        let line = output
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("durable "))
            .expect("the child ended");
        durable = word(&line).unwrap();
    }
    // Not a wait for anything: the moment of the kill is what varies.
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
    for line in output.map_while(Result::ok).filter(|line| line.contains("durable ")) {
        durable = word(&line).unwrap_or(durable);
    }
    durable
}

#[test]
fn a_process_killed_at_any_moment_leaves_a_readable_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut rng = random(20);
    for round in 0..12 {
        let delay = Duration::from_micros(rng.random_range(0..30_000));
        let acknowledged = run_and_kill(folder.path(), 1 + round % 4, delay);
        let index = open(folder.path());
        index.verify().unwrap();
        let stored = index.log_positions().get(&0).copied().unwrap_or(0);
        assert!(stored >= acknowledged, "{acknowledged} was acknowledged, {stored} is stored");
        // More than is missing is replayed, in two steps: that changes nothing.
        let end = stored + 100;
        let from = stored.saturating_sub(200);
        index.apply(&log(from, stored), &LogPositions::from([(0, stored)])).unwrap();
        index.apply(&log(stored, end), &LogPositions::from([(0, end)])).unwrap();
        let mut model = Model::default();
        model.apply(&log(0, end));
        assert_eq!(index.len(), model.entries.len(), "nothing is lost and nothing is twice there");
        for _ in 0..5 {
            let request =
                SearchRequest { exact: true, ..SearchRequest::new(vector(&mut rng, DIMENSION, 20), 30) };
            model.check(&request, &index.search(&request).unwrap());
            let request = SearchRequest { exact: false, ..request };
            model.check_hits(&request, &index.search(&request).unwrap());
        }
        if round % 2 == 0 {
            index.snapshot().unwrap();
        }
    }
}
