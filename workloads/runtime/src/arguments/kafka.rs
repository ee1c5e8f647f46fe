//! Where Kafka is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use medindex_backends::kafka::KafkaOptions;

use super::{ArgumentError, login, tls};

/// Kafka's brokers and how to log in to them.
#[derive(Debug, Clone, Args)]
pub struct KafkaArguments {
    /// Kafka brokers to begin with, host:port joined by commas.
    #[arg(long, env = "MEDINDEX_KAFKA_BOOTSTRAP", value_name = "HOST:PORT,…")]
    pub kafka_bootstrap: String,
    /// Speak TLS to Kafka.
    #[arg(long, env = "MEDINDEX_KAFKA_TLS")]
    pub kafka_tls: bool,
    /// PEM file of the authorities that Kafka's certificates are checked against; the system's when left out. Implies TLS.
    #[arg(long, env = "MEDINDEX_KAFKA_AUTHORITIES", value_name = "FILE")]
    pub kafka_authorities: Option<PathBuf>,
    /// PEM file of this program's certificate, for mutual TLS.
    #[arg(long, env = "MEDINDEX_KAFKA_CERTIFICATE", value_name = "FILE")]
    pub kafka_certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, env = "MEDINDEX_KAFKA_KEY", value_name = "FILE")]
    pub kafka_key: Option<PathBuf>,
    /// File with the user for SCRAM-SHA-512.
    #[arg(long, env = "MEDINDEX_KAFKA_USER_FILE", value_name = "FILE")]
    pub kafka_user_file: Option<PathBuf>,
    /// File with the password.
    #[arg(long, env = "MEDINDEX_KAFKA_PASSWORD_FILE", value_name = "FILE")]
    pub kafka_password_file: Option<PathBuf>,
    /// Seconds that publishing may take before it fails.
    #[arg(long, env = "MEDINDEX_KAFKA_PUBLISH_SECONDS", value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub kafka_publish_seconds: u64,
}

impl KafkaArguments {
    /// The adapter's options for an index.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn options(&self, index: &str) -> Result<KafkaOptions, ArgumentError> {
        Ok(KafkaOptions {
            prefix: format!("{index}."),
            tls: tls(
                "--kafka",
                self.kafka_tls,
                self.kafka_authorities.as_ref(),
                self.kafka_certificate.as_ref(),
                self.kafka_key.as_ref(),
            )?,
            login: login("--kafka", self.kafka_user_file.as_ref(), self.kafka_password_file.as_ref())?,
            publish_timeout: Duration::from_secs(self.kafka_publish_seconds),
            ..KafkaOptions::new(self.kafka_bootstrap.clone())
        })
    }
}
