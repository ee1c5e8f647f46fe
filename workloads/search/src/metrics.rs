//! What a search shard measures.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use medindex_pipeline::{Core, Shard};
use medindex_runtime::core_metrics::CoreMetrics;
use medindex_runtime::operation::Gauges;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The gauges; set when they are asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    entries: Gauge,
    tail_rows: Gauge,
    segments: Gauge,
    coded_segments: Gauge,
    generation: Gauge,
    memory: Gauge,
    mapped: Gauge,
    lag: Gauge,
    core: CoreMetrics,
    memory_full: Gauge,
    refused_segments: Gauge,
    publications: Gauge,
    published_bytes: Gauge,
    loaded_from: Family<[(&'static str, &'static str); 1], Gauge>,
    ready_seconds: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { core: CoreMetrics::register(registry), ..Self::default() };
        let registry = registry.sub_registry_with_prefix("medindex_search");
        registry.register("entries", "Entries that can be found", metrics.entries.clone());
        registry.register("tail_rows", "Rows in the append tail", metrics.tail_rows.clone());
        registry.register("segments", "Immutable segments", metrics.segments.clone());
        registry.register(
            "coded_segments",
            "Segments that are searched by codes",
            metrics.coded_segments.clone(),
        );
        registry.register(
            "generation",
            "Generation that answers, 0 for exact search",
            metrics.generation.clone(),
        );
        registry.register("memory_bytes", "Main memory beside the mapped files", metrics.memory.clone());
        registry.register("mapped_bytes", "Size of the mapped files", metrics.mapped.clone());
        registry.register("index_lag", "Changes that cannot be found yet", metrics.lag.clone());
        registry.register(
            "memory_full",
            "1 while the memory limit keeps it from following the change log",
            metrics.memory_full.clone(),
        );
        registry.register(
            "refused_segments",
            "Published segments that were refused since the start",
            metrics.refused_segments.clone(),
        );
        registry.register(
            "publications",
            "Publications of its segments since the start",
            metrics.publications.clone(),
        );
        registry.register(
            "published_bytes",
            "Bytes sent for publications since the start",
            metrics.published_bytes.clone(),
        );
        registry.register(
            "loaded_from",
            "Where the index came from: log, disk, segments or scan",
            metrics.loaded_from.clone(),
        );
        registry.register(
            "ready_seconds",
            "Seconds from the start until it was ready, 0 before",
            metrics.ready_seconds.clone(),
        );
        metrics
    }

    fn set_loaded(&self, shard: &Shard) {
        let loaded = shard.loaded();
        self.memory_full.set(i64::from(shard.memory_pressure().is_some()));
        self.refused_segments.set(loaded.refused_segments as i64);
        self.publications.set(loaded.publications as i64);
        self.published_bytes.set(loaded.published_bytes as i64);
        if let Some(source) = loaded.source {
            self.loaded_from.get_or_create(&[("source", source.name())]).set(1);
        }
        self.ready_seconds.set(loaded.ready_after.unwrap_or_default().as_secs_f64());
    }

    pub(crate) fn gauges(self, core: Arc<Core>, shard: Arc<Shard>) -> Gauges {
        Arc::new(move || {
            let (metrics, core, shard) = (self.clone(), Arc::clone(&core), Arc::clone(&shard));
            let measure = async move {
                metrics.core.set(&core);
                let status = shard.index().status();
                metrics.entries.set(status.entries as i64);
                metrics.tail_rows.set(status.tail_rows as i64);
                metrics.segments.set(status.segments as i64);
                metrics.coded_segments.set(status.coded_segments as i64);
                metrics.generation.set(status.generation as i64);
                metrics.memory.set(status.memory_bytes as i64);
                metrics.mapped.set(status.mapped_bytes as i64);
                metrics.set_loaded(&shard);
                match shard.lag().await {
                    Ok(lag) => _ = metrics.lag.set(lag as i64),
                    Err(error) => tracing::warn!(%error, "the lag cannot be measured"),
                }
            };
            Box::pin(measure) as Pin<Box<dyn Future<Output = ()> + Send>>
        })
    }
}
