//! Where Redis is.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use medindex_backends::redis_cache::{RedisOptions, RedisServer, RedisServers};

use super::{ArgumentError, login, parse_address, tls};

/// How Redis's servers work together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RedisMode {
    /// One server.
    Standalone,
    /// A primary with replicas; the addresses are those of its Sentinels.
    Sentinel,
    /// A Redis Cluster; the addresses are those of any of its servers.
    Cluster,
}

/// The servers of the cache.
#[derive(Debug, Clone, Args)]
pub struct RedisArguments {
    /// Redis servers (Sentinels in Sentinel mode), host:port joined by commas.
    #[arg(
        long,
        env = "MEDINDEX_REDIS_SERVERS",
        value_name = "HOST:PORT,…",
        value_delimiter = ',',
        required = true
    )]
    pub redis_servers: Vec<String>,
    /// How they work together.
    #[arg(long, env = "MEDINDEX_REDIS_MODE", value_name = "MODE", default_value = "standalone")]
    pub redis_mode: RedisMode,
    /// Name by which Sentinels know the primary.
    #[arg(long, env = "MEDINDEX_REDIS_SERVICE", value_name = "NAME", default_value = "mymaster")]
    pub redis_service: String,
    /// File with the user.
    #[arg(long, env = "MEDINDEX_REDIS_USER_FILE", value_name = "FILE")]
    pub redis_user_file: Option<PathBuf>,
    /// File with the password.
    #[arg(long, env = "MEDINDEX_REDIS_PASSWORD_FILE", value_name = "FILE")]
    pub redis_password_file: Option<PathBuf>,
    /// Speak TLS to Redis.
    #[arg(long, env = "MEDINDEX_REDIS_TLS")]
    pub redis_tls: bool,
    /// PEM file of the authorities that its certificates are checked against; the system's when left out. Implies TLS.
    #[arg(long, env = "MEDINDEX_REDIS_AUTHORITIES", value_name = "FILE")]
    pub redis_authorities: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS.
    #[arg(long, env = "MEDINDEX_REDIS_CERTIFICATE", value_name = "FILE")]
    pub redis_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, env = "MEDINDEX_REDIS_KEY", value_name = "FILE")]
    pub redis_key: Option<PathBuf>,
    /// Milliseconds that a request waits for Redis at the most.
    #[arg(long, env = "MEDINDEX_REDIS_ANSWER_MILLISECONDS", value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub redis_answer_milliseconds: u64,
}

impl RedisArguments {
    /// The adapter's options for an index.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn options(&self, index: &str) -> Result<RedisOptions, ArgumentError> {
        let parse = |text: &String| {
            let (host, port) = parse_address("--redis-servers", text)?;
            Ok(RedisServer { host, port })
        };
        let mut servers: Vec<RedisServer> =
            self.redis_servers.iter().map(parse).collect::<Result<_, ArgumentError>>()?;
        let servers = match self.redis_mode {
            RedisMode::Standalone => {
                if servers.len() != 1 {
                    let text = self.redis_servers.join(",");
                    return Err(ArgumentError::ParseAddress { flag: "--redis-servers (standalone)", text });
                }
                RedisServers::Standalone(servers.remove(0))
            }
            RedisMode::Sentinel => RedisServers::Sentinel {
                sentinels: servers,
                service: self.redis_service.clone(),
                login: None,
            },
            RedisMode::Cluster => RedisServers::Cluster(servers),
        };
        Ok(RedisOptions {
            login: login("--redis", self.redis_user_file.as_ref(), self.redis_password_file.as_ref())?,
            tls: tls(
                "--redis",
                self.redis_tls,
                self.redis_authorities.as_ref(),
                self.redis_certificate.as_ref(),
                self.redis_key.as_ref(),
            )?,
            response_timeout: Duration::from_millis(self.redis_answer_milliseconds),
            ..RedisOptions::new(servers, index)
        })
    }
}
