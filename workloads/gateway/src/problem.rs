//! Problem details (RFC 9457): the one shape of every error under `/api`, `/healthz`, `/readyz` and `/metrics`.
//!
//! A handler returns a [`Problem`]; the outermost layer ([`crate::access`]) adds the request's path and id. The text
//! of a problem comes from the error that caused it; causes further down go to the log, never to the caller.

use std::error::Error;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use medindex_pipeline::{Classified, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a refused caller may try again.
const RETRY_AFTER_SECONDS: u32 = 2;

/// What kind of problem: gives its type, title and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    BadRequest,
    CrossSite,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    WrongHost,
    UnprocessableImage,
    Internal,
    Unavailable,
    Overloaded,
    Timeout,
}

impl ProblemKind {
    /// Every kind, in the order of their statuses.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::CrossSite,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::WrongHost,
        Self::UnprocessableImage,
        Self::Internal,
        Self::Unavailable,
        Self::Overloaded,
        Self::Timeout,
    ];

    /// Last part of the `type`, stable, title and status.
    fn parts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::BadRequest => ("bad-request", "The request is not valid", StatusCode::BAD_REQUEST),
            Self::CrossSite => ("cross-site", "Other sites may not do this", StatusCode::FORBIDDEN),
            Self::NotFound => ("not-found", "There is nothing here", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => {
                ("method-not-allowed", "The method is not allowed here", StatusCode::METHOD_NOT_ALLOWED)
            }
            Self::RequestTimeout => {
                ("request-timeout", "The request came too slowly", StatusCode::REQUEST_TIMEOUT)
            }
            Self::Conflict => ("conflict", "Not possible at this moment", StatusCode::CONFLICT),
            Self::TooLarge => ("too-large", "Larger than a limit", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => {
                ("unsupported-media-type", "The content type is not read", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::WrongHost => ("wrong-host", "The host is not served here", StatusCode::MISDIRECTED_REQUEST),
            Self::UnprocessableImage => {
                ("unprocessable-image", "The image cannot be read", StatusCode::UNPROCESSABLE_ENTITY)
            }
            Self::Internal => ("internal", "Something failed inside", StatusCode::INTERNAL_SERVER_ERROR),
            Self::Unavailable => ("unavailable", "Not available now", StatusCode::SERVICE_UNAVAILABLE),
            Self::Overloaded => ("overloaded", "Too busy", StatusCode::SERVICE_UNAVAILABLE),
            Self::Timeout => ("timeout", "It took too long", StatusCode::GATEWAY_TIMEOUT),
        }
    }

    /// The `type` of the problem: a name that does not change, documented in docs/http-api.md.
    pub(crate) fn type_uri(self) -> String {
        format!("urn:medindex:problem:{}", self.parts().0)
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> StatusCode {
        self.parts().2
    }

    /// The title, the same for every problem of the kind.
    pub(crate) fn title(self) -> &'static str {
        self.parts().1
    }
}

/// A failure on its way to the caller.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: ProblemKind,
    detail: String,
}

/// The JSON form of a problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemDetails {
    /// Kind of problem, such as `urn:medindex:problem:not-found`; it does not change between releases.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong and what to do.
    pub(crate) detail: String,
    /// Path of the request that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    /// Id of the request, as in the header `x-request-id` and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::BadRequest, detail)
    }

    /// The problem that an error of the flows is; faults are logged with all their causes.
    pub(crate) fn from_flow(error: &impl Classified) -> Self {
        let kind = match error.kind() {
            ErrorKind::BadRequest => ProblemKind::BadRequest,
            ErrorKind::NotFound => ProblemKind::NotFound,
            ErrorKind::TooLarge => ProblemKind::TooLarge,
            ErrorKind::Unprocessable => ProblemKind::UnprocessableImage,
            ErrorKind::Conflict => ProblemKind::Conflict,
            ErrorKind::Unavailable => ProblemKind::Unavailable,
            ErrorKind::Internal => ProblemKind::Internal,
        };
        if matches!(kind, ProblemKind::Internal | ProblemKind::Unavailable) {
            tracing::error!(causes = %chain(error), "a request failed");
        }
        Self::new(kind, error.to_string())
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// The JSON form, for a request with this path and id.
    pub(crate) fn details(&self, instance: Option<String>, request_id: Option<String>) -> ProblemDetails {
        ProblemDetails {
            kind: self.kind.type_uri(),
            title: self.kind.title(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
            instance,
            request_id,
        }
    }

    /// The answer to a request with this path and id.
    pub(crate) fn response(&self, instance: Option<String>, request_id: Option<String>) -> Response {
        let body = serde_json::to_vec(&self.details(instance, request_id)).unwrap_or_default();
        let mut response = (self.status(), [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        self.add_retry_after(&mut response);
        response
    }

    /// Tells when to come back, where coming back can help.
    pub(crate) fn add_retry_after(&self, response: &mut Response) {
        if matches!(self.kind, ProblemKind::Unavailable | ProblemKind::Overloaded | ProblemKind::Timeout) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
    }
}

impl IntoResponse for Problem {
    /// The answer without the request's path and id; [`crate::access`] puts them in.
    fn into_response(self) -> Response {
        let mut response = self.response(None, None);
        response.extensions_mut().insert(self);
        response
    }
}

/// An error with its causes, for the log.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_its_own_type() {
        let types: BTreeSet<String> = ProblemKind::ALL.into_iter().map(ProblemKind::type_uri).collect();
        assert_eq!(types.len(), ProblemKind::ALL.len());
    }

    #[test]
    fn a_busy_gateway_says_when_to_come_back() {
        let response = Problem::new(ProblemKind::Overloaded, "busy").into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
    }
}
