//! What a user may ask for: flags as kubectl has them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use medindex_operator::names::Component;
use medindex_operator::program::arguments::PlanArguments;

/// Indexes of medical images (MedicalImageIndex) on Kubernetes. For research and teaching, not for diagnosis.
#[derive(Debug, Parser)]
#[command(name = "kubectl medindex", bin_name = "kubectl medindex", version)]
pub struct Arguments {
    /// Where the cluster is.
    #[command(flatten)]
    pub access: AccessArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which cluster and namespace, as kubectl is told.
#[derive(Debug, Clone, Args)]
pub struct AccessArguments {
    /// Namespace; that of the kubeconfig's context when left out.
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig; the current one when left out.
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// Kubeconfig file; `$KUBECONFIG`, else ~/.kube/config when left out.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how indexes are, as a tree: conditions, images, generation, workloads, pods.
    Status {
        /// Name of the index; all of the namespace when left out.
        name: Option<String>,
        /// Indexes of every namespace.
        #[arg(short = 'A', long, conflicts_with = "name")]
        all_namespaces: bool,
    },
    /// Say what a resource would change in Kubernetes, Kafka and HBase, and change nothing.
    Plan(PlanFile),
    /// Print the logs of an index's pods, each line with the pod's name.
    Logs {
        /// Name of the index.
        name: String,
        /// Only pods of these workloads, joined by commas.
        #[arg(short, long, value_delimiter = ',')]
        component: Vec<ComponentName>,
        /// Go on with what is logged from now on, by pods that start later too, until Ctrl-C.
        #[arg(short, long)]
        follow: bool,
        /// Lines from the end of each log; all of it when left out, ten with --follow.
        #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
        tail: Option<i64>,
        /// Only what was logged in the last so many seconds.
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(i64).range(1..))]
        since: Option<i64>,
        /// Logs of the containers that ran before the last restart.
        #[arg(short, long, conflicts_with = "follow")]
        previous: bool,
    },
    /// Have a new generation trained now, whatever the policy says.
    Train {
        /// Name of the index.
        name: String,
    },
    /// Keep the operator from changing anything for an index; its status is still kept.
    Pause {
        /// Name of the index.
        name: String,
    },
    /// Let the operator change things for an index again.
    Resume {
        /// Name of the index.
        name: String,
    },
    /// Write everything that helps to find a fault into one archive; no secret is read, and what looks like one is taken out.
    SupportBundle {
        /// Name of the index.
        name: String,
        /// The archive (.tar.gz); medindex-NAME.tar.gz when left out.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Most lines from the end of each log.
        #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
        tail: i64,
    },
}

/// The file of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanFile {
    /// File with one MedicalImageIndex; `-` for standard input.
    #[arg(short, long)]
    pub file: PathBuf,
    /// Only check and print the objects; ask neither Kubernetes nor backends.
    #[arg(long)]
    pub offline: bool,
    /// Images.
    #[command(flatten)]
    pub images: medindex_operator::program::arguments::ImageArguments,
}

impl PlanFile {
    /// As the operator's program takes them.
    pub fn in_namespace(self, namespace: String) -> PlanArguments {
        let Self { file, offline, images } = self;
        PlanArguments { file, namespace, offline, images }
    }
}

/// A workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ComponentName {
    /// HTTP API and page.
    Gateway,
    /// Vectors of uploads and queries.
    Embedder,
    /// Shards.
    Search,
    /// Trainings.
    Trainer,
    /// Bulk imports.
    Importer,
}

impl From<ComponentName> for Component {
    fn from(name: ComponentName) -> Self {
        match name {
            ComponentName::Gateway => Self::Gateway,
            ComponentName::Embedder => Self::Embedder,
            ComponentName::Search => Self::Search,
            ComponentName::Trainer => Self::Trainer,
            ComponentName::Importer => Self::Importer,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_flag_is_defined_once() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_namespace_may_come_before_and_after_the_command() {
        for words in [["-n", "imaging", "pause", "radiology"], ["pause", "radiology", "-n", "imaging"]] {
            let parsed = Arguments::parse_from([&["kubectl-medindex"], &words[..]].concat());
            assert_eq!(parsed.access.namespace.as_deref(), Some("imaging"));
            assert!(matches!(parsed.command, Command::Pause { name } if name == "radiology"));
        }
    }
}
