//! An index with images in it, and gateways over it.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medindex_backends::Cache;
use medindex_embedding::{BatchingOptions, Embedder, Model, RuntimeOptions};
use medindex_pipeline::{
    CacheCounts, Core, EmbedWorker, ImageId, Pipeline, Ports, PreviewRequest, PublishedQuantizer, Query,
    SearchRequest, Searcher as _, Settings, Shard, ShardOptions, Upload,
};
use tempfile::TempDir;

use crate::error::BenchError;
use crate::scatter::{PARTITIONS, embedded_ports};

const SEARCHABLE_WITHIN: Duration = Duration::from_mins(5);

/// An index on embedded backends with a real model.
pub(super) struct Site {
    ports: Ports,
    model: Arc<Model>,
    embedder: Embedder,
    shard: Arc<Shard>,
    ids: Vec<ImageId>,
    // Last: removed when nothing uses it any more.
    _folder: TempDir,
}

impl Site {
    /// Starts it and stores `images` images.
    pub(super) async fn start(model: &Path, images: u32) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::file("make", std::env::temp_dir()))?;
        let ports = embedded_ports(folder.path()).await?;
        let model = Arc::new(Model::load(model, &RuntimeOptions::from_environment()?)?);
        let embedder = Embedder::start(Arc::clone(&model), BatchingOptions::default())?;
        let core = Core::new(Settings::default(), PARTITIONS, ports.clone(), model.manifest().clone())?;
        let quantizers = PublishedQuantizer::follow(Arc::clone(&core)).await;
        let embedding = Arc::new(embedder.clone());
        EmbedWorker { core: Arc::clone(&core), embedding, quantizers }.start().await?;
        let options = ShardOptions {
            folder: folder.path().join("index"),
            partitions: (0..PARTITIONS).collect(),
            memory_limit: None,
            publish_every: None,
        };
        let shard = Shard::open(core, options).await?;
        while shard.unready().await.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut site = Self { ports, model, embedder, shard, ids: Vec::new(), _folder: folder };
        site.upload(images).await?;
        Ok(site)
    }

    async fn upload(&mut self, images: u32) -> Result<(), BenchError> {
        let gateway = self.pipeline(Arc::clone(&self.ports.cache))?;
        for seed in 0..images {
            let label = Some(format!("class{}", seed % 5));
            let upload = Upload { name: format!("{seed}.png"), bytes: picture(seed)?, label, sidecar: None };
            self.ids.push(gateway.accept(upload).await?.id);
        }
        for id in &self.ids {
            gateway.wait_until_searchable(id, SEARCHABLE_WITHIN).await?;
        }
        Ok(())
    }

    pub(super) fn model_name(&self) -> String {
        self.model.manifest().name.clone()
    }

    fn pipeline(&self, cache: Arc<dyn Cache>) -> Result<Pipeline, BenchError> {
        let ports = Ports { cache, ..self.ports.clone() };
        let core = Core::new(Settings::default(), PARTITIONS, ports, self.model.manifest().clone())?;
        Ok(Pipeline::connect(core, Arc::new(self.embedder.clone()), Arc::clone(&self.shard) as _))
    }

    /// Two gateways with connections of their own to the cache.
    pub(super) async fn gateways(&self, servers: &super::Servers) -> Result<Gateways, BenchError> {
        let pipelines = [self.pipeline(servers.connect().await?)?, self.pipeline(servers.connect().await?)?];
        Ok(Gateways { pipelines, ids: self.ids.clone() })
    }
}

/// Two gateways of one index.
pub(super) struct Gateways {
    pipelines: [Pipeline; 2],
    ids: Vec<ImageId>,
}

impl Gateways {
    fn of(&self, number: usize) -> &Pipeline {
        &self.pipelines[number % 2]
    }

    /// The sums of both.
    pub(super) fn counts(&self) -> CacheCounts {
        let [left, right] = [self.pipelines[0].cache_counts(), self.pipelines[1].cache_counts()];
        CacheCounts {
            result_hits: left.result_hits + right.result_hits,
            result_misses: left.result_misses + right.result_misses,
            preview_hits: left.preview_hits + right.preview_hits,
            preview_misses: left.preview_misses + right.preview_misses,
            recognition_hits: left.recognition_hits + right.recognition_hits,
            recognition_misses: left.recognition_misses + right.recognition_misses,
        }
    }

    /// Recognises a picture; whether the answer came out of the cache.
    pub(super) async fn recognise(&self, number: usize, picture: &Bytes) -> Result<bool, BenchError> {
        Ok(self.of(number).recognise("query.png".to_owned(), picture.clone()).await?.cached)
    }

    pub(super) async fn search(&self, number: usize, picture: &Bytes) -> Result<(), BenchError> {
        let query = Query::File { name: "query.png".to_owned(), bytes: picture.clone() };
        let found = self.of(number).search(SearchRequest::new(query)).await?;
        if found.results.is_empty() {
            return Err(BenchError::Check("a search found nothing".to_owned()));
        }
        Ok(())
    }

    pub(super) async fn preview(&self, number: usize, image: usize) -> Result<(), BenchError> {
        let request = PreviewRequest { window: None, frame: None, max_edge: 256 };
        let id = &self.ids[image % self.ids.len()];
        self.of(number).preview(id, request).await?;
        Ok(())
    }
}

/// A grey PNG of 512 x 512 pixels whose pattern depends on `seed`.
pub(super) fn picture(seed: u32) -> Result<Bytes, BenchError> {
    let picture = image::GrayImage::from_fn(512, 512, |x, y| {
        let (x, y) = (x as f32 / 8.0, y as f32 / 8.0);
        let angle = seed as f32 * 0.37;
        let wave = (x * angle.cos() + y * angle.sin()) * (0.1 + (seed % 17) as f32 * 0.03);
        let radius = ((x - 32.0).powi(2) + (y - 32.0).powi(2)).sqrt() * (seed % 5) as f32 * 0.1;
        image::Luma([(127.0 + 60.0 * wave.sin() + 60.0 * radius.cos()) as u8])
    });
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, image::ImageFormat::Png);
    written.map_err(|error| BenchError::Check(format!("a picture cannot be made: {error}")))?;
    Ok(bytes.into_inner().into())
}
