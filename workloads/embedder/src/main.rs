//! `medindex-embedder`: embeds uploads from the queue, and queries over gRPC, on the same model and session.
//!
//! Embedders of an index are one consumer group: each takes some partitions, and others take over when one goes. Guarantees: see
//! `medindex_pipeline::EmbedWorker`; with a model other than the index's it waits, not ready, with a message that names both.

mod arguments;
mod metrics;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use medindex_runtime::shutdown::run_to_end;

use crate::arguments::Arguments;
use crate::run::RunError;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--print-settings") {
        return medindex_runtime::print_settings(&Arguments::command());
    }
    run_to_end(run::run(Arguments::parse()), |outcome| {
        medindex_runtime::finish_service("medindex-embedder", outcome, RunError::is_stop)
    })
}
