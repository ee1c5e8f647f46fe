//! The servers of an index, and what has to be on them before its programs start.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use medindex_backends::Queue as _;
use medindex_backends::kafka::{KafkaOptions, KafkaQueue, TopicOptions};
use medindex_hbase_admin::{Compression, HbaseAdmin, TimeLimits, tables};
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use medindex_testbed::TestbedError;
use medindex_testbed::hbase::{Hbase, ThriftServers};
use medindex_testbed::kafka::{Kafka, KafkaOptions as Brokers, Listener};
use medindex_testbed::mariadb::{MariaDb, MariaDbOptions};
use medindex_testbed::redis::{Redis, RedisOptions, SENTINEL_SERVICE};
use medindex_testbed::skipped;
use tempfile::TempDir;

/// Partitions of the index under test.
pub const PARTITIONS: u32 = 9;
/// Its name.
pub const INDEX: &str = "medindex";

/// Whether the user left one of the servers out that every index needs.
pub fn any_server_is_skipped() -> bool {
    ["kafka", "hbase", "mariadb", "redis"].into_iter().any(skipped)
}

/// Running servers, with `HBase` in one of the ways in which the testbed runs it.
pub struct Servers<H = Hbase> {
    /// Kafka.
    pub kafka: Kafka,
    /// `HBase`.
    pub hbase: H,
    /// `MariaDB`.
    pub mariadb: MariaDb,
    /// Redis.
    pub redis: Redis,
    folder: TempDir,
}

impl Servers {
    /// Starts all servers, Kafka with `brokers` brokers and `HBase` standalone, and makes topics, tables and the database.
    pub async fn start(brokers: usize) -> Self {
        Self::start_over(brokers, Hbase::start).await
    }

    /// Starts all servers, of Kafka one broker, such that programs need TLS for `MariaDB` and Redis, and Redis a login with `password`; Kafka has listeners with TLS too.
    pub async fn start_secured(password: &str) -> Self {
        let brokers = Brokers { brokers: 1, secured: true };
        let mariadb = MariaDbOptions { tls: true, ..MariaDbOptions::default() };
        let redis = RedisOptions { tls: true, password: Some(password.to_owned()) };
        Self::start_as(&brokers, mariadb, redis, Hbase::start).await
    }

    /// Waits for something with a deadline.
    pub fn wait_until(what: &str, patience: Duration, mut done: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + patience;
        while !done() {
            assert!(std::time::Instant::now() < deadline, "waited over {patience:?} for {what}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

impl<H: ThriftServers + Send + 'static> Servers<H> {
    /// Starts all servers over the `HBase` that `start` makes.
    pub async fn start_over(brokers: usize, start: fn() -> Result<H, TestbedError>) -> Self {
        let brokers = Brokers { brokers, secured: false };
        Self::start_as(&brokers, MariaDbOptions::default(), RedisOptions::default(), start).await
    }

    async fn start_as(
        brokers: &Brokers,
        mariadb: MariaDbOptions,
        redis: RedisOptions,
        start: fn() -> Result<H, TestbedError>,
    ) -> Self {
        let hbase = std::thread::spawn(start);
        let kafka = Kafka::start_with(brokers).unwrap();
        let mariadb = MariaDb::start(mariadb).unwrap();
        let redis = Redis::standalone(redis).unwrap();
        let hbase = hbase.join().unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let servers = Self { kafka, hbase, mariadb, redis, folder };
        servers.make_catalog();
        servers.make_tables(INDEX);
        servers.make_topics(INDEX, PARTITIONS).await;
        servers
    }

    fn make_catalog(&self) {
        self.mariadb.create_database(INDEX, "utf8mb4_nopad_bin").unwrap();
        self.mariadb.set_user("medindex", "a secret of the test").unwrap();
        fs::write(self.user_file(), "medindex\n").unwrap();
        fs::write(self.password_file(), "a secret of the test\n").unwrap();
    }

    /// Makes the tables of an index in a namespace.
    pub fn make_tables(&self, namespace: &str) {
        let mut admin = self.hbase_admin();
        admin.ensure_namespace(namespace).unwrap();
        admin.ensure_table(&tables::image_table(namespace, PARTITIONS, Compression::Snappy)).unwrap();
        admin.ensure_table(&tables::segment_table(namespace, Compression::Snappy)).unwrap();
    }

    /// Administers `HBase`.
    pub fn hbase_admin(&self) -> HbaseAdmin {
        HbaseAdmin::new(self.hbase.thrift2(), TimeLimits::default())
    }

    /// Makes the topics of an index.
    pub async fn make_topics(&self, index: &str, partitions: u32) {
        let queue = self.queue(index).await;
        for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
            queue.create_topic(topic, partitions).await.unwrap();
        }
    }

    /// The queue of an index.
    pub async fn queue(&self, index: &str) -> KafkaQueue {
        let bootstrap = self.kafka.bootstrap(Listener::Plain);
        let copies = if bootstrap.contains(',') { (3, 2) } else { (1, 1) };
        let topic = TopicOptions { replication: copies.0, min_in_sync: copies.1, ..TopicOptions::default() };
        let mut options = KafkaOptions::new(bootstrap);
        options.prefix = format!("{index}.");
        options.topics.insert(TOPIC_IMAGE_INDEXED.to_owned(), topic.clone().compacted());
        options.topic = topic;
        KafkaQueue::open(options).await.unwrap()
    }

    /// The file with the database's user.
    pub fn user_file(&self) -> PathBuf {
        self.folder.path().join("mysql-user")
    }

    /// The file with the password of the database's user.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("mysql-password")
    }

    /// Arguments by which every program finds the servers.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--index={INDEX}"),
            format!("--partitions={PARTITIONS}"),
            format!("--kafka-bootstrap={}", self.kafka.bootstrap(Listener::Plain)),
            format!("--hbase-thrift={}", self.hbase.thrift1()),
            format!("--mysql-server=127.0.0.1:{}", self.mariadb.port()),
            format!("--mysql-user-file={}", self.user_file().display()),
            format!("--mysql-password-file={}", self.password_file().display()),
        ];
        arguments.extend(self.redis_arguments());
        arguments
    }

    /// Arguments by which every program finds Redis, in the way in which it runs.
    fn redis_arguments(&self) -> Vec<String> {
        let servers = |ports: Vec<u16>| {
            let addresses: Vec<String> = ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
            format!("--redis-servers={}", addresses.join(","))
        };
        let sentinels = self.redis.sentinel_ports();
        if !sentinels.is_empty() {
            let service = format!("--redis-service={SENTINEL_SERVICE}");
            return vec!["--redis-mode=sentinel".to_owned(), service, servers(sentinels)];
        }
        let mode = if self.redis.len() > 1 { "cluster" } else { "standalone" };
        vec![format!("--redis-mode={mode}"), servers(self.redis.ports())]
    }
}
