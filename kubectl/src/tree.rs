//! An index as a tree of text. Pure.
//!
//! ```text
//! ✗ MedicalImageIndex imaging/radiology: PodsMissing, SearchReady: 5 of 6 pods are ready
//! ├─ images      20,134 stored, 20,134 searchable, lag 0
//! ├─ generation  3, recall@10 0.9912, back to 2 with spec.quantizer.rollbackTo
//! ├─ ✓ Kafka     TopicsReady: …
//! ├─ ✗ search    5 of 6 pods are ready
//! │  ├─ ✓ radiology-search-0  Running on node-a
//! ```

use k8s_openapi::api::core::v1::Event;
use medindex_operator::api::{MedicalImageIndex, condition_types};
use medindex_operator::names::{Component, selector_labels};
use medindex_operator::reconcile::objects::Live;
use medindex_operator::reconcile::training::job_state;
use serde_json::Value;

/// Newest events that are shown.
const EVENTS: usize = 5;

/// What is shown.
pub struct Shown<'a> {
    /// The resource.
    pub index: &'a MedicalImageIndex,
    /// Its objects.
    pub live: &'a [Live],
    /// Events of the resource.
    pub events: &'a [Event],
}

/// A line, and those that belong to it.
struct Node {
    text: String,
    children: Vec<Node>,
}

impl Node {
    fn leaf(text: impl Into<String>) -> Self {
        Self { text: text.into(), children: Vec::new() }
    }

    fn write(&self, first: &str, rest: &str, lines: &mut Vec<String>) {
        lines.push(format!("{first}{}", self.text));
        for (place, child) in self.children.iter().enumerate() {
            let (branch, below) =
                if place + 1 == self.children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            child.write(&format!("{rest}{branch}"), &format!("{rest}{below}"), lines);
        }
    }
}

/// The lines of an index.
pub fn tree(shown: &Shown<'_>) -> Vec<String> {
    let mut root = Node::leaf(headline(shown.index));
    root.children.extend(exceptions(shown.index));
    root.children.extend(numbers(shown.index));
    root.children.push(part(shown, condition_types::TOPICS_READY, "Kafka", Vec::new()));
    root.children.push(part(shown, condition_types::TABLE_READY, "HBase", Vec::new()));
    for (condition, component) in [
        (condition_types::EMBEDDER_READY, Component::Embedder),
        (condition_types::SEARCH_READY, Component::Search),
        (condition_types::GATEWAY_READY, Component::Gateway),
    ] {
        root.children.push(part(shown, condition, component.name(), pods(shown, component)));
    }
    root.children.push(part(
        shown,
        condition_types::QUANTIZER_READY,
        "quantizer",
        jobs(shown, Component::Trainer),
    ));
    root.children.extend(imports(shown));
    root.children.extend(events(shown.events));
    let mut lines = Vec::new();
    root.write("", "", &mut lines);
    lines
}

fn mark(status: Option<&str>) -> &'static str {
    match status {
        Some("True") => "✓",
        Some("False") => "✗",
        _ => "?",
    }
}

fn headline(index: &MedicalImageIndex) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let name = format!("{}/{}", text(&index.metadata.namespace), text(&index.metadata.name));
    let ready = index.condition(condition_types::READY);
    let told = ready.map_or_else(
        || "no operator has looked at it yet".to_owned(),
        |ready| format!("{}, {}", ready.reason, ready.message),
    );
    let deleted = if index.metadata.deletion_timestamp.is_some() { " (is being deleted)" } else { "" };
    format!("{} MedicalImageIndex {name}{deleted}: {told}", mark(ready.map(|ready| ready.status.as_str())))
}

/// What a reader must see first, where it is so.
fn exceptions(index: &MedicalImageIndex) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (name, word) in [(condition_types::STALLED, "stalled"), (condition_types::DEGRADED, "degraded")] {
        if let Some(found) = index.condition(name).filter(|found| found.status == "True") {
            nodes.push(Node::leaf(format!("! {word}: {}: {}", found.reason, found.message)));
        }
    }
    let reconciling = index.condition(condition_types::RECONCILING);
    if let Some(found) = reconciling.filter(|found| found.reason == "ReconcileFailed") {
        nodes.push(Node::leaf(format!("! the last reconcile failed: {}", found.message)));
    }
    let observed = index.status.as_ref().and_then(|status| status.observed_generation);
    if observed.is_some() && observed != index.metadata.generation {
        nodes.push(Node::leaf("! the operator has not seen the newest change yet"));
    }
    if index.spec.paused {
        nodes.push(Node::leaf("! paused: nothing is changed until kubectl medindex resume"));
    }
    if index.spec.suspend {
        nodes.push(Node::leaf("! suspended: spec.suspend is true, nothing runs, all data are kept"));
    }
    nodes
}

fn numbers(index: &MedicalImageIndex) -> Vec<Node> {
    let Some(status) = &index.status else { return Vec::new() };
    let mut nodes = Vec::new();
    if let Some(images) = &status.images {
        let (stored, indexed, lag) =
            (thousands(images.stored), thousands(images.indexed), thousands(images.lag));
        nodes.push(Node::leaf(format!("images      {stored} stored, {indexed} searchable, lag {lag}")));
    }
    if let Some(generation) = &status.generation {
        let recall = generation.recall.as_ref().map(|recall| format!(", recall@10 {recall}"));
        let back = generation
            .previous
            .map(|previous| format!(", back to {previous} with spec.quantizer.rollbackTo"));
        let exact = if generation.number == 0 { " (exact search)" } else { "" };
        nodes.push(Node::leaf(format!(
            "generation  {}{exact}{}{}",
            generation.number,
            recall.unwrap_or_default(),
            back.unwrap_or_default()
        )));
    }
    if let Some(url) = status.endpoints.as_ref().and_then(|endpoints| endpoints.gateway.as_ref()) {
        nodes.push(Node::leaf(format!("reached at  {url}")));
    }
    nodes
}

/// A part of the index by its condition, with what it is made of.
fn part(shown: &Shown<'_>, name: &str, word: &str, children: Vec<Node>) -> Node {
    let found = shown.index.condition(name);
    let told = found.map_or_else(String::new, |found| format!("{}: {}", found.reason, found.message));
    let text = format!("{} {word:<9} {told}", mark(found.map(|found| found.status.as_str())));
    Node { text: text.trim_end().to_owned(), children }
}

/// Objects of a kind that belong to a component.
fn objects<'a>(shown: &Shown<'a>, kind: &str, component: Component) -> impl Iterator<Item = &'a Live> {
    let labels = selector_labels(shown.index.metadata.name.as_deref().unwrap_or_default(), component);
    shown.live.iter().filter(move |live| live.kind.kind == kind && live.has_labels(&labels))
}

fn pods(shown: &Shown<'_>, component: Component) -> Vec<Node> {
    let mut pods: Vec<&Live> = objects(shown, "Pod", component).collect();
    // search-10 comes after search-9.
    pods.sort_by_key(|pod| (pod.name().len(), pod.name().to_owned()));
    pods.into_iter().map(|pod| Node::leaf(pod_line(pod))).collect()
}

fn pod_line(pod: &Live) -> String {
    let json = &pod.object.data;
    let list = |pointer: &str| json.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_ready = list("/status/conditions")
        .iter()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let mut phase = json.pointer("/status/phase").and_then(Value::as_str).unwrap_or("Unknown").to_owned();
    let mut restarts = 0;
    for container in list("/status/containerStatuses") {
        restarts += container["restartCount"].as_i64().unwrap_or(0);
        if let Some(reason) = container.pointer("/state/waiting/reason").and_then(Value::as_str) {
            reason.clone_into(&mut phase);
        }
    }
    if pod.object.metadata.deletion_timestamp.is_some() {
        "Terminating".clone_into(&mut phase);
    }
    let node = json.pointer("/spec/nodeName").and_then(Value::as_str);
    let node = node.map_or_else(|| " on no node".to_owned(), |node| format!(" on {node}"));
    let restarts = match restarts {
        0 => String::new(),
        1 => ", 1 restart".to_owned(),
        more => format!(", {more} restarts"),
    };
    let ready = if is_ready { "✓" } else { "✗" };
    format!("{ready} {}  {phase}{node}{restarts}", pod.name())
}

fn jobs(shown: &Shown<'_>, component: Component) -> Vec<Node> {
    let jobs = objects(shown, "Job", component);
    jobs.map(|job| Node::leaf(format!("{}  {:?}", job.name(), job_state(job)))).collect()
}

fn imports(shown: &Shown<'_>) -> Option<Node> {
    let states = &shown.index.status.as_ref()?.imports;
    if states.is_empty() {
        return None;
    }
    let children = states.iter().map(|(name, state)| Node::leaf(format!("{name}  {state}"))).collect();
    Some(Node { text: "imports".to_owned(), children })
}

/// The newest events.
fn events(all: &[Event]) -> Option<Node> {
    let time = |event: &Event| {
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.clone());
        let observed = series.or_else(|| event.event_time.clone()).map(|time| time.0);
        observed.or_else(|| event.last_timestamp.clone().map(|time| time.0))
    };
    let mut sorted: Vec<&Event> = all.iter().collect();
    sorted.sort_by_key(|event| time(event));
    let newest = sorted.iter().rev().take(EVENTS);
    let children: Vec<Node> = newest
        .map(|event| {
            let at = time(event).map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default();
            let mark = if event.type_.as_deref() == Some("Warning") { "!" } else { "·" };
            let (reason, message) =
                (event.reason.as_deref().unwrap_or_default(), event.message.as_deref().unwrap_or_default());
            Node::leaf(format!("{mark} {at} {reason}: {message}"))
        })
        .collect();
    (!children.is_empty()).then(|| Node { text: "events".to_owned(), children })
}

fn thousands(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_threes() {
        let read: Vec<String> = [0, 999, 1_000, 20_134, 123_456_789, -1_000].map(thousands).to_vec();
        assert_eq!(read, ["0", "999", "1,000", "20,134", "123,456,789", "-1,000"]);
    }
}
