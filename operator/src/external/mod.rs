//! Kafka and HBase: reconciled like objects of Kubernetes, observed, compared and corrected, and never destroyed unless the resource says so.
//!
//! [`topics`] and [`tables`] say what has to be done and are pure; [`network`] does it. [`Backends`] is what the reconcile sees, so
//! that tests and benchmarks can do without servers ([`simulated`]) and stand between ([`told`]).

pub mod gateway;
mod kafka;
mod kafka_refusals;
pub mod network;
mod probe;
pub mod simulated;
pub mod tables;
mod tls;
pub mod told;
pub mod topics;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use medindex_hbase_admin::{HbaseAdminError, TableDescription, TableName, TableState};

pub use self::gateway::IndexStatus;
use self::tables::TableChange;
pub use self::tls::Certificates;
use self::topics::{ObservedTopic, TopicChange};

/// The longest that one call to a backend may take.
pub const CALL_WITHIN: Duration = Duration::from_secs(15);

/// Why something at a backend was not done.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// Kafka does not answer, or refuses.
    #[error("{action} failed at Kafka ({servers}): {reason}")]
    Kafka {
        /// What was to be done.
        action: String,
        /// Brokers that were asked.
        servers: String,
        /// Why.
        reason: String,
    },
    /// Kafka refuses what will be refused again until a person acts.
    #[error("{action} is refused at Kafka ({servers}): {reason}; {remedy}")]
    KafkaRefusal {
        /// What was to be done.
        action: String,
        /// Brokers that were asked.
        servers: String,
        /// Why.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// HBase does not answer, or refuses.
    #[error(transparent)]
    Hbase(#[from] HbaseAdminError),
    /// A call took too long.
    #[error("{action} at {servers} took longer than {} s", .within.as_secs())]
    TimeOut {
        /// What was to be done.
        action: String,
        /// Who was asked.
        servers: String,
        /// The bound.
        within: Duration,
    },
    /// A pod's probe cannot be asked.
    #[error("asking the pod at {address} failed: {reason}")]
    Pod {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The gateway does not answer.
    #[error("asking the gateway at {address} failed: {reason}")]
    Gateway {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The work was cut off.
    #[error("the work was cut off: {0}")]
    Join(#[from] tokio::task::JoinError),
}

/// How Kafka is reached: what the programs read from files, here out of secrets. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaAccess {
    /// Brokers, joined by commas.
    pub servers: String,
    /// Speak TLS, with these.
    pub tls: Option<Certificates>,
    /// User and password for SCRAM-SHA-512.
    pub login: Option<(String, String)>,
}

/// How the backends of one index are reached.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Kafka.
    pub kafka: KafkaAccess,
    /// Thrift 2 servers, or the proxies before them, tried in order.
    pub hbase: Vec<String>,
    /// Speak TLS to those, with these.
    pub hbase_tls: Option<Certificates>,
    /// The gateway's own address, `http://host:port`.
    pub gateway: String,
}

/// What the reconcile asks of the backends. Every call ends within [`CALL_WITHIN`], or a multiple of it where a table is made.
#[async_trait]
pub trait Backends: Send + Sync {
    /// The topics of these names that there are.
    async fn topics(
        &self,
        access: &Access,
        names: &[String],
    ) -> Result<BTreeMap<String, ObservedTopic>, ExternalError>;

    /// Does something to a topic.
    async fn change_topic(&self, access: &Access, change: &TopicChange) -> Result<(), ExternalError>;

    /// Deletes topics; those that are not there are none.
    async fn delete_topics(&self, access: &Access, names: &[String]) -> Result<(), ExternalError>;

    /// The tables of these names, `None` for one that there is not.
    async fn tables(
        &self,
        access: &Access,
        tables: &[TableDescription],
    ) -> Result<Vec<Option<TableState>>, ExternalError>;

    /// Does something to a table; makes the namespace first where the table is made.
    async fn change_table(&self, access: &Access, change: &TableChange) -> Result<(), ExternalError>;

    /// Deletes tables with everything in them.
    async fn delete_tables(&self, access: &Access, names: &[TableName]) -> Result<(), ExternalError>;

    /// How the index is, by its gateway.
    async fn index_status(&self, access: &Access) -> Result<IndexStatus, ExternalError>;

    /// Why the program in a pod is not ready, by its probe at this `host:port`; `None` where it is.
    async fn unreadiness(&self, pod: &str) -> Result<Option<String>, ExternalError>;

    /// Makes the index answer with this generation, which has to be the one before; returns the generation that answers then. Asking again
    /// changes nothing.
    async fn roll_back(&self, access: &Access, to: i64) -> Result<i64, ExternalError>;
}
