//! Nothing acknowledged is lost, whatever is killed: SIGKILL at random moments under upload load.
//!
//! `MEDINDEX_KILLS` is the number of kills (10 here, 100 in `make chaos`), `MEDINDEX_SEED` repeats a run; the seed is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use medindex_system_tests::pictures::pattern;
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::hbase::HbaseProcess;
use medindex_testbed::say;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// Searches at the same time, at the end.
const SEARCHERS: usize = 4;
/// How long everything may take to be searchable after the last kill.
const SETTLE: Duration = Duration::from_mins(4);

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Embedder,
    Search,
    Broker,
    HbaseServer,
    Thrift,
    MariaDb,
    Redis,
}

const VICTIMS: [Victim; 8] = [
    Victim::Gateway,
    Victim::Embedder,
    Victim::Search,
    Victim::Broker,
    Victim::HbaseServer,
    Victim::Thrift,
    Victim::MariaDb,
    Victim::Redis,
];

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, but must be a number")))
}

/// The victims of a run: each kind in turn, in a random order.
fn plan(kills: usize, random: &mut Pcg64) -> Vec<Victim> {
    let mut victims = Vec::with_capacity(kills + VICTIMS.len());
    while victims.len() < kills {
        let mut round = VICTIMS;
        round.shuffle(random);
        victims.extend(round);
    }
    victims.truncate(kills);
    victims
}

/// Kills one of a kind, leaves it dead for a moment, and starts it again.
fn kill_and_restart(servers: &mut Servers, cluster: &mut Cluster, victim: Victim, random: &mut Pcg64) {
    let dead_for = Duration::from_millis(random.random_range(200..2_000));
    let pause = || std::thread::park_timeout(dead_for);
    let mut process = |processes: &mut Vec<medindex_system_tests::cluster::Process>| {
        let chosen = random.random_range(0..processes.len());
        let process = &mut processes[chosen];
        process.kill();
        pause();
        process.start();
    };
    match victim {
        Victim::Gateway => process(&mut cluster.gateways),
        Victim::Embedder => process(&mut cluster.embedders),
        Victim::Search => process(&mut cluster.shards),
        Victim::Broker => {
            let broker = random.random_range(1..=3);
            servers.kafka.kill(broker);
            pause();
            servers.kafka.restart(broker).unwrap();
        }
        Victim::HbaseServer | Victim::Thrift => {
            let process = if victim == Victim::Thrift { HbaseProcess::Thrift1 } else { HbaseProcess::Server };
            servers.hbase.kill(process);
            pause();
            servers.hbase.restart(process).unwrap();
        }
        Victim::MariaDb => {
            servers.mariadb.kill();
            pause();
            servers.mariadb.restart().unwrap();
        }
        Victim::Redis => {
            servers.redis.kill(0);
            pause();
            servers.redis.restart(0).unwrap();
        }
    }
}

/// What became of the uploads.
#[derive(Default)]
struct Outcomes {
    /// Seed of the picture and id, of those that were acknowledged.
    acknowledged: Mutex<Vec<(u32, String)>>,
    refused: AtomicU32,
    unanswered: AtomicU32,
}

/// Uploads pictures of its own until it is told to stop, to the gateways in turn.
fn upload(clients: &[Client], next: &AtomicU32, stop: &AtomicBool, outcomes: &Outcomes) {
    while !stop.load(Ordering::Relaxed) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let picture = pattern(seed);
        let client = &clients[seed as usize % clients.len()];
        match client.try_upload(&picture.name, &picture.bytes, Some(&picture.label)) {
            Ok(answer) if answer.status == 202 => {
                let id = answer.body["id"].as_str().unwrap().to_owned();
                outcomes.acknowledged.lock().unwrap().push((seed, id));
            }
            Ok(answer) => {
                // A refusal says why, as a problem of RFC 9457.
                assert!(answer.status >= 500, "{} {}", answer.status, answer.body);
                assert!(answer.body["detail"].is_string(), "a refusal without a reason: {}", answer.body);
                outcomes.refused.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(100));
            }
            Err(_) => {
                outcomes.unanswered.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(100));
            }
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_image_is_searchable_once_whatever_was_killed() {
    if any_server_is_skipped() {
        return;
    }
    let kills = number("MEDINDEX_KILLS").unwrap_or(10) as usize;
    let seed = number("MEDINDEX_SEED").unwrap_or_else(|| rand::rng().random());
    say!("{kills} kills, MEDINDEX_SEED={seed}");
    let mut random = Pcg64::seed_from_u64(seed);
    let mut servers = Servers::start(3).await;
    let shape = Shape { gateways: 2, embedders: 2, shards: 2, replicas: 2 };
    let mut cluster = Cluster::start(&servers, shape);
    let clients = [cluster.client(0), cluster.client(1)];

    let (next, stop, outcomes) = (AtomicU32::new(0), AtomicBool::new(false), Outcomes::default());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| upload(&clients, &next, &stop, &outcomes));
        }
        for victim in plan(kills, &mut random) {
            std::thread::park_timeout(Duration::from_millis(random.random_range(500..3_000)));
            let begun = Instant::now();
            kill_and_restart(&mut servers, &mut cluster, victim, &mut random);
            say!("{victim:?} was killed and is back after {:.1} s", begun.elapsed().as_secs_f64());
        }
        stop.store(true, Ordering::Relaxed);
    });
    for process in cluster.processes() {
        process.wait_until_ready();
    }
    check(&clients, &outcomes);
}

/// At the end every acknowledged image is stored as it was sent, indexed, once, and found.
fn check(clients: &[Client], outcomes: &Outcomes) {
    let client = &clients[0];
    let acknowledged = outcomes.acknowledged.lock().unwrap();
    let (refused, unanswered) =
        (outcomes.refused.load(Ordering::Relaxed), outcomes.unanswered.load(Ordering::Relaxed));
    say!("{} acknowledged, {refused} refused, {unanswered} without an answer", acknowledged.len());
    assert!(!acknowledged.is_empty());
    let begun = Instant::now();
    for (seed, id) in acknowledged.iter() {
        let left = SETTLE.saturating_sub(begun.elapsed());
        assert_eq!(client.wait_for(id, left), "indexed", "pattern {seed}, image {id}");
    }
    let counts = || {
        let status = client.get("/api/v1/status").body;
        (
            status["images"]["indexed"].as_u64(),
            status["index"]["entries"].as_u64(),
            status["index_lag"].as_u64(),
        )
    };
    // Uploads without an answer may be stored too, each once.
    Servers::wait_until("the index to hold what the catalog calls indexed", SETTLE, || {
        let (indexed, entries, lag) = counts();
        indexed.is_some() && indexed == entries && lag == Some(0)
    });
    say!("settled after {:.1} s: {:?}", begun.elapsed().as_secs_f64(), counts());
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for client in clients.iter().cycle().take(SEARCHERS) {
            scope.spawn(|| search_for_all(client, &acknowledged, &next));
        }
    });
    say!("every one of {} stored as it was sent, and found by searching for it", acknowledged.len());
}

/// Searches for those that nobody has searched for yet.
fn search_for_all(client: &Client, acknowledged: &[(u32, String)], next: &AtomicU32) {
    while let Some((seed, id)) = acknowledged.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
        let bytes = pattern(*seed).bytes;
        assert!(client.file(id) == bytes, "the file of pattern {seed}, image {id}, is another");
        let answer = client.search(&bytes, &[("k", "5"), ("whole", "true")]);
        let results = answer["results"].as_array().unwrap();
        let own: Vec<_> = results.iter().filter(|hit| hit["id"] == id.as_str()).collect();
        assert_eq!(own.len(), 1, "pattern {seed}, image {id}: {answer}");
    }
}
