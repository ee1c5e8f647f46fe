//! An API server that keeps objects in memory and counts what is asked of it: enough of one for the operator's own calls.
//!
//! Server-side apply writes `managedFields` and removes what its manager leaves out, unless somebody else has set it too. Lists are replaced as
//! a whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use medindex_operator::program::calls;
use serde_json::{Value, json};

use crate::cut::Cut;
use crate::managed;

/// A write, as `PATCH deployments/radiology-gateway`.
pub(crate) type Write = String;

#[derive(Default)]
struct State {
    /// Objects by their paths.
    objects: BTreeMap<String, Value>,
    writes: Vec<Write>,
    /// Reasons and notes of events.
    events: Vec<(String, String)>,
    reads: usize,
    next_version: u64,
    /// Answers with this status instead, for paths that contain the text.
    failure: Option<(String, StatusCode)>,
    /// Never answers, for paths that contain the text.
    silence: Option<String>,
    /// A field of volumes that it takes and does not keep.
    dropped: Option<&'static str>,
    /// Resource types that are not installed.
    unknown: Vec<&'static str>,
}

/// The server.
#[derive(Clone, Default)]
pub(crate) struct FakeCluster {
    state: Arc<Mutex<State>>,
    cut: Arc<Cut>,
}

impl FakeCluster {
    /// One at whose calls the operator can be cut off.
    pub(crate) fn with_cut(cut: Arc<Cut>) -> Self {
        Self { cut, ..Self::default() }
    }

    pub(crate) fn client(&self) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, std::convert::Infallible>(cluster.answer(request).await) }
        });
        Client::new(service, "imaging")
    }

    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state.lock().unwrap().objects.insert(path.to_owned(), object);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    /// Sets the replicas of an object as an autoscaler does.
    pub(crate) fn scale(&self, path: &str, replicas: i32) {
        let mut state = self.state.lock().unwrap();
        managed::scale(state.objects.get_mut(path).unwrap(), replicas);
    }

    /// Changes an object as a person would, past the operator.
    pub(crate) fn edit(&self, path: &str, pointer: &str, value: Value) {
        let mut state = self.state.lock().unwrap();
        let object = state.objects.get_mut(path).unwrap_or_else(|| panic!("nothing at {path}"));
        *object.pointer_mut(pointer).unwrap_or_else(|| panic!("{path} has no {pointer}")) = value;
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.lock().unwrap().objects.remove(path).unwrap_or_else(|| panic!("nothing at {path}"));
    }

    /// Writes since this was last asked.
    pub(crate) fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    /// Reasons and notes of events since this was last asked.
    pub(crate) fn take_events(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.state.lock().unwrap().events)
    }

    pub(crate) fn reads(&self) -> usize {
        self.state.lock().unwrap().reads
    }

    /// From now on requests for paths with `text` are answered with `status`; `None` ends it.
    pub(crate) fn fail(&self, failure: Option<(&str, StatusCode)>) {
        self.state.lock().unwrap().failure = failure.map(|(text, status)| (text.to_owned(), status));
    }

    /// From now on requests for paths with `text` are not answered; `None` ends it.
    pub(crate) fn hang(&self, text: Option<&str>) {
        self.state.lock().unwrap().silence = text.map(str::to_owned);
    }

    pub(crate) fn drops_from_volumes(&self, field: &'static str) {
        self.state.lock().unwrap().dropped = Some(field);
    }

    pub(crate) fn lacks(&self, plural: &'static str) {
        self.state.lock().unwrap().unknown.push(plural);
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let call = calls::name(&parts.method, &path, &query);
        let silence = self.state.lock().unwrap().silence.clone();
        if silence.is_some_and(|text| path.contains(&text)) {
            std::future::pending::<()>().await;
        }
        self.cut.around(&call, async { self.answer_now(&parts.method, &path, &query, &body) }).await
    }

    fn answer_now(&self, method: &Method, path: &str, query: &str, body: &Value) -> Response<Body> {
        let mut state = self.state.lock().unwrap();
        if let Some((text, status)) = state.failure.clone().filter(|(text, _)| path.contains(text.as_str())) {
            drop(text);
            return refuse(status);
        }
        if state.unknown.iter().any(|plural| path.ends_with(plural)) {
            return refuse(StatusCode::NOT_FOUND);
        }
        match *method {
            Method::GET => state.read(path, query),
            Method::PATCH => state.patch(path, query, body),
            Method::DELETE => state.delete(path),
            Method::POST => {
                // Events are told apart: they are news, not changes.
                if path.ends_with("/events") {
                    state.note(body);
                } else {
                    state.writes.push(format!("POST {path}"));
                }
                reply(StatusCode::CREATED, body)
            }
            ref other => panic!("{other} {path}"),
        }
    }
}

impl State {
    fn note(&mut self, event: &Value) {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        self.events.push((text("reason"), text("note")));
    }

    fn read(&mut self, path: &str, query: &str) -> Response<Body> {
        self.reads += 1;
        if let Some(object) = self.objects.get(path) {
            return reply(StatusCode::OK, object);
        }
        if !query.contains("labelSelector") {
            return refuse(StatusCode::NOT_FOUND);
        }
        // Objects of the operator are those of one index here; what has labels of its own is asked for by them.
        let selected = |object: &Value| {
            let labels = object["metadata"]["labels"].as_object();
            let instance = labels.and_then(|labels| labels.get("app.kubernetes.io/instance")?.as_str());
            instance.is_none_or(|instance| query.contains(&format!("instance%3D{instance}")))
        };
        let below = |candidate: &String| {
            candidate
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('/') && rest.matches('/').count() == 1)
        };
        let items: Vec<&Value> = self
            .objects
            .iter()
            .filter(|(path, object)| below(path) && selected(object))
            .map(|(_, object)| object)
            .collect();
        reply(
            StatusCode::OK,
            &json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}),
        )
    }

    fn patch(&mut self, path: &str, query: &str, body: &Value) -> Response<Body> {
        if path.contains("/events/") {
            self.note(body);
        } else {
            self.writes.push(format!("PATCH {}", short(path)));
        }
        self.next_version += 1;
        let version = self.next_version.to_string();
        let stored = path.strip_suffix("/status").unwrap_or(path);
        if body.is_array() {
            // The finalizer, which is set with a JSON patch.
            let Some(object) = self.objects.get_mut(stored) else { return refuse(StatusCode::NOT_FOUND) };
            for step in body.as_array().unwrap() {
                match (step["op"].as_str().unwrap(), step["path"].as_str().unwrap()) {
                    ("add", "/metadata/finalizers") => {
                        object["metadata"]["finalizers"] = step["value"].clone();
                    }
                    ("add", "/metadata/finalizers/-") => {
                        object["metadata"]["finalizers"].as_array_mut().unwrap().push(step["value"].clone());
                    }
                    ("remove", path) if path.starts_with("/metadata/finalizers/") => {
                        object["metadata"]["finalizers"] = json!([]);
                    }
                    ("test", _) => {}
                    (op, path) => panic!("{op} {path}"),
                }
            }
            return reply(StatusCode::OK, &object.clone());
        }
        let object = self.objects.entry(stored.to_owned()).or_insert_with(|| json!({}));
        if path.ends_with("/status") {
            // Applied by the one manager of the status: what it leaves out goes.
            object["status"] = body["status"].clone();
        } else if query.contains("fieldManager=medindex-operator") {
            managed::apply(object, body);
        } else {
            merge(object, body);
        }
        let volumes = object.pointer_mut("/spec/template/spec/volumes").and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten().filter_map(Value::as_object_mut) {
            volume.retain(|field, _| Some(field.as_str()) != self.dropped);
        }
        object["metadata"]["resourceVersion"] = json!(version);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid-{version}"));
        }
        reply(StatusCode::OK, &object.clone())
    }

    fn delete(&mut self, path: &str) -> Response<Body> {
        self.writes.push(format!("DELETE {}", short(path)));
        match self.objects.remove(path) {
            Some(object) => reply(StatusCode::OK, &object),
            None => refuse(StatusCode::NOT_FOUND),
        }
    }
}

/// `deployments/radiology-gateway`, and `/status` where it is meant.
fn short(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let place = parts.iter().position(|part| *part == "namespaces").map_or(0, |place| place + 2);
    parts[place..].join("/")
}

pub(crate) fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (field, value) in over {
                merge(base.entry(field).or_insert(Value::Null), value);
            }
        }
        (base, over) => base.clone_from(over),
    }
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(body).unwrap());
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn refuse(status: StatusCode) -> Response<Body> {
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": status.as_u16(),
    });
    reply(status, &body)
}
