//! What Redis does for recognitions, through real gateways over real servers, in all three ways that Redis runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

use medindex_system_tests::client::Answer;
use medindex_system_tests::pictures::{Picture, pictures};
use medindex_system_tests::statistics::percentiles;
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped, metrics};
use medindex_testbed::redis::{Redis, RedisOptions};
use medindex_testbed::say;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_mins(2);
/// Those who ask for one image at the same time.
const ASKING: usize = 50;
const SHAPE: Shape = Shape { gateways: 4, embedders: 1, shards: 1, replicas: 1 };
/// Images that neighbours are found among.
const STORED: usize = 20;
/// Images that are recognised, those that are stored left out.
const RECOGNISED: usize = 30;
/// Answers before a server is killed, and while it is dead.
const STREAM: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

impl Mode {
    fn start(self) -> Redis {
        let options = RedisOptions::default();
        match self {
            Self::Standalone => Redis::standalone(options),
            Self::Sentinel => Redis::sentinel(options),
            Self::Cluster => Redis::cluster(options),
        }
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recognition_is_computed_once_and_a_dead_redis_fails_none_in_every_mode() {
    if any_server_is_skipped() {
        return;
    }
    let begun = Instant::now();
    let mut servers = Servers::start(1).await;
    let (pictures, source) = pictures(STORED + RECOGNISED + 1);
    let (stored, asked) = pictures.split_at(STORED);
    say!("servers ready after {:.1} s; images: {source}", begun.elapsed().as_secs_f64());
    for mode in [Mode::Standalone, Mode::Sentinel, Mode::Cluster] {
        if mode != Mode::Standalone {
            servers.redis = mode.start();
        }
        // What the cache is asked is counted exactly: a Redis that is slow for a moment is waited for.
        let more = vec!["--redis-answer-milliseconds=5000".to_owned()];
        let cluster = Cluster::start_with(&servers, SHAPE, more);
        let clients: Vec<Client> = (0..SHAPE.gateways).map(|gateway| cluster.client(gateway)).collect();
        say!("{mode:?}: ready after {:.1} s", begun.elapsed().as_secs_f64());
        store(&clients[0], stored);
        one_computes_for_all(mode, &cluster, &clients, &asked[0]);
        repeated_ones_are_faster(mode, &clients, &asked[1..]);
        kept_answers_and_previews_follow_the_index(mode, &clients, &asked[1]);
        a_death_fails_no_request(mode, &mut servers, &clients, &asked[1..]);
        say!("{mode:?}: done after {:.1} s", begun.elapsed().as_secs_f64());
    }
}

/// Uploads images where they are not there yet, and waits until they can be neighbours.
fn store(client: &Client, pictures: &[Picture]) {
    for picture in pictures {
        let answer = client.try_upload(&picture.name, &picture.bytes, Some(&picture.label)).unwrap();
        assert!([200, 202].contains(&answer.status), "{}", answer.body);
        let id = answer.body["id"].as_str().unwrap();
        assert_eq!(client.wait_for(id, PATIENCE), "indexed");
    }
    Servers::wait_until("the shard to have all", PATIENCE, || {
        client.get("/api/v1/status").body["index"]["entries"] == pictures.len()
    });
}

/// Many ask for one image at the same time, at all gateways.
fn one_computes_for_all(mode: Mode, cluster: &Cluster, clients: &[Client], picture: &Picture) {
    let model_images =
        || metrics::value(&cluster.embedders[0].metrics(), "medindex_embedder_model_images") as u64;
    let (images, before) = (model_images(), lookups(clients));
    let begun = Instant::now();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let client = &clients[number % clients.len()];
            scope.spawn(|| client.recognise(&picture.bytes))
        };
        let asking: Vec<_> = (0..ASKING).map(ask).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let took = begun.elapsed();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
        for part in ["md5", "model", "generation", "classes", "vote"] {
            assert_eq!(answer.body[part], answers[0].body[part], "{part}");
        }
    }
    assert!(!answers[0].body["vote"].as_array().unwrap().is_empty(), "{}", answers[0].body);
    // Those who wait at the gateway that computes share its result and look nothing up.
    let (hits, misses) = lookups(clients);
    assert_eq!(misses - before.1, 1, "computed more than once");
    assert!(hits - before.0 >= clients.len() as u64 - 1, "the other gateways found it in the cache");
    // One recognition asks the model for classes and for a vector.
    let images = model_images() - images;
    assert!(images <= 2, "the model saw {images} images");
    say!(
        "{mode:?}: {ASKING} at the same time for one image at {} gateways: computed once, {images} images at the model, all answered in {:.0} ms",
        clients.len(),
        took.as_secs_f64() * 1e3
    );
}

/// The same images twice: first computed, then kept.
fn repeated_ones_are_faster(mode: Mode, clients: &[Client], pictures: &[Picture]) {
    let before = lookups(clients);
    for (cached, name) in [(false, "without"), (true, "with")] {
        let times: Vec<Duration> = pictures
            .iter()
            .enumerate()
            .map(|(number, picture)| {
                let begun = Instant::now();
                // Kept by one gateway, known to all.
                let answer =
                    clients[(number + usize::from(cached)) % clients.len()].recognise(&picture.bytes);
                assert_eq!((answer.status, &answer.body["cached"]), (200, &cached.into()), "{}", answer.body);
                begun.elapsed()
            })
            .collect();
        say!("{mode:?}: a recognition {name} the cache: {}", percentiles(&times));
    }
    let (hits, misses) = lookups(clients);
    let (hits, misses) = (hits - before.0, misses - before.1);
    assert_eq!((hits, misses), (pictures.len() as u64, pictures.len() as u64));
    say!("{mode:?}: hit ratio {:.2} ({hits} of {})", hits as f64 / (hits + misses) as f64, hits + misses);
}

/// Answers and previews that one gateway kept are given by another, and by none any more once the image is deleted.
fn kept_answers_and_previews_follow_the_index(mode: Mode, clients: &[Client], picture: &Picture) {
    let search = |client: &Client| client.search(&picture.bytes, &[("k", "3")])["results"][0]["id"].clone();
    for _ in 0..2 {
        let others = search(&clients[0]);
        let id = clients[0].upload(&picture.name, &picture.bytes, Some(&picture.label));
        assert_eq!(clients[0].wait_for(&id, PATIENCE), "indexed");
        assert_ne!(others, id.as_str());
        // What is searchable makes the answers from before ones that nobody is given.
        Servers::wait_until("an answer with the image to be kept", PATIENCE, || {
            let before = counted(clients, "results", "hit");
            search(&clients[0]) == id.as_str() && counted(clients, "results", "hit") > before
        });
        for (number, client) in clients.iter().enumerate() {
            let count = |result: &str| counted(clients, "results", result);
            let (hits, misses) = (count("hit"), count("miss"));
            // While Kafka is slow, a gateway neither looks for answers nor counts.
            Servers::wait_until(&format!("a kept answer at gateway {number}"), PATIENCE, || {
                assert_eq!(search(client), id.as_str(), "gateway {number}");
                count("hit") > hits
            });
            assert_eq!((count("hit"), count("miss")), (hits + 1, misses), "gateway {number} searched anew");
            let before = counted(clients, "previews", "hit");
            let (status, png) = client.preview(&id);
            assert!(status == 200 && png.starts_with(b"\x89PNG"), "{status}");
            assert_eq!(
                counted(clients, "previews", "hit"),
                before + u64::from(number > 0),
                "gateway {number}"
            );
        }
        let begun = Instant::now();
        assert_eq!(clients[1].delete(&id).status, 200);
        say!("{mode:?}: a deletion took {:.2} s", begun.elapsed().as_secs_f64());
        for client in clients {
            assert_eq!((search(client), client.preview(&id).0), (others.clone(), 404));
        }
    }
    say!(
        "{mode:?}: kept answers and previews came from the cache at {} gateways, and were gone with their image",
        clients.len()
    );
}

/// The primary is killed (SIGKILL) in the middle of a stream of recognitions; none fails, and another primary, or the restarted server, serves later ones.
fn a_death_fails_no_request(mode: Mode, servers: &mut Servers, clients: &[Client], pictures: &[Picture]) {
    let (done, times) = (CancellationToken::new(), std::sync::Mutex::new(Vec::new()));
    let answered = || times.lock().unwrap().len();
    std::thread::scope(|scope| {
        for (number, client) in clients.iter().enumerate() {
            let (done, times) = (&done, &times);
            scope.spawn(move || {
                for picture in pictures.iter().cycle().skip(number * 7) {
                    if done.is_cancelled() {
                        return;
                    }
                    let begun = Instant::now();
                    let answer = client.recognise(&picture.bytes);
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    times.lock().unwrap().push(begun.elapsed());
                }
            });
        }
        // Also when something below panics, or the stream would go on for ever.
        let finish = done.clone().drop_guard();
        Servers::wait_until("the stream to begin", PATIENCE, || answered() >= STREAM);
        let primary = if mode == Mode::Sentinel { servers.redis.primary().unwrap().unwrap() } else { 0 };
        servers.redis.kill(primary);
        let (killed, before) = (Instant::now(), answered());
        Servers::wait_until("the stream to go on", PATIENCE, || answered() >= before + STREAM);
        if mode == Mode::Standalone {
            servers.redis.restart(0).unwrap();
        }
        if mode == Mode::Sentinel {
            Servers::wait_until("another primary", PATIENCE, || {
                servers.redis.primary().unwrap().is_some_and(|now| now != primary)
            });
        }
        // Those whose keys were on the dead server too.
        Servers::wait_until("answers from the cache at every gateway", PATIENCE, || {
            let kept =
                |client: &Client, picture: &Picture| client.recognise(&picture.bytes).body["cached"] == true;
            clients.iter().all(|client| pictures.iter().all(|picture| kept(client, picture)))
        });
        say!(
            "{mode:?}: every image from the cache again {:.1} s after the kill",
            killed.elapsed().as_secs_f64()
        );
        drop(finish);
    });
    let times = times.into_inner().unwrap();
    say!("{mode:?}: {} recognitions around the kill, none failed: {}", times.len(), percentiles(&times));
}

/// Hits and misses of all gateways together.
fn lookups(clients: &[Client]) -> (u64, u64) {
    (counted(clients, "recognitions", "hit"), counted(clients, "recognitions", "miss"))
}

/// How often all gateways together found, or did not find, something kept.
fn counted(clients: &[Client], kept: &str, result: &str) -> u64 {
    let name = format!("medindex_cache_lookups_total{{kept=\"{kept}\",result=\"{result}\"}}");
    let count = |client: &Client| metrics::value(client.get("/metrics").body.as_str().unwrap(), &name) as u64;
    clients.iter().map(count).sum()
}
