//! `medindex-bench`: the Rust programs behind the benchmarks. See docs/benchmarks.md.

mod dataset;
mod engine;
mod ingest;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::dataset::{EmbedArguments, EmbedError, embed_archive};
use crate::engine::EngineError;
use crate::ingest::{StepsArguments, StepsError, measure_steps};

#[derive(Debug, Parser)]
#[command(name = "medindex-bench", about = "Programs behind the benchmarks of MedIndex")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Embed four views of each image of an archive.
    Embed(EmbedArguments),
    /// Answer the requests of engine/worker.py on standard input.
    Engine,
    /// Time each step of making an image searchable.
    Steps(StepsArguments),
}

/// What a command can fail with.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Steps(#[from] StepsError),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Embed(arguments) => embed_archive(&arguments).map_err(CommandError::from),
        Command::Steps(arguments) => measure_steps(&arguments).map_err(CommandError::from),
        Command::Engine => engine::serve().map_err(CommandError::from),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        eprintln!("  because {source}");
        cause = source.source();
    }
    ExitCode::FAILURE
}
