//! A shard in a process of its own: the server of `medindex-search` over embedded backends, with an index that is there already.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use medindex_backends::Queue as _;
use medindex_backends::embedded::{EmbeddedStore, MemoryCache, open_catalog};
use medindex_embedding::Manifest;
use medindex_pipeline::{Core, Ports, Settings, Shard, ShardOptions};
use medindex_proto::names::{
    TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD, TOPIC_OPERATION_LOG,
};
use medindex_rpc::serving::serve as serve_routes;
use medindex_rpc::shard_server::ShardService;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{PARTITIONS, data};
use crate::error::BenchError;

/// Arguments of `shard`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShardArguments {
    /// Folder of the index.
    #[arg(long)]
    pub(super) index: PathBuf,
    /// Folder of the model whose manifest the vectors claim.
    #[arg(long)]
    pub(super) model: PathBuf,
    /// Address to listen on.
    #[arg(long)]
    pub(super) listen: SocketAddr,
    /// Shards.
    #[arg(long)]
    pub(super) shards: u32,
    /// Which of them.
    #[arg(long)]
    pub(super) number: u32,
}

/// Backends in a folder.
pub(crate) async fn embedded_ports(folder: &Path) -> Result<Ports, BenchError> {
    let store = EmbeddedStore::open(folder).await?;
    for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED, TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG] {
        store.create_topic(topic, PARTITIONS).await?;
    }
    Ok(Ports {
        store: Arc::new(store.clone()),
        queue: Arc::new(store),
        catalog: Arc::new(open_catalog(folder).await?),
        cache: Arc::new(MemoryCache::new(1 << 20)),
    })
}

/// Serves one shard until the process is killed.
pub(crate) async fn serve(arguments: ShardArguments) -> Result<(), BenchError> {
    let folder = tempfile::tempdir().map_err(BenchError::file("make", std::env::temp_dir()))?;
    let ports = embedded_ports(folder.path()).await?;
    let model = Manifest::read(&arguments.model)?;
    let core = Core::new(Settings::default(), PARTITIONS, ports, model)?;
    let options = ShardOptions {
        folder: arguments.index.clone(),
        partitions: data::partitions(arguments.shards, arguments.number),
        memory_limit: None,
        publish_every: None,
    };
    let shard = Shard::open(core, options).await?;
    let service = ShardService::new(shard, arguments.number, 0).into_server();
    let never = CancellationToken::new();
    Ok(serve_routes(arguments.listen, Routes::new(service), never, Duration::ZERO).await?)
}
