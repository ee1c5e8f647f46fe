//! Backends in memory, which can be away.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use medindex_hbase_admin::{Region, TableDescription, TableName, TableState};
use medindex_operator::external::tables::TableChange;
use medindex_operator::external::topics::{ObservedTopic, TopicChange};
use medindex_operator::external::{Access, Backends, ExternalError, IndexStatus};

/// Topics, tables and a gateway's answer.
#[derive(Default)]
pub(crate) struct FakeBackends {
    pub(crate) topics: Mutex<BTreeMap<String, ObservedTopic>>,
    pub(crate) tables: Mutex<BTreeMap<String, TableState>>,
    pub(crate) status: Mutex<IndexStatus>,
    pub(crate) changes: Mutex<Vec<String>>,
    pub(crate) kafka_is_away: AtomicBool,
    pub(crate) hbase_is_away: AtomicBool,
}

impl FakeBackends {
    fn kafka(&self) -> Result<(), ExternalError> {
        let failed = || ExternalError::Kafka {
            action: "listing topics".to_owned(),
            servers: "kafka:9092".to_owned(),
            reason: "no broker answers".to_owned(),
        };
        if self.kafka_is_away.load(Ordering::Relaxed) { Err(failed()) } else { Ok(()) }
    }

    fn hbase(&self) -> Result<(), ExternalError> {
        let failed = || ExternalError::TimeOut {
            action: "listing tables".to_owned(),
            within: std::time::Duration::from_secs(1),
        };
        if self.hbase_is_away.load(Ordering::Relaxed) { Err(failed()) } else { Ok(()) }
    }

    fn note(&self, change: String) {
        self.changes.lock().unwrap().push(change);
    }

    pub(crate) fn take_changes(&self) -> Vec<String> {
        std::mem::take(&mut self.changes.lock().unwrap())
    }
}

#[async_trait]
impl Backends for FakeBackends {
    async fn topics(
        &self,
        _: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        self.kafka()?;
        let topics = self.topics.lock().unwrap();
        Ok(names.iter().filter_map(|name| Some((name.clone(), topics.get(name)?.clone()))).collect())
    }

    async fn change_topic(&self, _: &Access, change: &TopicChange) -> Result<(), ExternalError> {
        self.kafka()?;
        self.note(change.to_string());
        let mut topics = self.topics.lock().unwrap();
        match change {
            TopicChange::Create(topic) => {
                let observed = ObservedTopic {
                    partitions: topic.partitions,
                    replication: topic.replication,
                    settings: topic.settings.clone(),
                    own_settings: topic.settings.keys().cloned().collect(),
                };
                topics.insert(topic.name.clone(), observed);
            }
            TopicChange::Alter { name, settings, .. } => {
                topics.get_mut(name).unwrap().settings.clone_from(settings);
            }
        }
        Ok(())
    }

    async fn delete_topics(&self, _: &Access, names: &[String]) -> Result<(), ExternalError> {
        self.kafka()?;
        for name in names {
            self.topics.lock().unwrap().remove(name);
        }
        self.note("delete topics".to_owned());
        Ok(())
    }

    async fn tables(
        &self,
        _: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError> {
        self.hbase()?;
        let known = self.tables.lock().unwrap();
        Ok(tables.iter().map(|table| known.get(&table.name.to_string()).cloned()).collect())
    }

    async fn change_table(&self, _: &Access, change: &TableChange) -> Result<(), ExternalError> {
        self.hbase()?;
        self.note(change.to_string());
        let mut tables = self.tables.lock().unwrap();
        match change {
            TableChange::Create(table) => {
                let starts = std::iter::once("").chain(table.split_keys.iter().map(String::as_str));
                let region = |start: &str| Region {
                    start_key: start.into(),
                    end_key: Vec::new(),
                    server: "one:1".to_owned(),
                };
                let state = TableState {
                    families: table.families.clone(),
                    regions: starts.map(region).collect(),
                    enabled: true,
                };
                tables.insert(table.name.to_string(), state);
            }
            TableChange::AlterFamily { table, family, .. } => {
                let families = &mut tables.get_mut(&table.to_string()).unwrap().families;
                *families.iter_mut().find(|known| known.name == family.name).unwrap() = family.clone();
            }
            TableChange::Enable(table) => tables.get_mut(&table.to_string()).unwrap().enabled = true,
        }
        Ok(())
    }

    async fn delete_tables(&self, _: &Access, names: &[TableName]) -> Result<(), ExternalError> {
        self.hbase()?;
        for name in names {
            self.tables.lock().unwrap().remove(&name.to_string());
        }
        self.note("delete tables".to_owned());
        Ok(())
    }

    async fn index_status(&self, _: &Access) -> Result<IndexStatus, ExternalError> {
        Ok(self.status.lock().unwrap().clone())
    }

    async fn roll_back(&self, _: &Access) -> Result<i64, ExternalError> {
        let mut status = self.status.lock().unwrap();
        status.index.generation = status.index.previous_generation.unwrap_or(0);
        self.note(format!("roll back to {}", status.index.generation));
        Ok(status.index.generation)
    }
}
