//! Backends in memory, which can be away: for tests, and for benchmarks of the operator alone.
//!
//! They do at once what they are asked; a table's regions begin at its split keys, a gateway tells what it was given. What is asked of a topic or a
//! table that is not there is left undone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use medindex_hbase_admin::{Region, TableDescription, TableName, TableState};

use super::tables::TableChange;
use super::topics::{DesiredTopic, ObservedTopic, TopicChange};
use super::{Access, Backends, ExternalError, IndexStatus};

/// Topics, tables and a gateway's answer.
#[derive(Default)]
pub struct SimulatedBackends {
    topics: Mutex<BTreeMap<String, ObservedTopic>>,
    tables: Mutex<BTreeMap<String, TableState>>,
    status: Mutex<IndexStatus>,
    unready: Mutex<BTreeMap<String, String>>,
    changes: Mutex<Vec<String>>,
    /// Kafka refuses the login.
    pub kafka_refuses: AtomicBool,
    /// Gateways do not go back.
    pub gateway_keeps_generation: AtomicBool,
    /// Gateways do not answer.
    pub gateway_is_silent: AtomicBool,
    /// Kafka does not answer.
    pub kafka_is_away: AtomicBool,
    /// HBase does not answer.
    pub hbase_is_away: AtomicBool,
}

/// Whoever held it before and failed left whole entries.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimulatedBackends {
    /// The topics by their names, to look at and to change as a person would.
    pub fn topics(&self) -> MutexGuard<'_, BTreeMap<String, ObservedTopic>> {
        lock(&self.topics)
    }

    /// The tables by their names, to look at and to change as a person would.
    pub fn tables(&self) -> MutexGuard<'_, BTreeMap<String, TableState>> {
        lock(&self.tables)
    }

    /// What every gateway answers.
    pub fn status(&self) -> MutexGuard<'_, IndexStatus> {
        lock(&self.status)
    }

    /// Why pods are not ready, by the addresses of their probes.
    pub fn unready(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        lock(&self.unready)
    }

    /// What was changed since this was last asked, in words.
    pub fn take_changes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.changes))
    }

    fn kafka(&self) -> Result<(), ExternalError> {
        let (action, servers) = ("listing topics".to_owned(), "kafka:9092".to_owned());
        if self.kafka_refuses.load(Ordering::Relaxed) {
            let (reason, remedy) = ("invalid credentials".to_owned(), "mend spec.kafka.loginSecret");
            return Err(ExternalError::KafkaRefusal { action, servers, reason, remedy });
        }
        let failed = || ExternalError::Kafka { action, servers, reason: "no broker answers".to_owned() };
        if self.kafka_is_away.load(Ordering::Relaxed) { Err(failed()) } else { Ok(()) }
    }

    fn hbase(&self, access: &Access) -> Result<(), ExternalError> {
        let failed = || ExternalError::TimeOut {
            action: "listing tables".to_owned(),
            servers: access.hbase.join(","),
            within: Duration::from_secs(1),
        };
        if self.hbase_is_away.load(Ordering::Relaxed) { Err(failed()) } else { Ok(()) }
    }

    fn note(&self, change: String) {
        lock(&self.changes).push(change);
    }
}

fn silent(access: &Access) -> ExternalError {
    ExternalError::Gateway { address: access.gateway.clone(), reason: "status 503".to_owned() }
}

fn made_topic(topic: &DesiredTopic) -> ObservedTopic {
    ObservedTopic {
        partitions: topic.partitions,
        replication: topic.replication,
        settings: topic.settings.clone(),
        own_settings: topic.settings.keys().cloned().collect(),
    }
}

fn made_table(table: &TableDescription) -> TableState {
    let starts = std::iter::once("").chain(table.split_keys.iter().map(String::as_str));
    let region =
        |start: &str| Region { start_key: start.into(), end_key: Vec::new(), server: "one:1".to_owned() };
    TableState { families: table.families.clone(), regions: starts.map(region).collect(), enabled: true }
}

#[async_trait]
impl Backends for SimulatedBackends {
    async fn topics(
        &self,
        _: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        self.kafka()?;
        let topics = self.topics();
        Ok(names.iter().filter_map(|name| Some((name.clone(), topics.get(name)?.clone()))).collect())
    }

    async fn change_topic(&self, _: &Access, change: &TopicChange) -> Result<(), ExternalError> {
        self.kafka()?;
        self.note(change.to_string());
        let mut topics = self.topics();
        match change {
            TopicChange::Create(topic) => _ = topics.insert(topic.name.clone(), made_topic(topic)),
            TopicChange::Grow { name, to, .. } => {
                if let Some(topic) = topics.get_mut(name) {
                    topic.partitions = *to;
                }
            }
            TopicChange::Alter { name, settings, .. } => {
                if let Some(topic) = topics.get_mut(name) {
                    topic.settings.clone_from(settings);
                }
            }
        }
        Ok(())
    }

    async fn delete_topics(&self, _: &Access, names: &[String]) -> Result<(), ExternalError> {
        self.kafka()?;
        self.topics().retain(|name, _| !names.contains(name));
        self.note("delete topics".to_owned());
        Ok(())
    }

    async fn tables(
        &self,
        access: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError> {
        self.hbase(access)?;
        let known = self.tables();
        Ok(tables.iter().map(|table| known.get(&table.name.to_string()).cloned()).collect())
    }

    async fn change_table(&self, access: &Access, change: &TableChange) -> Result<(), ExternalError> {
        self.hbase(access)?;
        self.note(change.to_string());
        let mut tables = self.tables();
        match change {
            TableChange::Create(table) => _ = tables.insert(table.name.to_string(), made_table(table)),
            TableChange::AlterFamily { table, family, .. } => {
                let families = tables.get_mut(&table.to_string()).map(|table| &mut table.families);
                for known in families.into_iter().flatten().filter(|known| known.name == family.name) {
                    known.clone_from(family);
                }
            }
            TableChange::Enable(table) => {
                if let Some(table) = tables.get_mut(&table.to_string()) {
                    table.enabled = true;
                }
            }
        }
        Ok(())
    }

    async fn delete_tables(&self, access: &Access, names: &[TableName]) -> Result<(), ExternalError> {
        self.hbase(access)?;
        let mut tables = self.tables();
        for name in names {
            tables.remove(&name.to_string());
        }
        self.note("delete tables".to_owned());
        Ok(())
    }

    async fn index_status(&self, access: &Access) -> Result<IndexStatus, ExternalError> {
        if self.gateway_is_silent.load(Ordering::Relaxed) {
            return Err(silent(access));
        }
        Ok(self.status().clone())
    }

    async fn unreadiness(&self, pod: &str) -> Result<Option<String>, ExternalError> {
        Ok(self.unready().get(pod).cloned())
    }

    async fn roll_back(&self, access: &Access, to: i64) -> Result<i64, ExternalError> {
        if self.gateway_keeps_generation.load(Ordering::Relaxed) {
            return Err(silent(access));
        }
        let mut status = self.status();
        if status.index.generation == to {
            return Ok(to);
        }
        status.index.previous_generation = Some(status.index.generation);
        status.index.generation = to;
        self.note(format!("roll back to {}", status.index.generation));
        Ok(status.index.generation)
    }
}
