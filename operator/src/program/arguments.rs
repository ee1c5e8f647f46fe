//! The operator's settings: flags and variables; a flag wins.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use medindex_logging::{LogFormat, LogOptions};

use super::calls::AbortAt;
use crate::names::MANAGER;
use crate::release::Release;

/// The operator of MedIndex: makes and keeps what MedicalImageIndex resources ask for.
#[derive(Debug, Parser)]
#[command(name = "medindex-operator", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile resources until told to stop.
    Run(RunArguments),
    /// Print the definition of the resource type, for `kubectl apply --server-side -f -`.
    Crd,
    /// Print the names of all calls to the API server and the backends, as they are counted and as `--abort-at` takes them.
    Calls,
    /// Say what a resource would change in Kubernetes, Kafka and HBase, and change nothing.
    Plan(PlanArguments),
}

/// Where the workloads' images are.
#[derive(Debug, Clone, Args)]
pub struct ImageArguments {
    /// What comes before `medindex-gateway` in the workloads' images, such as `registry.example/medindex/`.
    #[arg(long, env = "MEDINDEX_IMAGE_PREFIX", default_value = "")]
    pub image_prefix: String,
    /// Tag of the workloads' images.
    #[arg(long, env = "MEDINDEX_IMAGE_TAG", default_value = env!("CARGO_PKG_VERSION"))]
    pub image_tag: String,
}

impl ImageArguments {
    /// As the builders want it.
    pub fn release(&self) -> Release {
        Release { image_prefix: self.image_prefix.clone(), image_tag: self.image_tag.clone() }
    }
}

/// Settings of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Namespaces to look after, joined by commas; all when left out.
    #[arg(long, env = "MEDINDEX_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
    /// Namespace of the lease by which one of several operators leads.
    #[arg(long, env = "MEDINDEX_LEASE_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,
    /// Name of that lease.
    #[arg(long, env = "MEDINDEX_LEASE", default_value = "medindex-operator")]
    pub lease: String,
    /// Name of this operator in the lease, such as the pod's name.
    #[arg(long, env = "MEDINDEX_IDENTITY")]
    pub identity: Option<String>,
    /// Resources that are reconciled at the same time.
    #[arg(long, env = "MEDINDEX_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Address of `/healthz`, `/readyz`, `/metrics` and `/log`.
    #[arg(long, env = "MEDINDEX_OPERATION_LISTEN", default_value = "127.0.0.1:9600")]
    pub operation_listen: SocketAddr,
    /// Log level (off, error, warn, info, debug, trace) or filter directives; `PUT /log` changes it while it runs.
    #[arg(long, env = "MEDINDEX_LOG", default_value = "info")]
    pub log: String,
    /// Where traces of reconciles and their calls are sent, OTLP over gRPC, such as `http://collector:4317`; none are sent without it.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// For tests: end at once, as if killed, before or after a call, such as `after:patch deployments`.
    #[arg(long, env = "MEDINDEX_ABORT_AT", hide = true)]
    pub abort_at: Option<AbortAt>,
    /// Images.
    #[command(flatten)]
    pub images: ImageArguments,
}

impl RunArguments {
    /// The log and the traces that they ask for.
    pub fn log_options(&self) -> LogOptions<'_> {
        LogOptions {
            program: MANAGER,
            instance: self.identity.clone().unwrap_or_else(|| MANAGER.to_owned()),
            level: &self.log,
            format: LogFormat::Json,
            otlp_endpoint: self.otlp_endpoint.as_deref(),
        }
    }
}

/// Settings of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArguments {
    /// File with one MedicalImageIndex; `-` for standard input.
    #[arg(short, long)]
    pub file: PathBuf,
    /// Namespace of the resource, where the file names none.
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Only check and print the objects; ask neither Kubernetes nor backends.
    #[arg(long)]
    pub offline: bool,
    /// Images.
    #[command(flatten)]
    pub images: ImageArguments,
}
