//! Settings of the embedder.

use std::net::SocketAddr;

use clap::Parser;
use medindex_pipeline::Settings;
use medindex_runtime::arguments::{BackendArguments, FramesArgument, LimitArguments, OperationArguments};
use medindex_runtime::model::ModelArguments;
use medindex_runtime::process_name;

/// Embed uploads from the queue, and queries over gRPC. For research and teaching, not for diagnosis.
#[derive(Debug, Clone, Parser)]
#[command(name = "medindex-embedder", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) backends: BackendArguments,
    #[command(flatten)]
    pub(crate) operation: OperationArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) model: ModelArguments,
    /// Address of the gRPC service that gateways ask.
    #[arg(long, env = "MEDINDEX_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:7100")]
    pub(crate) listen: SocketAddr,
    /// Frames of a multi-frame image that become searchable.
    #[arg(long, env = "MEDINDEX_FRAMES", value_name = "WHICH", default_value = "middle")]
    pub(crate) frames: FramesArgument,
    /// Uploads taken from the queue at once.
    #[arg(long, env = "MEDINDEX_BATCH", value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) batch: u32,
}

impl Arguments {
    /// Settings of the flows.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            organisation: self.backends.index.organisation.clone(),
            process: process_name("embedder"),
            alarm_period: self.operation.alarm_period(),
            partitions: self.backends.index.partitions,
            limits: self.limits.limits(),
            decode_memory: self.limits.decode_memory_bytes,
            frames: self.frames.into(),
            batch: self.batch as usize,
            ..Settings::default()
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
