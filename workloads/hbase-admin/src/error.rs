//! What can go wrong.

use std::io;

use thiserror::Error;

use crate::description::TableName;
use crate::difference::Difference;

/// Result of an action on HBase.
pub type Result<T, E = HbaseAdminError> = std::result::Result<T, E>;

/// Why an action on HBase failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HbaseAdminError {
    /// What TLS connections are made with is not there.
    #[error("connecting to {address} needs certificates that cannot be used: {source}")]
    ReadTls {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No connection could be made.
    #[error(
        "connecting to HBase's Thrift 2 server at {address} failed: {source}; check the address, that the server runs, and with TLS the certificates of both sides"
    )]
    Connect {
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What listens there is not the server that is needed.
    #[error(
        "{address} is no Thrift 2 server of HBase with the unframed binary protocol: {reason}; start one with `hbase thrift2 start`"
    )]
    CheckServer {
        /// The address.
        address: String,
        /// What it is, or how it answered.
        reason: String,
    },
    /// The connection broke, or no answer came in time.
    #[error("{action} failed at {address}: {source}; it may have been done all the same; try again")]
    Call {
        /// What was to be done.
        action: String,
        /// The address.
        address: String,
        /// Why.
        #[source]
        source: thrift::Error,
    },
    /// HBase said no.
    #[error("{action} was refused by HBase at {address}: {reason}")]
    Refuse {
        /// What was to be done.
        action: String,
        /// The address.
        address: String,
        /// HBase's reason: the exception and its message.
        reason: String,
        /// Whether it may succeed later by itself.
        can_retry: bool,
    },
    /// A name cannot be used.
    #[error("{name:?} is no name for a {what} of HBase: use {rule}")]
    CheckName {
        /// The name.
        name: String,
        /// What it names.
        what: &'static str,
        /// What it may have.
        rule: &'static str,
    },
    /// A description contradicts itself.
    #[error("table {table} cannot be made as described: {reason}")]
    CheckDescription {
        /// The table.
        table: TableName,
        /// What is wrong.
        reason: String,
    },
    /// A table was made, and is not what was described.
    #[error("table {table} was made, but not as described: {}; delete it, and check that the Thrift 2 server is not framed", joined(.differences))]
    CheckTable {
        /// The table.
        table: TableName,
        /// In what it differs.
        differences: Vec<Difference>,
    },
    /// A table of HBase has a setting that this release does not know.
    #[error("table {table} has {setting} {value}, which this release does not know")]
    ReadTable {
        /// The table.
        table: TableName,
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
}

impl HbaseAdminError {
    /// Whether trying again, without anybody's doing, may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Call { .. } => true,
            Self::Refuse { can_retry, .. } => *can_retry,
            _ => false,
        }
    }
}

fn joined(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
