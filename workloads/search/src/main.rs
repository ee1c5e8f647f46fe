//! `medindex-search`: one replica of a search shard.
//!
//! The pod's ordinal tells which: shard = ordinal mod shards, replica = ordinal div shards, so that more replicas move nothing. It loads its
//! partitions, follows their change log and answers gateways over gRPC; `/readyz` is ready only when everything that was in the log at the
//! start can be found.

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
        medindex_runtime::finish_service("medindex-search", outcome, RunError::is_stop)
    })
}
