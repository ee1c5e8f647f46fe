//! `GET /api/v1/status`: how the system stands.

use axum::Json;
use axum::extract::State;
use medindex_pipeline::Status;

use crate::api::schemas;
use crate::extract::{None as NoParameters, Parameters};
use crate::problem::Problem;
use crate::state::Gateway;

/// How the system stands: images, index, model, lag, alarms.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    tag = "operation",
    responses((status = 200, description = "How the system stands.", body = schemas::Status))
)]
pub(crate) async fn status(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Json<Status>, Problem> {
    gateway.within(gateway.pipeline().status()).await.map(Json)
}
