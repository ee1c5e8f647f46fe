//! `medindex-trainer`: trains one generation and ends.
//!
//! It prints its report as JSON on standard output. Exit status 0: a generation was published; 3: its recall is under the gate, and the one before
//! goes on answering; 1: it failed.

mod arguments;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use medindex_runtime::shutdown::run_to_end;

use crate::arguments::Arguments;
use crate::run::Outcome;

/// Exit status when the recall gate refused the generation.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--print-settings") {
        return medindex_runtime::print_settings(&Arguments::command());
    }
    run_to_end(run::run(Arguments::parse()), |outcome| match outcome {
        Ok(Outcome::Published) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(REFUSED),
        Err(error) => medindex_runtime::finish("medindex-trainer", Err::<(), _>(error)),
    })
}
