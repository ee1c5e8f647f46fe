//! One import, from connecting to the report.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use medindex_pipeline::{
    BackendError, Core, DescriptionError, EmbedWorker, ImportError, ImportSummary, Pipeline,
    PublishedQuantizer, SettingsError, register_model,
};
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::logging::LogError;
use medindex_runtime::model::StartModelError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::{end_tasks, stop_on_signals};
use medindex_runtime::waiting::Waiting;
use medindex_runtime::watching::watch_memory;
use medindex_sources::{Candidate, Items, LabelTable, Labels, SourceError, SourceErrorKind, expand};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;
use crate::progress::{Metrics, Progress};
use crate::report::{FailuresFile, Report};

/// Exit statuses; see the program.
const OTHER: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 4;
const INTERRUPTED: u8 = 130;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LogError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(io::Error),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    ReadSources(#[from] SourceError),
    #[error("looking for files was cut off: {0}")]
    FinishReading(tokio::task::JoinError),
    #[error("the table of failures {} cannot be written: {source}; give another one with --failures", path.display())]
    WriteFailures { path: PathBuf, source: csv::Error },
    #[error(transparent)]
    StartModel(#[from] StartModelError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    CompareIndex(#[from] DescriptionError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error("{0}; start the import again to go on")]
    Import(#[source] ImportError),
    #[error("the last writes failed: {0}; start the import again to go on")]
    End(#[from] BackendError),
    #[error("the report cannot be printed: {0}")]
    PrintReport(io::Error),
}

impl RunError {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::ReadSources(error) => match error.kind() {
                SourceErrorKind::Usage => USAGE,
                SourceErrorKind::NotFound => NOT_FOUND,
                SourceErrorKind::Refused => REFUSED,
            },
            Self::StartLog(_) | Self::CheckSettings(_) | Self::Connect(ConnectError::ReadArguments(_)) => {
                USAGE
            }
            Self::Connect(ConnectError::Stop(_)) | Self::Import(ImportError::Stopped) => INTERRUPTED,
            _ => OTHER,
        }
    }
}

/// How an import that has a report ended.
pub(crate) enum Outcome {
    /// Every file was seen to.
    Done,
    /// Too much failed.
    Refused,
    /// A signal came first.
    Interrupted,
}

impl Outcome {
    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => REFUSED,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<Outcome, RunError> {
    let _log = medindex_runtime::logging::start("medindex-importer", &arguments.operation)?;
    let (mut registry, readiness) = (Registry::default(), Readiness::default());
    let stop = stop_on_signals(&readiness).map_err(RunError::ListenSignals)?;
    let metrics = Metrics::register(&mut registry);
    let listen = arguments.operation.operation_listen;
    // The probes answer to the end, not only until the signal.
    let operation =
        OperationServer::start(listen, readiness.clone(), registry, CancellationToken::new()).await?;
    readiness.unready("looking for files");
    let (candidates, labels) = read_sources(&arguments).await?;
    let failures = create_failures(&arguments)?;
    let total = candidates.len() as u64;
    tracing::info!(files = total, "found files to import");

    let (core, worker) = start_core(&arguments, &readiness, &stop).await?;
    let pipeline = Pipeline::connect_importer(worker, arguments.direct(), stop.clone());
    watch_memory(&core);
    core.begin();
    let (limits, window) = (arguments.limits.limits(), arguments.lesion_window);
    let (items, remainder) = Items::new(candidates, labels, limits, window, stop.clone());
    let progress = Progress::new(total, Arc::clone(&remainder));
    operation.measure(progress.gauges(metrics, Arc::clone(&core)));
    readiness.ready();
    let logged = CancellationToken::new();
    let log = tokio::spawn(Arc::clone(&progress).log(logged.clone()));
    let outcome = pipeline.import(items, progress.callback(), stop).await;
    readiness.unready("ending");
    logged.cancel();
    // It only writes to the log.
    drop(log.await);
    end_tasks(&core, core.end()).await;
    let summary = outcome.map_err(RunError::Import)?;
    let report = Report::new(&summary, std::mem::take(&mut *remainder.lock()));
    finish(&arguments, &summary, &report, failures)
}

/// Everything that embeds: the backends, the model, the generation of the codes.
async fn start_core(
    arguments: &Arguments,
    readiness: &Readiness,
    stop: &CancellationToken,
) -> Result<(Arc<Core>, EmbedWorker), RunError> {
    readiness.unready("loading the model");
    let (embedder, manifest) = arguments.model.start().await?;
    let ports = connect(&arguments.backends, &Waiting { readiness, stop }).await?;
    let partitions = arguments.backends.index.partitions;
    register_model(ports.store.as_ref(), partitions, &manifest).await?;
    let model = embedder.model().manifest().clone();
    let core = Core::new(arguments.settings(), partitions, ports, model)?;
    let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
    let worker = EmbedWorker { core: Arc::clone(&core), embedding: Arc::new(embedder), quantizers };
    Ok((core, worker))
}

/// Finds the files off the async threads.
async fn read_sources(arguments: &Arguments) -> Result<(Vec<Candidate>, Labels), RunError> {
    let (sources, table, limits) =
        (arguments.source.clone(), arguments.labels.clone(), arguments.limits.limits());
    let from_folder = arguments.label_from_folder;
    let read = tokio::task::spawn_blocking(move || {
        let labels = match table {
            Some(path) => Labels::Table(LabelTable::read(&path)?),
            None if from_folder => Labels::FolderName,
            None => Labels::None,
        };
        Ok::<_, SourceError>((expand(&sources, &limits)?, labels))
    });
    Ok(read.await.map_err(RunError::FinishReading)??)
}

fn create_failures(arguments: &Arguments) -> Result<Option<FailuresFile>, RunError> {
    let Some(path) = &arguments.failures else { return Ok(None) };
    match FailuresFile::create(path) {
        Ok(file) => Ok(Some(file)),
        Err(source) => Err(RunError::WriteFailures { path: path.clone(), source }),
    }
}

fn finish(
    arguments: &Arguments,
    summary: &ImportSummary,
    report: &Report,
    failures: Option<FailuresFile>,
) -> Result<Outcome, RunError> {
    if let (Some(mut file), Some(path)) = (failures, &arguments.failures) {
        let wrong = |source| RunError::WriteFailures { path: path.clone(), source };
        file.write(&summary.failed).map_err(wrong)?;
    }
    report.print().map_err(RunError::PrintReport)?;
    if report.interrupted {
        tracing::warn!(
            imported = report.imported,
            waiting = report.waiting,
            "stopped before the last file: start the same import again to go on; what is stored is recognised"
        );
        return Ok(Outcome::Interrupted);
    }
    tracing::info!(
        imported = report.imported,
        duplicates = report.duplicates,
        failed = report.failed,
        "done"
    );
    let nothing_good = report.imported + report.duplicates == 0;
    let refused = report.failed > 0 && (arguments.strict || nothing_good);
    Ok(if refused { Outcome::Refused } else { Outcome::Done })
}
