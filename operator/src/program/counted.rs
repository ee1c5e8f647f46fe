//! Backends whose calls are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use medindex_hbase_admin::{TableDescription, TableName, TableState};

use super::metrics::Metrics;
use crate::external::tables::TableChange;
use crate::external::topics::{ObservedTopic, TopicChange};
use crate::external::{Access, Backends, ExternalError, IndexStatus};

/// Counts what it passes on.
pub(super) struct Counted<B> {
    /// Where calls go.
    pub(super) backends: B,
    /// Where they are counted.
    pub(super) metrics: Arc<Metrics>,
}

impl<B> Counted<B> {
    fn counted<T>(&self, call: &'static str, outcome: Result<T, ExternalError>) -> Result<T, ExternalError> {
        self.metrics.call(call, outcome.is_ok());
        outcome
    }
}

#[async_trait]
impl<B: Backends> Backends for Counted<B> {
    async fn topics(
        &self,
        access: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        self.counted("topics", self.backends.topics(access, names).await)
    }

    async fn change_topic(&self, access: &Access, change: &TopicChange) -> Result<(), ExternalError> {
        self.counted("change_topic", self.backends.change_topic(access, change).await)
    }

    async fn delete_topics(&self, access: &Access, names: &[String]) -> Result<(), ExternalError> {
        self.counted("delete_topics", self.backends.delete_topics(access, names).await)
    }

    async fn tables(
        &self,
        access: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError> {
        self.counted("tables", self.backends.tables(access, tables).await)
    }

    async fn change_table(&self, access: &Access, change: &TableChange) -> Result<(), ExternalError> {
        self.counted("change_table", self.backends.change_table(access, change).await)
    }

    async fn delete_tables(&self, access: &Access, names: &[TableName]) -> Result<(), ExternalError> {
        self.counted("delete_tables", self.backends.delete_tables(access, names).await)
    }

    async fn index_status(&self, access: &Access) -> Result<IndexStatus, ExternalError> {
        self.counted("index_status", self.backends.index_status(access).await)
    }

    async fn roll_back(&self, access: &Access) -> Result<i64, ExternalError> {
        self.counted("roll_back", self.backends.roll_back(access).await)
    }
}
