//! An operator that dies at its calls, one after another, on a real cluster over real Kafka and `HBase`. `make e2e` runs this.
//!
//! The operator is the program itself, in a process of its own beside the cluster's (which has no replicas meanwhile), told where to end by `--abort-at`. Before
//! each life everything that the index has is disturbed, so that every call has to be made; after it another operator has to bring
//! all of it to the same end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use medindex_e2e::kubectl::{apply, get, kubectl, try_kubectl, wait_until};
use medindex_e2e::{backends, cluster, index};
use medindex_system_tests::cluster::program;
use serde_json::Value;

const NAMESPACE: &str = "medindex-deaths";
const NAME: &str = "deaths";
const OPERATOR: [&str; 3] = ["deployment/medindex-operator", "--namespace", "medindex-system"];
/// Signal of a process that ends by `abort`.
const ABORTED: i32 = 6;
const PATIENCE: Duration = Duration::from_mins(3);
/// Kinds of the index' objects, as `kubectl get` takes them.
const KINDS: &str = "serviceaccounts,configmaps,services,networkpolicies,poddisruptionbudgets,deployments,statefulsets,jobs,ingresses";

/// Calls that this index has no reason for: types that the cluster does not have, autoscalers, a gateway that runs, pods that run and are not ready,
/// disks of pods, a second event of a kind, a resource that cannot be read, and what is done to tables and topics when it is deleted (that is a life of its own).
fn is_made(call: &str) -> bool {
    let elsewhere = ["podmonitors", "scaledobjects", "triggerauthentications", "horizontalpodautoscalers"];
    let (verb, what) = call.split_once(' ').unwrap_or((call, ""));
    let only_listed =
        elsewhere.contains(&what) && !(verb == "list" || verb == "watch" && what.starts_with("horizontal"));
    let never = [
        "index_status",
        "unreadiness",
        "roll_back",
        "patch events",
        "get medicalimageindexes",
        "delete_topics",
        "delete_tables",
        "list persistentvolumeclaims",
        "patch persistentvolumeclaims",
    ];
    !only_listed && !never.contains(&call)
}

fn calls() -> Vec<String> {
    let output = Command::new(program("medindex-operator")).arg("calls").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|call| is_made(call)).map(str::to_owned).collect()
}

struct Operator(Child);

impl Operator {
    /// Leads at once: by a lease of its own, that nobody held before.
    fn start(lease: &str, abort_at: Option<&str>) -> Self {
        let mut command = Command::new(program("medindex-operator"));
        command.args(["run", "--namespaces", NAMESPACE, "--lease-namespace", NAMESPACE, "--lease", lease]);
        command.args(["--operation-listen", "127.0.0.1:9731", "--log", "warn"]);
        command.args(abort_at.map(|place| format!("--abort-at={place}")));
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Waits until it has died at the place that it was told.
    fn wait_for_death(mut self, place: &str) {
        let mut status = None;
        wait_until(&format!("the operator to die at {place}"), PATIENCE, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        let signal = status.and_then(|status| status.signal());
        assert_eq!(signal, Some(ABORTED), "{place}: {status:?}");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The cluster's own operators are away as long as this lives.
struct Away;

impl Away {
    fn begin() -> Self {
        kubectl(&["scale", OPERATOR[0], OPERATOR[1], OPERATOR[2], "--replicas=0"]);
        let away = || {
            let pods = get("medindex-system", &["pods"]);
            pods["items"].as_array().is_none_or(Vec::is_empty)
        };
        wait_until("the cluster's operators to be away", PATIENCE, away);
        Self
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        kubectl(&["scale", OPERATOR[0], OPERATOR[1], OPERATOR[2], "--replicas=2"]);
        kubectl(&["rollout", "status", OPERATOR[0], OPERATOR[1], OPERATOR[2], "--timeout=180s"]);
    }
}

fn resource() -> Value {
    get(NAMESPACE, &["mii", NAME])
}

/// The labels of everything of the index.
fn selector() -> String {
    format!("app.kubernetes.io/instance={NAME}")
}

/// Names of the objects of the index, in order.
fn objects() -> Vec<String> {
    let found = get(NAMESPACE, &[KINDS, "--selector", &selector()]);
    let items = found["items"].as_array().cloned().unwrap_or_default();
    let name = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text(&object["kind"]), text(&object["metadata"]["name"]))
    };
    let mut names: Vec<String> = items.iter().map(name).collect();
    names.sort();
    names
}

/// Leaves nothing as it shall be: objects and a topic gone, a family altered, the finalizer taken away, the spec changed, and leftovers of
/// every kind that no index asks for.
fn disturb(round: usize) {
    let mut leftovers = get(NAMESPACE, &[KINDS, "--selector", &selector()]);
    kubectl(&["delete", KINDS, "--namespace", NAMESPACE, "--selector", &selector(), "--wait=true"]);
    // One of each kind: they all get the same name.
    let mut kinds = BTreeSet::new();
    leftovers["items"].as_array_mut().unwrap().retain(|object| kinds.insert(object["kind"].to_string()));
    for object in leftovers["items"].as_array_mut().into_iter().flatten() {
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata
            .retain(|field, _| ["name", "namespace", "labels", "ownerReferences"].contains(&field.as_str()));
        metadata["name"] = format!("leftover-{round}").into();
        object.as_object_mut().unwrap().remove("status");
        if let Some(spec) = object["spec"].as_object_mut() {
            // What the API server chose for the first one.
            spec.retain(|field, _| !["clusterIP", "clusterIPs"].contains(&field.as_str()));
            if object["kind"] == "Job" {
                let spec = object["spec"].as_object_mut().unwrap();
                spec.remove("selector");
                spec["template"]["metadata"].as_object_mut().unwrap().remove("labels");
            }
        }
    }
    apply(&leftovers.to_string());
    backends::delete_topic(&format!("{NAME}.imageupload.dlq"));
    let table = medindex_hbase_admin::TableName::new(NAME, medindex_proto::names::TABLE_IMAGES);
    let family = backends::family(&table, "MI");
    let versions = family.versions + 1;
    backends::alter_family(&table, &medindex_hbase_admin::FamilyDescription { versions, ..family });
    let change =
        format!(r#"{{"metadata":{{"finalizers":null}},"spec":{{"hbase":{{"ttlDays":{}}}}}}}"#, 100 + round);
    kubectl(&["patch", "mii", NAME, "--namespace", NAMESPACE, "--type=merge", "--patch", &change]);
}

/// Waits until the index has all that it had, once, and nothing else.
fn wait_for_order(wanted: &[String]) {
    wait_until("the index to be in order", PATIENCE, || {
        let resource = resource();
        let told = |name| index::condition(&resource, name).is_some_and(|(status, _)| status == "True");
        let held = resource["metadata"]["finalizers"].as_array().is_some_and(|held| held.len() == 1);
        held && told("TopicsReady") && told("TableReady") && objects() == wanted
    });
    assert_eq!(backends::topics_of(NAME).len(), 4, "{:?}", backends::topics_of(NAME));
    assert_eq!(backends::tables_of(NAME).len(), 2, "{:?}", backends::tables_of(NAME));
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_operator_that_dies_at_any_call_leaves_work_that_the_next_one_finishes() {
    if !cluster::is_ours() {
        return;
    }
    let _turn = index::alone();
    let _away = Away::begin();
    apply(include_str!("deaths.yaml"));
    let mut next = Operator::start("first", None);
    wait_until("the index to be made", PATIENCE, || {
        index::condition(&resource(), "TableReady").is_some_and(|(status, _)| status == "True")
            && resource()["status"]["observedGeneration"] == resource()["metadata"]["generation"]
    });
    let wanted = objects();
    assert!(wanted.len() >= 9, "{wanted:?}");
    let (calls, begun) = (calls(), Instant::now());
    for (round, call) in calls.iter().enumerate() {
        drop(next);
        disturb(round);
        // What is read has no effect: dying before it is as dying after it.
        let place = if call.starts_with("list ") || call.starts_with("watch ") { "before" } else { "after" };
        let place = format!("{place}:{call}");
        Operator::start(&format!("dies-{round}"), Some(&place)).wait_for_death(&place);
        next = Operator::start(&format!("lives-{round}"), None);
        wait_for_order(&wanted);
    }
    drop(next);
    println!(
        "{} deaths, at every call that this index has a reason for: {:.0} s; the calls: {}",
        calls.len(),
        begun.elapsed().as_secs_f64(),
        calls.join(", ")
    );
    die_while_deleting();
    try_kubectl(&["delete", "namespace", NAMESPACE, "--timeout=60s"]).unwrap();
}

/// Topics and tables go with the index, whenever its operator dies.
fn die_while_deleting() {
    kubectl(&["delete", "mii", NAME, "--namespace", NAMESPACE, "--wait=false"]);
    for place in [
        "after:delete_topics",
        "before:delete_tables",
        "after:delete_tables",
        "before:patch medicalimageindexes",
    ] {
        let lease = place.replace([':', '_', ' '], "-");
        Operator::start(&lease, Some(place)).wait_for_death(place);
    }
    let _last = Operator::start("last", None);
    wait_until("the resource to be gone", PATIENCE, || resource().is_null());
    assert_eq!((backends::topics_of(NAME), backends::tables_of(NAME)), (Vec::new(), Vec::new()));
}
