//! From settings to a running embedder, and its end in order.

use std::sync::Arc;

use medindex_pipeline::{
    BackendError, Core, DescriptionError, EmbedWorker, Embedding, PublishedQuantizer, SettingsError,
    register_model,
};
use medindex_rpc::embed_server::EmbedService;
use medindex_rpc::serving::{ServeError, serve};
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::logging::LoggingError;
use medindex_runtime::model::StartModelError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::stop_on_signals;
use medindex_runtime::watching::watch_memory;
use prometheus_client::registry::Registry;
use tonic::service::Routes;

use crate::arguments::Arguments;
use crate::metrics::Metrics;

/// Why the embedder ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LoggingError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(std::io::Error),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    StartModel(#[from] StartModelError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    CompareIndex(#[from] DescriptionError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error(transparent)]
    Consume(#[from] BackendError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), RunError> {
    let _traces = medindex_runtime::logging::start("medindex-embedder", &arguments.operation)?;
    let stop = stop_on_signals().map_err(RunError::ListenSignals)?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::default();
    let operation = OperationServer::start(
        arguments.operation.operation_listen,
        readiness.clone(),
        registry,
        stop.clone(),
    )
    .await?;

    readiness.unready("loading the model");
    let (embedder, manifest) = arguments.model.start().await?;
    let ports = connect(&arguments.backends, &readiness, &stop).await?;
    let partitions = arguments.backends.index.partitions;
    register_model(ports.store.as_ref(), partitions, &manifest).await?;
    let model = embedder.model().manifest().clone();
    let model_name = format!("{}@{}", model.name, model.version);
    let core = Core::new(arguments.settings(), partitions, ports, model)?;

    watch_memory(&core);
    core.begin();
    let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
    let embedding: Arc<dyn Embedding> = Arc::new(embedder.clone());
    EmbedWorker {
        core: Arc::clone(&core),
        embedding: Arc::clone(&embedding),
        quantizers: Arc::clone(&quantizers) as _,
    }
    .start()
    .await?;
    operation.measure(metrics.gauges(Arc::clone(&core), embedder, quantizers));
    let service = EmbedService::new(embedding, core.model_digest(), &model_name).into_server();
    readiness.ready();
    let served = serve(arguments.listen, Routes::new(service), stop).await;
    readiness.unready("shutting down");
    core.end().await;
    Ok(served?)
}
