//! What the command line understands: options that every command takes, and the list of commands.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use medindex_embedding::Device;
use medindex_imaging::Limits;
use medindex_pipeline::DECODE_MEMORY;

use crate::commands;

/// Similarity search over medical images, in one process.
///
/// For research and teaching, not for diagnosis. Exit codes: 0 done, 1 other failure, 2 wrong usage, 3 not found,
/// 4 input refused, 5 data folder or port in use, 6 storage failure, 7 server not available, 130 stopped.
#[derive(Debug, Parser)]
#[command(name = "medindex", version, propagate_version = true, max_term_width = 110)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalOptions {
    /// Data folder; .medindex/<model> when left out.
    #[arg(long, global = true, value_name = "DIR", env = "MEDINDEX_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Model of a new data folder: a name in the cache (`medindex models`) or a folder; an existing folder uses its own. vgg16 when left out.
    #[arg(long, global = true, value_name = "NAME|FOLDER", env = "MEDINDEX_MODEL")]
    pub(crate) model: Option<String>,
    /// Ask the `medindex serve` at this address instead of opening the data folder, such as `http://127.0.0.1:8080`.
    #[arg(long, global = true, value_name = "URL", env = "MEDINDEX_SERVER")]
    pub(crate) server: Option<String>,
    /// Threads to compute with, at most 256; 0 for every core.
    #[arg(long, global = true, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = threads_up_to(MOST_THREADS))]
    pub(crate) threads: usize,
    /// Where the model computes: cpu, cuda (the first GPU) or cuda:N, which want an ONNX Runtime with CUDA (`MEDINDEX_ONNXRUNTIME`). cpu when left out.
    #[arg(
        long,
        global = true,
        value_name = "DEVICE",
        env = "MEDINDEX_DEVICE",
        default_value = "cpu",
        hide_default_value = true
    )]
    pub(crate) device: Device,
    /// Log level on standard error: off, error, warn, info, debug, trace, or filter directives; warn for serve and off for the others when left out.
    #[arg(long, global = true, value_name = "LEVEL", env = "MEDINDEX_LOG")]
    pub(crate) log: Option<String>,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    limits: LimitOptions,
}

/// What one image may cost; checked before memory is taken. A server has its own.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits on one image")]
struct LimitOptions {
    /// Bytes of a file; 512 MiB when left out.
    #[arg(long = "max-file-bytes", global = true, value_name = "N", env = "MEDINDEX_MAX_FILE_BYTES", value_parser = limit_up_to::<u64>(u64::MAX))]
    file_bytes: Option<u64>,
    /// Pixels of a frame, width times height; 100 million when left out.
    #[arg(long = "max-pixels", global = true, value_name = "N", env = "MEDINDEX_MAX_PIXELS", value_parser = limit_up_to::<u64>(u64::MAX))]
    pixels: Option<u64>,
    /// Frames of a file; 4096 when left out.
    #[arg(id = "max_frames", long = "max-frames", global = true, value_name = "N", env = "MEDINDEX_MAX_FRAMES", value_parser = limit_up_to::<u32>(u32::MAX))]
    frames: Option<u32>,
    /// Bytes of all decoded frames of a file together; 1 GiB when left out.
    #[arg(long = "max-decoded-bytes", global = true, value_name = "N", env = "MEDINDEX_MAX_DECODED_BYTES", value_parser = limit_up_to::<u64>(u64::MAX))]
    decoded_bytes: Option<u64>,
    /// Bytes that files may take while they are decoded, all together; a file that needs more is decoded alone. 2 GiB when left out.
    #[arg(long = "decode-memory-bytes", global = true, value_name = "N", env = "MEDINDEX_DECODE_MEMORY_BYTES", value_parser = limit_up_to::<u64>(u64::MAX))]
    decode_memory: Option<u64>,
}

/// More threads than any machine has cores would only take memory.
const MOST_THREADS: u64 = 256;

fn threads_up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(0..=most)
}

/// A limit is at least 1: with 0 nothing could be stored.
fn limit_up_to<T: TryFrom<u64>>(most: impl Into<u64>) -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(1..=most.into())
}

impl GlobalOptions {
    /// The limits on one image.
    pub(crate) fn limits(&self) -> Limits {
        let (asked, usual) = (&self.limits, Limits::default());
        Limits {
            max_file_bytes: asked.file_bytes.unwrap_or(usual.max_file_bytes),
            max_pixels: asked.pixels.unwrap_or(usual.max_pixels),
            max_frames: asked.frames.unwrap_or(usual.max_frames),
            max_decoded_bytes: asked.decoded_bytes.unwrap_or(usual.max_decoded_bytes),
        }
    }

    /// Bytes that files may take while they are decoded.
    pub(crate) fn decode_memory(&self) -> u64 {
        self.limits.decode_memory.unwrap_or(DECODE_MEMORY)
    }
}

impl Arguments {
    /// The log level asked for. A server's faults go to its log; other commands tell theirs in one line.
    pub(crate) fn log_level(&self) -> &str {
        let usual = if matches!(self.command, Command::Serve(_)) { "warn" } else { "off" };
        self.global.log.as_deref().unwrap_or(usual)
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(commands::serve::ServeArguments),
    Import(commands::import::ImportArguments),
    Search(commands::search::SearchArguments),
    Recognise(commands::recognise::RecogniseArguments),
    Train(commands::train::TrainArguments),
    Rollback(commands::rollback::RollbackArguments),
    Repair(commands::repair::RepairArguments),
    Status(commands::status::StatusArguments),
    Delete(commands::delete::DeleteArguments),
    Evaluate(commands::evaluate::EvaluateArguments),
    Rowkey(commands::rowkey::RowkeyArguments),
    Models(commands::models::ModelsArguments),
    Completions(commands::completions::CompletionsArguments),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
