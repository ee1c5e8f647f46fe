//! `POST /api/v1/images`: new images.
//!
//! One file is answered with 202 and where it will be; several with 207 and a result for each, because some may be
//! refused. The form is checked as a whole before the first file is stored: a form that is not valid stores nothing.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use medindex_pipeline::{Accepted, Upload};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::schemas;
use crate::extract::{None as NoParameters, Parameters};
use crate::form::{FormFile, FormShape, missing_file, read_form};
use crate::problem::{Problem, ProblemDetails};
use crate::state::Gateway;

/// Form of an upload.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only describes the form")]
pub(crate) struct UploadForm {
    /// The image file; may come several times.
    #[schema(value_type = Vec<String>, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<Vec<u8>>,
    /// Label of the files in this request.
    label: Option<String>,
}

/// What became of the files of one upload.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadResults {
    /// A result for each file, in their order.
    pub(crate) items: Vec<UploadResult>,
}

/// What became of one file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadResult {
    /// Name of the file.
    pub(crate) name: String,
    /// HTTP status that the file alone would have had.
    pub(crate) status: u16,
    /// Where the image is, when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::Accepted>)]
    pub(crate) accepted: Option<Accepted>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<ProblemDetails>,
}

/// Adds images to the index.
///
/// The answer comes when the images are durable; they are searchable within about a second. Bytes that are already
/// there get the first id again, with `duplicate: true`.
#[utoipa::path(
    post,
    path = "/api/v1/images",
    tag = "images",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 202, description = "The file is durable.", body = schemas::Accepted,
         headers(("location" = String, description = "Where the image is."))),
        (status = 207, description = "A result for each of several files.", body = UploadResults),
    )
)]
pub(crate) async fn upload(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let shape = FormShape { files: gateway.settings().files_per_upload, fields: &["label"] };
    let mut form = read_form(&gateway, request, shape).await?;
    let label = form.text("label").map(ToOwned::to_owned);
    let mut files = std::mem::take(&mut form.files);
    match files.len() {
        0 => Err(missing_file()),
        1 => Ok(accepted(accept(&gateway, files.remove(0), label).await?)),
        _ => {
            let items = accept_all(&gateway, files, label).await;
            Ok((StatusCode::MULTI_STATUS, Json(UploadResults { items })).into_response())
        }
    }
}

fn accepted(accepted: Accepted) -> Response {
    let location = format!("/api/v1/images/{}", accepted.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(accepted)).into_response()
}

/// Stores files one after the other; refused ones don't stop the others.
pub(crate) async fn accept_all(
    gateway: &Gateway,
    files: Vec<FormFile>,
    label: Option<String>,
) -> Vec<UploadResult> {
    let mut items = Vec::with_capacity(files.len());
    for file in files {
        let name = file.name.clone();
        let item = match accept(gateway, file, label.clone()).await {
            Ok(accepted) => UploadResult {
                name,
                status: StatusCode::ACCEPTED.as_u16(),
                accepted: Some(accepted),
                problem: None,
            },
            Err(problem) => UploadResult {
                name,
                status: problem.status().as_u16(),
                accepted: None,
                problem: Some(problem.details(None, None)),
            },
        };
        items.push(item);
    }
    items
}

async fn accept(gateway: &Gateway, file: FormFile, label: Option<String>) -> Result<Accepted, Problem> {
    let pipeline = gateway.pipeline().clone();
    let size = file.bytes.len();
    let upload = Upload { name: file.name, bytes: file.bytes, label, sidecar: None };
    let accepted = gateway.complete(async move { pipeline.accept(upload).await }).await;
    gateway.metrics().upload(accepted.as_ref().ok().map(|accepted| accepted.duplicate), size);
    accepted
}
