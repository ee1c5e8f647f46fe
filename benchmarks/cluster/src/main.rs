//! `medindex-cluster-benchmarks`: what a cluster costs and saves beside one process. See docs/benchmarks.md.

mod cache;
mod error;
mod machine;
mod operator;
mod results;
mod scatter;
mod statistics;

use std::error::Error as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cache::CacheArguments;
use crate::operator::{OperateArguments, OperatorArguments};
use crate::scatter::{ScatterArguments, ShardArguments};

#[derive(Debug, Parser)]
#[command(name = "medindex-cluster-benchmarks", about = "Benchmarks of MedIndex's cluster")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Time queries through 1, 3 and 9 shards in processes of their own, and in this process.
    Scatter(ScatterArguments),
    /// Serve one shard for `scatter`.
    Shard(ShardArguments),
    /// Time recognitions, searches and previews with Redis in its three modes, and without.
    Cache(CacheArguments),
    /// Time the operator's reconciles of many resources.
    Operator(OperatorArguments),
    /// Run the operator over backends in memory for `operator`.
    Operate(OperateArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Scatter(arguments) => scatter::run(arguments).await,
        Command::Shard(arguments) => scatter::serve(arguments).await,
        Command::Cache(arguments) => cache::run(arguments).await,
        Command::Operator(arguments) => operator::run(arguments).await,
        Command::Operate(arguments) => operator::operate(arguments).await,
    };
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        eprintln!("  because {source}");
        cause = source.source();
    }
    ExitCode::FAILURE
}
