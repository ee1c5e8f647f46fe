//! `kubectl-medindex`: kubectl runs it for `kubectl medindex`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use kubectl_medindex::access::Access;
use kubectl_medindex::arguments::{AccessArguments, Arguments, Command};
use kubectl_medindex::error::PluginError;
use kubectl_medindex::logs::LogOptions;
use kubectl_medindex::{act, bundle, logs, status};
use medindex_operator::plan::plan;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.access, arguments.command).await {
        // Whoever reads has seen enough, as `head` has.
        Err(PluginError::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubectl medindex: {error}");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

async fn run(arguments: &AccessArguments, command: Command) -> Result<(), PluginError> {
    if let Command::Plan(file) = command {
        return print(&Box::pin(make_plan(arguments, file)).await?);
    }
    let access = Access::connect(arguments).await?;
    match command {
        Command::Status { name, all_namespaces } => {
            print(&status::status(&access, name.as_deref(), all_namespaces).await?)
        }
        Command::Logs { name, component, follow, tail, since, previous } => {
            let components = component.into_iter().map(Into::into).collect();
            logs::logs(&access, &name, LogOptions { components, follow, tail, since, previous }).await
        }
        Command::Train { name } => print(&[act::train(&access, &name).await?]),
        Command::Pause { name } => print(&[act::pause(&access, &name, true).await?]),
        Command::Resume { name } => print(&[act::pause(&access, &name, false).await?]),
        Command::SupportBundle { name, output, tail } => {
            let path = output.unwrap_or_else(|| PathBuf::from(format!("medindex-{name}.tar.gz")));
            print(&bundle::bundle(&access, &name, &path, tail).await?)
        }
        Command::Plan(_) => Ok(()),
    }
}

async fn make_plan(
    arguments: &AccessArguments,
    file: kubectl_medindex::arguments::PlanFile,
) -> Result<Vec<String>, PluginError> {
    // Offline no kubeconfig is needed.
    let access = if file.offline { None } else { Some(Access::connect(arguments).await?) };
    let named =
        arguments.namespace.clone().or_else(|| access.as_ref().map(|access| access.namespace.clone()));
    let plan_arguments = file.in_namespace(named.unwrap_or_else(|| "default".to_owned()));
    let connect = async || access.map(|access| access.client).ok_or_else(|| "offline".into());
    // On the heap: it is large.
    Ok(Box::pin(plan(&plan_arguments, connect)).await?)
}

fn print(lines: &[String]) -> Result<(), PluginError> {
    let mut out = std::io::stdout().lock();
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(PluginError::Print)
}
