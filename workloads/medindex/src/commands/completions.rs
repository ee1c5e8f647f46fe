//! `medindex completions`: scripts that let a shell complete the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Context;
use crate::arguments::Arguments;
use crate::failure::Failure;

/// Print a shell's completion script.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(context: &Context, asked: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(asked.shell, &mut Arguments::command(), "medindex", &mut script);
    context.output.block(&String::from_utf8_lossy(&script))
}
