//! Traces: made in every program, so that logs carry their ids, and sent where an endpoint says.
//!
//! Spans of this program's own code become spans of OpenTelemetry. With an endpoint (OTLP over gRPC) they are sent in the background by a
//! thread of their own; an endpoint that is down, slow or wrong fails and delays nothing: spans beyond a buffer of 2,048 are dropped, and the log says when
//! sending began to fail and when it works again. Without an endpoint nothing is kept or sent. The standard variables `OTEL_TRACES_SAMPLER`,
//! `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_BSP_*` apply.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter as Export};

/// How long one sending may take.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// How long the last spans may take when the program ends.
const LAST_WITHIN: Duration = Duration::from_secs(3);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The endpoint is no URL.
    #[error("--otlp-endpoint {0:?} is no URL: write it as http://HOST:4317")]
    CheckEndpoint(String),
    /// The endpoint cannot be used.
    #[error("--otlp-endpoint {endpoint:?} cannot be used: {source}; write it as http://HOST:4317")]
    BuildExporter {
        /// The endpoint.
        endpoint: String,
        /// Why.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// The traces of this program; dropping it sends the last ones.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    sends: bool,
}

impl Traces {
    /// Makes traces as `program` in the process `instance`, and sends them to `endpoint` where there is one.
    ///
    /// # Errors
    /// [`TracesError`] when the endpoint is no address.
    pub(crate) fn start(
        program: &'static str,
        instance: String,
        endpoint: Option<&str>,
    ) -> Result<Self, TracesError> {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let builder = SdkTracerProvider::builder().with_resource(resource(program, instance));
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) else {
            // Ids are made and passed on, and whether a caller's trace is kept; nothing else.
            let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOff));
            return Ok(Self { provider: builder.with_sampler(sampler).build(), sends: false });
        };
        if !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
            return Err(TracesError::CheckEndpoint(endpoint.to_owned()));
        }
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(SEND_WITHIN);
        let exporter = exporter
            .build()
            .map_err(|source| TracesError::BuildExporter { endpoint: endpoint.to_owned(), source })?;
        let told = Told { exporter, endpoint: endpoint.to_owned(), fails: AtomicBool::new(false) };
        Ok(Self { provider: builder.with_batch_exporter(told).build(), sends: true })
    }

    pub(crate) fn provider(&self) -> &SdkTracerProvider {
        &self.provider
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if self.sends
            && let Err(error) = self.provider.shutdown_with_timeout(LAST_WITHIN)
        {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

fn resource(program: &'static str, instance: String) -> Resource {
    let attributes = [
        KeyValue::new("service.namespace", "medindex"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance),
    ];
    Resource::builder().with_service_name(program).with_attributes(attributes).build()
}

/// Sends spans, and tells the log when sending begins to fail and when it works again.
struct Told {
    exporter: SpanExporter,
    endpoint: String,
    fails: AtomicBool,
}

impl fmt::Debug for Told {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Told").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Export for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.exporter.export(batch).await;
        let fails = outcome.is_err();
        if self.fails.swap(fails, Ordering::Relaxed) != fails {
            let endpoint = self.endpoint.as_str();
            match &outcome {
                Ok(()) => tracing::info!(endpoint, "traces are sent again"),
                Err(error) => {
                    tracing::warn!(endpoint, spans, %error, "traces cannot be sent and are dropped; requests go on");
                }
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use opentelemetry::trace::{Tracer as _, TracerProvider as _};

    use super::*;

    /// Makes spans as fast as it can with `endpoint`, and ends; how long both took.
    fn time(endpoint: &str) -> (Duration, Duration) {
        let traces = Traces::start("test", "test@here".to_owned(), Some(endpoint)).unwrap();
        let tracer = traces.provider().tracer("test");
        let begun = Instant::now();
        for _ in 0..50_000 {
            tracer.in_span("request", |_| ());
        }
        let made = begun.elapsed();
        let begun = Instant::now();
        drop(traces);
        (made, begun.elapsed())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_dead_or_silent_endpoint_delays_no_span_and_the_end_by_seconds_at_most() {
        // Takes connections, which the system does without being asked, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = format!("http://{}", silent.local_addr().unwrap());
        for endpoint in ["http://127.0.0.1:1", &silent] {
            let (made, ended) = tokio::task::block_in_place(|| time(endpoint));
            // 50,000 spans: 100 microseconds each would be plainly a wait.
            assert!(made < Duration::from_secs(5), "{endpoint}: {made:?}");
            assert!(ended < LAST_WITHIN + SEND_WITHIN + Duration::from_secs(5), "{endpoint}: {ended:?}");
        }
    }
}
