//! Reading the parts of a request other than forms, strictly: what is not known is refused by name.

use axum::extract::{FromRequestParts, Query, RawPathParams};
use axum::http::request::Parts;
use medindex_proto::identity::ImageId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::problem::{Problem, ProblemKind};

/// Query parameters of a request. Unknown and repeated ones are refused when `T` denies unknown fields.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

/// For routes without query parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct None {}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri).map(|Query(parameters)| Self(parameters)).map_err(|refused| {
            let reason = refused.body_text();
            let reason = reason.rsplit_once("query string: ").map_or(reason.as_str(), |(_, reason)| reason);
            Problem::bad_request(format!("the query parameters are not valid: {reason}"))
        })
    }
}

/// The `{id}` of a path. What is no id names no image: 404.
#[derive(Debug)]
pub(crate) struct PathId(pub(crate) ImageId);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let parameters = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|refused| Problem::bad_request(refused.body_text()))?;
        let text = parameters.iter().find(|(name, _)| *name == "id").map_or("", |(_, value)| value);
        ImageId::parse(text)
            .map(Self)
            .map_err(|refused| Problem::new(ProblemKind::NotFound, refused.to_string()))
    }
}
