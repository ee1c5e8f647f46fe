//! Backends whose calls somebody is told of: who counts them, slows them down, or has the operator die at one.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use medindex_hbase_admin::{TableDescription, TableName, TableState};

use super::tables::TableChange;
use super::topics::{ObservedTopic, TopicChange};
use super::{Access, Backends, ExternalError, IndexStatus};

/// Is told of every call.
pub trait Observer: Send + Sync {
    /// Does the work of a call, named as the method of [`Backends`], and what there is to do before and after.
    fn around<T: Send>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, ExternalError>> + Send,
    ) -> impl Future<Output = Result<T, ExternalError>> + Send;
}

impl<O: Observer> Observer for Arc<O> {
    async fn around<T: Send>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, ExternalError>> + Send,
    ) -> Result<T, ExternalError> {
        O::around(self, call, work).await
    }
}

/// Tells of what it passes on.
pub struct Told<O> {
    /// Where calls go.
    pub backends: Arc<dyn Backends>,
    /// Who is told.
    pub observer: O,
}

#[async_trait]
impl<O: Observer> Backends for Told<O> {
    async fn topics(
        &self,
        access: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        self.observer.around("topics", self.backends.topics(access, names)).await
    }

    async fn change_topic(&self, access: &Access, change: &TopicChange) -> Result<(), ExternalError> {
        self.observer.around("change_topic", self.backends.change_topic(access, change)).await
    }

    async fn delete_topics(&self, access: &Access, names: &[String]) -> Result<(), ExternalError> {
        self.observer.around("delete_topics", self.backends.delete_topics(access, names)).await
    }

    async fn tables(
        &self,
        access: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError> {
        self.observer.around("tables", self.backends.tables(access, tables)).await
    }

    async fn change_table(&self, access: &Access, change: &TableChange) -> Result<(), ExternalError> {
        self.observer.around("change_table", self.backends.change_table(access, change)).await
    }

    async fn delete_tables(&self, access: &Access, names: &[TableName]) -> Result<(), ExternalError> {
        self.observer.around("delete_tables", self.backends.delete_tables(access, names)).await
    }

    async fn index_status(&self, access: &Access) -> Result<IndexStatus, ExternalError> {
        self.observer.around("index_status", self.backends.index_status(access)).await
    }

    async fn unreadiness(&self, pod: &str) -> Result<Option<String>, ExternalError> {
        self.observer.around("unreadiness", self.backends.unreadiness(pod)).await
    }

    async fn roll_back(&self, access: &Access, to: i64) -> Result<i64, ExternalError> {
        self.observer.around("roll_back", self.backends.roll_back(access, to)).await
    }
}
