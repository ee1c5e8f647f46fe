//! `/healthz` and `/readyz`: probes for whoever runs the process.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::extract::{None as NoParameters, Parameters};
use crate::problem::{Problem, ProblemKind};
use crate::state::Gateway;

/// A probe that succeeded.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Probe {
    /// `ok` or `ready`.
    status: &'static str,
}

/// The process lives. Restart it when this does not answer.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses((status = 200, description = "The process lives.", body = Probe))
)]
pub(crate) async fn healthz(Parameters(NoParameters {}): Parameters<NoParameters>) -> Json<Probe> {
    Json(Probe { status: "ok" })
}

/// The model is loaded and every acknowledged change is searchable. Send no traffic while it is not.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses((status = 200, description = "Ready for traffic.", body = Probe))
)]
pub(crate) async fn readyz(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Json<Probe>, Problem> {
    match gateway.pipeline().unready().await {
        None => Ok(Json(Probe { status: "ready" })),
        Some(reason) => Err(Problem::new(ProblemKind::Unavailable, reason)),
    }
}
