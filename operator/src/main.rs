//! `medindex-operator`: runs the operator, prints the resource definition, or plans.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use kube::Client;
use medindex_operator::definition::definition_yaml;
use medindex_operator::external::network::NetworkBackends;
use medindex_operator::plan::plan;
use medindex_operator::program::arguments::{Arguments, Command};
use medindex_operator::program::{calls, run};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome: Result<(), Box<dyn Error>> = match Arguments::parse().command {
        Command::Crd => definition_yaml().map_err(Into::into).and_then(|text| print(&text)),
        Command::Calls => {
            let names: Vec<&str> = calls::all().iter().map(String::as_str).collect();
            print(&(names.join("\n") + "\n"))
        }
        Command::Plan(arguments) => {
            let connect = async || Client::try_default().await.map_err(Into::into);
            // On the heap: it is large.
            Box::pin(plan(&arguments, connect))
                .await
                .map_err(Into::into)
                .and_then(|lines| print(&(lines.join("\n") + "\n")))
        }
        Command::Run(arguments) => match medindex_logging::start(arguments.log_options()) {
            Ok(log) => run(arguments, log.level(), Arc::new(NetworkBackends)).await.map_err(Into::into),
            Err(error) => Err(error.into()),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("medindex-operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
