//! From settings to a running gateway, and its end in order.

use std::sync::Arc;
use std::time::Duration;

use medindex_gateway::{ServeError, listen, serve};
use medindex_pipeline::{BackendError, Core, Pipeline, SettingsError, await_description};
use medindex_rpc::remote_embedder::RemoteEmbedder;
use medindex_rpc::scatter::Scatter;
use medindex_rpc::topology::Topology;
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::core_metrics::CoreMetrics;
use medindex_runtime::logging::LogError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::{end_tasks, stop_on_signals};
use medindex_runtime::waiting::{Awaited, StopError, Waiting};
use medindex_runtime::watching::watch_memory;

use crate::arguments::Arguments;

/// Why the gateway ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LogError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(std::io::Error),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    Listen(#[from] ServeError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Wait(#[from] StopError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error(transparent)]
    Close(#[from] BackendError),
}

impl RunError {
    /// It was told to stop before it had what it needs.
    pub(crate) fn is_stop(&self) -> bool {
        matches!(self, Self::Wait(_) | Self::Connect(ConnectError::Stop(_)))
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), RunError> {
    let _log = medindex_runtime::logging::start("medindex-gateway", &arguments.operation)?;
    let readiness = Readiness::default();
    let stop = stop_on_signals(&readiness).map_err(RunError::ListenSignals)?;
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = CoreMetrics::register(&mut registry);
    let address = arguments.operation.operation_listen;
    let operation = OperationServer::start(address, readiness.clone(), registry, stop.clone()).await?;
    // The port first: a taken one is known before anything is waited for.
    let settings = arguments.gateway();
    let listener = listen(&settings).await?;

    let waiting = Waiting { readiness: &readiness, stop: &stop };
    let ports = connect(&arguments.backends, &waiting).await?;
    let partitions = arguments.backends.index.partitions;
    let store = ports.store.as_ref();
    let described = async || await_description(store, partitions, &stop).await?.model();
    let model = waiting.until(Awaited::Index, described).await?;
    let core = Core::new(arguments.settings(), partitions, ports, model)?;
    operation.measure(metrics.gauges(Arc::clone(&core)));
    watch_memory(&core);
    let pipeline = connect_flows(&arguments, Arc::clone(&core)).await;

    let probed = pipeline.clone();
    operation.ask(Arc::new(move || {
        let pipeline = probed.clone();
        Box::pin(async move { pipeline.unready().await })
    }));
    readiness.ready();
    tracing::info!(listen = %settings.listen, "serving");
    let told = async {
        stop.cancelled().await;
        readiness.unready("finishing requests in flight");
    };
    serve(listener, pipeline.clone(), settings, told).await;
    readiness.unready("shutting down");
    Ok(end_tasks(&core, pipeline.shutdown()).await.unwrap_or(Ok(()))?)
}

/// The flows over embedders and search shards in other processes.
async fn connect_flows(arguments: &Arguments, core: Arc<Core>) -> Pipeline {
    let (partitions, digest) = (core.partitions(), core.model_digest().to_owned());
    let topology = Topology::new(arguments.search.clone(), partitions, &digest);
    topology.refresh().await;
    tokio::spawn(Arc::clone(&topology).run(core.stop().clone()));
    let deadline = Duration::from_millis(arguments.embed_milliseconds);
    let embedders = RemoteEmbedder::new(arguments.embedders.clone(), &digest, deadline);
    embedders.refresh().await;
    tokio::spawn(Arc::clone(&embedders).run(core.stop().clone()));
    let scatter = Scatter::new(topology, partitions, &digest, arguments.scatter());
    Pipeline::connect(core, embedders, Arc::new(scatter))
}
