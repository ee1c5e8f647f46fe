//! The page at `/`: search by example in a browser, rendered here and usable without a script.
//!
//! `GET /?id=…` searches from a stored image, so that every search of the kind has an address; `POST /` takes a file,
//! which is not stored; `POST /add` adds files to the index. The script adds dropping of files, progress, and drawing of
//! a region; nothing depends on it.

mod assets;
mod choices;
mod layout;
mod query_image;
mod query_view;
mod result_view;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::Markup;
use medindex_pipeline::{ImageDetails, ImageStatus, ListRequest, Query, SearchResponse, Status};

use crate::api::search::run;
use crate::api::upload::{UploadResult, accept_all};
use crate::extract::{None as NoParameters, Parameters};
use crate::form::{Form, FormShape, read_form};
use crate::page::choices::Choices;
use crate::page::query_image::QueryImage;
use crate::problem::Problem;
use crate::search_options::image_id;
use crate::state::Gateway;

/// Only what this server embeds is loaded; previews of uploaded images are data addresses.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// Recent images to start from.
const RECENT: usize = 24;

/// What the page shows.
struct View {
    status: Status,
    choices: Choices,
    query: Option<QueryImage>,
    outcome: Outcome,
}

/// What the larger part of the page shows.
enum Outcome {
    /// Images to start from.
    Recent(Vec<ImageDetails>),
    /// The nearest images.
    Found(Box<SearchResponse>),
    /// Why there is no answer.
    Refused(Problem),
    /// What became of added files.
    Added(Vec<UploadResult>),
}

impl Outcome {
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(problem) => problem.status(),
            _ => StatusCode::OK,
        }
    }
}

/// Recent images, or the neighbours of the image that the address names.
pub(crate) async fn show(
    State(gateway): State<Gateway>,
    Parameters(choices): Parameters<Choices>,
) -> Result<Response, Problem> {
    if choices.id().is_none() {
        let outcome = Outcome::Recent(recent(&gateway).await?);
        return respond(&gateway, choices, None, outcome).await;
    }
    match search_stored(&gateway, &choices).await {
        Ok((query, found)) => respond(&gateway, choices, Some(query), Outcome::Found(Box::new(found))).await,
        Err(problem) => respond(&gateway, choices, None, Outcome::Refused(problem)).await,
    }
}

async fn search_stored(
    gateway: &Gateway,
    choices: &Choices,
) -> Result<(QueryImage, SearchResponse), Problem> {
    let id = image_id(choices.id().unwrap_or_default())?;
    let details = gateway.within(gateway.pipeline().image(&id)).await?;
    let request = choices.options()?.request(Query::Stored(id));
    let found = run(gateway, request).await?;
    Ok((QueryImage::stored(&details, choices), found))
}

/// The neighbours of an uploaded file. Without a file, the search from a stored image moves to its own address.
pub(crate) async fn search(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let shape = FormShape { files: 1, fields: &Choices::FIELDS };
    let form = match read_form(&gateway, request, shape).await {
        Ok(form) => form,
        Err(problem) => return respond(&gateway, Choices::default(), None, Outcome::Refused(problem)).await,
    };
    let choices = Choices::from_form(&form);
    if form.files.is_empty() {
        if choices.id().is_some() {
            return Ok(Redirect::to(&choices.address()).into_response());
        }
        let problem = Problem::bad_request("Choose an image first: drop one on the page, or pick a file.");
        return respond(&gateway, choices, None, Outcome::Refused(problem)).await;
    }
    let choices = choices.without_id();
    match search_file(&gateway, &form, &choices).await {
        Ok((query, found)) => respond(&gateway, choices, Some(query), Outcome::Found(Box::new(found))).await,
        Err(problem) => respond(&gateway, choices, None, Outcome::Refused(problem)).await,
    }
}

async fn search_file(
    gateway: &Gateway,
    form: &Form,
    choices: &Choices,
) -> Result<(QueryImage, SearchResponse), Problem> {
    let file = form.only_file()?;
    let query = Query::File { name: file.name.clone(), bytes: file.bytes.clone() };
    let found = run(gateway, choices.options()?.request(query)).await?;
    Ok((QueryImage::uploaded(gateway, file, choices).await?, found))
}

/// Adds files to the index.
pub(crate) async fn add(
    State(gateway): State<Gateway>,
    Parameters(NoParameters {}): Parameters<NoParameters>,
    request: Request,
) -> Result<Response, Problem> {
    let shape = FormShape { files: gateway.settings().files_per_upload, fields: &["label"] };
    let outcome = match read_form(&gateway, request, shape).await {
        Ok(form) if form.files.is_empty() => {
            Outcome::Refused(Problem::bad_request("Choose the files to add first."))
        }
        Ok(mut form) => {
            let label = form.text("label").map(ToOwned::to_owned);
            let files = std::mem::take(&mut form.files);
            Outcome::Added(accept_all(&gateway, files, label).await)
        }
        Err(problem) => Outcome::Refused(problem),
    };
    respond(&gateway, Choices::default(), None, outcome).await
}

/// Style, script and icon; their addresses change with their content.
pub(crate) async fn asset(Path((version, name)): Path<(String, String)>) -> Result<Response, Problem> {
    assets::find(&version, &name)
}

/// A problem as a page of its own.
pub(crate) fn error(problem: &Problem, request_id: &str) -> Response {
    let mut response = html(problem.status(), layout::error(problem, request_id));
    problem.add_retry_after(&mut response);
    response
}

async fn recent(gateway: &Gateway) -> Result<Vec<ImageDetails>, Problem> {
    let wanted = ListRequest { limit: RECENT, after: None, status: Some(ImageStatus::Indexed) };
    gateway.within(gateway.pipeline().list(&wanted)).await.map(|page| page.images)
}

async fn respond(
    gateway: &Gateway,
    choices: Choices,
    query: Option<QueryImage>,
    outcome: Outcome,
) -> Result<Response, Problem> {
    let status = gateway.within(gateway.pipeline().status()).await?;
    let code = outcome.status();
    Ok(html(code, layout::page(&View { status, choices, query, outcome })))
}

fn html(status: StatusCode, markup: Markup) -> Response {
    let mut response = (status, markup).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response
}
