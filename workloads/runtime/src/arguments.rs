//! Settings that programs of the cluster share. Each is a flag and an environment variable; secrets are files, of which only the path is a setting.

mod hbase;
mod kafka;
mod limits;
mod mysql;
mod redis;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use medindex_backends::credentials::{LoginFiles, TlsFiles};
use medindex_proto::names::{DEFAULT_PARTITIONS, MAX_PARTITIONS};

pub use hbase::HbaseArguments;
pub use kafka::KafkaArguments;
pub use limits::{FramesArgument, LimitArguments};
pub use mysql::MySqlArguments;
pub use redis::{RedisArguments, RedisMode};

/// Why settings do not fit each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An address has no port, or no host.
    #[error("{flag} {text:?} is no address: write host:port")]
    ParseAddress {
        /// The flag.
        flag: &'static str,
        /// What was given.
        text: String,
    },
    /// One file of a login without the other.
    #[error("{0}-user-file and {0}-password-file belong together: give both or neither")]
    PairLogin(&'static str),
    /// A user without its password.
    #[error("{0}-user-file is given without {0}-password-file: give that too, or neither")]
    LackPassword(&'static str),
    /// A certificate without its key, or the other way round.
    #[error("{0}-certificate and {0}-key belong together: give both or neither")]
    PairCertificate(&'static str),
    /// Client certificates without TLS.
    #[error("{0}-certificate is for TLS: give {0}-tls too")]
    CheckTls(&'static str),
    /// A login of Sentinels without Sentinels.
    #[error(
        "--redis-sentinel-user-file and --redis-sentinel-password-file are for Sentinels: give --redis-mode=sentinel too, or leave them out"
    )]
    CheckSentinel,
}

/// The index that a program works on.
#[derive(Debug, Clone, Args)]
pub struct IndexArguments {
    /// Name of the index: what its topics, groups and cache keys begin with, and the HBase namespace of its tables. Several indexes share the
    /// backends by different names.
    #[arg(long, env = "MEDINDEX_INDEX", value_name = "NAME", default_value = "medindex", value_parser = parse_index_name)]
    pub index: String,
    /// Partitions of the index: of its topics, its table and its search. Fixed when the index is made.
    #[arg(long, env = "MEDINDEX_PARTITIONS", value_name = "N", default_value_t = DEFAULT_PARTITIONS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_PARTITIONS)))]
    pub partitions: u32,
    /// Organisation that uploads belong to.
    #[arg(long, env = "MEDINDEX_ORGANISATION", value_name = "NAME", default_value = "default")]
    pub organisation: String,
}

fn parse_index_name(text: &str) -> Result<String, String> {
    let usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=63).contains(&text.len()) && text.bytes().all(usable);
    if fits && text.starts_with(|first: char| first.is_ascii_lowercase()) && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 63 lower-case letters, digits and hyphens, a letter first and no hyphen last"
            .to_owned())
    }
}

/// Where the backends are.
#[derive(Debug, Clone, Args)]
pub struct BackendArguments {
    /// The index.
    #[command(flatten)]
    pub index: IndexArguments,
    /// The queue.
    #[command(flatten)]
    pub kafka: KafkaArguments,
    /// The image store.
    #[command(flatten)]
    pub hbase: HbaseArguments,
    /// The catalog.
    #[command(flatten)]
    pub mysql: MySqlArguments,
    /// The cache.
    #[command(flatten)]
    pub redis: RedisArguments,
}

/// How a program says how it is.
#[derive(Debug, Clone, Args)]
pub struct OperationArguments {
    /// Address of the probes and metrics: `/healthz`, `/readyz`, `/metrics`.
    #[arg(long, env = "MEDINDEX_OPERATION_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:9600")]
    pub operation_listen: SocketAddr,
    /// Log level (off, error, warn, info, debug, trace) or filter directives such as `info,medindex_pipeline=debug`.
    #[arg(long, env = "MEDINDEX_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: String,
    /// Form of the log on standard error.
    #[arg(long, env = "MEDINDEX_LOG_FORMAT", value_name = "FORM", default_value = "json")]
    pub log_format: crate::logging::LogFormat,
    /// Where traces are sent, OTLP over gRPC, such as `http://collector:4317`; none are sent without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Seconds between two looks for causes of alarms; an alarm is over when nobody has seen its cause for three times as long. The same for all programs of an index.
    #[arg(long, env = "MEDINDEX_ALARM_SECONDS", value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub alarm_seconds: u64,
}

impl OperationArguments {
    /// Time between two looks for causes of alarms.
    pub fn alarm_period(&self) -> Duration {
        Duration::from_secs(self.alarm_seconds)
    }
}

/// A host and a port.
pub(crate) fn parse_address(flag: &'static str, text: &str) -> Result<(String, u16), ArgumentError> {
    let wrong = || ArgumentError::ParseAddress { flag, text: text.to_owned() };
    let (host, port) = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// A login of two files.
pub(crate) fn login(
    flag: &'static str,
    user: Option<&PathBuf>,
    password: Option<&PathBuf>,
) -> Result<Option<LoginFiles>, ArgumentError> {
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some(LoginFiles::new(user, password))),
        (None, None) => Ok(None),
        _ => Err(ArgumentError::PairLogin(flag)),
    }
}

/// The same at a server that has a default user: a password is enough.
pub(crate) fn login_of_default_user(
    flag: &'static str,
    user: Option<&PathBuf>,
    password: Option<&PathBuf>,
) -> Result<Option<LoginFiles>, ArgumentError> {
    match (user, password) {
        (user, Some(password)) => Ok(Some(LoginFiles { user: user.cloned(), password: password.clone() })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ArgumentError::LackPassword(flag)),
    }
}

/// TLS with its files.
pub(crate) fn tls(
    flag: &'static str,
    on: bool,
    authorities: Option<&PathBuf>,
    certificate: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<Option<TlsFiles>, ArgumentError> {
    if certificate.is_some() != key.is_some() {
        return Err(ArgumentError::PairCertificate(flag));
    }
    if !on && authorities.is_none() {
        return if certificate.is_some() { Err(ArgumentError::CheckTls(flag)) } else { Ok(None) };
    }
    let (authorities, certificate, key) = (authorities.cloned(), certificate.cloned(), key.cloned());
    Ok(Some(TlsFiles { authorities, certificate, key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_indexes_fit_topics_namespaces_and_keys() {
        for good in ["medindex", "ct-2026", "a"] {
            assert!(parse_index_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "CT", "-a", "a-", "9a", "a.b", "a_b", &"a".repeat(64)] {
            assert!(parse_index_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn halves_of_pairs_are_refused_by_name() {
        let file = PathBuf::from("file");
        assert_eq!(login("--kafka", Some(&file), None), Err(ArgumentError::PairLogin("--kafka")));
        let refusal = tls("--redis", true, None, Some(&file), None).unwrap_err();
        assert!(refusal.to_string().contains("--redis-key"));
        let refusal = tls("--redis", false, None, Some(&file), Some(&file)).unwrap_err();
        assert!(refusal.to_string().contains("--redis-tls"));
        assert_eq!(tls("--redis", false, None, None, None), Ok(None));
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(parse_address("--x", "db:3306"), Ok(("db".to_owned(), 3306)));
        assert_eq!(parse_address("--x", "[::1]:3306"), Ok(("::1".to_owned(), 3306)));
        for wrong in ["db", ":1", "db:", "db:99999"] {
            assert!(parse_address("--x", wrong).is_err(), "{wrong}");
        }
    }
}
