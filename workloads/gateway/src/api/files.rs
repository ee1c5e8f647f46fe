//! The file of an image and its preview.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use medindex_pipeline::{ImageDetails, PreviewRequest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::extract::{None as NoParameters, Parameters, PathId};
use crate::problem::Problem;
use crate::search_options::window;
use crate::state::Gateway;

/// Longest edge of a preview in pixels when nothing else is asked for.
const DEFAULT_SIZE: u32 = 512;
/// Previews are patient data: only the person's own browser may keep them, and not for long.
const PREVIEW_CACHE: &str = "private, max-age=300";

/// How a preview is drawn.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PreviewParameters {
    /// Grey window: `lung`, `mediastinum`, `bone`, `brain`, `soft_tissue`, `liver`, `file`, `full`, or `CENTER,WIDTH`.
    window: Option<String>,
    /// Frame, from 0; the middle one when absent.
    frame: Option<u32>,
    /// Longest edge in pixels; 512 when absent. Smaller images are not enlarged.
    #[param(minimum = 1, maximum = 4096)]
    size: Option<u32>,
}

/// The file as it was uploaded, to be saved.
#[utoipa::path(
    get,
    path = "/api/v1/images/{id}/file",
    tag = "images",
    params(("id" = String, Path, description = "Id of the image.", format = "uuid")),
    responses((status = 200, description = "The file, in its own media type.", body = Vec<u8>,
               content_type = "application/octet-stream"))
)]
pub(crate) async fn file(
    State(gateway): State<Gateway>,
    PathId(id): PathId,
    Parameters(NoParameters {}): Parameters<NoParameters>,
) -> Result<Response, Problem> {
    let (details, bytes) = gateway.within(gateway.pipeline().file(&id)).await?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(&details));
    headers.insert(header::CONTENT_DISPOSITION, disposition(&details.name));
    Ok(response)
}

/// The image as a PNG for the screen.
#[utoipa::path(
    get,
    path = "/api/v1/images/{id}/preview.png",
    tag = "images",
    params(("id" = String, Path, description = "Id of the image.", format = "uuid"), PreviewParameters),
    responses((status = 200, description = "The preview.", body = Vec<u8>, content_type = "image/png"))
)]
pub(crate) async fn preview(
    State(gateway): State<Gateway>,
    PathId(id): PathId,
    Parameters(parameters): Parameters<PreviewParameters>,
) -> Result<Response, Problem> {
    let max_edge = parameters.size.unwrap_or(DEFAULT_SIZE);
    let window = parameters.window.as_deref().map(window).transpose()?;
    let wanted = PreviewRequest { window, frame: parameters.frame, max_edge };
    let png = gateway.within(gateway.pipeline().preview(&id, wanted)).await?;
    Ok(([(header::CONTENT_TYPE, "image/png"), (header::CACHE_CONTROL, PREVIEW_CACHE)], png).into_response())
}

fn content_type(details: &ImageDetails) -> HeaderValue {
    HeaderValue::from_str(&details.content_type)
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// What the exact name of a file escapes.
const NOT_IN_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// `Content-Disposition` that saves a file under `name` (RFC 6266): a plain form with what is not safe replaced, and
/// the exact name percent-encoded (RFC 8187).
fn disposition(name: &str) -> HeaderValue {
    let plain: String =
        name.chars().map(|character| if is_plain(character) { character } else { '_' }).collect();
    let exact = utf8_percent_encode(name, NOT_IN_NAME);
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_. ()".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_headers_or_parameters() {
        let value = disposition("a\"; filename=b\r\nSet-Cookie: x=1");
        let text = value.to_str().unwrap();
        assert!(!text.contains(['\r', '\n']), "{text}");
        assert_eq!(text.matches('"').count(), 2, "{text}");
        assert_eq!(text.matches(';').count(), 2, "{text}");
    }

    #[test]
    fn a_name_in_any_language_survives() {
        let value = disposition("Schädel.dcm");
        assert_eq!(
            value.to_str().unwrap(),
            "attachment; filename=\"Sch_del.dcm\"; filename*=UTF-8''Sch%C3%A4del.dcm"
        );
    }
}
