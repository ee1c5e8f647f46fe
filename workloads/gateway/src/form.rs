//! Reading `multipart/form-data` with files, within bounds.
//!
//! Guarantees: a file over the limit is refused while it arrives, not after; fields that a route does not know are
//! refused by name; a client that falls silent or sends drop by drop is given up. Several files of one request count together against
//! the limit on one file, so that a request never takes more memory than its largest file may.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};

use crate::admission::Admitted;
use crate::problem::{Problem, ProblemKind};
use crate::state::Gateway;

/// Room in a request for everything but the files' contents.
const OVERHEAD: u64 = 1 << 20;
/// Longest text of a field, in bytes.
const LONGEST_TEXT: usize = 8 << 10;
/// Longest file name that is kept, in characters.
const LONGEST_NAME: usize = 255;

/// What a form may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FormShape {
    /// How many parts named `file`.
    pub(crate) files: usize,
    /// Names of the text fields.
    pub(crate) fields: &'static [&'static str],
}

/// One file of a form.
#[derive(Debug, Clone)]
pub(crate) struct FormFile {
    /// Name without folders and control characters.
    pub(crate) name: String,
    /// Content.
    pub(crate) bytes: Bytes,
}

/// A form that was read.
#[derive(Debug)]
pub(crate) struct Form {
    /// Files in their order.
    pub(crate) files: Vec<FormFile>,
    fields: BTreeMap<&'static str, String>,
    /// Right to hold the files in memory; keep it until they are dropped.
    pub(crate) admitted: Admitted,
}

impl Form {
    /// Text of a field; `None` when it is missing or blank.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// The file of a form that must have exactly one.
    pub(crate) fn only_file(&self) -> Result<FormFile, Problem> {
        self.files.first().cloned().ok_or_else(missing_file)
    }
}

/// The problem of a form without a file.
pub(crate) fn missing_file() -> Problem {
    Problem::bad_request("the form has no file: send the image as a part named \"file\"")
}

/// Reads the form in the body of `request`.
pub(crate) async fn read_form(
    gateway: &Gateway,
    request: Request,
    shape: FormShape,
) -> Result<Form, Problem> {
    check_content_type(request.headers())?;
    let limit = gateway.pipeline().settings().limits.max_file_bytes;
    check_content_length(request.headers(), limit)?;
    let admitted = gateway.admission().enter()?;
    let mut multipart = open(request, limit).await?;
    let pace = Pace { gateway, since: Instant::now(), received: 0 };
    let mut reader = Reader { pace, shape, limit, left: limit, form: Form::new(admitted) };
    while let Some(field) = reader.in_time(multipart.next_field()).await? {
        reader.read(field).await?;
    }
    Ok(reader.form)
}

impl Form {
    fn new(admitted: Admitted) -> Self {
        Self { files: Vec::new(), fields: BTreeMap::new(), admitted }
    }
}

/// How fast a body comes.
struct Pace<'a> {
    gateway: &'a Gateway,
    since: Instant,
    received: u64,
}

impl Pace<'_> {
    /// How long the next part may take.
    fn patience(&self) -> Duration {
        let settings = self.gateway.settings();
        let allowed =
            settings.body_idle.saturating_add(Duration::from_secs(self.received / settings.body_pace.max(1)));
        settings.body_idle.min(allowed.saturating_sub(self.since.elapsed()))
    }
}

/// Reads one form, field by field.
struct Reader<'a> {
    pace: Pace<'a>,
    shape: FormShape,
    limit: u64,
    left: u64,
    form: Form,
}

impl Reader<'_> {
    async fn read(&mut self, field: Field<'_>) -> Result<(), Problem> {
        let name = field.name().unwrap_or_default().to_owned();
        if name == "file" && self.shape.files > 0 {
            return self.read_file(field).await;
        }
        let Some(known) = self.shape.fields.iter().find(|known| **known == name) else {
            let known = self.shape.fields.join(", ");
            return Err(Problem::bad_request(format!(
                "the form has a field {name:?} that is not known here; known are file{}{known}",
                if known.is_empty() { "" } else { ", " }
            )));
        };
        let text = self.read_text(known, field).await?;
        if self.form.fields.insert(known, text).is_some() {
            return Err(Problem::bad_request(format!("the form has the field {known:?} twice")));
        }
        Ok(())
    }

    async fn read_file(&mut self, mut field: Field<'_>) -> Result<(), Problem> {
        let name = file_name(field.file_name());
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.in_time(field.chunk()).await? {
            self.pace.received += chunk.len() as u64;
            self.left = self.left.checked_sub(chunk.len() as u64).ok_or_else(|| too_large(self.limit))?;
            self.form.admitted.grow(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        if name.is_empty() && bytes.is_empty() {
            return Ok(()); // What a browser sends for a file input that was left alone.
        }
        if self.form.files.len() == self.shape.files {
            return Err(Problem::bad_request(format!(
                "the form has more than {} file(s); send them in several requests",
                self.shape.files
            )));
        }
        let name = if name.is_empty() { "unnamed".to_owned() } else { name };
        self.form.files.push(FormFile { name, bytes: bytes.freeze() });
        Ok(())
    }

    async fn read_text(&mut self, name: &str, mut field: Field<'_>) -> Result<String, Problem> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.in_time(field.chunk()).await? {
            self.pace.received += chunk.len() as u64;
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST_TEXT {
                return Err(Problem::bad_request(format!(
                    "the field {name:?} is longer than {LONGEST_TEXT} bytes"
                )));
            }
        }
        String::from_utf8(bytes)
            .map_err(|_| Problem::bad_request(format!("the field {name:?} is not UTF-8 text")))
    }

    async fn in_time<T>(
        &self,
        part: impl Future<Output = Result<T, axum::extract::multipart::MultipartError>>,
    ) -> Result<T, Problem> {
        match timeout(self.pace.patience(), part).await {
            Ok(Ok(part)) => Ok(part),
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large(self.limit)),
            Ok(Err(error)) => {
                Err(Problem::bad_request(format!("the form cannot be read: {}", error.body_text())))
            }
            Err(_) => Err(silent(self.pace.gateway)),
        }
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if media_type(content_type) == "multipart/form-data" {
        return Ok(());
    }
    Err(unsupported(content_type, "multipart/form-data"))
}

/// The problem of a body in another type than is read.
pub(crate) fn unsupported(content_type: &str, wanted: &str) -> Problem {
    let found = if content_type.is_empty() { "none".to_owned() } else { format!("{content_type:?}") };
    Problem::new(
        ProblemKind::UnsupportedMediaType,
        format!("the content type is {found}; send the request as {wanted}"),
    )
}

/// A content type without its parameters, in lower case.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn check_content_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    match length {
        Some(length) if length > limit.saturating_add(OVERHEAD) => Err(too_large(limit)),
        _ => Ok(()),
    }
}

async fn open(mut request: Request<Body>, limit: u64) -> Result<Multipart, Problem> {
    let whole = usize::try_from(limit.saturating_add(OVERHEAD)).unwrap_or(usize::MAX);
    DefaultBodyLimit::max(whole).apply(&mut request);
    Multipart::from_request(request, &())
        .await
        .map_err(|refused| Problem::bad_request(format!("the form cannot be read: {}", refused.body_text())))
}

fn too_large(limit: u64) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        format!("the files of the request have more than {limit} bytes together (setting max_file_bytes)"),
    )
}

/// The problem of a client that stopped sending, or nearly.
pub(crate) fn silent(gateway: &Gateway) -> Problem {
    let seconds = gateway.settings().body_idle.as_secs();
    Problem::new(
        ProblemKind::RequestTimeout,
        format!(
            "nothing more of the body came for {seconds} s, or it comes more slowly than {} bytes a second; send it again",
            gateway.settings().body_pace
        ),
    )
}

/// The last part of a file's path, without control characters.
fn file_name(sent: Option<&str>) -> String {
    let sent = sent.unwrap_or_default();
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars()
        .filter(|character| !character.is_control())
        .take(LONGEST_NAME)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_lose_folders_and_control_characters() {
        assert_eq!(file_name(Some("C:\\scans\\a\r\nb.dcm")), "ab.dcm");
        assert_eq!(file_name(Some("../../etc/passwd")), "passwd");
        assert_eq!(file_name(None), "");
        assert_eq!(file_name(Some(&"x".repeat(300))).len(), LONGEST_NAME);
    }

    #[test]
    fn media_types_are_compared_without_parameters() {
        assert_eq!(media_type("Multipart/Form-Data; boundary=x"), "multipart/form-data");
    }
}
