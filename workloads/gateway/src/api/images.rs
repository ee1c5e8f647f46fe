//! `/api/v1/images`: what is stored, and taking it away.

use axum::Json;
use axum::extract::State;
use medindex_pipeline::{Deleted, ImageDetails, ImagePage, ImageStatus, ListRequest};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::schemas;
use crate::extract::{None as NoParameters, Parameters, PathId};
use crate::problem::Problem;
use crate::state::Gateway;

/// Images of one page when nothing else is asked for.
const DEFAULT_LIMIT: usize = 50;

/// Which images to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Images of a page; 50 when absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Where the page before ended: its `next`.
    after: Option<String>,
    /// Only images that stand here.
    #[param(value_type = Option<schemas::ImageStatus>)]
    status: Option<ImageStatus>,
}

/// Lists images, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/images",
    tag = "images",
    params(ListParameters),
    responses((status = 200, description = "One page of images.", body = schemas::ImagePage))
)]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<ImagePage>, Problem> {
    let wanted = ListRequest {
        limit: parameters.limit.unwrap_or(DEFAULT_LIMIT),
        after: parameters.after,
        status: parameters.status,
    };
    gateway.within(gateway.pipeline().list(&wanted)).await.map(Json)
}

/// What the catalog knows of an image.
#[utoipa::path(
    get,
    path = "/api/v1/images/{id}",
    tag = "images",
    params(("id" = String, Path, description = "Id of the image.", format = "uuid")),
    responses((status = 200, description = "The image as the catalog knows it.", body = schemas::ImageDetails))
)]
pub(crate) async fn details(
    State(gateway): State<Gateway>,
    PathId(id): PathId,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Json<ImageDetails>, Problem> {
    gateway.within(gateway.pipeline().image(&id)).await.map(Json)
}

/// Deletes an image: its file, its vectors, and its row in the catalog.
#[utoipa::path(
    delete,
    path = "/api/v1/images/{id}",
    tag = "images",
    params(("id" = String, Path, description = "Id of the image.", format = "uuid")),
    responses((status = 200, description = "The image is gone.", body = schemas::Deleted))
)]
pub(crate) async fn delete(
    State(gateway): State<Gateway>,
    PathId(id): PathId,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Json<Deleted>, Problem> {
    let pipeline = gateway.pipeline().clone();
    gateway.complete(async move { pipeline.delete(&id).await }).await.map(Json)
}
