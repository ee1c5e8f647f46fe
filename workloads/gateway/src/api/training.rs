//! `POST /api/v1/train` and `POST /api/v1/index/rollback`: generations of the index.

use axum::Json;
use axum::extract::State;
use medindex_pipeline::TrainingReport;
use serde::Serialize;
use utoipa::ToSchema;

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

/// Goes one generation back.
#[utoipa::path(
    post,
    path = "/api/v1/index/rollback",
    tag = "index",
    responses((status = 200, description = "The generation that answers now.", body = RolledBack))
)]
pub(crate) async fn rollback(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Json<RolledBack>, Problem> {
    let pipeline = gateway.pipeline().clone();
    let generation = gateway.complete(async move { pipeline.roll_back().await }).await?;
    Ok(Json(RolledBack { generation }))
}
