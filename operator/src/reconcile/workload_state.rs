//! How the pods of a component are, and if they are not well, why: what a person would find with `kubectl describe`. Pure.

use serde_json::Value;

use super::conditions::Part;
use super::objects::Live;
use crate::api::WorkloadReplicas;
use crate::names::{Component, object_name, selector_labels, selector_text};
use crate::validate::ValidatedIndex;

/// The pods of a component in numbers, for the status.
pub fn replicas(index: &ValidatedIndex, component: Component, live: &[Live]) -> WorkloadReplicas {
    let json = workload(index, component, live).map(|live| live.object.data.clone()).unwrap_or_default();
    let number = |field: &str| {
        json["status"][field].as_i64().and_then(|number| i32::try_from(number).ok()).unwrap_or(0)
    };
    WorkloadReplicas {
        replicas: number("replicas"),
        ready: number("readyReplicas"),
        selector: Some(selector_text(&selector_labels(&index.name, component))),
    }
}

/// Whether a component has as many ready pods as it shall, all of them of the newest template.
pub fn part(index: &ValidatedIndex, component: Component, live: &[Live]) -> Part {
    let Some(workload) = workload(index, component, live) else {
        return Part::not_ready("NotCreated", format!("the {component} is not created yet"));
    };
    let json = workload.json();
    let number = |pointer: &str| json.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let wanted = json.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let (ready, updated) = (number("/status/readyReplicas"), number("/status/updatedReplicas"));
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Part::not_ready("Progressing", format!("the {component} was just changed"));
    }
    if ready >= wanted && updated >= wanted {
        return Part::ready("PodsReady", format!("{ready} of {wanted} pods are ready"));
    }
    let (reason, trouble) = trouble(index, component, live).unwrap_or(("PodsMissing", String::new()));
    let trouble = if trouble.is_empty() { trouble } else { format!(": {trouble}") };
    if ready >= wanted {
        return Part::not_ready(
            reason,
            format!("{updated} of {wanted} pods are of the newest settings{trouble}"),
        );
    }
    Part::not_ready(reason, format!("{ready} of {wanted} pods are ready{trouble}"))
}

/// The object that has a component's pods.
pub fn workload<'a>(index: &ValidatedIndex, component: Component, live: &'a [Live]) -> Option<&'a Live> {
    let kind = if component == Component::Search { "StatefulSet" } else { "Deployment" };
    let name = object_name(&index.name, component);
    live.iter().find(|live| live.kind.kind == kind && live.name() == name)
}

/// Why the first pod that is not ready is not: scheduling, images, containers.
fn trouble(index: &ValidatedIndex, component: Component, live: &[Live]) -> Option<(&'static str, String)> {
    let labels = selector_labels(&index.name, component);
    let is_pod_of_it = |live: &&Live| live.kind.kind == "Pod" && live.has_labels(&labels);
    live.iter().filter(is_pod_of_it).find_map(|pod| pod_trouble(pod.name(), &pod.object.data))
}

fn pod_trouble(name: &str, pod: &Value) -> Option<(&'static str, String)> {
    for condition in pod["status"]["conditions"].as_array().into_iter().flatten() {
        if condition["type"] == "PodScheduled" && condition["status"] == "False" {
            let message = condition["message"].as_str().unwrap_or("no reason given");
            return Some((
                "Unschedulable",
                format!("pod {name} finds no node: {message}; see nodePool, requests and the nodes"),
            ));
        }
    }
    for container in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
        let waiting = &container["state"]["waiting"];
        let Some(reason) = waiting["reason"].as_str() else { continue };
        let message = waiting["message"].as_str().unwrap_or("no message");
        match reason {
            "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
                let image = container["image"].as_str().unwrap_or_default();
                return Some(("ImageUnavailable", format!("pod {name} cannot get image {image}: {message}")));
            }
            "CrashLoopBackOff" => {
                let status = container.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
                let status = status.map_or_else(String::new, |status| format!(" with status {status}"));
                return Some((
                    "Crashing",
                    format!("pod {name} ends{status} as soon as it starts: see kubectl logs {name}"),
                ));
            }
            "CreateContainerConfigError" => {
                return Some(("MountsMissing", format!("pod {name} cannot start: {message}")));
            }
            _ => {}
        }
    }
    None
}
