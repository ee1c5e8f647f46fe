//! `POST /api/v1/recognise`: what an image looks like to the model and to its neighbours.

use axum::Json;
use axum::extract::{Request, State};
use medindex_pipeline::Recognition;
use utoipa::ToSchema;

use crate::api::schemas;
use crate::extract::{None as NoParameters, Parameters};
use crate::form::{FormShape, read_form};
use crate::problem::Problem;
use crate::state::Gateway;

/// Form of a recognition.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only describes the form")]
pub(crate) struct RecogniseForm {
    /// The image file; it is not stored.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
}

/// Names what an image shows: the model's classes, and the labels of its nearest neighbours.
///
/// For research and teaching, not for diagnosis.
#[utoipa::path(
    post,
    path = "/api/v1/recognise",
    tag = "search",
    request_body(content = RecogniseForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "Classes and label vote.", body = schemas::Recognition))
)]
pub(crate) async fn recognise(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    request: Request,
) -> Result<Json<Recognition>, Problem> {
    let form = read_form(&gateway, request, FormShape { files: 1, fields: &[] }).await?;
    let file = form.only_file()?;
    let answer = gateway.within(gateway.pipeline().recognise(file.name, file.bytes)).await;
    gateway.metrics().recognition(answer.as_ref().ok().map(|answer| answer.cached));
    answer.map(Json)
}
