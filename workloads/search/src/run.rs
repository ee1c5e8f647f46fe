//! From settings to a running shard, and its end in order.

use std::sync::Arc;

use medindex_pipeline::{
    BackendError, Core, DescriptionError, DiskCheck, Searcher as _, SettingsError, Shard, await_description,
};
use medindex_rpc::serving::{ServeError, serve};
use medindex_rpc::shard_server::ShardService;
use medindex_runtime::connect::{ConnectError, connect};
use medindex_runtime::logging::LoggingError;
use medindex_runtime::operation::{ListenError, OperationServer, Readiness};
use medindex_runtime::shutdown::stop_on_signals;
use medindex_runtime::watching::watch_memory;
use prometheus_client::registry::Registry;
use tonic::service::Routes;

use crate::arguments::{Arguments, ShardCountError};
use crate::metrics::Metrics;

/// Why the shard ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    StartLog(#[from] LoggingError),
    #[error("cannot listen to signals: {0}")]
    ListenSignals(std::io::Error),
    #[error(transparent)]
    CheckShards(#[from] ShardCountError),
    #[error(transparent)]
    ListenOperation(#[from] ListenError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    CompareIndex(#[from] DescriptionError),
    #[error(transparent)]
    CheckSettings(#[from] SettingsError),
    #[error(transparent)]
    Open(#[from] BackendError),
    #[error(transparent)]
    Serve(#[from] ServeError),
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), RunError> {
    let _traces = medindex_runtime::logging::start("medindex-search", &arguments.operation)?;
    let stop = stop_on_signals().map_err(RunError::ListenSignals)?;
    let options = arguments.shard_options()?;
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

    let ports = connect(&arguments.backends, &readiness, &stop).await?;
    readiness.unready("waiting for the first embedder to register its model");
    let partitions = arguments.backends.index.partitions;
    let description = await_description(ports.store.as_ref(), partitions, &stop).await?;
    let core = Core::new(arguments.settings(), partitions, ports, description.model()?)?;
    let disk = DiskCheck::new(&options.folder);
    let shard = Shard::open(Arc::clone(&core), options).await?;
    core.add_check(disk);
    core.add_check(shard.alarm_check());
    watch_memory(&core);
    core.begin();
    tracing::info!(shard = arguments.shard(), replica = arguments.replica(), held = ?shard.partitions_held(), "serving");

    operation.measure(metrics.gauges(core, Arc::clone(&shard)));
    let probed = Arc::clone(&shard);
    operation.ask(Arc::new(move || {
        let shard = Arc::clone(&probed);
        Box::pin(async move { shard.unready().await })
    }));
    let service = ShardService::new(Arc::clone(&shard), arguments.shard(), arguments.replica()).into_server();
    readiness.ready();
    let served = serve(arguments.listen, Routes::new(service), stop).await;
    readiness.unready("shutting down");
    let closed = shard.close().await;
    served?;
    Ok(closed?)
}
