//! What is counted and measured; docs/metrics.md describes every name.
//!
//! Labels are routes, statuses and states, never ids, names or labels of images. Gauges of the index are set when
//! they are asked for ([`Metrics::encode`]).

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use medindex_pipeline::{CacheCounts, OperationLogCounts, Pipeline, RaisedAlarm, Status};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SearchLabels {
    query: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    name: String,
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    kept: &'static str,
    result: &'static str,
}

/// Makes latency histograms.
#[derive(Debug, Clone)]
struct Latency;

impl MetricConstructor<Histogram> for Latency {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BUCKETS)
    }
}

type Float = Gauge<f64, std::sync::atomic::AtomicU64>;

/// The counters and gauges of the gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, Latency>,
    in_flight: Gauge,
    uploads: Family<ResultLabel, Counter>,
    upload_bytes: Counter,
    searches: Family<SearchLabels, Counter>,
    search_seconds: Histogram,
    recognitions: Family<ResultLabel, Counter>,
    state: StateGauges,
    registry: Registry,
}

/// Gauges that mirror [`Status`].
#[derive(Debug, Clone, Default)]
struct StateGauges {
    images: Family<StatusLabel, Gauge>,
    ready: Gauge,
    generation: Gauge,
    recall: Family<[(String, String); 0], Float>,
    entries: Gauge,
    tail: Gauge,
    memory: Gauge,
    mapped: Gauge,
    upload_lag: Gauge,
    index_lag: Gauge,
    alarms: Family<AlarmLabels, Gauge>,
    operations: Family<ResultLabel, Gauge>,
    cache: Family<CacheLabels, Counter>,
    resident: Gauge,
}

/// Counts a request as in flight until dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(Latency),
            in_flight: Gauge::default(),
            uploads: Family::default(),
            upload_bytes: Counter::default(),
            searches: Family::default(),
            search_seconds: Latency.new_metric(),
            recognitions: Family::default(),
            state: StateGauges::default(),
            registry: Registry::with_prefix("medindex"),
        };
        metrics.register_traffic();
        metrics.state.register(&mut metrics.registry);
        metrics
    }

    fn register_traffic(&mut self) {
        let registry = &mut self.registry;
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of this program", Info::new(build));
        registry.register(
            "http_requests",
            "Requests answered, by method, route and HTTP status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's head, by method and route",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        registry.register("http_requests_in_flight", "Requests being answered now", self.in_flight.clone());
        registry.register(
            "uploads",
            "Files uploaded, by result: accepted, duplicate or refused",
            self.uploads.clone(),
        );
        registry.register_with_unit(
            "upload",
            "Bytes of the files that were accepted, duplicates included",
            Unit::Bytes,
            self.upload_bytes.clone(),
        );
        registry.register(
            "searches",
            "Searches, by query (file or stored image) and result: answered or refused",
            self.searches.clone(),
        );
        registry.register_with_unit(
            "search_duration",
            "Time of a search that was answered, embedding included",
            Unit::Seconds,
            self.search_seconds.clone(),
        );
        registry.register(
            "recognitions",
            "Recognitions, by result: computed, cached or refused",
            self.recognitions.clone(),
        );
    }

    /// Counts a request as in flight.
    pub(crate) fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an answer.
    pub(crate) fn request(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = known_method(method).to_owned();
        let route = route.to_owned();
        let labels = RequestLabels { method: method.clone(), route: route.clone(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.request_seconds.get_or_create(&RouteLabels { method, route }).observe(took.as_secs_f64());
    }

    /// Counts an uploaded file: `Some(duplicate)` when it was accepted.
    pub(crate) fn upload(&self, accepted: Option<bool>, bytes: usize) {
        let result = match accepted {
            Some(false) => "accepted",
            Some(true) => "duplicate",
            None => "refused",
        };
        self.uploads.get_or_create(&ResultLabel { result }).inc();
        if accepted.is_some() {
            self.upload_bytes.inc_by(bytes as u64);
        }
    }

    /// Counts a search that took `milliseconds`, or was refused.
    pub(crate) fn search(&self, stored: bool, milliseconds: Option<f64>) {
        let query = if stored { "stored" } else { "file" };
        let result = if milliseconds.is_some() { "answered" } else { "refused" };
        self.searches.get_or_create(&SearchLabels { query, result }).inc();
        if let Some(milliseconds) = milliseconds {
            self.search_seconds.observe(milliseconds / 1e3);
        }
    }

    /// Counts a recognition: `Some(cached)` when it was answered.
    pub(crate) fn recognition(&self, answered: Option<bool>) {
        let result = match answered {
            Some(false) => "computed",
            Some(true) => "cached",
            None => "refused",
        };
        self.recognitions.get_or_create(&ResultLabel { result }).inc();
    }

    /// The metrics in `OpenMetrics` text, with the gauges as `status` has them.
    pub(crate) fn encode(
        &self,
        pipeline: &Pipeline,
        status: Option<&Status>,
        ready: bool,
    ) -> Result<String, std::fmt::Error> {
        self.state.ready.set(i64::from(ready));
        self.state.set_alarms(&pipeline.raised_alarms());
        self.state.set_operations(pipeline.operation_counts());
        self.state.set_cache(pipeline.cache_counts());
        self.state.resident.set(signed(resident_bytes()));
        if let Some(status) = status {
            self.state.set(status);
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl StateGauges {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "images",
            "Images by where they stand: received, indexed or failed",
            self.images.clone(),
        );
        registry.register("ready", "1 when every acknowledged change is searchable", self.ready.clone());
        registry.register(
            "index_generation",
            "Generation that answers; 0 before training",
            self.generation.clone(),
        );
        registry.register_with_unit(
            "index_recall_at_10",
            "Recall@10 of the last training on held-out queries, 0 to 1; absent before",
            Unit::Ratios,
            self.recall.clone(),
        );
        registry.register("index_entries", "Vectors that can be found", self.entries.clone());
        registry.register("index_tail_entries", "Vectors not yet frozen into a segment", self.tail.clone());
        registry.register_with_unit(
            "index_memory",
            "Main memory of the index beside its mapped files",
            Unit::Bytes,
            self.memory.clone(),
        );
        registry.register_with_unit(
            "index_mapped",
            "Size of the mapped files",
            Unit::Bytes,
            self.mapped.clone(),
        );
        registry.register("upload_lag_messages", "Uploads waiting to be embedded", self.upload_lag.clone());
        registry.register("index_lag_messages", "Changes waiting to be searchable", self.index_lag.clone());
        registry.register("alarms", "Alarms that are raised, by name and severity", self.alarms.clone());
        registry.register(
            "operations_recorded",
            "Operations of this process by what became of them: published, kept in the catalog, dropped, waiting",
            self.operations.clone(),
        );
        registry.register(
            "cache_lookups",
            "Answers looked up in the cache, by what is kept (results, previews, recognitions) and result: hit or miss",
            self.cache.clone(),
        );
        registry.register_with_unit(
            "process_resident_memory",
            "Main memory of the process, mapped files included; 0 where it cannot be read",
            Unit::Bytes,
            self.resident.clone(),
        );
    }

    fn set(&self, status: &Status) {
        let images = &status.images;
        for (name, count) in
            [("received", images.received), ("indexed", images.indexed), ("failed", images.failed)]
        {
            self.images.get_or_create(&StatusLabel { status: name }).set(signed(count));
        }
        self.generation.set(signed(status.index.generation));
        if let Some(training) = &status.training {
            self.recall.get_or_create(&[]).set(training.recall_at_10);
        }
        self.entries.set(signed(status.index.entries as u64));
        self.tail.set(signed(status.index.tail_rows as u64));
        self.memory.set(signed(status.index.memory_bytes));
        self.mapped.set(signed(status.index.mapped_bytes));
        self.upload_lag.set(signed(status.upload_lag));
        self.index_lag.set(signed(status.index_lag));
    }

    fn set_alarms(&self, alarms: &[RaisedAlarm]) {
        self.alarms.clear();
        for alarm in alarms {
            let labels = AlarmLabels { name: alarm.name.clone(), severity: alarm.severity.name() };
            self.alarms.get_or_create(&labels).inc();
        }
    }

    fn set_operations(&self, counts: OperationLogCounts) {
        let OperationLogCounts { published, kept, dropped, waiting } = counts;
        let counts = [("published", published), ("kept", kept), ("dropped", dropped), ("waiting", waiting)];
        for (result, count) in counts {
            self.operations.get_or_create(&ResultLabel { result }).set(signed(count));
        }
    }

    fn set_cache(&self, counts: CacheCounts) {
        let kinds = [
            ("results", counts.result_hits, counts.result_misses),
            ("previews", counts.preview_hits, counts.preview_misses),
            ("recognitions", counts.recognition_hits, counts.recognition_misses),
        ];
        for (kept, hits, misses) in kinds {
            for (result, count) in [("hit", hits), ("miss", misses)] {
                // Counted where the caches are; only mirrored here.
                self.cache
                    .get_or_create(&CacheLabels { kept, result })
                    .inner()
                    .store(count, Ordering::Relaxed);
            }
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Methods are a label: a client must not be able to invent values.
fn known_method(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    }
}

/// Resident memory of this process, from Linux's `/proc`; 0 elsewhere.
fn resident_bytes() -> u64 {
    const PAGE: u64 = 4_096;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok())
        .map_or(0, |pages| pages * PAGE)
}
