//! One training, from connecting to the report.

use std::io::Write as _;
use std::sync::Arc;

use medindex_pipeline::{
    Core, DescriptionError, SettingsError, TrainError, await_description, train_and_publish,
};
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::core_metrics::CoreMetrics;
use medindex_runtime::logging::LogError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::{end_tasks, stop_on_signals};
use medindex_runtime::waiting::Waiting;
use medindex_runtime::watching::watch_memory;
use prometheus_client::registry::Registry;

use crate::arguments::Arguments;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LogError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(std::io::Error),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    CompareIndex(#[from] DescriptionError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error("no folder for the sample can be made: {0}; give one with --scratch")]
    MakeScratch(std::io::Error),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("the report cannot be printed: {0}")]
    PrintReport(std::io::Error),
    #[error("stopped before the training was done; nothing was published")]
    Stop,
}

/// What became of the training.
pub(crate) enum Outcome {
    /// The generation is active.
    Published,
    /// Its recall is under the gate.
    Refused,
}

pub(crate) async fn run(arguments: Arguments) -> Result<Outcome, RunError> {
    let _log = medindex_runtime::logging::start("medindex-trainer", &arguments.operation)?;
    let readiness = Readiness::default();
    let stop = stop_on_signals(&readiness).map_err(RunError::ListenSignals)?;
    let listen = arguments.operation.operation_listen;
    let mut registry = Registry::default();
    let metrics = CoreMetrics::register(&mut registry);
    let operation = OperationServer::start(listen, readiness.clone(), registry, stop.clone()).await?;
    let waiting = Waiting { readiness: &readiness, stop: &stop };
    let ports = connect(&arguments.backends, &waiting).await?;
    let partitions = arguments.backends.index.partitions;
    let description = await_description(ports.store.as_ref(), partitions, &stop).await?;
    let core = Core::new(arguments.settings(), partitions, ports, description.model()?)?;
    let scratch = match &arguments.scratch {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    }
    .map_err(RunError::MakeScratch)?;
    operation.measure(metrics.gauges(Arc::clone(&core)));
    watch_memory(&core);
    core.begin();
    readiness.ready();
    let progress = |stage| tracing::info!(?stage, "training");
    let outcome = tokio::select! {
        report = train_and_publish(&core, scratch.path(), &progress) => report.map_err(RunError::Train),
        () = stop.cancelled() => Err(RunError::Stop),
    };
    end_tasks(&core, core.end()).await;
    let report = outcome?;
    let text = serde_json::to_string_pretty(&report).map_err(|error| RunError::PrintReport(error.into()))?;
    writeln!(std::io::stdout(), "{text}").map_err(RunError::PrintReport)?;
    Ok(if report.accepted { Outcome::Published } else { Outcome::Refused })
}
