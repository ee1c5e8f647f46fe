//! `/healthz`, `/readyz`, `/metrics`, and `/log`, where the level of the log is changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use medindex_logging::Level;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;

/// What the answers come from.
#[derive(Clone)]
pub(super) struct Operation {
    /// Counters.
    pub(super) metrics: Arc<Metrics>,
    /// The log's level.
    pub(super) level: Level,
    /// The resources are known; an operator that does not lead is ready too.
    pub(super) ready: Arc<AtomicBool>,
}

/// Answers until `stop`.
///
/// # Errors
/// When the address cannot be listened on.
pub(super) async fn serve(
    address: SocketAddr,
    operation: Operation,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/log", put(set_level))
        .with_state(operation);
    let listener = TcpListener::bind(address).await?;
    tracing::info!(%address, "probes and metrics are answered");
    axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

async fn ready(State(operation): State<Operation>) -> Response {
    if operation.ready.load(Ordering::Relaxed) {
        "ready".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet").into_response()
    }
}

async fn metrics(State(operation): State<Operation>) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match operation.metrics.encode() {
        Ok(text) => (kind, text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn set_level(State(operation): State<Operation>, level: String) -> Response {
    match operation.level.set(level.trim()) {
        Ok(()) => {
            tracing::info!(level = level.trim(), "the level of the log was changed");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
