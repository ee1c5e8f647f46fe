//! `medindex-gateway`: the HTTP API and the search page over the backends of a cluster.
//!
//! It embeds queries at the embedders, asks one replica of every search shard, and accepts uploads once they are durable. Several gateways of an
//! index run side by side; each also sends again what got stuck.

mod arguments;
mod run;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::arguments::Arguments;

#[tokio::main]
async fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("--print-settings") {
        return medindex_runtime::print_settings(&Arguments::command());
    }
    medindex_runtime::finish("medindex-gateway", run::run(Arguments::parse()).await)
}
