//! Where HBase is.

use std::path::PathBuf;

use clap::Args;
use medindex_backends::hbase::HbaseOptions;

use super::{ArgumentError, parse_address, tls};

/// `HBase`'s Thrift 1 servers.
#[derive(Debug, Clone, Args)]
pub struct HbaseArguments {
    /// HBase Thrift 1 servers, host:port joined by commas.
    #[arg(
        long,
        env = "MEDINDEX_HBASE_THRIFT",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    pub hbase_thrift: Vec<String>,
    /// Namespace of the tables; the index's name when left out, with hyphens as underscores.
    #[arg(long, env = "MEDINDEX_HBASE_NAMESPACE", value_name = "NAME")]
    pub hbase_namespace: Option<String>,
    /// Most connections at a time; each takes a thread of the Thrift server.
    #[arg(long, env = "MEDINDEX_HBASE_CONNECTIONS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub hbase_connections: u16,
    /// Speak TLS to the proxy before HBase's Thrift servers.
    #[arg(long, env = "MEDINDEX_HBASE_TLS")]
    pub hbase_tls: bool,
    /// PEM file of the authorities that its certificate is checked against; the system's when left out. Implies TLS.
    #[arg(long, env = "MEDINDEX_HBASE_AUTHORITIES", value_name = "FILE")]
    pub hbase_authorities: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS.
    #[arg(long, env = "MEDINDEX_HBASE_CERTIFICATE", value_name = "FILE")]
    pub hbase_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, env = "MEDINDEX_HBASE_KEY", value_name = "FILE")]
    pub hbase_key: Option<PathBuf>,
}

impl HbaseArguments {
    /// The adapter's options for an index.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn options(&self, index: &str) -> Result<HbaseOptions, ArgumentError> {
        for address in &self.hbase_thrift {
            parse_address("--hbase-thrift", address)?;
        }
        // HBase's namespaces know no hyphen.
        let namespace = self.hbase_namespace.clone().unwrap_or_else(|| index.replace('-', "_"));
        Ok(HbaseOptions {
            connections: usize::from(self.hbase_connections),
            tls: tls(
                "--hbase",
                self.hbase_tls,
                self.hbase_authorities.as_ref(),
                self.hbase_certificate.as_ref(),
                self.hbase_key.as_ref(),
            )?,
            ..HbaseOptions::new(self.hbase_thrift.clone(), namespace)
        })
    }
}
