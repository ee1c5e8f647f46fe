//! From settings to a running embedder, and its end in order.

use std::sync::Arc;

use medindex_pipeline::{Core, EmbedWorker, Embedding, PublishedQuantizer, SettingsError, register_model};
use medindex_rpc::embed_server::EmbedService;
use medindex_rpc::serving::{ServeError, serve};
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::logging::LogError;
use medindex_runtime::model::StartModelError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::{IN_FLIGHT_WITHIN, end_tasks, serve_and_end, stop_on_signals};
use medindex_runtime::waiting::{Awaited, StopError, Waiting};
use medindex_runtime::watching::watch_memory;
use prometheus_client::registry::Registry;
use tonic::service::Routes;

use crate::arguments::Arguments;
use crate::metrics::Metrics;

/// Why the embedder ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LogError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(std::io::Error),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    StartModel(#[from] StartModelError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Wait(#[from] StopError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl RunError {
    /// It was told to stop before it had what it needs.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Wait(_) | Self::Connect(ConnectError::Stop(_)))
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), RunError> {
    let _log = medindex_runtime::logging::start("medindex-embedder", &arguments.operation)?;
    let readiness = Readiness::default();
    let stop = stop_on_signals(&readiness).map_err(RunError::ListenSignals)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let operation = OperationServer::start(
        arguments.operation.operation_listen,
        readiness.clone(),
        registry,
        stop.clone(),
    )
    .await?;

    readiness.unready("loading the model");
    let (embedder, manifest) = arguments.model.start().await?;
    let waiting = Waiting { readiness: &readiness, stop: &stop };
    let ports = connect(&arguments.backends, &waiting).await?;
    let partitions = arguments.backends.index.partitions;
    let store = ports.store.as_ref();
    // An index of another model or other partitions is waited for: it may be the index that is mended, and not this process.
    waiting.until(Awaited::Index, async || register_model(store, partitions, &manifest).await).await?;
    let model = embedder.model().manifest().clone();
    let model_name = format!("{}@{}", model.name, model.version);
    let core = Core::new(arguments.settings(), partitions, ports, model)?;

    watch_memory(&core);
    core.begin();
    let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
    let embedding: Arc<dyn Embedding> = Arc::new(embedder.clone());
    let worker = || EmbedWorker {
        core: Arc::clone(&core),
        embedding: Arc::clone(&embedding),
        quantizers: Arc::clone(&quantizers) as _,
    };
    waiting.until(Awaited::Queue, async || worker().start().await).await?;
    operation.measure(metrics.gauges(Arc::clone(&core), embedder, quantizers));
    let service = EmbedService::new(embedding, core.model_digest(), &model_name).into_server();
    readiness.ready();
    let serving = serve(arguments.listen, Routes::new(service), stop.clone(), IN_FLIGHT_WITHIN);
    // Queries in flight do not need the tasks.
    let (served, _) = serve_and_end(&stop, &readiness, serving, end_tasks(&core, core.end())).await;
    Ok(served?)
}
