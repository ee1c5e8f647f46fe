//! The sample index: applied, waited for, reached.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medindex_system_tests::Client;
use medindex_system_tests::pictures::{Picture, pattern, pictures};
use serde_json::Value;

use crate::kubectl::{get, kubectl, tidied, try_kubectl, wait_until};

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

/// Applies the sample and waits until it is ready; how long that took. Whichever test comes first says how long it took from nothing.
pub fn ensure() -> Duration {
    let was_there = !resource().is_null();
    let begun = Instant::now();
    kubectl(&["apply", "--kustomize", SAMPLE]);
    wait_until("the index to be ready", PATIENCE, || is_ready(&resource()));
    let took = begun.elapsed();
    if !was_there {
        println!("kubectl apply of an index that was not there, to Ready: {:.1} s", took.as_secs_f64());
    }
    took
}

/// The resource as it is.
pub fn resource() -> Value {
    get(NAMESPACE, &["mii", NAME])
}

/// Changes the resource as `kubectl patch` does.
///
/// # Errors
/// What kubectl said when it failed.
pub fn try_edit(change: &Value) -> Result<String, String> {
    let change = change.to_string();
    try_kubectl(&["patch", "mii", NAME, "--namespace", NAMESPACE, "--type=merge", "--patch", &change])
}

/// Changes the resource as `kubectl patch` does.
pub fn edit(change: &Value) {
    try_edit(change).unwrap_or_else(|error| panic!("{change}: {error}"));
}

/// A change that is made when a test is over, whatever became of it: applying the sample takes nothing away that it does not name.
pub struct AtTheEnd(pub Value);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        tidied(try_edit(&self.0));
    }
}

/// A message has all of these words.
pub fn tells(message: &str, words: &[&str]) {
    for words in words {
        assert!(message.contains(words), "{words:?} is not in {message}");
    }
}

/// A condition, where it is of the newest generation.
fn newest<'a>(resource: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = resource["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    (found["observedGeneration"] == resource["metadata"]["generation"]).then_some(found)
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}

/// Status and message of a condition, where it is of the newest generation.
pub fn condition(resource: &Value, name: &str) -> Option<(String, String)> {
    newest(resource, name).map(|found| (text(found, "status"), text(found, "message")))
}

/// The reason of a condition, where it is of the newest generation.
pub fn reason(resource: &Value, name: &str) -> Option<String> {
    newest(resource, name).map(|found| text(found, "reason"))
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
    let mut pods: Vec<_> = pods["items"].as_array().into_iter().flatten().map(pod).collect();
    pods.sort();
    pods
}

/// What identifies the pods of a component, but for those that are going.
pub fn pods_of(component: &str) -> Vec<String> {
    let selector = format!("app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}");
    let pods = get(NAMESPACE, &["pods", "--selector", &selector]);
    let pods = pods["items"].as_array().into_iter().flatten();
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    pods.filter(stays).map(|pod| text(&pod["metadata"], "uid")).collect()
}

/// Notes of the index' events of a reason.
pub fn events(reason: &str) -> Vec<String> {
    told(reason).iter().map(|event| text(event, "message")).collect()
}

/// The operators that told of something: those whose events of a reason have notes that begin so.
pub fn tellers(reason: &str, words: &str) -> Vec<String> {
    let told = told(reason);
    let of_it = told.iter().filter(|event| text(event, "message").starts_with(words));
    of_it.map(|event| text(event, "reportingInstance")).collect()
}

fn told(reason: &str) -> Vec<Value> {
    let selector = format!("involvedObject.name={NAME},reason={reason}");
    let events = get(NAMESPACE, &["events", "--field-selector", &selector]);
    events["items"].as_array().cloned().unwrap_or_default()
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

    /// Real images that are in the index afterwards, each with its id. Where the data set is not there they are patterns, and that is said.
    pub fn ensure_images(&self) -> Vec<(Picture, String)> {
        let (pictures, source) = pictures(IMAGES);
        println!("{IMAGES} images: {source}");
        self.ensure(pictures).0
    }

    /// Waits until a search is answered by the whole index, which may be later than `Ready`: the cluster's DNS may still remember former pods.
    pub fn wait_for_the_whole(&self, images: &[(Picture, String)]) -> Duration {
        let (picture, _) = &images[0];
        wait_until("an answer of the whole index", PATIENCE, || {
            let answer = self.client.try_search(&picture.bytes, &[("k", "3"), ("whole", "true")]);
            answer.is_ok_and(|answer| answer.status == 200)
        })
    }

    /// Every image is in the index exactly once.
    pub fn check_images(&self, images: &[(Picture, String)]) {
        for (picture, id) in images {
            let answer = self.client.search(&picture.bytes, &[("k", "5"), ("whole", "true")]);
            let hits = answer["results"].as_array().unwrap();
            let own = hits.iter().filter(|hit| hit["id"] == id.as_str()).count();
            assert_eq!(own, 1, "{} is found {own} times: {answer}", picture.name);
        }
    }

    /// Uploads images and waits until they are in the index: each with its id, and how many of them were not there before.
    pub fn ensure(&self, pictures: Vec<Picture>) -> (Vec<(Picture, String)>, usize) {
        let mut new = 0;
        let mut upload = |picture: &Picture| {
            let answer = self.client.try_upload(&picture.name, &picture.bytes, Some(&picture.label)).unwrap();
            assert_eq!(answer.status, 202, "{}", answer.body);
            new += usize::from(answer.body["duplicate"] == false);
            text(&answer.body, "id")
        };
        let ids: Vec<String> = pictures.iter().map(&mut upload).collect();
        for id in &ids {
            assert_eq!(self.client.wait_for(id, PATIENCE), "indexed");
        }
        (pictures.into_iter().zip(ids).collect(), new)
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
