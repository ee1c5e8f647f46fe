//! `POST /api/v1/train` and `POST /api/v1/index/rollback`: generations of the index.

use axum::Json;
use axum::extract::State;
use medindex_pipeline::TrainingReport;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::schemas;
use crate::extract::{None as NoParameters, Parameters};
use crate::problem::Problem;
use crate::state::{Gateway, join};

/// The generation that answers after a rollback.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RolledBack {
    /// Generation that answers now.
    generation: u64,
}

/// Trains a new generation of the index from what is stored, and swaps it in when its recall is good.
///
/// The answer comes at the end, which can take minutes; the training goes on when the caller hangs up.
#[utoipa::path(
    post,
    path = "/api/v1/train",
    tag = "index",
    responses((status = 200, description = "What the training did.", body = schemas::TrainingReport))
)]
pub(crate) async fn train(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Json<TrainingReport>, Problem> {
    let pipeline = gateway.pipeline().clone();
    join(async move { pipeline.train(&|stage| tracing::info!(?stage, "training")).await }).await.map(Json)
}

/// Which generation to go back to.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RollbackParameters {
    /// The generation that shall answer. It has to be the one before; where it answers already nothing is done.
    to: Option<u64>,
}

/// Goes one generation back.
#[utoipa::path(
    post,
    path = "/api/v1/index/rollback",
    tag = "index",
    params(RollbackParameters),
    responses((status = 200, description = "The generation that answers now.", body = RolledBack))
)]
pub(crate) async fn rollback(
    State(gateway): State<Gateway>,
    Parameters(parameters): Parameters<RollbackParameters>,
) -> Result<Json<RolledBack>, Problem> {
    let pipeline = gateway.pipeline().clone();
    let generation = gateway.complete(async move { pipeline.roll_back(parameters.to).await }).await?;
    Ok(Json(RolledBack { generation }))
}
