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

use crate::arguments::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--print-settings") {
        return medindex_runtime::print_settings(&Arguments::command());
    }
    medindex_runtime::finish("medindex-search", run::run(Arguments::parse()).await)
}
