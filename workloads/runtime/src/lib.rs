//! What every program of the cluster shares.
//!
//! A program reads its settings from flags, environment and mounted files ([`arguments`]), starts its log and traces ([`logging`], [`traces`]), connects to the
//! backends and waits for those that are not there yet ([`connect`], [`waiting`]), says how it is ([`operation`]: probes and metrics), and ends in order when
//! it is told to ([`shutdown`]). Guarantees: a wrong setting ends the program at once with a line that names it; a backend that does not answer or is not
//! as it has to be is waited for, ever more slowly, while `/readyz` says why; SIGTERM is answered within the time that Kubernetes gives.

pub mod arguments;
pub mod connect;
pub mod core_metrics;
pub mod logging;
pub mod memory;
pub mod model;
pub mod operation;
pub mod settings_table;
pub mod shutdown;
pub mod waiting;
pub mod watching;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

/// Name of a process in alarms, the operation log and traces: the program and the host, which on Kubernetes is the pod.
pub fn process_name(program: &str) -> String {
    let host = rustix::system::uname();
    format!("{program}@{}", host.nodename().to_string_lossy())
}

/// Ends a program: a failure is one line on standard error, with its causes, and in the log.
pub fn finish<E: Error>(program: &str, outcome: Result<(), E>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Transparent errors and those that name their cause would say it twice.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    tracing::error!(error = text, "{program} ends");
    // Where standard error is gone, nobody is left to tell.
    let _ = writeln!(std::io::stderr(), "{program}: {text}");
    ExitCode::FAILURE
}

/// As [`finish`], for a program that serves: when it was told to stop while it waited for what it needs, `is_stop` of its error, it has ended in order.
pub fn finish_service<E: Error>(
    program: &str,
    outcome: Result<(), E>,
    is_stop: impl Fn(&E) -> bool,
) -> ExitCode {
    match outcome {
        Err(error) if is_stop(&error) => {
            tracing::info!("{error}");
            ExitCode::SUCCESS
        }
        outcome => finish(program, outcome),
    }
}

/// Prints the settings of a program as a Markdown table; see [`settings_table`].
pub fn print_settings(command: &clap::Command) -> ExitCode {
    let table = settings_table::settings_table(command);
    match std::io::stdout().write_all(table.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
