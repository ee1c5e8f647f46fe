//! Tables through HBase's Thrift 2 servers, and the real [`Backends`].

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use medindex_hbase_admin::{
    HbaseAdmin, HbaseAdminError, TableDescription, TableName, TableState, TimeLimits,
};

use super::kafka::KafkaAdmin;
use super::tables::TableChange;
use super::topics::{ObservedTopic, TopicChange};
use super::{Access, Backends, CALL_WITHIN, ExternalError, IndexStatus, gateway, probe};

/// Until a connection to a Thrift server stands.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Making or deleting a table of thousands of regions takes its time.
const TABLE_WITHIN: Duration = Duration::from_mins(2);

/// Kafka, HBase and gateways over the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkBackends;

#[async_trait]
impl Backends for NetworkBackends {
    async fn topics(
        &self,
        access: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError> {
        let listed = async { KafkaAdmin::new(&access.kafka)?.topics(names).await };
        at_kafka("listing topics", access, listed).await
    }

    async fn change_topic(&self, access: &Access, change: &TopicChange) -> Result<(), ExternalError> {
        let action = change.to_string();
        at_kafka(&action, access, async { KafkaAdmin::new(&access.kafka)?.change(change).await }).await
    }

    async fn delete_topics(&self, access: &Access, names: &[String]) -> Result<(), ExternalError> {
        let deleted = async { KafkaAdmin::new(&access.kafka)?.delete(names).await };
        at_kafka("deleting topics", access, deleted).await
    }

    async fn tables(
        &self,
        access: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError> {
        let names: Vec<TableName> = tables.iter().map(|table| table.name.clone()).collect();
        administer(access, CALL_WITHIN, move |admin| names.iter().map(|name| admin.table(name)).collect())
            .await
    }

    async fn change_table(&self, access: &Access, change: &TableChange) -> Result<(), ExternalError> {
        let change = change.clone();
        administer(access, TABLE_WITHIN, move |admin| match &change {
            TableChange::Create(table) => {
                admin.ensure_namespace(&table.name.namespace)?;
                admin.ensure_table(table).map(drop)
            }
            TableChange::AlterFamily { table, family, .. } => admin.alter_family(table, family),
            TableChange::Enable(table) => admin.enable_table(table),
        })
        .await
    }

    async fn delete_tables(&self, access: &Access, names: &[TableName]) -> Result<(), ExternalError> {
        let names = names.to_vec();
        administer(access, TABLE_WITHIN, move |admin| {
            names.iter().try_for_each(|name| admin.delete_table(name).map(drop))
        })
        .await
    }

    async fn index_status(&self, access: &Access) -> Result<IndexStatus, ExternalError> {
        let address = access.gateway.clone();
        tokio::task::spawn_blocking(move || gateway::status(&address)).await?
    }

    async fn unreadiness(&self, pod: &str) -> Result<Option<String>, ExternalError> {
        let address = pod.to_owned();
        tokio::task::spawn_blocking(move || probe::unreadiness(&address)).await?
    }

    async fn roll_back(&self, access: &Access, to: i64) -> Result<i64, ExternalError> {
        let address = access.gateway.clone();
        tokio::task::spawn_blocking(move || gateway::roll_back(&address, to)).await?
    }
}

/// Does something at the first Thrift 2 server that can be reached.
async fn administer<T: Send + 'static>(
    access: &Access,
    limit: Duration,
    work: impl Fn(&mut HbaseAdmin) -> Result<T, HbaseAdminError> + Send + 'static,
) -> Result<T, ExternalError> {
    let servers = access.hbase.clone();
    // Made once: a connection made with another configuration is not used again.
    let tls = access.hbase_tls.as_ref().map(|tls| tls.client_config().map_err(|error| error.to_string()));
    let limits = TimeLimits { connect: CONNECT_WITHIN, answer: limit };
    let all = move || {
        let mut servers = servers.into_iter().peekable();
        loop {
            let server = servers.next().unwrap_or_default();
            let mut admin = HbaseAdmin::new(server, limits);
            if let Some(tls) = tls.clone() {
                admin = admin.with_tls(move || tls.clone().map_err(io::Error::other));
            }
            match work(&mut admin) {
                Err(HbaseAdminError::Connect { .. }) if servers.peek().is_some() => {}
                outcome => return outcome,
            }
        }
    };
    Ok(tokio::task::spawn_blocking(all).await??)
}

/// Waits for Kafka, whose client does not say who did not answer.
async fn at_kafka<T>(
    action: &str,
    access: &Access,
    work: impl Future<Output = Result<T, ExternalError>>,
) -> Result<T, ExternalError> {
    let within = 2 * CALL_WITHIN;
    let (action, servers) = (action.to_owned(), access.kafka.servers.clone());
    let outcome = tokio::time::timeout(within, work).await;
    outcome.unwrap_or_else(|_| Err(ExternalError::TimeOut { action, servers, within }))
}
