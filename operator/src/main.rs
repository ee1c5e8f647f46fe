//! `medindex-operator`: begun; today it prints the resource definition.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use medindex_operator::definition::definition_yaml;

/// The operator of MedIndex.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the definition of the resource type, for `kubectl apply -f -`.
    Crd,
}

fn main() -> ExitCode {
    let Arguments { command: Command::Crd } = Arguments::parse();
    let printed = definition_yaml()
        .map_err(|error| error.to_string())
        .and_then(|text| std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("medindex-operator: {error}");
            ExitCode::FAILURE
        }
    }
}
