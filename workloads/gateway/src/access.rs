//! The outermost layer: every request passes here once.
//!
//! It gives the request an id, lets in what [`crate::guard`] allows, turns panics into problems, completes problems
//! with the request's path and id, sets security headers, counts, and writes the access log. The log names the route,
//! never the address as sent: queries, labels and file names are patient data.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use medindex_pipeline::trace;
use tracing::Instrument;
use uuid::Uuid;

use crate::guard;
use crate::page;
use crate::problem::{Problem, ProblemKind};
use crate::state::Gateway;

/// Header with the id of a request, taken over from the client when it is short and plain.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over.
const LONGEST_ID: usize = 64;
/// Nothing may be loaded by what the API answers.
const API_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What is said of a request in log and metrics.
struct Subject {
    method: Method,
    route: String,
    path: String,
    id: String,
    wants_html: bool,
}

/// Serves one request.
pub(crate) async fn serve(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let subject = Subject::of(&request);
    let name = format!("{} {}", subject.method, subject.route);
    let span = tracing::info_span!("request", otel.name = name, otel.kind = "server", id = %subject.id, method = %subject.method, route = %subject.route);
    trace::go_on(&span, &callers_trace(request.headers()));
    let in_flight = gateway.metrics().enter();
    let answer = answer(&gateway, request, next).instrument(span.clone()).await;
    let mut response = complete(answer, &subject);
    drop(in_flight);
    set_headers(response.headers_mut(), &subject);
    gateway.metrics().request(&subject.method, &subject.route, response.status(), started.elapsed());
    span.in_scope(|| log(&subject, &response, started));
    response
}

async fn answer(gateway: &Gateway, request: Request, next: Next) -> Response {
    match guard::check(gateway.settings(), &request) {
        Ok(()) => contained(next.run(request)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Turns a panic into a problem; the panic hook has written its place and message.
async fn contained(answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!("a request panicked");
        let detail = "the request stopped on a fault; it is in the log under the request's id";
        Problem::new(ProblemKind::Internal, detail).into_response()
    })
}

impl Subject {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        let path = request.uri().path();
        let accepts_html = request
            .headers()
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
        Self {
            method: request.method().clone(),
            route: route.to_owned(),
            path: path.to_owned(),
            id: request_id(request.headers()),
            wants_html: accepts_html && !path.starts_with("/api/"),
        }
    }

    fn is_probe(&self) -> bool {
        matches!(self.route.as_str(), "/healthz" | "/readyz" | "/metrics")
    }
}

/// The trace that a client says its request belongs to (W3C Trace Context).
fn callers_trace(headers: &HeaderMap) -> BTreeMap<String, String> {
    let told = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.to_owned())));
    told.collect()
}

fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| (1..=LONGEST_ID).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)))
        .map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned)
}

/// Puts path and id into a problem, as a page for a person and as JSON for a program.
fn complete(response: Response, subject: &Subject) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else { return response };
    let mut complete = if subject.wants_html {
        page::error(problem, &subject.id)
    } else {
        problem.response(Some(subject.path.clone()), Some(subject.id.clone()))
    };
    if let Some(allow) = response.headers().get(header::ALLOW) {
        complete.headers_mut().insert(header::ALLOW, allow.clone());
    }
    complete
}

fn set_headers(headers: &mut HeaderMap, subject: &Subject) {
    if let Ok(id) = HeaderValue::from_str(&subject.id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(API_POLICY);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn log(subject: &Subject, response: &Response, started: Instant) {
    let status = response.status().as_u16();
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    if subject.is_probe() && response.status().is_success() {
        tracing::debug!(status, milliseconds, "answered");
    } else {
        tracing::info!(status, milliseconds, "answered");
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_a_problem_without_its_message() {
        let response = contained(async { panic!("patient 4711") }).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let problem = response.extensions().get::<Problem>().unwrap();
        assert_eq!(problem.kind(), ProblemKind::Internal);
        assert!(!problem.detail().contains("4711"));
    }
}
