//! Settings.

use std::time::Duration;

use medindex_proto::names::{TABLE_IMAGES, TABLE_SEGMENTS};

use crate::credentials::TlsFiles;

/// Where the tables are and how they are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaseOptions {
    /// Thrift 1 servers, `host:port`, one or more: connections spread over them, and one that does not answer is passed over.
    pub addresses: Vec<String>,
    /// Namespace of the tables.
    pub namespace: String,
    /// Table of images.
    pub images: String,
    /// Table of published segments and codebooks.
    pub segments: String,
    /// Most connections at a time, 1 and up; each takes a thread of the Thrift server while it is open.
    pub connections: usize,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long the server may keep silent while it is answering, and take nothing while it is sent to. More than the Thrift server's own
    /// limit (`hbase.client.operation.timeout`), or it works on for a caller that has gone.
    pub answer_timeout: Duration,
    /// How long a request is tried again after transient failures, waits included, before it fails.
    pub patience: Duration,
    /// TLS, as a proxy before the Thrift server ends it; plain TCP when `None`.
    pub tls: Option<TlsFiles>,
}

impl HbaseOptions {
    /// The usual settings.
    pub fn new(addresses: Vec<String>, namespace: impl Into<String>) -> Self {
        Self {
            addresses,
            namespace: namespace.into(),
            images: TABLE_IMAGES.to_owned(),
            segments: TABLE_SEGMENTS.to_owned(),
            connections: 8,
            connect_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(30),
            patience: Duration::from_mins(1),
            tls: None,
        }
    }
}
