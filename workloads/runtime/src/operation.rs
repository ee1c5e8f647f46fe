//! Probes and metrics of a program, on an address of their own.
//!
//! `/healthz` answers while the process lives, `/readyz` says whether it should get traffic and why not, `/metrics` is for Prometheus.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::waiting::Awaited;

/// Media type of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why the probes cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} (--operation-listen): {source}; choose another port, or stop the program that has it"
)]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Whether a program is ready, as it says itself, and what it waits for. Cheap to clone; clones share it.
#[derive(Debug, Clone)]
pub struct Readiness {
    reason: Arc<watch::Sender<Option<String>>>,
    waiting: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Default for Readiness {
    fn default() -> Self {
        let reason = Arc::new(watch::Sender::new(Some("it is starting".to_owned())));
        Self { reason, waiting: Family::default() }
    }
}

impl Readiness {
    /// It is ready.
    pub fn ready(&self) {
        self.reason.send_replace(None);
    }

    /// It is not ready, for a reason.
    pub fn unready(&self, reason: impl Into<String>) {
        self.reason.send_replace(Some(reason.into()));
    }

    /// Why it is not ready.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Notes whether the program waits for something.
    pub(crate) fn waits(&self, what: Awaited, it_does: bool) {
        self.waiting.get_or_create(&[("for", what.name())]).set(i64::from(it_does));
    }

    #[cfg(test)]
    pub(crate) fn is_waiting(&self, what: Awaited) -> i64 {
        self.waiting.get_or_create(&[("for", what.name())]).get()
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "medindex_waiting",
            "1 while the program waits for something that it needs and that is not there or not as it has to be",
            self.waiting.clone(),
        );
    }
}

type Asked = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// Asked at each probe, once the program runs: why it is not ready.
pub type Probe = Arc<dyn Fn() -> Asked + Send + Sync>;

/// Writes what is measured when it is asked for.
pub type Gauges = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Clone)]
struct Operation {
    readiness: Readiness,
    probe: Arc<watch::Sender<Option<Probe>>>,
    gauges: Arc<watch::Sender<Option<Gauges>>>,
    registry: Arc<Registry>,
}

/// Serves the probes of a program.
pub struct OperationServer {
    operation: Operation,
}

impl fmt::Debug for OperationServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OperationServer").finish_non_exhaustive()
    }
}

impl OperationServer {
    /// Listens on `address` and serves in the background until `stop`.
    ///
    /// # Errors
    /// [`ListenError`].
    pub async fn start(
        address: SocketAddr,
        readiness: Readiness,
        mut registry: Registry,
        stop: CancellationToken,
    ) -> Result<Self, ListenError> {
        readiness.register(&mut registry);
        let listener = TcpListener::bind(address).await.map_err(|source| ListenError { address, source })?;
        let operation = Operation {
            readiness,
            probe: Arc::new(watch::Sender::new(None)),
            gauges: Arc::new(watch::Sender::new(None)),
            registry: Arc::new(registry),
        };
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(operation.clone());
        tokio::spawn(async move {
            let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%error, "the probes are not served any more");
            }
        });
        Ok(Self { operation })
    }

    /// From now on the probe asks `probe`, once the program itself is ready.
    pub fn ask(&self, probe: Probe) {
        self.operation.probe.send_replace(Some(probe));
    }

    /// From now on the metrics are brought up to date by `gauges` when they are asked for.
    pub fn measure(&self, gauges: Gauges) {
        self.operation.gauges.send_replace(Some(gauges));
    }
}

async fn readyz(State(operation): State<Operation>) -> Response {
    let mut reason = operation.readiness.reason();
    let probe = operation.probe.borrow().clone();
    if reason.is_none()
        && let Some(probe) = probe
    {
        reason = probe().await;
    }
    match reason {
        None => (StatusCode::OK, "ready\n").into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(operation): State<Operation>) -> Response {
    let gauges = operation.gauges.borrow().clone();
    if let Some(gauges) = gauges {
        gauges().await;
    }
    let mut body = String::new();
    match text::encode(&mut body, &operation.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
