//! Servers, tables, topics, credentials and models that do not fit: programs wait until they do, and never end.

use std::fs;
use std::time::Instant;

use medindex_backends::ImageStore as _;
use medindex_backends::hbase::{HbaseImageStore, HbaseOptions};
use medindex_hbase_admin::{Compression, TableName, tables};
use medindex_system_tests::cluster::Process;
use medindex_system_tests::pictures::pattern;
use medindex_system_tests::servers::PARTITIONS;
use medindex_system_tests::waiting::{PATIENCE, wait_until_it_waits};
use medindex_system_tests::{Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::hbase::ThriftServers as _;
use medindex_testbed::kafka::Listener;
use medindex_testbed::redis::{Redis, RedisOptions, USER};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;

/// An index of which nothing is there yet, and its namespace and database.
const OTHER: &str = "medindex-other";
const PLACE: &str = "medindex_other";
const PASSWORD: &str = "geheim-2";
const DESCRIPTION: &str = "index/description.json";

/// What the servers of the other index are reached by, wrong in several ways.
struct Site {
    folder: TempDir,
    redis: Redis,
}

impl Site {
    fn new() -> Self {
        let options = RedisOptions { password: Some(PASSWORD.to_owned()), ..RedisOptions::default() };
        let site = Self { folder: tempfile::tempdir().unwrap(), redis: Redis::standalone(options).unwrap() };
        fs::write(site.file("redis-user"), USER).unwrap();
        fs::write(site.file("redis-password"), "wrong").unwrap();
        fs::write(site.file("mysql-password"), "wrong").unwrap();
        site
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn arguments(&self) -> Vec<String> {
        let file = |flag: &str, name: &str| format!("--{flag}-file={}", self.file(name).display());
        vec![
            format!("--index={OTHER}"),
            file("mysql-password", "mysql-password"),
            format!("--redis-servers=127.0.0.1:{}", self.redis.ports()[0]),
            file("redis-user", "redis-user"),
            file("redis-password", "redis-password"),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_wait_for_surroundings_that_do_not_fit_and_go_on_once_they_do() {
    if any_server_is_skipped() {
        return;
    }
    let begun = Instant::now();
    let (servers, site) = (Servers::start(1).await, Site::new());
    let mut cluster =
        Cluster::describe(&servers, Shape { gateways: 1, embedders: 1, shards: 1, replicas: 1 });
    let folder = site.file("shard");
    fs::write(&folder, "a file where the shard's folder should be").unwrap();
    cluster.shards[0].set(&[format!("--data={}", folder.display())]);
    for process in cluster.processes() {
        process.set(&site.arguments());
        process.start();
    }
    println!("servers ready after {:.1} s", begun.elapsed().as_secs_f64());

    let (embedder, shard) = (&mut cluster.embedders[0], &mut cluster.shards[0]);
    mend_the_catalog(embedder, &servers, &site);
    println!("catalog mended after {:.1} s", begun.elapsed().as_secs_f64());
    mend_the_tables(embedder, &servers);
    println!("tables mended after {:.1} s", begun.elapsed().as_secs_f64());
    describe(&servers, Some("sha256:another")).await;
    mend_the_topics(embedder, &servers).await;
    println!("topics mended after {:.1} s", begun.elapsed().as_secs_f64());
    wait_until_it_waits(embedder, "cache", &["password"]);
    fs::write(site.file("redis-password"), PASSWORD).unwrap();
    wait_until_it_waits(embedder, "index", &["sha256:another", "make a new index"]);
    // Gone, it is written anew by the embedder.
    describe(&servers, None).await;
    wait_until_it_waits(shard, "folder", &["shard"]);
    fs::remove_file(&folder).unwrap();
    for process in cluster.processes() {
        process.wait_until_ready();
        let metrics = process.metrics();
        assert!(
            !metrics.lines().any(|line| line.starts_with("medindex_waiting") && line.ends_with(" 1")),
            "{metrics}"
        );
        let attempts = process.log().lines().filter(|line| line.contains("not there yet")).count();
        println!("{}: {attempts} attempts failed", process.name);
        // Twice as long after each: about ten in two minutes for each thing, were it to take that long.
        assert!(attempts < 60, "{} tried {attempts} times", process.name);
    }
    println!("ready after {:.1} s", begun.elapsed().as_secs_f64());

    let (client, picture) = (cluster.client(0), pattern(1));
    let id = client.upload(&picture.name, &picture.bytes, None);
    assert_eq!(client.wait_for(&id, PATIENCE), "indexed");
    Servers::wait_until("the image to be found", PATIENCE, || {
        client.search(&picture.bytes, &[("k", "1")])["results"][0]["id"] == id.as_str()
    });
    told_another_number_of_partitions(&mut cluster);
    println!("done after {:.1} s", begun.elapsed().as_secs_f64());
}

/// A wrong password, then no database, then one of a later release.
fn mend_the_catalog(embedder: &mut Process, servers: &Servers, site: &Site) {
    wait_until_it_waits(embedder, "catalog", &["password"]);
    assert!(!embedder.log().contains("\"wrong\""), "the password is in the log");
    fs::copy(servers.password_file(), site.file("mysql-password")).unwrap();
    wait_until_it_waits(embedder, "catalog", &["CREATE DATABASE", PLACE]);
    servers.mariadb.create_database(PLACE, "utf8mb4_bin").unwrap();
    wait_until_it_waits(embedder, "catalog", &["ALTER DATABASE", "utf8mb4_bin"]);
    let admin = |statement: &str| servers.mariadb.admin(statement).unwrap();
    // What a later release leaves behind.
    admin(&format!(
        "ALTER DATABASE {PLACE} COLLATE utf8mb4_nopad_bin; \
         CREATE TABLE {PLACE}._sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, checksum BLOB NOT NULL, \
         execution_time BIGINT NOT NULL); \
         INSERT INTO {PLACE}._sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', TRUE, '', 0)"
    ));
    wait_until_it_waits(embedder, "catalog", &["later release", "upgrade"]);
    admin(&format!("DROP TABLE {PLACE}._sqlx_migrations"));
}

/// No tables, then one without a family.
fn mend_the_tables(embedder: &mut Process, servers: &Servers) {
    wait_until_it_waits(embedder, "image_store", &[&format!("{PLACE}:image_info"), "operator"]);
    let mut admin = servers.hbase_admin();
    let mut poor = tables::image_table(PLACE, PARTITIONS, Compression::None);
    poor.families.remove(0);
    admin.ensure_namespace(PLACE).unwrap();
    admin.ensure_table(&tables::segment_table(PLACE, Compression::None)).unwrap();
    admin.create_table(&poor).unwrap();
    wait_until_it_waits(embedder, "image_store", &["family MD"]);
    let name = TableName::new(PLACE, "image_info");
    admin.disable_table(&name).unwrap();
    admin.delete_table(&name).unwrap();
    servers.make_tables(PLACE);
}

/// No topics, then too few partitions.
async fn mend_the_topics(embedder: &mut Process, servers: &Servers) {
    wait_until_it_waits(embedder, "queue", &["no topic imageupload"]);
    servers.make_topics(OTHER, 3).await;
    wait_until_it_waits(embedder, "queue", &["has 3 partitions, not 9"]);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers.kafka.bootstrap(Listener::Plain));
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let names = ["imageupload", "imageindexed", "imageupload.dlq", "operationlog"]
        .map(|topic| format!("{OTHER}.{topic}"));
    let more: Vec<NewPartitions<'_>> =
        names.iter().map(|name| NewPartitions::new(name, PARTITIONS as usize)).collect();
    for outcome in admin.create_partitions(&more, &AdminOptions::new()).await.unwrap() {
        outcome.unwrap();
    }
}

/// Writes the description of an index of another model, or removes it.
async fn describe(servers: &Servers, model_digest: Option<&str>) {
    let options = HbaseOptions::new(vec![servers.hbase.thrift1()], PLACE);
    let store = HbaseImageStore::open(&options).await.unwrap();
    let Some(digest) = model_digest else { return store.delete_blob(DESCRIPTION).await.unwrap() };
    let description = serde_json::json!({
        "format": 1, "partitions": PARTITIONS, "model_digest": digest, "manifest": "of another model",
    });
    store.put_blob(DESCRIPTION, description.to_string().into()).await.unwrap();
}

/// One that was told another number of partitions than the topics have waits as well, and ends when it is told to.
fn told_another_number_of_partitions(cluster: &mut Cluster) {
    let embedder = &mut cluster.embedders[0];
    embedder.stop();
    embedder.set(&["--partitions=8".to_owned()]);
    embedder.start();
    wait_until_it_waits(embedder, "queue", &["has 9 partitions, not 8"]);
    embedder.stop();
    assert!(!embedder.is_running());
    assert!(embedder.log().contains("stopped while waiting for the queue"));
    embedder.set(&[format!("--partitions={PARTITIONS}")]);
    embedder.start();
    embedder.wait_until_ready();
}
