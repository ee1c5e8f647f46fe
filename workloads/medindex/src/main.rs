//! `MedIndex` in one process, and its command line.
//!
//! Standard output carries results only; progress, notes and errors go to standard error. A failure is one line,
//! `medindex: what is wrong and what to do`, and an exit code (`failure::Code`, documented in `docs/command-line.md`).

mod arguments;
mod commands;
mod evaluate;
mod failure;
mod folder;
mod import;
mod local;
mod logging;
mod models;
mod output;
mod progress;
mod service;
mod signals;
mod table;
mod window;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use arguments::{Arguments, GlobalOptions};
use failure::Failure;

fn main() -> ExitCode {
    let outcome = parse().and_then(|arguments| arguments.map_or(Ok(ExitCode::SUCCESS), run));
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            output::note(&format!("medindex: {}", failure.line()));
            failure.code.into()
        }
    }
}

/// The arguments, or `None` when the help or the version was asked for and printed.
fn parse() -> Result<Option<Arguments>, Failure> {
    match Arguments::try_parse() {
        Ok(arguments) => Ok(Some(arguments)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                output::Output::new(false).block(&error.render().to_string())?;
                Ok(None)
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                output::note(&error.render().to_string());
                Err(Failure::usage("name a command"))
            }
            _ => Err(Failure::usage(one_line(&error))),
        },
    }
}

/// What clap says over several lines, on one: what is wrong, its tips, and where the help is.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    // What is wrong, and each tip, is a paragraph; a list in it goes on over lines.
    let mut paragraphs: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")) {
        match paragraphs.last_mut() {
            _ if line.is_empty() || line.starts_with("For more information") => goes_on = false,
            Some(last) if goes_on && !line.starts_with("tip: ") => {
                last.push(' ');
                last.push_str(line);
            }
            _ => {
                paragraphs.push(line.trim_start_matches("error: ").to_owned());
                goes_on = true;
            }
        }
    }
    format!("{} (see --help)", paragraphs.join("; "))
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    logging::start(arguments.log_level())?;
    let runtime = build_runtime(&arguments.global)?;
    let outcome = runtime.block_on(commands::run(arguments));
    // Whatever still runs on a blocking thread (a read, a computation that a second Ctrl-C gave up) is not waited for.
    runtime.shutdown_background();
    outcome
}

fn build_runtime(options: &GlobalOptions) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if options.threads > 0 {
        rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .build_global()
            .map_err(|error| Failure::other(format!("cannot start {} threads: {error}", options.threads)))?;
        builder.worker_threads(options.threads.max(2));
    }
    builder.enable_all().build().map_err(|error| Failure::other(format!("cannot start the runtime: {error}")))
}
