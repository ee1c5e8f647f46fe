//! The cache on real Redis servers: one, a set with Sentinels, a cluster.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use medindex_backends::cache::CacheEntry;
use medindex_backends::contract::{self, Factory, Place};
use medindex_backends::credentials::{LoginFiles, TlsFiles};
use medindex_backends::redis_cache::{RedisCache, RedisOptions, RedisServer, RedisServers};
use medindex_backends::{Cache, CacheError, Fault};
use medindex_proto::ImageId;
use medindex_testbed::redis::{self, Redis, SENTINEL_SERVICE, USER};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);
const LONG: Duration = Duration::from_mins(10);
const PASSWORD: &str = "geheim-1";
/// What a loaded machine may add to the time of an action; with the usual time for an answer still less than a failover takes.
const SLACK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Standalone,
    Sentinel,
    Cluster,
}

const MODES: [Mode; 3] = [Mode::Standalone, Mode::Sentinel, Mode::Cluster];

/// Servers and the files with their login.
struct Site {
    servers: Redis,
    mode: Mode,
    secure: bool,
    folder: TempDir,
    prefixes: AtomicU32,
}

impl Site {
    /// With `secure`, the servers want TLS and a login.
    fn start(mode: Mode, secure: bool) -> Self {
        let options = redis::RedisOptions { tls: secure, password: secure.then(|| PASSWORD.to_owned()) };
        let servers = match mode {
            Mode::Standalone => Redis::standalone(options),
            Mode::Sentinel => Redis::sentinel(options),
            Mode::Cluster => Redis::cluster(options),
        };
        let folder = tempfile::tempdir().unwrap();
        let site = Self { servers: servers.unwrap(), mode, secure, folder, prefixes: AtomicU32::new(0) };
        site.write_password(PASSWORD);
        site
    }

    fn write_password(&self, password: &str) {
        fs::write(self.folder.path().join("user"), USER).unwrap();
        fs::write(self.login().password, password).unwrap();
    }

    fn login(&self) -> LoginFiles {
        LoginFiles::new(self.folder.path().join("user"), self.folder.path().join("password"))
    }

    /// Options with a new prefix.
    fn options(&self) -> RedisOptions {
        let server = |port| RedisServer { host: "127.0.0.1".to_owned(), port };
        let servers = match self.mode {
            Mode::Standalone => RedisServers::Standalone(server(self.servers.ports()[0])),
            Mode::Sentinel => RedisServers::Sentinel {
                sentinels: self.servers.sentinel_ports().into_iter().map(server).collect(),
                service: SENTINEL_SERVICE.to_owned(),
                login: self.secure.then(|| self.login()),
            },
            Mode::Cluster => RedisServers::Cluster(self.servers.ports().into_iter().map(server).collect()),
        };
        let prefix = format!("index-{}", self.prefixes.fetch_add(1, Ordering::Relaxed));
        let mut options = RedisOptions::new(servers, prefix);
        if self.secure {
            options.login = Some(self.login());
            let authorities = Some(self.servers.certificates().unwrap().authority.clone());
            options.tls = Some(TlsFiles { authorities, ..TlsFiles::default() });
        }
        options
    }
}

struct Prefix(RedisOptions);

#[async_trait]
impl Place<dyn Cache> for Prefix {
    async fn open(&self) -> Arc<dyn Cache> {
        let cache = RedisCache::open(self.0.clone()).await.unwrap();
        assert!(cache.is_connected());
        Arc::new(cache)
    }
    async fn close(&self, port: Arc<dyn Cache>) {
        drop(port);
    }
}

#[async_trait]
impl Factory<dyn Cache> for Site {
    async fn place(&self) -> Arc<dyn Place<dyn Cache>> {
        // The suite's largest value is 2 MiB, and the machine is shared.
        let mut options = self.options();
        options.response_timeout = Duration::from_secs(2);
        Arc::new(Prefix(options))
    }
}

/// Waits until a set and a get succeed; every action in between must end within `bound`. Returns how long it
/// took.
async fn until_it_answers(cache: &RedisCache, bound: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let (outcome, took) = timed(cache.set("again", "1".into(), LONG)).await;
        assert!(took < bound, "a set took {took:?}");
        let (value, took) = timed(cache.get("again")).await;
        assert!(took < bound, "a get took {took:?}");
        if outcome.is_ok() && value.as_ref().is_ok_and(|value| *value == Some("1".into())) {
            return start.elapsed();
        }
        assert!(start.elapsed() < DEADLINE, "still {outcome:?}, {value:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn timed<T>(action: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    let value = action.await;
    (value, start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_redis_is_a_cache() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    contract::cache::run(Site::start(Mode::Standalone, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_sentinels_is_a_cache() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    contract::cache::run(Site::start(Mode::Sentinel, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_cluster_is_a_cache() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    contract::cache::run(Site::start(Mode::Cluster, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_and_a_login_each_mode_is_a_cache_and_a_wrong_password_is_named() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    for mode in MODES {
        let site = Site::start(mode, true);
        let options = site.options();
        site.write_password("wrong-1");
        let error = RedisCache::open(options.clone()).await.map(drop).unwrap_err();
        println!("{mode:?}: {error}");
        let text = error.to_string();
        assert!(matches!(error, CacheError::Open(Fault::Inaccessible { .. })), "{mode:?}: {text}");
        assert!(text.contains("password") && !text.contains("wrong-1"), "{mode:?}: {text}");
        site.write_password(PASSWORD);

        let mut untrusting = options.clone();
        let other =
            medindex_testbed::certificates::Certificates::new(&site.folder.path().join("other")).unwrap();
        untrusting.tls = Some(TlsFiles { authorities: Some(other.authority), ..TlsFiles::default() });
        let outcome = RedisCache::open(untrusting).await.map(drop);
        println!("{mode:?}, another authority: {outcome:?}");
        assert!(
            matches!(outcome, Err(CacheError::Open(Fault::Inaccessible { .. }))),
            "{mode:?}: {outcome:?}"
        );

        contract::cache::run(site).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_spread_evenly_over_a_cluster() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    let site = Site::start(Mode::Cluster, false);
    let cache = RedisCache::open(site.options()).await.unwrap();
    let keys: Vec<String> = (0..10_000).map(|_| format!("image:{}", ImageId::new())).collect();
    for keys in keys.chunks(500) {
        let entry = |key: &String| CacheEntry { key: key.clone(), value: "1".into(), time_to_live: LONG };
        cache.set_many(keys.iter().map(entry).collect()).await.unwrap();
    }
    let mut counts = Vec::new();
    for number in 0..site.servers.len() {
        if site.servers.command(number, &["ROLE"]).unwrap().starts_with("master") {
            counts.push(site.servers.command(number, &["DBSIZE"]).unwrap().trim().parse::<f64>().unwrap());
        }
    }
    println!("{counts:?}");
    assert_eq!(counts.len(), 3);
    let share = 10_000.0 / 3.0;
    assert!(counts.iter().all(|count| (count - share).abs() < share / 10.0), "{counts:?}");
    let borrowed: Vec<&str> = keys.iter().map(String::as_str).collect();
    for keys in borrowed.chunks(500) {
        assert!(cache.get_many(keys).await.unwrap().iter().all(Option::is_some));
    }
    let mut options = site.options();
    options.prefix = "{index}".to_owned();
    assert!(RedisCache::open(options).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_costs_each_action_a_bounded_time_and_then_the_new_primary_serves() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    for mode in [Mode::Sentinel, Mode::Cluster] {
        let mut site = Site::start(mode, false);
        let options = site.options();
        let bound = options.response_timeout + SLACK;
        let cache = RedisCache::open(options).await.unwrap();
        until_it_answers(&cache, bound).await;
        // In a cluster, the primary that holds the key that is asked for.
        let holder = (0..site.servers.len())
            .find(|number| {
                let role = site.servers.command(*number, &["ROLE"]).unwrap();
                let keys = site.servers.command(*number, &["DBSIZE"]).unwrap();
                role.starts_with("master") && keys.trim() != "0"
            })
            .unwrap();
        for halt in [false, true] {
            let primary = if halt { primary_of(&site, mode, holder) } else { holder };
            if halt {
                site.servers.pause(primary);
            } else {
                site.servers.kill(primary);
            }
            assert!(cache.set("again", "0".into(), LONG).await.is_err());
            let took = until_it_answers(&cache, bound).await;
            println!("{mode:?}, {}: served again after {took:?}", if halt { "halted" } else { "killed" });
            if halt {
                site.servers.resume(primary);
            } else {
                site.servers.restart(primary).unwrap();
            }
            // The one before comes back as a replica; the cache stays where the primary is.
            until_it_answers(&cache, bound).await;
        }
    }
}

/// Number of the primary that now holds what `before` held.
fn primary_of(site: &Site, mode: Mode, before: usize) -> usize {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // Once the one before follows as a replica, the set is whole again and another failover can be won. One that becomes a replica
        // drops its connections, so that a question may fail.
        let role = site.servers.command(before, &["ROLE"]);
        if let Ok(role) = &role
            && let Some(found) = followed_by(site, mode, role)
        {
            return found;
        }
        assert!(Instant::now() < deadline, "{before} does not become a replica: {role:?}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Number of the primary that a replica follows, once it is linked to it and the sentinels know it, by what the replica says of its role.
fn followed_by(site: &Site, mode: Mode, role: &str) -> Option<usize> {
    let mut lines = role.lines();
    if lines.next() != Some("slave") {
        return None;
    }
    let port: u16 = lines.nth(1)?.parse().ok()?;
    let linked = lines.next() == Some("connected");
    let found = site.servers.ports().iter().position(|other| *other == port)?;
    let known =
        mode == Mode::Cluster || matches!(site.servers.primary(), Ok(primary) if primary == Some(found));
    (linked && known).then_some(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_redis_costs_a_few_waits_and_then_none() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    let mut site = Site::start(Mode::Standalone, false);
    let mut options = site.options();
    // Long, so that what waits is told from what a loaded machine slows.
    options.response_timeout = Duration::from_secs(2);
    let (timeout, failures) = (options.response_timeout, options.failures);
    let cache = RedisCache::open(options).await.unwrap();
    cache.set("key", "1".into(), LONG).await.unwrap();
    site.servers.pause(0);
    let (mut waits, start) = (0, Instant::now());
    for _ in 0..200 {
        let (value, took) = timed(cache.get("key")).await;
        assert!(
            matches!(&value, Err(CacheError::Get { source: Fault::Unavailable { .. }, .. })),
            "{value:?}"
        );
        assert!(took < timeout + SLACK, "a get took {took:?}");
        waits += u32::from(took > timeout / 2);
    }
    println!("200 gets of a halted Redis took {:?}", start.elapsed());
    assert_eq!(waits, failures);
    assert!(!cache.is_connected());
    site.servers.resume(0);
    let took = until_it_answers(&cache, timeout + SLACK).await;
    println!("served again {took:?} after it went on");
    assert_eq!(cache.get("key").await.unwrap(), Some("1".into()));

    site.servers.kill(0);
    let start = Instant::now();
    for _ in 0..200 {
        assert!(cache.get("key").await.is_err());
    }
    println!("200 gets of a dead Redis took {:?}", start.elapsed());
    assert!(start.elapsed() < timeout + SLACK, "took {:?}", start.elapsed());
    site.servers.restart(0).unwrap();
    until_it_answers(&cache, timeout + SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_at_first_is_used_once_it_is_there() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    let mut site = Site::start(Mode::Standalone, false);
    site.servers.kill(0);
    let mut options = site.options();
    // Longer than what fails at once takes on a loaded machine.
    options.response_timeout = SLACK * 2;
    let cache = RedisCache::open(options).await.unwrap();
    assert!(!cache.is_connected());
    let (value, took) = timed(cache.get("key")).await;
    assert!(value.is_err() && took < SLACK, "{value:?} after {took:?}");
    site.servers.restart(0).unwrap();
    until_it_answers(&cache, SLACK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_password_is_taken_up_without_a_restart_and_missing_tls_is_named() {
    if medindex_testbed::skipped("redis") {
        return;
    }
    let mut site = Site::start(Mode::Standalone, true);
    let mut options = site.options();
    options.check_files_every = Duration::from_millis(50);
    let bound = options.response_timeout + SLACK;
    let cache = RedisCache::open(options.clone()).await.unwrap();
    cache.set("key", "1".into(), LONG).await.unwrap();
    site.servers.set_password("renewed-1").unwrap();
    site.servers.command(0, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
    let start = Instant::now();
    loop {
        if let Err(error) = cache.get("key").await
            && error.to_string().contains("password")
        {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "the old password still serves");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    site.write_password("renewed-1");
    until_it_answers(&cache, bound).await;

    options.tls = None;
    let cache = RedisCache::open(options).await.unwrap();
    let error = cache.get("key").await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("if the server wants TLS"), "{error}");
}
