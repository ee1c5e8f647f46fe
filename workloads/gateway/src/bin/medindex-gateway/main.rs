//! `medindex-gateway`: the HTTP API and the search page over the backends of a cluster.
//!
//! It embeds queries at the embedders, asks one replica of every search shard, and accepts uploads once they are durable. Several gateways of an
//! index run side by side; each also sends again what got stuck.

mod arguments;
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
        medindex_runtime::finish_service("medindex-gateway", outcome, RunError::is_stop)
    })
}
