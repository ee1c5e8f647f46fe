//! What administrators of Kafka and `HBase` do behind the operator's back.

use std::time::Duration;

use medindex_hbase_admin::{FamilyDescription, HbaseAdmin, TableDescription, TableName, TimeLimits};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::Metadata;

use crate::kubectl::kubectl;

/// Namespace of the backends.
pub const NAMESPACE: &str = "backends";
/// Kafka, in the cluster's network.
const KAFKA: &str = "kafka.backends:9092";

fn topic_settings(topic: &str, more: &[&str]) -> String {
    let tool: [&[&str]; 3] = [
        &[
            "exec",
            "--namespace",
            NAMESPACE,
            "kafka-0",
            "--",
            "java",
            "-cp",
            "/jars/*",
            "kafka.admin.ConfigCommand",
        ],
        &["--bootstrap-server", KAFKA, "--entity-type", "topics", "--entity-name", topic],
        more,
    ];
    kubectl(&tool.concat())
}

/// Gives a topic a setting.
pub fn set_topic_setting(topic: &str, name: &str, value: &str) {
    topic_settings(topic, &["--alter", "--add-config", &format!("{name}={value}")]);
}

/// A setting of a topic's own.
pub fn topic_setting(topic: &str, name: &str) -> Option<String> {
    let told = topic_settings(topic, &["--describe"]);
    let line = told.lines().map(str::trim).find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn kafka() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", KAFKA).create().unwrap()
}

/// Deletes a topic.
pub fn delete_topic(topic: &str) {
    let (admin, topics) = (kafka(), [topic]);
    let work = async { admin.delete_topics(&topics, &AdminOptions::new()).await };
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(work).unwrap();
    assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
}

/// Gives a topic more partitions: as many as this.
pub fn grow_topic(topic: &str, partitions: usize) {
    let (admin, grown) = (kafka(), [NewPartitions::new(topic, partitions)]);
    let work = async { admin.create_partitions(&grown, &AdminOptions::new()).await };
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(work).unwrap();
    assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
}

/// Of all topics: asking for one by its name could make it.
fn metadata() -> Metadata {
    kafka().inner().fetch_metadata(None, Duration::from_secs(10)).unwrap()
}

/// Partitions of a topic; none where it is not there.
pub fn partitions(topic: &str) -> usize {
    metadata().topics().iter().find(|found| found.name() == topic).map_or(0, |found| found.partitions().len())
}

fn hbase() -> HbaseAdmin {
    HbaseAdmin::new("hbase.backends:9091", TimeLimits::default())
}

/// A family of a table, as it is.
pub fn family(table: &TableName, family: &str) -> FamilyDescription {
    let state = hbase().table(table).unwrap().unwrap();
    state.families.into_iter().find(|found| found.name == family).unwrap()
}

/// Gives a family other settings.
pub fn alter_family(table: &TableName, family: &FamilyDescription) {
    hbase().alter_family(table, family).unwrap();
}

/// Makes a table, and its namespace.
pub fn make_table(table: &TableDescription) {
    let mut admin = hbase();
    admin.ensure_namespace(&table.name.namespace).unwrap();
    admin.ensure_table(table).unwrap();
}

/// Deletes a table.
pub fn delete_table(table: &TableName) {
    assert!(hbase().delete_table(table).unwrap(), "{table} is not there");
}

/// First keys of a table's regions, but for the first region, which has none; `None` where there is no such table.
pub fn boundaries(table: &TableName) -> Option<Vec<String>> {
    let regions = hbase().table(table).unwrap()?.regions;
    let keys = regions.iter().map(|region| region.start_key.escape_ascii().to_string());
    Some(keys.filter(|key| !key.is_empty()).collect())
}

/// Deletes a namespace of `HBase` with its tables, where it is there.
pub fn delete_namespace(namespace: &str) {
    let mut admin = hbase();
    if admin.namespaces().unwrap().iter().any(|there| there == namespace) {
        for table in admin.tables(namespace).unwrap() {
            admin.delete_table(&table).unwrap();
        }
        admin.delete_namespace(namespace).unwrap();
    }
}

/// Makes an empty database that the users of catalogs may use.
pub fn make_database(name: &str) {
    let statements = format!(
        "DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin; \
         GRANT ALL ON {name}.* TO 'medindex'@'%'"
    );
    let client = ["mariadb", "--socket=/tmp/mariadb.sock", "--user=root", "--execute", &statements];
    kubectl(&[&["exec", "--namespace", NAMESPACE, "mariadb-0", "--"], &client[..]].concat());
}

/// Topics whose names begin with an index' prefix.
pub fn topics_of(prefix: &str) -> Vec<String> {
    let metadata = metadata();
    let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(&format!("{prefix}."))).collect();
    names.sort();
    names
}

/// Tables of a namespace of `HBase`.
pub fn tables_of(namespace: &str) -> Vec<String> {
    let known = [medindex_proto::names::TABLE_IMAGES, medindex_proto::names::TABLE_SEGMENTS];
    let is_there = |name: &&str| hbase().table(&TableName::new(namespace, *name)).unwrap().is_some();
    known.into_iter().filter(is_there).map(str::to_owned).collect()
}
