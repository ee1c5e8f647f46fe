//! Settings of the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use medindex_gateway::GatewaySettings;
use medindex_pipeline::Settings;
use medindex_rpc::discovery::Targets;
use medindex_rpc::scatter::ScatterOptions;
use medindex_runtime::arguments::{BackendArguments, LimitArguments, OperationArguments};
use medindex_runtime::process_name;
use medindex_runtime::shutdown::IN_FLIGHT_WITHIN;

/// Serve the HTTP API and the search page of an index. For research and teaching, not for diagnosis.
#[derive(Debug, Clone, Parser)]
#[command(name = "medindex-gateway", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) backends: BackendArguments,
    #[command(flatten)]
    pub(crate) operation: OperationArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    /// Address of the HTTP API; there are no accounts, so open it to others with care.
    #[arg(long, env = "MEDINDEX_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Host name that browsers may use beside the loopback ones; several joined by commas.
    #[arg(long, env = "MEDINDEX_ALLOW_HOST", value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) allow_host: Vec<String>,
    /// Search shards, host:port joined by commas; a name that stands for several addresses gives them all.
    #[arg(long, env = "MEDINDEX_SEARCH", value_name = "HOST:PORT,…")]
    pub(crate) search: Targets,
    /// Embedders, host:port joined by commas; a name that stands for several addresses gives them all.
    #[arg(long, env = "MEDINDEX_EMBEDDERS", value_name = "HOST:PORT,…")]
    pub(crate) embedders: Targets,
    /// Milliseconds that the search shards may take for an answer.
    #[arg(long, env = "MEDINDEX_SEARCH_MILLISECONDS", value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub(crate) search_milliseconds: u64,
    /// Milliseconds that embedders may take for a query image.
    #[arg(long, env = "MEDINDEX_EMBED_MILLISECONDS", value_name = "N", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=120_000))]
    pub(crate) embed_milliseconds: u64,
    /// Seconds after which an upload that is still not embedded is sent again.
    #[arg(long, env = "MEDINDEX_RESEND_SECONDS", value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) resend_seconds: u64,
    /// Results of one search at the most.
    #[arg(long, env = "MEDINDEX_MAX_RESULTS", value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_results: u32,
    /// Requests with a file that are read and worked on at the same time; more are sent away for a moment with 503.
    #[arg(long, env = "MEDINDEX_CONCURRENT_UPLOADS", value_name = "N", default_value_t = GatewaySettings::CONCURRENT_UPLOADS, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) concurrent_uploads: u16,
}

impl Arguments {
    /// Settings of the flows.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            organisation: self.backends.index.organisation.clone(),
            // Until people sign in.
            user: "anonymous".to_owned(),
            process: process_name("gateway"),
            alarm_period: self.operation.alarm_period(),
            partitions: self.backends.index.partitions,
            limits: self.limits.limits(),
            decode_memory: self.limits.decode_memory_bytes,
            resend_after: Duration::from_secs(self.resend_seconds),
            max_results: self.max_results as usize,
            ..Settings::default()
        }
    }

    /// Settings of HTTP.
    pub(crate) fn gateway(&self) -> GatewaySettings {
        GatewaySettings {
            listen: self.listen,
            allowed_hosts: self.allow_host.clone(),
            concurrent_uploads: usize::from(self.concurrent_uploads),
            shutdown_within: IN_FLIGHT_WITHIN,
            ..GatewaySettings::default()
        }
    }

    /// Bounds on waiting for shards.
    pub(crate) fn scatter(&self) -> ScatterOptions {
        ScatterOptions {
            deadline: Duration::from_millis(self.search_milliseconds),
            ..ScatterOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
