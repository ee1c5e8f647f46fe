//! A client of the HTTP API of `medindex serve`, for data folders that a server has open.
//!
//! Assumes a server of the same version. Problem details (RFC 9457) become one-line failures with the same exit codes as the same
//! fault has without a server. Plain HTTP only: over a network, use it through a tunnel.

use std::path::PathBuf;
use std::time::Duration;

use medindex_imaging::Limits;
use medindex_pipeline::DeleteError;
use medindex_proto::identity::ImageId;
use medindex_sources::file_name;
use serde::{Deserialize, Serialize};
use ureq::http::Response;
use ureq::unversioned::multipart::{Form, Part};
use ureq::{Agent, Body};

use super::local::{of_file, read_image};
use super::{Example, Question};
use crate::commands::{from_json, to_json};
use crate::failure::{Code, Failure, describe};

/// Largest answer that is read.
const LONGEST_ANSWER: u64 = 256 << 20;

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    agent: Agent,
    url: String,
    limits: Limits,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    detail: String,
}

#[derive(Deserialize)]
struct Page {
    images: Vec<PageImage>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct PageImage {
    id: String,
    patient_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Deleted {
    ids: Vec<String>,
}

impl Remote {
    /// The server at `url`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// When the URL is not a plain HTTP address.
    pub(crate) fn new(url: &str, limits: Limits) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        if let Some(wrong) = what_is_wrong(&url) {
            return Err(Failure::usage(format!("--server (MEDINDEX_SERVER) '{url}' {wrong}")));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        Ok(Self { agent, url, limits })
    }

    /// Runs a request on a blocking thread.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let remote = self.clone();
        tokio::task::spawn_blocking(move || work(&remote))
            .await
            .map_err(|error| Failure::caused_by(Code::Other, "a request failed", &error))?
    }

    pub(crate) async fn get(&self, path: &'static str) -> Result<String, Failure> {
        self.blocking(move |remote| remote.get_now(path)).await
    }

    pub(crate) async fn post(&self, path: &'static str) -> Result<String, Failure> {
        self.blocking(move |remote| remote.answer(remote.agent.post(remote.address(path)).send_empty())).await
    }

    pub(crate) async fn search(&self, question: &Question) -> Result<String, Failure> {
        let question = question.clone();
        self.blocking(move |remote| remote.search_now(&question)).await
    }

    pub(crate) async fn recognise(&self, file: PathBuf) -> Result<String, Failure> {
        self.blocking(move |remote| {
            let (bytes, name) = (read_image(&file, &remote.limits)?, plain_name(&file_name(&file)));
            let form = Form::new().part("file", Part::bytes(&bytes).file_name(&name));
            remote.send_form("/api/v1/recognise", form).map_err(|failure| of_file(&file, &failure))
        })
        .await
    }

    pub(crate) async fn delete(&self, id: &ImageId) -> Result<String, Failure> {
        let path = format!("/api/v1/images/{id}");
        self.blocking(move |remote| remote.delete_now(&path)).await
    }

    /// Deletes the images of a patient one after the other: the API has no route for a patient.
    pub(crate) async fn delete_patient(&self, patient: &str) -> Result<String, Failure> {
        let patient = patient.to_owned();
        self.blocking(move |remote| {
            let ids = remote.images_of_patient(&patient)?;
            if ids.is_empty() {
                let unknown = DeleteError::FindPatient(patient);
                return Err(Failure::new(Code::NotFound, unknown.to_string()));
            }
            let mut deleted = Deleted { ids: Vec::new() };
            for id in ids {
                let one: Deleted = from_json(&remote.delete_now(&format!("/api/v1/images/{id}"))?)?;
                deleted.ids.extend(one.ids);
            }
            to_json(&deleted)
        })
        .await
    }

    /// Uploads a file, and answers with what the server says of it.
    pub(crate) fn upload(&self, name: &str, label: Option<&str>, bytes: &[u8]) -> Result<String, Failure> {
        let name = plain_name(name);
        let mut form = Form::new().part("file", Part::bytes(bytes).file_name(&name));
        if let Some(label) = label {
            form = form.text("label", label);
        }
        self.send_form("/api/v1/images", form)
    }

    pub(crate) fn get_now(&self, path: &str) -> Result<String, Failure> {
        self.answer(self.agent.get(self.address(path)).call())
    }

    fn delete_now(&self, path: &str) -> Result<String, Failure> {
        self.answer(self.agent.delete(self.address(path)).call())
    }

    fn images_of_patient(&self, patient: &str) -> Result<Vec<String>, Failure> {
        let mut ids = Vec::new();
        let mut path = "/api/v1/images?limit=1000".to_owned();
        loop {
            let page: Page = from_json(&self.get_now(&path)?)?;
            let theirs = page.images.into_iter().filter(|image| image.patient_id.as_deref() == Some(patient));
            ids.extend(theirs.map(|image| image.id));
            let Some(next) = page.next else { return Ok(ids) };
            path = format!("/api/v1/images?limit=1000&after={next}");
        }
    }

    fn search_now(&self, question: &Question) -> Result<String, Failure> {
        let fields = search_fields(question);
        let mut form = Form::new();
        for (name, value) in &fields {
            form = form.text(name, value);
        }
        match &question.example {
            Example::Stored(_) => self.send_form("/api/v1/search", form),
            Example::File(path) => {
                let (bytes, name) = (read_image(path, &self.limits)?, plain_name(&file_name(path)));
                let form = form.part("file", Part::bytes(&bytes).file_name(&name));
                self.send_form("/api/v1/search", form).map_err(|failure| question.named(failure))
            }
        }
    }

    fn send_form(&self, path: &str, form: Form<'_>) -> Result<String, Failure> {
        self.answer(self.agent.post(self.address(path)).send(form))
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The text of a good answer; a problem or a missing server as a failure.
    fn answer(&self, outcome: Result<Response<Body>, ureq::Error>) -> Result<String, Failure> {
        let unreachable = |error: &ureq::Error| {
            let message = format!(
                "no answer from {}: {}; is `medindex serve` running there?",
                self.url,
                describe(error)
            );
            Failure::new(Code::Unavailable, message)
        };
        let mut response = outcome.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string();
        let text = text.map_err(|error| unreachable(&error))?;
        if status.is_success() {
            return Ok(text);
        }
        let Ok(problem) = serde_json::from_str::<Problem>(&text) else {
            let message =
                format!("{} answered {status} and no problem details; is it `medindex serve`?", self.url);
            return Err(Failure::new(Code::Unavailable, message));
        };
        let message = if problem.detail.is_empty() { problem.title } else { problem.detail };
        Err(Failure::new(code_of_problem(&problem.kind), message))
    }
}

/// Why a text is not the address of a server; `None` when it is one.
fn what_is_wrong(url: &str) -> Option<&'static str> {
    const NO_ADDRESS: &str = "is not an address like http://127.0.0.1:8080";
    if url.starts_with("https:") {
        return Some(
            "is HTTPS, and `medindex serve` speaks plain HTTP: write http://, through a tunnel between machines",
        );
    }
    let Some(rest) = url.strip_prefix("http://") else { return Some(NO_ADDRESS) };
    if rest.contains(['/', '?', '#']) {
        return Some("has more than host and port: write it like http://127.0.0.1:8080");
    }
    let is_address = url.parse::<ureq::http::Uri>().is_ok_and(|uri| {
        let port_fits = uri.authority().is_some_and(|authority| {
            authority.port().is_some()
                || !authority.as_str().rsplit(']').next().unwrap_or_default().contains(':')
        });
        port_fits && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_address { None } else { Some(NO_ADDRESS) }
}

/// Exit code of a kind of problem; the kinds are documented in docs/http-api.md.
fn code_of_problem(kind: &str) -> Code {
    match kind.trim_start_matches("urn:medindex:problem:") {
        "not-found" => Code::NotFound,
        "bad-request" | "conflict" | "too-large" | "unsupported-media-type" | "unprocessable-image" => {
            Code::Refused
        }
        "internal" => Code::Storage,
        "unavailable" | "overloaded" | "timeout" | "request-timeout" => Code::Unavailable,
        _ => Code::Other,
    }
}

fn search_fields(question: &Question) -> Vec<(&'static str, String)> {
    let mut fields = vec![("k", question.k.to_string()), ("group_by", question.group_by.clone())];
    if let Example::Stored(id) = &question.example {
        fields.push(("id", id.to_string()));
    }
    if !question.filter.is_empty() {
        fields.push(("filter", question.filter.clone()));
    }
    if let Some(region) = question.region {
        fields.push(("roi", region.map(|number| number.to_string()).join(",")));
    }
    if let Some(window) = &question.window {
        fields.push(("window", window.clone()));
    }
    if let Some(frame) = question.frame {
        fields.push(("frame", frame.to_string()));
    }
    if let Some(probes) = question.probes {
        fields.push(("probes", probes.to_string()));
    }
    for (name, wanted) in [("exact", question.exact), ("explain", question.explain)] {
        if wanted {
            fields.push((name, "true".to_owned()));
        }
    }
    fields
}

/// A file's name that cannot break out of a form's header.
fn plain_name(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '"' => '\'',
            c if c.is_control() => ' ',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_servers() {
        assert!(Remote::new("http://127.0.0.1:8080/", Limits::default()).is_ok());
        assert!(Remote::new("http://[::1]:8080", Limits::default()).is_ok());
        for (wrong, words) in [
            ("127.0.0.1:8080", "not an address"),
            ("https://example.org", "HTTPS"),
            ("http://", "not an address"),
            ("http://127.0.0.1:port", "not an address"),
            ("http://127.0.0.1:8080/api/v1", "more than host and port"),
            ("", "not an address"),
        ] {
            let refusal = Remote::new(wrong, Limits::default()).unwrap_err();
            assert_eq!(refusal.code, Code::Usage, "{wrong}");
            assert!(refusal.message.contains(words), "{wrong}: {}", refusal.message);
        }
    }

    #[test]
    fn names_cannot_break_out_of_the_form() {
        assert_eq!(plain_name("a\"\r\nx: y.dcm"), "a'  x: y.dcm");
    }

    #[test]
    fn problems_have_the_exit_codes_of_the_same_fault_without_a_server() {
        assert_eq!(code_of_problem("urn:medindex:problem:not-found"), Code::NotFound);
        assert_eq!(code_of_problem("urn:medindex:problem:unprocessable-image"), Code::Refused);
        assert_eq!(code_of_problem("urn:medindex:problem:internal"), Code::Storage);
    }
}
