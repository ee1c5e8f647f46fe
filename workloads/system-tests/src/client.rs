//! A user of a gateway, over HTTP.

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;
use ureq::unversioned::multipart::{Form, Part};

/// Talks to one gateway.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

/// An answer: the status and the body as JSON.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// Body.
    pub body: Value,
}

impl Client {
    /// A client of the gateway on a port of this machine.
    pub fn new(port: u16) -> Self {
        Self::of(format!("http://127.0.0.1:{port}"))
    }

    /// A client of the gateway at an address, `http://host:port`.
    pub fn of(base: String) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_mins(1)))
            .build()
            .new_agent();
        Self { agent, base }
    }

    /// Uploads a file; an error where no answer came.
    pub fn try_upload(&self, name: &str, bytes: &[u8], label: Option<&str>) -> Result<Answer, ureq::Error> {
        let mut form = Form::new().part("file", Part::bytes(bytes).file_name(name));
        if let Some(label) = label {
            form = form.text("label", label);
        }
        answer(self.agent.post(format!("{}/api/v1/images", self.base)).send(form)?)
    }

    /// Uploads a file; returns its id.
    pub fn upload(&self, name: &str, bytes: &[u8], label: Option<&str>) -> String {
        let answer = self.try_upload(name, bytes, label).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body["id"].as_str().unwrap().to_owned()
    }

    /// Searches with a file; `more` are further fields of the form.
    pub fn try_search(&self, bytes: &[u8], more: &[(&str, &str)]) -> Result<Answer, ureq::Error> {
        let mut form = Form::new().part("file", Part::bytes(bytes).file_name("query"));
        for (field, value) in more {
            form = form.text(field, value);
        }
        answer(self.agent.post(format!("{}/api/v1/search", self.base)).send(form)?)
    }

    /// Searches with a file.
    pub fn search(&self, bytes: &[u8], more: &[(&str, &str)]) -> Value {
        let answer = self.try_search(bytes, more).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Uploads a file as part of a trace (a `traceparent` of W3C Trace Context).
    pub fn upload_in_trace(&self, bytes: &[u8], traceparent: &str) -> Answer {
        let form = Form::new().part("file", Part::bytes(bytes).file_name("traced.png"));
        let request = self.agent.post(format!("{}/api/v1/images", self.base));
        answer(request.header("traceparent", traceparent).send(form).unwrap()).unwrap()
    }

    /// Searches with a file as part of a trace.
    pub fn search_in_trace(&self, bytes: &[u8], traceparent: &str) -> Answer {
        let form = Form::new().part("file", Part::bytes(bytes).file_name("query.png"));
        let request = self.agent.post(format!("{}/api/v1/search", self.base));
        answer(request.header("traceparent", traceparent).send(form).unwrap()).unwrap()
    }

    /// Searches from a stored image.
    pub fn try_search_stored(&self, id: &str) -> Result<Answer, ureq::Error> {
        let form = Form::new().text("id", id);
        answer(self.agent.post(format!("{}/api/v1/search", self.base)).send(form)?)
    }

    /// Searches from a stored image; `more` are further fields of the form.
    pub fn search_stored(&self, id: &str, more: &[(&str, &str)]) -> Value {
        let mut form = Form::new().text("id", id);
        for (field, value) in more {
            form = form.text(field, value);
        }
        let answer = self.agent.post(format!("{}/api/v1/search", self.base)).send(form).unwrap();
        let answer = self::answer(answer).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// Recognises a file.
    pub fn recognise(&self, bytes: &[u8]) -> Answer {
        let form = Form::new().part("file", Part::bytes(bytes).file_name("query"));
        answer(self.agent.post(format!("{}/api/v1/recognise", self.base)).send(form).unwrap()).unwrap()
    }

    /// Gets a JSON document.
    pub fn get(&self, path: &str) -> Answer {
        answer(self.agent.get(format!("{}{path}", self.base)).call().unwrap()).unwrap()
    }

    /// Downloads an image's file.
    pub fn file(&self, id: &str) -> Vec<u8> {
        let mut response = self.agent.get(format!("{}/api/v1/images/{id}/file", self.base)).call().unwrap();
        assert_eq!(response.status(), 200, "the file of image {id}");
        response.body_mut().read_to_vec().unwrap()
    }

    /// An image's preview in its usual size: the status, and the PNG or the problem.
    pub fn preview(&self, id: &str) -> (u16, Vec<u8>) {
        let mut response =
            self.agent.get(format!("{}/api/v1/images/{id}/preview.png", self.base)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    /// Deletes an image.
    pub fn delete(&self, id: &str) -> Answer {
        answer(self.agent.delete(format!("{}/api/v1/images/{id}", self.base)).call().unwrap()).unwrap()
    }

    /// Waits until an image is searchable or failed; returns its status.
    pub fn wait_for(&self, id: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let answer = self.get(&format!("/api/v1/images/{id}"));
            let status = answer.body["status"].as_str().unwrap_or_default().to_owned();
            if status == "indexed" || status == "failed" {
                return status;
            }
            assert!(Instant::now() < deadline, "image {id} is still {status}: {}", answer.body);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string()?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}
