//! The commands, one file each.

pub(crate) mod completions;
pub(crate) mod delete;
pub(crate) mod evaluate;
pub(crate) mod import;
pub(crate) mod models;
pub(crate) mod recognise;
pub(crate) mod repair;
pub(crate) mod rollback;
pub(crate) mod rowkey;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod train;

use std::process::ExitCode;

use crate::arguments::{Arguments, Command, GlobalOptions};
use crate::failure::Failure;
use crate::output::Output;

/// What every command gets.
#[derive(Debug)]
pub(crate) struct Context {
    /// Options of every command.
    pub(crate) options: GlobalOptions,
    /// Where results go.
    pub(crate) output: Output,
}

/// Runs the command that was asked for.
pub(crate) async fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let context = Context { output: Output::new(arguments.global.json), options: arguments.global };
    let done = |outcome: Result<(), Failure>| outcome.map(|()| ExitCode::SUCCESS);
    match arguments.command {
        Command::Serve(asked) => done(serve::run(&context, &asked).await),
        Command::Import(asked) => import::run(&context, &asked).await,
        Command::Search(asked) => done(search::run(&context, &asked).await),
        Command::Recognise(asked) => done(recognise::run(&context, &asked).await),
        Command::Train(asked) => done(train::run(&context, &asked).await),
        Command::Rollback(asked) => done(rollback::run(&context, &asked).await),
        Command::Repair(asked) => repair::run(&context, &asked).await,
        Command::Status(asked) => done(status::run(&context, &asked).await),
        Command::Delete(asked) => done(delete::run(&context, &asked).await),
        Command::Evaluate(asked) => done(evaluate::run(&context, &asked).await),
        Command::Rowkey(asked) => done(rowkey::run(&context, &asked)),
        Command::Models(asked) => done(models::run(&context, &asked)),
        Command::Completions(asked) => done(completions::run(&context, &asked)),
    }
}

/// A value as the JSON that `--json` prints.
pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::other(format!("cannot write the result as JSON: {error}")))
}

/// A view of the JSON that a flow or a server answered.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::other(format!(
            "the answer has an unexpected form ({error}); are server and command line of one version?"
        ))
    })
}
