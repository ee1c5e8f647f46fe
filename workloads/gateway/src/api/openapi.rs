//! `GET /api/openapi.json`: the API described by `OpenAPI` 3.1, made from the same declarations as the router.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{OpenApi as Document, Ref, ResponseBuilder};

use crate::api::schemas;
use crate::api::search::SearchForm;
use crate::extract::{None as NoParameters, Parameters};
use crate::problem::{PROBLEM_JSON, Problem, ProblemDetails};
use crate::search_options::SearchById;
use crate::state::Gateway;

/// What the document says besides the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "MedIndex",
        description = "Retrieval of medical images by example. For research and teaching, not for diagnosis.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "images", description = "Adding, reading and deleting images."),
        (name = "search", description = "Search by example, and recognition."),
        (name = "index", description = "Training and generations."),
        (name = "operation", description = "Status, probes, metrics, this document.")
    ),
    components(schemas(ProblemDetails, SearchById, SearchForm, schemas::ImageStatus))
)]
struct Base;

/// The document before the routes are added.
pub(crate) fn base() -> Document {
    Base::openapi()
}

/// Adds what every operation has: any failure is a problem.
pub(crate) fn add_problems(document: &mut Document) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            let problem = ResponseBuilder::new()
                .description("What went wrong and what to do (RFC 9457).")
                .content(PROBLEM_JSON, content)
                .build();
            operation.responses.responses.insert("default".to_owned(), problem.into());
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten()
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object))
)]
pub(crate) async fn openapi(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, Problem> {
    Ok(([(header::CONTENT_TYPE, "application/json")], gateway.document().to_vec()).into_response())
}
