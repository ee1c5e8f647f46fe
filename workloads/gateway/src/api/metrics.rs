//! `GET /metrics`: for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::extract::{None as NoParameters, Parameters};
use crate::problem::{Problem, ProblemKind};
use crate::state::Gateway;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counters and gauges as `OpenMetrics` text; docs/metrics.md describes them.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses((status = 200, description = "OpenMetrics text.", body = String,
               content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, Problem> {
    // The counters are worth having even when a backend does not answer: the gauges then keep their last values.
    let status = gateway.within(gateway.pipeline().status()).await.ok();
    let ready = gateway.pipeline().unready().await.is_none();
    let text = gateway
        .metrics()
        .encode(gateway.pipeline(), status.as_ref(), ready)
        .map_err(|_| Problem::new(ProblemKind::Internal, "the metrics cannot be written as text"))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}
