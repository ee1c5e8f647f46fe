//! `support-bundle`: everything that helps to find a fault, in one archive.
//!
//! Guarantees: no Secret is read, and what looks like one is taken out of everything else ([`crate::redact`]); what could not be had is named in
//! `missing.txt`, and the rest is there. The archive is written under another name and renamed when it is whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt as _};
use medindex_operator::reconcile::call::bounded;
use medindex_operator::reconcile::dereference::dereference;
use medindex_operator::reconcile::objects::Live;
use serde::Serialize;
use serde_json::Value;

use crate::access::Access;
use crate::error::PluginError;
use crate::status::events as index_events;
use crate::tree::{Shown, tree};
use crate::{logs, redact};

/// Label of the operator's pods, as the chart sets it.
const OPERATOR: &str = "app.kubernetes.io/name=medindex-operator";

/// What is to be in the archive: names and texts.
#[derive(Debug, Default)]
pub struct Contents {
    files: Vec<(String, String)>,
    missing: Vec<String>,
}

impl Contents {
    /// Adds text, without its secrets.
    pub fn text(&mut self, name: impl Into<String>, text: &str) {
        self.files.push((name.into(), redact::text(text)));
    }

    /// Adds an object, without its secrets.
    pub fn object(&mut self, name: impl Into<String>, object: &impl Serialize) {
        let name = name.into();
        let written =
            serde_json::to_value(object).map_err(|error| error.to_string()).and_then(|mut value| {
                redact::object(&mut value);
                serde_norway::to_string(&value).map_err(|error| error.to_string())
            });
        match written {
            Ok(text) => self.files.push((name, text)),
            Err(error) => self.missing(&name, error),
        }
    }

    /// Notes what could not be had.
    pub fn missing(&mut self, what: &str, why: impl std::fmt::Display) {
        self.missing.push(redact::text(&format!("{what}: {why}")));
    }

    /// Writes the archive: all in one folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(mut self, path: &Path, folder: &str) -> std::io::Result<()> {
        if !self.missing.is_empty() {
            self.files.push(("missing.txt".to_owned(), self.missing.join("\n") + "\n"));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        let mut archive =
            tar::Builder::new(GzEncoder::new(File::create(&unfinished)?, Compression::default()));
        let written_at = u64::try_from(Timestamp::now().as_second()).unwrap_or(0);
        for (name, text) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(written_at);
            archive.append_data(&mut header, format!("{folder}/{name}"), text.as_bytes())?;
        }
        archive.into_inner()?.finish()?.sync_all()?;
        std::fs::rename(&unfinished, path)
    }
}

/// Gathers and writes; says what was written.
///
/// # Errors
/// [`PluginError`] when there is no such index or the file cannot be written.
pub async fn bundle(access: &Access, name: &str, path: &Path, tail: i64) -> Result<Vec<String>, PluginError> {
    let index = access.index(name).await?;
    let mut contents = Contents::default();
    contents.text("version.txt", &versions(access).await);
    contents.object("resource.yaml", &index);
    let events = index_events(access, &access.namespace, name).await;
    match dereference(&access.client, &access.namespace, name).await {
        Ok(found) => {
            let lines = tree(&Shown { index: &index, live: &found.live, events: &events });
            contents.text("status.txt", &(lines.join("\n") + "\n"));
            add_objects(&mut contents, &found.live);
        }
        Err(error) => contents.missing("objects", error),
    }
    add_events(&mut contents, access).await;
    add_logs(&mut contents, access, name, tail).await;
    add_operator(&mut contents, access, tail).await;
    add_nodes(&mut contents, access).await;
    let missing = contents.missing.clone();
    let files = contents.files.len();
    contents
        .write(path, &format!("medindex-{name}"))
        .map_err(|source| PluginError::Write { path: path.to_owned(), source })?;
    let mut said = vec![format!(
        "{} is written: {files} files. No Secret was read; look through it before you send it on: logs may name patients' files",
        path.display()
    )];
    said.extend(missing.into_iter().map(|what| format!("not in it: {what}")));
    Ok(said)
}

async fn versions(access: &Access) -> String {
    let server = match bounded(access.client.apiserver_version()).await {
        Ok(version) => version.git_version,
        Err(error) => format!("not known: {error}"),
    };
    format!(
        "kubectl-medindex {}\nKubernetes {server}\nmade at {}\n",
        env!("CARGO_PKG_VERSION"),
        Timestamp::now()
    )
}

fn add_objects(contents: &mut Contents, live: &[Live]) {
    for object in live {
        let mut json = object.json();
        json["kind"] = Value::from(object.kind.kind);
        contents.object(format!("objects/{}-{}.yaml", object.kind.kind.to_lowercase(), object.name()), &json);
    }
}

/// All events of the namespace: those of pods, claims and nodes tell why something does not come up.
async fn add_events(contents: &mut Contents, access: &Access) {
    let api: Api<Event> = Api::namespaced(access.client.clone(), &access.namespace);
    match bounded(api.list(&ListParams::default())).await {
        Ok(listed) => contents.object("events.yaml", &listed.items),
        Err(error) => contents.missing("events", error),
    }
}

async fn add_logs(contents: &mut Contents, access: &Access, name: &str, tail: i64) {
    let api: Api<Pod> = Api::namespaced(access.client.clone(), &access.namespace);
    match logs::pods(access, name, &[]).await {
        Ok(pods) => {
            for pod in pods {
                add_log(contents, &api, &pod.name, "logs", tail).await;
            }
        }
        Err(error) => contents.missing("logs", error),
    }
}

async fn add_log(contents: &mut Contents, api: &Api<Pod>, pod: &str, folder: &str, tail: i64) {
    let parameters = LogParams { tail_lines: Some(tail), ..LogParams::default() };
    match bounded(api.logs(pod, &parameters)).await {
        Ok(text) => contents.text(format!("{folder}/{pod}.log"), &text),
        Err(error) => contents.missing(&format!("log of {pod}"), error),
    }
    // Most containers never ran before.
    let before = LogParams { previous: true, ..parameters };
    if let Ok(text) = bounded(api.logs(pod, &before)).await {
        contents.text(format!("{folder}/{pod}.previous.log"), &text);
    }
}

/// The operator's pods, wherever they run; who looks after one namespace may not see them.
async fn add_operator(contents: &mut Contents, access: &Access, tail: i64) {
    let all: Api<Pod> = Api::all(access.client.clone());
    match bounded(all.list(&ListParams::default().labels(OPERATOR))).await {
        Ok(listed) => {
            if listed.items.is_empty() {
                contents.missing("operator", format!("no pod has the label {OPERATOR}"));
            }
            for pod in listed.items {
                let api: Api<Pod> =
                    Api::namespaced(access.client.clone(), &pod.namespace().unwrap_or_default());
                contents.object(format!("operator/{}.yaml", pod.name_any()), &pod);
                add_log(contents, &api, &pod.name_any(), "operator", tail).await;
            }
        }
        Err(error) => contents.missing("operator", error),
    }
}

/// Nodes: what they have and what keeps pods from them.
async fn add_nodes(contents: &mut Contents, access: &Access) {
    let api: Api<Node> = Api::all(access.client.clone());
    match bounded(api.list(&ListParams::default())).await {
        Ok(listed) => contents.object("nodes.yaml", &listed.items),
        Err(error) => contents.missing("nodes", error),
    }
}
