//! The sample index: applied, waited for, reached.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medindex_system_tests::Client;
use medindex_system_tests::pictures::{Picture, pattern, pictures};
use serde_json::Value;

use crate::kubectl::{get, kubectl, wait_until};

/// Namespace of the sample.
pub const NAMESPACE: &str = "medindex";
/// Name of the sample.
pub const NAME: &str = "radiology";
/// Images of which every test can be sure.
pub const IMAGES: usize = 60;
/// Pods load images and models on two cores that others use too.
pub const PATIENCE: Duration = Duration::from_mins(10);

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/index");

/// The turn of a test that wants the sample index ready.
pub fn turn() -> MutexGuard<'static, ()> {
    let turn = alone();
    ensure();
    turn
}

/// Tests share a cluster: one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Applies the sample, where it is not there yet, and waits until it is ready; how long that took.
pub fn ensure() -> Duration {
    let begun = Instant::now();
    kubectl(&["apply", "--kustomize", SAMPLE]);
    wait_until("the index to be ready", PATIENCE, || is_ready(&resource()));
    begun.elapsed()
}

/// The resource as it is.
pub fn resource() -> Value {
    get(NAMESPACE, &["mii", NAME])
}

/// Status and message of a condition, where it is of the newest generation.
pub fn condition(resource: &Value, name: &str) -> Option<(String, String)> {
    let conditions = resource["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    (found["observedGeneration"] == resource["metadata"]["generation"]).then(|| {
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("message"))
    })
}

/// Whether the resource says so.
pub fn is_ready(resource: &Value) -> bool {
    condition(resource, "Ready").is_some_and(|(status, _)| status == "True")
}

/// The workloads' pods and how often their containers started.
pub fn pods() -> Vec<(String, String)> {
    let pods = get(NAMESPACE, &["pods", "--selector", "app.kubernetes.io/name=medindex"]);
    let pod = |pod: &Value| {
        (
            pod["metadata"]["uid"].to_string(),
            pod["status"]["containerStatuses"][0]["restartCount"].to_string(),
        )
    };
    let mut pods: Vec<_> = pods["items"].as_array().unwrap().iter().map(pod).collect();
    pods.sort();
    pods
}

/// Notes of the index' events of a reason.
pub fn events(reason: &str) -> Vec<String> {
    let selector = format!("involvedObject.name={NAME},reason={reason}");
    let events = get(NAMESPACE, &["events", "--field-selector", &selector]);
    let items = events["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A picture that no run has uploaded before.
pub fn new_picture() -> Picture {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    pattern(now.wrapping_mul(256).wrapping_add(NUMBER.fetch_add(1, Ordering::Relaxed)))
}

/// A way to the gateway's Service.
pub struct Gateway {
    /// A user of it.
    pub client: Client,
    forward: Option<Child>,
}

impl Gateway {
    /// By its name in the cluster's network, or through `kubectl port-forward` where the tests are not in it (`MEDINDEX_E2E_FORWARD`).
    pub fn reach() -> Self {
        if std::env::var_os("MEDINDEX_E2E_FORWARD").is_none() {
            let client = Client::of(format!("http://{NAME}-gateway.{NAMESPACE}.svc"));
            return Self { client, forward: None };
        }
        let mut forward = Command::new("kubectl")
            .args(["port-forward", "--namespace", NAMESPACE, &format!("service/{NAME}-gateway"), ":80"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(forward.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {line:?}"));
        Self { client: Client::new(port), forward: Some(forward) }
    }

    /// Real images that are in the index afterwards, each with its id.
    pub fn ensure_images(&self) -> Vec<(Picture, String)> {
        let (pictures, _) = pictures(IMAGES);
        let upload =
            |picture: &Picture| self.client.upload(&picture.name, &picture.bytes, Some(&picture.label));
        let ids: Vec<String> = pictures.iter().map(upload).collect();
        for id in &ids {
            assert_eq!(self.client.wait_for(id, PATIENCE), "indexed");
        }
        pictures.into_iter().zip(ids).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(forward) = &mut self.forward {
            forward.kill().ok();
            forward.wait().ok();
        }
    }
}
