//! A gateway in a temporary folder, and requests to it without a socket.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use medindex_embedding::{
    BatchingOptions, Embedder, Model, RuntimeOptions, cache_folder, find_model, models_folder,
};
use medindex_gateway::{GatewaySettings, router};
use medindex_pipeline::{ImageId, ImageStatus, Pipeline, Settings};
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use crate::schema;

/// Longest wait for an image to become searchable.
const SEARCHABLE_WITHIN: Duration = Duration::from_mins(1);
const BOUNDARY: &str = "----medindex-test-boundary";

/// A pipeline in a folder of its own with its routes.
pub(crate) struct House {
    pub(crate) pipeline: Pipeline,
    pub(crate) routes: Router,
    _folder: TempDir,
}

impl House {
    /// An empty one.
    pub(crate) async fn empty() -> Self {
        Self::with(Settings::default(), GatewaySettings::default()).await
    }

    pub(crate) async fn with(settings: Settings, gateway: GatewaySettings) -> Self {
        // What goes wrong inside is printed with a test that fails.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_test_writer();
        log.try_init().ok();
        let folder = TempDir::new().unwrap();
        let pipeline = Pipeline::open(folder.path(), embedder(), settings).await.unwrap();
        let routes = router(pipeline.clone(), gateway);
        Self { pipeline, routes, _folder: folder }
    }

    /// One with [`CORPUS`] in it; the ids are in its order.
    pub(crate) async fn filled() -> (Self, Vec<ImageId>) {
        let house = Self::empty().await;
        let mut ids = Vec::new();
        for (file, label) in CORPUS {
            ids.push(house.add(file, Some(label)).await);
        }
        (house, ids)
    }

    /// Uploads a sample through the API and waits until it is searchable.
    pub(crate) async fn add(&self, file: &str, label: Option<&str>) -> ImageId {
        let mut form = Form::new();
        if let Some(label) = label {
            form = form.text("label", label);
        }
        let answer = self.post("/api/v1/images", form.file(file, &sample(file))).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let (id, status) = self.settled(&answer).await;
        assert_eq!(status, ImageStatus::Indexed, "{file}");
        id
    }

    /// Waits until an upload that was accepted is searchable or failed.
    pub(crate) async fn settled(&self, accepted: &Answer) -> (ImageId, ImageStatus) {
        let id = ImageId::parse(accepted.json()["id"].as_str().unwrap()).unwrap();
        (id, self.pipeline.wait_until_searchable(&id, SEARCHABLE_WITHIN).await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn method(&self, method: &str, path: &str) -> Answer {
        self.send(request(method, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, form: Form) -> Answer {
        self.send(form.request(path)).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        let request = request("POST", path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    /// Sends a request and holds the answer against the `OpenAPI` document.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = Answer::of(self.routes.clone().oneshot(request).await.unwrap()).await;
        if path != "/api/openapi.json" {
            schema::check(&self.document().await, &method, &path, &answer);
        }
        answer
    }

    /// The `OpenAPI` document.
    pub(crate) async fn document(&self) -> Value {
        let request = request("GET", "/api/openapi.json").body(Body::empty()).unwrap();
        Answer::of(self.routes.clone().oneshot(request).await.unwrap()).await.json()
    }
}

/// Samples with labels; the first three show the same image in other encodings or none like it.
pub(crate) const CORPUS: [(&str, &str); 5] = [
    ("CT_small.dcm", "chest"),
    ("MR_small.dcm", "spine"),
    ("MR_small_RLE.dcm", "spine"),
    ("examples_palette.dcm", "heart"),
    ("SC_rgb_gdcm_KY.dcm", "colours"),
];

/// A request to the loopback name that browsers use.
pub(crate) fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:8080")
}

/// The bytes of a sample.
pub(crate) fn sample(name: &str) -> Vec<u8> {
    let path = prepared("samples/pydicom").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run make setup", path.display()))
}

fn prepared(part: &str) -> PathBuf {
    let path = cache_folder().unwrap().join(part);
    assert!(path.is_dir(), "{} is missing: run make setup", path.display());
    path
}

/// The real Lite0, loaded once.
fn embedder() -> Embedder {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    let model = MODEL.get_or_init(|| {
        let folder = find_model(&models_folder().unwrap(), "efficientnet-lite0").unwrap();
        let options = RuntimeOptions::from_environment().unwrap().with_threads(1);
        Arc::new(Model::load(&folder, &options).expect("the model does not load: run make setup"))
    });
    Embedder::start(Arc::clone(model), BatchingOptions::default()).unwrap()
}

/// An answer that was read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `detail` of a problem that has this status and kind.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:medindex:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// A multipart form.
#[derive(Clone, Default)]
pub(crate) struct Form(Vec<u8>);

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn text(mut self, name: &str, value: &str) -> Self {
        self.part(&format!("name=\"{name}\""), value.as_bytes());
        self
    }

    pub(crate) fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.file_as("file", name, bytes)
    }

    pub(crate) fn file_as(mut self, field: &str, name: &str, bytes: &[u8]) -> Self {
        self.part(&format!("name=\"{field}\"; filename=\"{name}\""), bytes);
        self
    }

    fn part(&mut self, disposition: &str, bytes: &[u8]) {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        self.0.extend_from_slice(head.as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
    }

    /// The body.
    pub(crate) fn body(mut self) -> Vec<u8> {
        self.0.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        self.0
    }

    /// The content type of the body.
    pub(crate) fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    pub(crate) fn request(self, path: &str) -> Request<Body> {
        Self::builder(path).body(Body::from(self.body())).unwrap()
    }

    /// A request without its body.
    pub(crate) fn builder(path: &str) -> axum::http::request::Builder {
        request("POST", path).header(header::CONTENT_TYPE, Self::content_type())
    }
}

/// Opens a gateway with this bound on files.
pub(crate) async fn with_largest_file(max_file_bytes: u64) -> House {
    let mut settings = Settings::default();
    settings.limits.max_file_bytes = max_file_bytes;
    House::with(settings, GatewaySettings::default()).await
}
