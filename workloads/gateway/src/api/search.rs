//! `POST /api/v1/search`: the images most like an example.

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header;
use bytes::Bytes;
use medindex_pipeline::{Query, SearchRequest, SearchResponse};
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::api::schemas;
use crate::extract::{None as NoParameters, Parameters};
use crate::form::{FormShape, media_type, read_form, silent, unsupported};
use crate::problem::{Problem, ProblemKind};
use crate::search_options::{FIELDS, SearchById, SearchOptions, image_id};
use crate::state::Gateway;

/// Longest JSON body in bytes.
const LONGEST_JSON: usize = 64 << 10;

/// A search as a form: `file` or `id`, and how to narrow it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only describes the form")]
pub(crate) struct SearchForm {
    /// Image file to search with; it is not stored.
    #[schema(value_type = Option<String>, format = Binary, content_media_type = "application/octet-stream")]
    file: Option<Vec<u8>>,
    /// Stored image to search from.
    #[schema(format = "uuid")]
    id: Option<String>,
    /// How many results; 10 when absent.
    #[schema(minimum = 1)]
    k: Option<usize>,
    /// Only images that match, such as `modality=CT,body_part=CHEST|HEAD` (comma: and, bar: any of).
    filter: Option<String>,
    /// At most one result for each `image` (default), `study` or `patient`; `none`: every frame counts.
    group_by: Option<String>,
    /// Only this box of the image counts: `x,y,width,height` in pixels.
    roi: Option<String>,
    /// Grey window of the query image: `lung`, `mediastinum`, `bone`, `brain`, `soft_tissue`, `liver`, `file`,
    /// `full`, or `CENTER,WIDTH`.
    window: Option<String>,
    /// Frame of the query image, from 0; the middle one when absent.
    frame: Option<u32>,
    /// Compare with every stored vector instead of scanning codes.
    exact: Option<bool>,
    /// Tell how the answer was found.
    explain: Option<bool>,
    /// Lists to probe; chosen by the size of the index when absent.
    #[schema(minimum = 1)]
    probes: Option<usize>,
    /// Fail rather than answer without a part of the index.
    whole: Option<bool>,
}

/// Finds the images most like an example, nearest first.
///
/// The example is a file (as a form) or a stored image (as a form or as JSON).
#[utoipa::path(
    post,
    path = "/api/v1/search",
    tag = "search",
    request_body(content((SearchForm = "multipart/form-data"), (SearchById = "application/json"))),
    responses((status = 200, description = "The nearest images, nearest first.", body = schemas::SearchResponse))
)]
pub(crate) async fn search(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    request: Request,
) -> Result<Json<SearchResponse>, Problem> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    match media_type(&content_type).as_str() {
        "multipart/form-data" => search_by_form(&gateway, request).await.map(Json),
        "application/json" => search_by_json(&gateway, request.into_body()).await.map(Json),
        _ => Err(unsupported(&content_type, "multipart/form-data or application/json")),
    }
}

async fn search_by_form(gateway: &Gateway, request: Request) -> Result<SearchResponse, Problem> {
    let form = read_form(gateway, request, FormShape { files: 1, fields: &FIELDS }).await?;
    let options = SearchOptions::from_text(|name| form.text(name))?;
    let query = match (form.files.first(), form.text("id")) {
        (Some(file), None) => Query::File { name: file.name.clone(), bytes: file.bytes.clone() },
        (None, Some(id)) => Query::Stored(image_id(id)?),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("the form has both file and id; send one of them"));
        }
        (None, None) => {
            return Err(Problem::bad_request("the form has neither file nor id; send one of them"));
        }
    };
    run(gateway, options.request(query)).await
}

async fn search_by_json(gateway: &Gateway, body: Body) -> Result<SearchResponse, Problem> {
    let body = read_json(gateway, body).await?;
    let search: SearchById = serde_json::from_slice(&body).map_err(|error| {
        Problem::bad_request(format!("the JSON body is not valid: {}", in_plain_words(&error)))
    })?;
    let options = SearchOptions::from_json(&search)?;
    run(gateway, options.request(Query::Stored(image_id(&search.id)?))).await
}

/// What is wrong with a JSON body, without the names that types have in this program.
fn in_plain_words(error: &serde_json::Error) -> String {
    const NAMES: [(&str, &str); 6] = [
        ("struct SearchById", "an object like {\"id\":\"…\",\"k\":10}"),
        ("struct Roi", "an object with x, y, width and height"),
        ("usize", "a whole number of at least 0"),
        ("u32", "a whole number of at least 0"),
        ("a boolean", "true or false"),
        ("a string", "a text"),
    ];
    let text = error.to_string();
    let Some((found, expected)) = text.split_once(", expected ") else { return text };
    let (name, plain) = NAMES.into_iter().find(|(name, _)| expected.starts_with(name)).unwrap_or_default();
    let rest = &expected[name.len()..];
    // A list where an object was expected is told with the number of its fields.
    let rest = rest.split_once(" elements").map_or(rest, |(_, rest)| rest);
    format!("{found}, expected {plain}{rest}")
}

async fn read_json(gateway: &Gateway, body: Body) -> Result<Bytes, Problem> {
    match timeout(gateway.settings().body_idle, to_bytes(body, LONGEST_JSON)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(Problem::new(
            ProblemKind::TooLarge,
            format!("the JSON body has more than {LONGEST_JSON} bytes"),
        )),
        Err(_) => Err(silent(gateway)),
    }
}

/// Searches and counts.
pub(crate) async fn run(gateway: &Gateway, request: SearchRequest) -> Result<SearchResponse, Problem> {
    let stored = matches!(request.query, Query::Stored(_));
    let answer = gateway.within(gateway.pipeline().search(request)).await;
    gateway.metrics().search(stored, answer.as_ref().ok().map(|answer| answer.took_ms));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_body_is_refused_in_plain_words() {
        for (body, words) in [
            ("[]", "expected an object like"),
            ("7", "expected an object like"),
            (r#"{"id":"x","k":-1}"#, "expected a whole number of at least 0"),
            (r#"{"id":"x","roi":[1]}"#, "expected an object with x, y, width and height"),
            (r#"{"id":7}"#, "expected a text"),
            (r#"{"id":"x","exact":1}"#, "expected true or false"),
            (r#"{"id":"x","colour":1}"#, "unknown field `colour`"),
        ] {
            let error = serde_json::from_str::<SearchById>(body).err();
            let told = error.map(|error| in_plain_words(&error)).unwrap_or_default();
            assert!(told.contains(words), "{body}: {told}");
            let names = ["struct", "usize", "u32", "elements", "SearchById"];
            assert!(names.iter().all(|name| !told.contains(name)), "{body}: {told}");
        }
    }
}
