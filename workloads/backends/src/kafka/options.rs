//! How the cluster is reached, and what topics are made with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rdkafka::config::ClientConfig;

use crate::credentials::{CHECK_EVERY, LoginFiles, TlsFiles};
use crate::fault::Fault;
use crate::queue::{MAX_KEY_BYTES, MAX_PAYLOAD_BYTES};

/// Largest record that is published, with room for its headers and framing; topics are made with the same limit.
pub const MAX_RECORD_BYTES: usize = MAX_PAYLOAD_BYTES + MAX_KEY_BYTES + (64 << 10);

/// How the cluster is reached. [`KafkaOptions::new`] gives what suits most.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Brokers to begin with: `host:port`, joined by commas.
    pub bootstrap: String,
    /// Put before the names of topics and groups, so that several indexes share a cluster; empty for none.
    pub prefix: String,
    /// TLS; with a certificate and key, mutual TLS. Without it connections are not encrypted.
    pub tls: Option<TlsFiles>,
    /// Login with SCRAM-SHA-512.
    pub login: Option<LoginFiles>,
    /// What topics are made with, unless [`KafkaOptions::topics`] names them.
    pub topic: TopicOptions,
    /// What single topics are made with, by their names without prefix.
    pub topics: BTreeMap<String, TopicOptions>,
    /// Longest that publishing may take before it fails, 1 s to 10 min.
    pub publish_timeout: Duration,
    /// Longest that asking for metadata, offsets and the like may take, 1 s to 10 min.
    pub request_timeout: Duration,
    /// How long a consumer may be silent before its partitions go to others; the brokers limit it, 6 s to 30 min by default.
    pub session_timeout: Duration,
    /// How long a consumer may work on what it polled before its partitions go to others.
    pub work_timeout: Duration,
    /// How long a message waits for others, to be sent together.
    pub linger: Duration,
    /// Most bytes that a consumer or follower fetches ahead, about; also the bytes after which a poll ends.
    pub prefetch_bytes: usize,
    /// How often it is looked whether the files of certificates and login changed.
    pub check_credentials: Duration,
}

impl KafkaOptions {
    /// The defaults, without protection.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            prefix: String::new(),
            tls: None,
            login: None,
            topic: TopicOptions::default(),
            topics: BTreeMap::new(),
            publish_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(10),
            work_timeout: Duration::from_mins(5),
            linger: Duration::from_millis(2),
            prefetch_bytes: 16 << 20,
            check_credentials: CHECK_EVERY,
        }
    }

    /// The files that credentials come from, for messages.
    pub(super) fn credential_files(&self) -> String {
        let tls = self.tls.iter().flat_map(|tls| [&tls.authorities, &tls.certificate, &tls.key]).flatten();
        let login = self.login.iter().flat_map(LoginFiles::paths);
        let names: Vec<_> = login.chain(tls).map(|path| path.display().to_string()).collect();
        if names.is_empty() { "none were given".to_owned() } else { names.join(", ") }
    }

    /// Settings of every client, with the secrets as the files hold them now.
    pub(super) fn client(&self) -> Result<ClientConfig, Fault> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "medindex")
            .set("socket.timeout.ms", millis(self.request_timeout))
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set("message.max.bytes", MAX_RECORD_BYTES.to_string());
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.pem", &tls.authorities),
                ("ssl.certificate.pem", &tls.certificate),
                ("ssl.key.pem", &tls.key),
            ];
            for (setting, path) in files {
                if let Some(path) = path {
                    config.set(setting, read_pem(path)?);
                }
            }
        }
        if let Some(login) = &self.login {
            config.set("sasl.mechanism", "SCRAM-SHA-512");
            config.set("sasl.password", login.read_password()?.reveal());
            if let Some(user) = login.read_user()? {
                config.set("sasl.username", user.reveal());
            }
        }
        Ok(config)
    }

    /// Settings of the publishing client.
    pub(super) fn producer(&self, client: &ClientConfig) -> ClientConfig {
        let mut config = client.clone();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.codec", "zstd")
            .set("linger.ms", millis(self.linger))
            .set("message.timeout.ms", millis(self.publish_timeout));
        config
    }

    /// Settings of every client that fetches.
    pub(super) fn fetcher(&self, client: &ClientConfig) -> ClientConfig {
        let mut config = client.clone();
        config
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("check.crcs", "true")
            .set("fetch.message.max.bytes", (self.prefetch_bytes / 4).max(1 << 20).to_string())
            .set("queued.max.messages.kbytes", (self.prefetch_bytes >> 10).max(1 << 10).to_string())
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "100");
        config
    }

    /// Settings of a member of a group.
    pub(super) fn member(&self, client: &ClientConfig, group: &str) -> ClientConfig {
        let mut config = self.fetcher(client);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.session_timeout / 4))
            .set("max.poll.interval.ms", millis(self.work_timeout.max(self.session_timeout)));
        config
    }

    /// Settings of a client that follows partitions alone. The library wants a group's name all the same; nothing is joined.
    pub(super) fn follower(&self, client: &ClientConfig) -> ClientConfig {
        let mut config = self.fetcher(client);
        config.set("group.id", format!("{}followers", self.prefix)).set("auto.offset.reset", "error");
        config
    }

    /// What a topic is made with.
    pub(super) fn of_topic(&self, topic: &str) -> &TopicOptions {
        self.topics.get(topic).unwrap_or(&self.topic)
    }
}

/// What a topic is made with. A topic that is there stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicOptions {
    /// Copies of each partition, 1 to the number of brokers.
    pub replication: u16,
    /// Copies that must have a message before it counts as published, 1 to `replication`.
    pub min_in_sync: u16,
    /// Further settings of Kafka's: `retention.ms`, `cleanup.policy`, ….
    pub settings: BTreeMap<String, String>,
}

impl Default for TopicOptions {
    /// Three copies of which two must be in sync; messages are deleted as the brokers' settings say.
    fn default() -> Self {
        Self { replication: 3, min_in_sync: 2, settings: BTreeMap::new() }
    }
}

impl TopicOptions {
    /// The last message of each key is kept.
    pub fn compacted(mut self) -> Self {
        self.settings.insert("cleanup.policy".to_owned(), "compact".to_owned());
        self
    }

    /// Messages are kept for this long.
    pub fn kept_for(mut self, time: Duration) -> Self {
        self.settings.insert("cleanup.policy".to_owned(), "delete".to_owned());
        self.settings.insert("retention.ms".to_owned(), millis(time));
        self
    }

    /// All settings that the topic is made with.
    pub(super) fn all_settings(&self) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::from([
            ("min.insync.replicas".to_owned(), self.min_in_sync.to_string()),
            ("max.message.bytes".to_owned(), MAX_RECORD_BYTES.to_string()),
            // What is deleted for its age must not depend on the clock of whoever sent it.
            ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()),
        ]);
        settings.extend(self.settings.clone());
        settings
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}

fn read_pem(path: &Path) -> Result<String, Fault> {
    fs::read_to_string(path)
        .map_err(|source| Fault::Inaccessible { place: path.display().to_string(), source: source.into() })
}
