//! What the embedder measures.

use std::pin::Pin;
use std::sync::Arc;

use medindex_embedding::Embedder;
use medindex_pipeline::{Core, PublishedQuantizer, Quantizers as _, upload_lag};
use medindex_runtime::core_metrics::CoreMetrics;
use medindex_runtime::operation::Gauges;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The gauges; set when they are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    batches: Gauge,
    images: Gauge,
    upload_lag: Gauge,
    generation: Gauge,
    core: CoreMetrics,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { core: CoreMetrics::register(registry), ..Self::default() };
        let registry = registry.sub_registry_with_prefix("medindex_embedder");
        registry.register("model_runs", "Runs of the model since the start", metrics.batches.clone());
        registry.register("model_images", "Images in those runs", metrics.images.clone());
        registry.register(
            "upload_lag",
            "Uploads of the index that wait to be embedded",
            metrics.upload_lag.clone(),
        );
        registry.register("generation", "Generation of the codes, 0 for none", metrics.generation.clone());
        metrics
    }

    pub(crate) fn gauges(
        self,
        core: Arc<Core>,
        embedder: Embedder,
        quantizer: Arc<PublishedQuantizer>,
    ) -> Gauges {
        Arc::new(move || {
            let (metrics, core) = (self.clone(), Arc::clone(&core));
            let (statistics, quantizer) = (embedder.statistics(), quantizer.current());
            let measure = async move {
                metrics.core.set(&core);
                metrics.batches.set(statistics.batches as i64);
                metrics.images.set(statistics.images as i64);
                metrics.generation.set(quantizer.map_or(0, |quantizer| quantizer.generation() as i64));
                match upload_lag(&core).await {
                    Ok(lag) => _ = metrics.upload_lag.set(lag as i64),
                    Err(error) => tracing::warn!(%error, "the lag cannot be measured"),
                }
            };
            Box::pin(measure) as Pin<Box<dyn Future<Output = ()> + Send>>
        })
    }
}
