//! Settings of the trainer.

use std::path::PathBuf;

use clap::Parser;
use medindex_pipeline::{Settings, TrainingPolicy};
use medindex_runtime::arguments::{BackendArguments, OperationArguments};
use medindex_runtime::process_name;

/// Train a generation of the quantizer and publish it. For research and teaching, not for diagnosis.
#[derive(Debug, Clone, Parser)]
#[command(name = "medindex-trainer", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) backends: BackendArguments,
    #[command(flatten)]
    pub(crate) operation: OperationArguments,
    /// Folder for the sample while it trains; the system's folder for temporary files when left out.
    #[arg(long, env = "MEDINDEX_SCRATCH", value_name = "FOLDER")]
    pub(crate) scratch: Option<PathBuf>,
    /// Vectors to learn from at the most.
    #[arg(long, env = "MEDINDEX_TRAINING_SAMPLE", value_name = "N", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(256..=10_000_000))]
    pub(crate) training_sample: u32,
    /// Held-out queries that recall is measured with.
    #[arg(long, env = "MEDINDEX_TRAINING_QUERIES", value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) training_queries: u32,
    /// Recall@10 against exact search under which the generation is refused, 0 to 1.
    #[arg(long, env = "MEDINDEX_RECALL_GATE", value_name = "R", default_value_t = 0.9)]
    pub(crate) recall_gate: f64,
    /// Coarse lists of the index; chosen by the number of images when left out.
    #[arg(long, env = "MEDINDEX_LISTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) lists: Option<u32>,
    /// Sub-quantizers of a code; they have to divide the numbers of a vector, of which 256 are coded at the most.
    #[arg(long, env = "MEDINDEX_SUB_QUANTIZERS", value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) sub_quantizers: u32,
    /// Bits of a sub-quantizer's code: 4 scans fastest, 8 is more exact.
    #[arg(long, env = "MEDINDEX_BITS", value_name = "N", default_value = "4", value_parser = ["4", "8"])]
    pub(crate) bits: String,
}

impl Arguments {
    /// Settings of the flows.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            organisation: self.backends.index.organisation.clone(),
            process: process_name("trainer"),
            alarm_period: self.operation.alarm_period(),
            partitions: self.backends.index.partitions,
            training: TrainingPolicy {
                sample: self.training_sample as usize,
                held_out: self.training_queries as usize,
                recall_gate: self.recall_gate,
                lists: self.lists.map(|lists| lists as usize),
                sub_quantizers: self.sub_quantizers as usize,
                bits: if self.bits == "8" { 8 } else { 4 },
                ..TrainingPolicy::default()
            },
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
