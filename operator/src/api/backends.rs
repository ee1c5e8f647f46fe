//! Where the backends are and how what the operator makes there is to be.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::OBJECT_NAME;
use super::secrets::TlsSpec;

/// A host and a port from 1 to 65535, as in `kafka-0.kafka:9092`.
const ADDRESS: &str = r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";
/// The name of an index: part of topics, consumer groups and namespaces.
const INDEX_NAME: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";

/// Kafka, and the index's topics in it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.prefix) == has(oldSelf.prefix) && (!has(self.prefix) || self.prefix == oldSelf.prefix)")
        .message("spec.kafka.prefix cannot change: topics with the old prefix would be left behind; make a new index and import again")
        .field_path(".prefix"),
    validation = Rule::new("self.minInsyncReplicas <= self.replication")
        .message("spec.kafka.minInsyncReplicas must not exceed spec.kafka.replication: no upload could ever be acknowledged")
        .field_path(".minInsyncReplicas")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaSpec {
    /// Brokers to begin with, each host:port.
    #[schemars(length(min = 1, max = 32), inner(length(max = 261), regex(pattern = ADDRESS)))]
    pub bootstrap_servers: Vec<String>,
    /// TLS to the brokers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Secret with `user` and `password` for SASL/SCRAM-SHA-512.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub login_secret: Option<String>,
    /// What the names of topics, consumer groups and cache keys begin with; the resource's name when left out. Cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = INDEX_NAME))]
    pub prefix: Option<String>,
    /// Partitions of the index: of its topics, its table and its search. Cannot change.
    #[serde(default = "default_partitions")]
    #[schemars(range(min = 1, max = 10_000))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("spec.kafka.partitions cannot change: every image's row key and region follow from it; make a new index and import again"))]
    pub partitions: i32,
    /// Copies of every message.
    #[serde(default = "default_replication")]
    #[schemars(range(min = 1, max = 15))]
    pub replication: i32,
    /// Copies that must be written before an upload is acknowledged.
    #[serde(default = "default_min_insync_replicas")]
    #[schemars(range(min = 1, max = 15))]
    pub min_insync_replicas: i32,
    /// Hours that uploads, dead letters and the operation log are kept. The change log is compacted and kept for ever.
    #[serde(default = "default_retention_hours")]
    #[schemars(range(min = 1, max = 87_600))]
    pub retention_hours: i32,
    /// Further settings of all topics, as Kafka names them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = Rule::new("!self.exists(key, key in ['cleanup.policy', 'min.insync.replicas', 'retention.ms', 'max.message.bytes'])")
        .message("spec.kafka.topicSettings must leave out cleanup.policy and max.message.bytes, which the index depends on, and min.insync.replicas and retention.ms, which have fields of their own"))]
    pub topic_settings: BTreeMap<String, String>,
}

/// HBase, and the index's tables in it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.__namespace__) == has(oldSelf.__namespace__) && (!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)")
        .message("spec.hbase.namespace cannot change: the stored images would be left behind; make a new index and import again")
        .field_path(".namespace")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HbaseSpec {
    /// Thrift 1 servers for rows and scans, each host:port.
    #[schemars(length(min = 1, max = 32), inner(length(max = 261), regex(pattern = ADDRESS)))]
    pub thrift_servers: Vec<String>,
    /// Thrift 2 servers, through which tables are made, each host:port.
    #[schemars(length(min = 1, max = 32), inner(length(max = 261), regex(pattern = ADDRESS)))]
    pub thrift2_servers: Vec<String>,
    /// TLS to the proxy before the Thrift servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Namespace of the tables; the index's name with hyphens as underscores when left out. Cannot change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-zA-Z0-9_]+$"))]
    pub namespace: Option<String>,
    /// Compression of the column families.
    #[serde(default)]
    pub compression: Compression,
    /// Days after which images vanish; never when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 24_855))]
    pub ttl_days: Option<i32>,
}

/// How HBase compresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Compression {
    /// Not at all: image files are compressed already.
    #[default]
    None,
    /// Deflate, in every HBase.
    Gz,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// MySQL or MariaDB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CatalogSpec {
    /// Server, host:port.
    #[schemars(length(max = 261), regex(pattern = ADDRESS))]
    pub server: String,
    /// Database, which must exist; the index's name with hyphens as underscores when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub database: Option<String>,
    /// Secret with `user` and `password`.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub login_secret: String,
    /// TLS to the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Redis.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("self.mode != 'Standalone' || size(self.servers) == 1")
        .message("spec.cache.servers names one server where spec.cache.mode is Standalone: leave the others out, or say Sentinel or Cluster")
        .field_path(".servers"),
    validation = Rule::new("!self.loginHasUser || has(self.loginSecret)")
        .message("spec.cache.loginHasUser wants spec.cache.loginSecret, the Secret that has the user")
        .field_path(".loginHasUser"),
    validation = Rule::new("!has(self.sentinelLogin) || self.mode == 'Sentinel'")
        .message("spec.cache.sentinelLogin is for Sentinels: leave it out, or set spec.cache.mode to Sentinel")
        .field_path(".sentinelLogin")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheSpec {
    /// Servers (Sentinels in Sentinel mode), each host:port.
    #[schemars(length(min = 1, max = 32), inner(length(max = 261), regex(pattern = ADDRESS)))]
    pub servers: Vec<String>,
    /// How they work together.
    #[serde(default)]
    pub mode: CacheMode,
    /// Name by which Sentinels know the primary.
    #[serde(default = "default_service")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[-A-Za-z0-9._]+$"))]
    pub service: String,
    /// Secret with `password`, and with `user` where `loginHasUser` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub login_secret: Option<String>,
    /// Whether the Secret names a user too; without one, Redis' default user is meant.
    #[serde(default)]
    pub login_has_user: bool,
    /// Login of the Sentinels themselves, where they want one; `loginSecret` is that of the servers behind them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel_login: Option<SentinelLogin>,
    /// TLS to the servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

impl CacheSpec {
    /// Entries of the login's Secret.
    pub fn login_entries(&self) -> &'static [&'static str] {
        entries(self.login_has_user)
    }
}

impl SentinelLogin {
    /// Entries of its Secret.
    pub fn entries(&self) -> &'static [&'static str] {
        entries(self.has_user)
    }
}

/// Of a login at Redis the user may be left out.
fn entries(has_user: bool) -> &'static [&'static str] {
    if has_user { &["user", "password"] } else { &["password"] }
}

/// How programs sign in at Sentinels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SentinelLogin {
    /// Secret with `password`, and with `user` where `hasUser` says so.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub secret: String,
    /// Whether the Secret names a user too; without one, the Sentinels' default user is meant.
    #[serde(default)]
    pub has_user: bool,
}

/// How Redis servers work together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CacheMode {
    /// One server.
    #[default]
    Standalone,
    /// A primary that Sentinels watch.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

fn default_partitions() -> i32 {
    9
}

fn default_replication() -> i32 {
    3
}

fn default_min_insync_replicas() -> i32 {
    2
}

fn default_retention_hours() -> i32 {
    168
}

fn default_service() -> String {
    "mymaster".to_owned()
}
