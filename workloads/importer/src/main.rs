//! `medindex-importer`: imports files in bulk and ends.
//!
//! It embeds in its own process and writes straight to the image store, the change log and the catalog, past the queue of uploads. Guarantees: see
//! `medindex_pipeline`'s import: every file is searchable, was there before, or is named with the reason; started again after any end it goes on,
//! and what is there is recognised by its content. It prints its report as JSON on standard output.
//!
//! Exit status, as that of `medindex import`: 0: done; 2: a wrong setting; 3: nothing to import is there; 4: every file failed, with `--strict` any
//! file; 130: stopped by a signal before the end, start it again to go on; 1: anything else, start it again when the cause is mended.

mod arguments;
mod progress;
mod report;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use medindex_runtime::shutdown::run_to_end;

use crate::arguments::Arguments;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--print-settings") {
        return medindex_runtime::print_settings(&Arguments::command());
    }
    run_to_end(run::run(Arguments::parse()), |outcome| match outcome {
        Ok(outcome) => ExitCode::from(outcome.status()),
        Err(error) => {
            let status = error.status();
            medindex_runtime::finish("medindex-importer", Err::<(), _>(error));
            ExitCode::from(status)
        }
    })
}
