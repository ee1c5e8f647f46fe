//! How fast the catalog on `MariaDB` and the cache on Redis are, with real servers on loopback that this
//! starts.
//!
//! `cargo run --release -p medindex-backends --example servers [SECONDS]`. Runs each step for some seconds
//! (default 3) and prints tables in Markdown. Assumes `tools/setup.sh mariadb redis`.

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use medindex_backends::catalog::{ImageDescription, NewImage};
use medindex_backends::credentials::LoginFiles;
use medindex_backends::mysql_catalog::{MySqlOptions, MySqlServer, open_mysql_catalog};
use medindex_backends::redis_cache::{RedisCache, RedisOptions, RedisServer, RedisServers};
use medindex_backends::{Cache, Catalog};
use medindex_proto::{ImageId, RowKey};
use medindex_testbed::mariadb::{MariaDb, MariaDbOptions};
use medindex_testbed::redis::{self, Redis, SENTINEL_SERVICE};

const HOST: &str = "127.0.0.1";
const CALLERS: u64 = 64;
const KEYS: u64 = 1000;
const LIFE: Duration = Duration::from_mins(10);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(3.0), |text| text.parse())?;
    let time = Duration::from_secs_f64(seconds);
    catalog(time).await?;
    say(
        "\n| cache of 1 KB values | get p50 | get p99 | set p50 | set p99 | get of 100 p50 | 64 callers, gets/s |",
    )?;
    say("| --- | --- | --- | --- | --- | --- | --- |")?;
    let server = |port: &u16| RedisServer { host: HOST.to_owned(), port: *port };

    let one = Redis::standalone(redis::RedisOptions::default())?;
    cache("one Redis", time, RedisServers::Standalone(server(&one.ports()[0]))).await?;
    drop(one);

    let set = Redis::sentinel(redis::RedisOptions::default())?;
    let sentinels = set.sentinel_ports().iter().map(server).collect();
    let servers = RedisServers::Sentinel { sentinels, service: SENTINEL_SERVICE.to_owned(), login: None };
    cache("with Sentinels", time, servers).await?;
    drop(set);

    let cluster = Redis::cluster(redis::RedisOptions::default())?;
    cache("cluster of six", time, RedisServers::Cluster(cluster.ports().iter().map(server).collect())).await
}

async fn catalog(time: Duration) -> Result<(), Failure> {
    let server = MariaDb::start(MariaDbOptions::default())?;
    let folder = tempfile::tempdir()?;
    let catalog = open_mysql_catalog(options(&server, folder.path())?).await?;
    let accept = |_| {
        let catalog = catalog.clone();
        async move { Ok(catalog.accept_image(new_image()).await.map(drop)?) }
    };
    let batch = |_| {
        let catalog = catalog.clone();
        async move { Ok(catalog.accept_images((0..64).map(|_| new_image()).collect()).await.map(drop)?) }
    };
    say("| MariaDB | images/s |\n| --- | --- |")?;
    say(&format!("| accept, one caller | {:.0} |", rate(1, time, accept).await?))?;
    say(&format!("| accept, {CALLERS} callers | {:.0} |", rate(CALLERS, time, accept).await?))?;
    say(&format!("| accept batches of 64, one caller | {:.0} |", 64.0 * rate(1, time, batch).await?))?;
    catalog.close().await;
    Ok(())
}

fn options(server: &MariaDb, folder: &Path) -> Result<MySqlOptions, Failure> {
    let login = LoginFiles::new(folder.join("user"), folder.join("password"));
    std::fs::write(folder.join("user"), "medindex")?;
    std::fs::write(&login.password, "measured")?;
    server.set_user("medindex", "measured")?;
    server.create_database("medindex", "utf8mb4_nopad_bin")?;
    Ok(MySqlOptions::new(MySqlServer { host: HOST.to_owned(), port: server.port() }, "medindex", login))
}

async fn cache(name: &str, time: Duration, servers: RedisServers) -> Result<(), Failure> {
    let cache = RedisCache::open(RedisOptions::new(servers, "measured")).await?;
    let value = Bytes::from(vec![7; 1000]);
    let set =
        times(time, async |number| cache.set(&key(number), value.clone(), LIFE).await.map(drop)).await?;
    let get = times(time, async |number| cache.get(&key(number)).await.map(drop)).await?;
    let many = times(time, async |number| {
        let keys: Vec<String> = (0..100).map(|step| key(number + step)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        cache.get_many(&keys).await.map(drop)
    });
    let many = many.await?;
    let gets = rate(CALLERS, time, |number| {
        let cache = cache.clone();
        async move { Ok(cache.get(&key(number)).await.map(drop)?) }
    });
    let gets = gets.await?;
    let cells =
        [quantile(&get, 50), quantile(&get, 99), quantile(&set, 50), quantile(&set, 99), quantile(&many, 50)];
    let cells: Vec<_> = cells.iter().map(|micros| format!("{micros} µs")).collect();
    say(&format!("| {name} | {} | {gets:.0} |", cells.join(" | ")))?;
    Ok(())
}

fn key(number: u64) -> String {
    format!("image:{}", number % KEYS)
}

/// Microseconds that each action took, one after the other, in order of length.
async fn times<E>(time: Duration, act: impl AsyncFn(u64) -> Result<(), E>) -> Result<Vec<u128>, E> {
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let begin = Instant::now();
        act(took.len() as u64).await?;
        took.push(begin.elapsed().as_micros());
    }
    took.sort_unstable();
    Ok(took)
}

fn quantile(sorted: &[u128], percent: usize) -> u128 {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

/// Actions a second of some callers at a time.
async fn rate<F>(callers: u64, time: Duration, act: impl Fn(u64) -> F) -> Result<f64, Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let (next, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let caller = async || {
        while start.elapsed() < time {
            act(next.fetch_add(1, Ordering::Relaxed)).await?;
        }
        Ok::<(), Failure>(())
    };
    futures::future::try_join_all((0..callers).map(|_| caller())).await?;
    Ok(next.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

fn new_image() -> NewImage {
    let id = ImageId::new();
    let mut sha256 = [0; 32];
    sha256[..16].copy_from_slice(id.to_string().as_bytes().get(20..36).unwrap_or(&[0; 16]));
    NewImage {
        id,
        row_key: RowKey::new(&id, 9),
        organisation: "Klinik".to_owned(),
        sha256,
        md5: [7; 16],
        name: "image.dcm".to_owned(),
        label: None,
        content_type: "application/dicom".to_owned(),
        format: "dicom".to_owned(),
        bytes: 528_000,
        received_at_ms: 1_700_000_000_000,
        description: ImageDescription::default(),
        sidecar: None,
    }
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}
