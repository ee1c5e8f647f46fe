//! All routes, their document, and what surrounds them.

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodRouter, get};
use medindex_pipeline::Pipeline;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access;
use crate::api::{
    files, health, images, metrics, openapi, operations, recognise, search, status, training, upload,
};
use crate::page;
use crate::problem::{Problem, ProblemKind};
use crate::settings::GatewaySettings;
use crate::state::Gateway;

/// The HTTP API and the page over `pipeline`.
///
/// Every failure under `/api` is a problem of RFC 9457, whatever its cause: unknown routes and methods, wrong input,
/// limits, panics.
pub fn router(pipeline: Pipeline, settings: GatewaySettings) -> Router {
    let (api, document) = api();
    let gateway = Gateway::new(pipeline, settings, &document);
    api.route("/", MethodRouter::new().get(page::show).post(page::search))
        .route("/add", MethodRouter::new().post(page::add))
        .route("/assets/{version}/{name}", get(page::asset))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(gateway.clone(), access::serve))
        .with_state(gateway)
}

/// The routes of the API and the document that describes them, both from the same declarations.
fn api() -> (Router<Gateway>, OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(images::list, upload::upload))
        .routes(routes!(images::details, images::delete))
        .routes(routes!(files::file))
        .routes(routes!(files::preview))
        .routes(routes!(search::search))
        .routes(routes!(recognise::recognise))
        .routes(routes!(training::train))
        .routes(routes!(training::rollback))
        .routes(routes!(status::status))
        .routes(routes!(operations::operations))
        .routes(routes!(operations::alarms))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
        .routes(routes!(openapi::openapi))
        .split_for_parts();
    openapi::add_problems(&mut document);
    (router, document)
}

async fn not_found(State(_): State<Gateway>, OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        format!("there is no route {:?}; the routes are in /api/openapi.json", uri.path()),
    )
}

async fn method_not_allowed(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("{method} is not possible on {:?}; the header Allow says what is", uri.path()),
    )
}
