//! Programs whose clocks are off, over real servers: nothing is lost, it is noticed, and alarms neither flicker nor stay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medindex_backends::Catalog as _;
use medindex_backends::catalog::{ImageDescription, NewImage};
use medindex_backends::credentials::LoginFiles;
use medindex_backends::mysql_catalog::{MySqlOptions, MySqlServer, open_mysql_catalog};
use medindex_proto::{ImageId, RowKey};
use medindex_system_tests::pictures::pattern;
use medindex_system_tests::servers::{INDEX, PARTITIONS};
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped, metrics};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(2);
/// How far clocks are off: more than an alarm lives, and more than after which an upload without bytes is given up.
const OFF: i32 = 1_200;
/// Nine times `--resend-seconds` of the tests' gateways.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_off_lose_nothing_and_are_noticed() {
    if any_server_is_skipped() {
        return;
    }
    let begun = Instant::now();
    let mut servers = Servers::start(1).await;
    let shape = Shape { gateways: 2, embedders: 1, shards: 1, replicas: 1 };
    let more = vec!["--alarm-seconds=1".to_owned()];
    let mut cluster = Cluster::describe_with(&servers, shape, more);
    // One gateway is early, the embedder is late.
    cluster.gateways[1].shift_clock(i64::from(OFF));
    cluster.embedders[0].shift_clock(-i64::from(OFF));
    for process in cluster.processes() {
        process.start();
    }
    for process in cluster.processes() {
        process.wait_until_ready();
    }
    println!("ready after {:.1} s", begun.elapsed().as_secs_f64());
    let (right, early) = (cluster.client(0), cluster.client(1));
    let (accepted, unfinished) = (Instant::now(), unfinished_upload(&servers).await);

    uploads_are_found(&right, &early);
    println!("uploaded and found after {:.1} s", begun.elapsed().as_secs_f64());
    it_is_noticed(&right, &cluster);
    println!("noticed after {:.1} s", begun.elapsed().as_secs_f64());
    alarms_are_raised_once_and_cleared(&right, &mut servers);
    println!("alarms after {:.1} s", begun.elapsed().as_secs_f64());

    // To the early gateway it looked old enough at once.
    assert_eq!(right.wait_for(&unfinished.to_string(), PATIENCE), "failed");
    let took = accepted.elapsed();
    println!("an upload without bytes was given up after {:.1} s", took.as_secs_f64());
    assert!(took >= GIVEN_UP_AFTER, "given up after {took:?}, while its bytes may have been on their way");
}

/// A catalog row as an upload makes it before its bytes are stored.
async fn unfinished_upload(servers: &Servers) -> ImageId {
    let login = LoginFiles::new(servers.user_file(), servers.password_file());
    let server = MySqlServer { host: "127.0.0.1".to_owned(), port: servers.mariadb.port() };
    let catalog = open_mysql_catalog(MySqlOptions::new(server, INDEX, login)).await.unwrap();
    let id = ImageId::new();
    let image = NewImage {
        id,
        row_key: RowKey::new(&id, PARTITIONS),
        organisation: "default".to_owned(),
        sha256: [1; 32],
        md5: [2; 16],
        name: "unfinished.png".to_owned(),
        label: None,
        content_type: "image/png".to_owned(),
        format: "png".to_owned(),
        bytes: 5 << 20,
        received_at_ms: now_ms(),
        description: ImageDescription::default(),
        sidecar: None,
    };
    catalog.accept_image(image).await.unwrap();
    catalog.close().await;
    id
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// What either gateway accepts is found through both.
fn uploads_are_found(right: &Client, early: &Client) {
    for (seed, client) in (0..10).flat_map(|seed| [(2 * seed, right), (2 * seed + 1, early)]) {
        let picture = pattern(seed);
        let id = client.upload(&picture.name, &picture.bytes, None);
        assert_eq!(client.wait_for(&id, PATIENCE), "indexed");
        for client in [right, early] {
            Servers::wait_until("the image to be found", PATIENCE, || {
                client.search(&picture.bytes, &[("k", "1")])["results"][0]["id"] == id.as_str()
            });
        }
    }
}

/// Whoever reads times in its future says so: in an alarm, a gauge and a line of the log.
fn it_is_noticed(client: &Client, cluster: &Cluster) {
    // The late embedder is as far behind the early gateway as both are off together.
    for (process, off) in [(&cluster.gateways[0], OFF), (&cluster.embedders[0], 2 * OFF)] {
        let mut ahead = 0.0;
        Servers::wait_until("the gauge of a clock", PATIENCE, || {
            ahead = metrics::value(&process.metrics(), "medindex_clock_ahead_seconds");
            ahead > f64::from(off) - 60.0
        });
        assert!(ahead < f64::from(off) + 60.0, "{ahead} s instead of {off} s");
        // The line is written when the alarm is raised, at the next look after the gauge.
        Servers::wait_until("the line of the log", PATIENCE, || {
            let log = process.log();
            let mut lines =
                log.lines().filter(|line| line.contains("\"clock_skew\"") && line.contains("NTP"));
            lines.any(|line| line.contains("s in its future"))
        });
    }
    for program in ["gateway@", "embedder@"] {
        Servers::wait_until("the alarm of a clock", PATIENCE, || {
            let found = alarms(client, "clock_skew");
            found
                .iter()
                .any(|alarm| alarm["subject"].as_str().is_some_and(|subject| subject.starts_with(program)))
        });
    }
}

fn alarms(client: &Client, kind: &str) -> Vec<Value> {
    let answer = client.get("/api/v1/alarms?raised=false&limit=100");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let all = answer.body["alarms"].as_array().unwrap();
    all.iter().filter(|alarm| alarm["kind"] == kind).cloned().collect()
}

/// Processes whose clocks lie twenty minutes apart see one cause: one row, as long as it lasts and not longer.
fn alarms_are_raised_once_and_cleared(client: &Client, servers: &mut Servers) {
    servers.redis.kill(0);
    let seen = || {
        let found = alarms(client, "cache_down");
        assert!(found.len() < 2, "one cause is one row: {found:?}");
        found.first().and_then(|alarm| alarm["seen_at_ms"].as_i64())
    };
    Servers::wait_until("the alarm of Redis", PATIENCE, || seen().is_some());
    // It is said again, by all of them, more often than a lease of three seconds takes to end.
    let mut times = std::collections::BTreeSet::new();
    Servers::wait_until("it to be seen again and again", PATIENCE, || {
        times.extend(seen());
        times.len() >= 10
    });
    assert!(alarms(client, "cache_down")[0]["cleared_at_ms"].is_null());
    servers.redis.restart(0).unwrap();
    let back = Instant::now();
    Servers::wait_until("the end of the alarm", PATIENCE, || {
        alarms(client, "cache_down").iter().all(|alarm| alarm["cleared_at_ms"].is_i64())
    });
    println!("cleared {:.1} s after Redis was back", back.elapsed().as_secs_f64());
    assert!(back.elapsed() < Duration::from_mins(1));
}
