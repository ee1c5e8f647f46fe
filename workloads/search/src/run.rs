//! From settings to a running shard, and its end in order.

use std::sync::Arc;

use medindex_pipeline::{
    BackendError, Core, DiskCheck, Searcher as _, SettingsError, Shard, await_description,
};
use medindex_rpc::serving::{ServeError, serve};
use medindex_rpc::shard_server::ShardService;
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::logging::LogError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::{IN_FLIGHT_WITHIN, end_tasks, serve_and_end, stop_on_signals};
use medindex_runtime::waiting::{Awaited, StopError, Waiting};
use medindex_runtime::watching::watch_memory;
use prometheus_client::registry::Registry;
use tonic::service::Routes;

use crate::arguments::{Arguments, ShardCountError};
use crate::metrics::Metrics;

/// Why the shard ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LogError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(std::io::Error),
    #[error(transparent)]
    CheckShards(#[from] ShardCountError),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Wait(#[from] StopError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error(transparent)]
    Close(#[from] BackendError),
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
    let _log = medindex_runtime::logging::start("medindex-search", &arguments.operation)?;
    let readiness = Readiness::default();
    let stop = stop_on_signals(&readiness).map_err(RunError::ListenSignals)?;
    let options = arguments.shard_options()?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let operation = OperationServer::start(
        arguments.operation.operation_listen,
        readiness.clone(),
        registry,
        stop.clone(),
    )
    .await?;

    let waiting = Waiting { readiness: &readiness, stop: &stop };
    let ports = connect(&arguments.backends, &waiting).await?;
    let partitions = arguments.backends.index.partitions;
    let store = ports.store.as_ref();
    let described = async || await_description(store, partitions, &stop).await?.model();
    let model = waiting.until(Awaited::Index, described).await?;
    let core = Core::new(arguments.settings(), partitions, ports, model)?;
    let disk = DiskCheck::new(&options.folder);
    let opened = async || Shard::open(Arc::clone(&core), options.clone()).await;
    let shard = waiting.until(Awaited::Folder, opened).await?;
    core.add_check(disk);
    core.add_check(shard.alarm_check());
    watch_memory(&core);
    core.begin();
    tracing::info!(shard = arguments.shard(), replica = arguments.replica(), held = ?shard.partitions_held(), "serving");

    operation.measure(metrics.gauges(Arc::clone(&core), Arc::clone(&shard)));
    let probed = Arc::clone(&shard);
    operation.ask(Arc::new(move || {
        let shard = Arc::clone(&probed);
        Box::pin(async move { shard.unready().await })
    }));
    let service = ShardService::new(Arc::clone(&shard), arguments.shard(), arguments.replica()).into_server();
    readiness.ready();
    let serving = serve(arguments.listen, Routes::new(service), stop.clone(), IN_FLIGHT_WITHIN);
    // Searches in flight do not need the tasks.
    let (served, closed) = serve_and_end(&stop, &readiness, serving, end_tasks(&core, shard.close())).await;
    served?;
    Ok(closed.unwrap_or(Ok(()))?)
}
