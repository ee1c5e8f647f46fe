//! How the pods of a component are, and if they are not well, why. Pure.

use serde_json::Value;

use super::conditions::Part;
use super::mounts::Stuck;
use super::objects::{Live, POD};
use super::pod_state::{self, Trouble};
use super::training;
use crate::api::WorkloadReplicas;
use crate::build::import_name;
use crate::names::{Component, object_name, selector_labels, selector_text};
use crate::validate::ValidatedIndex;

/// So many pods of trainings and imports are told of: a condition has room for 32 KiB.
const TOLD_JOBS: usize = 8;

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

/// Whether a component has as many ready pods as it shall, all of them of the newest template; `stuck` is what holds up the pods that take long.
pub fn part(index: &ValidatedIndex, component: Component, live: &[Live], stuck: &Stuck) -> Part {
    let Some(workload) = workload(index, component, live) else {
        return Part::not_ready("NotCreated", format!("the {component} is not created yet"));
    };
    let json = workload.json();
    let number = |pointer: &str| json.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let wanted = json.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    let (ready, updated) = (number("/status/readyReplicas"), number("/status/updatedReplicas"));
    // A single pod of older settings is ready, and as many as are wanted, while its successor does not begin.
    let older = number("/status/replicas") - updated;
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Part::not_ready("Progressing", format!("the {component} was just changed"));
    }
    if ready >= wanted && updated >= wanted && older <= 0 {
        return Part::ready("PodsReady", format!("{ready} of {wanted} pods are ready"));
    }
    let how_far = if ready < wanted {
        format!("{ready} of {wanted} pods are ready")
    } else if updated < wanted {
        format!("{updated} of {wanted} pods are of the newest settings")
    } else {
        format!("{ready} of {wanted} pods are ready, and {older} of older settings still there")
    };
    match troubles(index, component, live, stuck).next() {
        Some((reason, trouble)) => Part::not_ready(reason, format!("{how_far}: {trouble}")),
        None => match refusal(&json) {
            Some(refusal) => Part::not_ready("PodsRefused", format!("{how_far}: {refusal}")),
            None => Part::not_ready("PodsMissing", how_far),
        },
    }
}

/// Why pods cannot be made at all: a quota, an admission rule, a class that is missing. Of the objects that make pods Deployments alone say so, the others in events.
fn refusal(workload: &Value) -> Option<String> {
    let failure =
        pod_state::condition(workload, "ReplicaFailure").filter(|failure| failure["status"] == "True")?;
    let message = failure["message"].as_str().unwrap_or("no reason given").trim_end_matches('.');
    Some(format!(
        "{message}; see quotas, admission rules and priority classes; Kubernetes tries again by itself"
    ))
}

/// What is wrong with trainings and imports, each in words that name it: pods that do not begin, imports that failed. The index answers without them.
pub fn jobs(index: &ValidatedIndex, live: &[Live], stuck: &Stuck) -> Vec<String> {
    let components = [Component::Trainer, Component::Importer];
    let troubles = components.into_iter().flat_map(|component| troubles(index, component, live, stuck));
    let troubles = troubles.map(|(reason, trouble)| format!("{reason}: {trouble}"));
    failed_imports(index, live).chain(troubles).take(TOLD_JOBS).collect()
}

fn failed_imports(index: &ValidatedIndex, live: &[Live]) -> impl Iterator<Item = String> {
    let states = training::imports(index, live).into_iter().filter(|(_, state)| state == "Failed");
    states.map(|(name, _)| {
        let job = import_name(&index.name, &name);
        format!(
            "ImportFailed: the import {name} of spec.imports failed: see kubectl logs job/{job}; what was imported stays; delete that Job, or give the import another name, to go on"
        )
    })
}

/// The object that has a component's pods.
pub fn workload<'a>(index: &ValidatedIndex, component: Component, live: &'a [Live]) -> Option<&'a Live> {
    let kind = if component == Component::Search { "StatefulSet" } else { "Deployment" };
    let name = object_name(&index.name, component);
    live.iter().find(|live| live.kind.kind == kind && live.name() == name)
}

/// Why pods of a component are not well, pod by pod.
fn troubles(
    index: &ValidatedIndex,
    component: Component,
    live: &[Live],
    stuck: &Stuck,
) -> impl Iterator<Item = Trouble> {
    let pods = pods(&index.name, component, live);
    pods.filter_map(move |pod| pod_state::trouble(component, pod.name(), &pod.object.data, stuck))
}

/// Pods of a component that stay.
pub(super) fn pods<'a>(
    index: &str,
    component: Component,
    live: &'a [Live],
) -> impl Iterator<Item = &'a Live> + use<'a> {
    let labels = selector_labels(index, component);
    live.iter().filter(move |live| {
        let is_going = live.object.metadata.deletion_timestamp.is_some();
        live.kind == POD && live.has_labels(&labels) && !is_going
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::MedicalImageIndex;
    use crate::reconcile::conditions::Truth;
    use crate::reconcile::objects::Kind;
    use crate::release::Release;
    use crate::validate::validate;

    fn index() -> ValidatedIndex {
        let sample = include_str!("../../../manifests/samples/medicalimageindex.yaml");
        let mut index: MedicalImageIndex = serde_norway::from_str(sample).unwrap();
        index.metadata.namespace = Some("imaging".to_owned());
        let release = Release { image_prefix: String::new(), image_tag: "1".to_owned() };
        validate(&index, &release).unwrap()
    }

    fn live(object: Value) -> Live {
        let kind = Kind::of(&object).unwrap();
        Live { kind, object: serde_json::from_value(object).unwrap() }
    }

    fn gateway(replicas: i32, status: &Value) -> Live {
        let metadata = json!({"name": "radiology-gateway", "generation": 2});
        let spec = json!({"replicas": replicas});
        let kind = "Deployment";
        live(
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec, "status": status}),
        )
    }

    fn pod(component: Component, name: &str) -> Live {
        let labels = selector_labels("radiology", component);
        let waiting = json!({"reason": "ErrImagePull", "message": "no such host"});
        let status = json!({"containerStatuses": [{"image": "a:1", "state": {"waiting": waiting}}]});
        let metadata = json!({"name": name, "labels": labels});
        live(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}))
    }

    fn of_gateway(live: &[Live]) -> Part {
        part(&index(), Component::Gateway, live, &Stuck::new())
    }

    #[test]
    fn a_component_is_ready_when_all_its_pods_are_and_all_are_new() {
        let status = |replicas: i32, ready: i32, updated: i32| {
            let mut status =
                json!({"replicas": replicas, "readyReplicas": ready, "updatedReplicas": updated});
            status["observedGeneration"] = json!(2);
            status
        };
        for (wanted, status, truth, reason, words) in [
            (2, status(2, 2, 2), Truth::True, "PodsReady", "2 of 2 pods are ready"),
            (0, status(0, 0, 0), Truth::True, "PodsReady", "0 of 0 pods are ready"),
            (2, status(2, 1, 2), Truth::False, "PodsMissing", "1 of 2 pods are ready"),
            (2, status(3, 2, 1), Truth::False, "PodsMissing", "1 of 2 pods are of the newest settings"),
            (1, status(2, 1, 1), Truth::False, "PodsMissing", "1 of older settings still there"),
            (2, json!({"observedGeneration": 1}), Truth::False, "Progressing", "gateway was just changed"),
        ] {
            let part = of_gateway(&[gateway(wanted, &status)]);
            assert_eq!((part.status, part.reason), (truth, reason), "{}", part.message);
            assert!(part.message.contains(words), "{}", part.message);
        }
    }

    #[test]
    fn pods_that_kubernetes_may_not_make_are_told_with_what_forbids_them() {
        let message = "pods \"radiology-gateway-a\" is forbidden: exceeded quota: small.";
        let failure = json!({"type": "ReplicaFailure", "status": "True", "message": message});
        let status = json!({"observedGeneration": 2, "conditions": [failure]});
        let part = of_gateway(&[gateway(2, &status)]);
        assert_eq!(part.reason, "PodsRefused");
        for words in ["0 of 2 pods are ready", "exceeded quota: small; see quotas", "tries again"] {
            assert!(part.message.contains(words), "{}", part.message);
        }
    }

    #[test]
    fn a_component_that_is_not_made_says_so() {
        let part = of_gateway(&[]);
        assert_eq!((part.status, part.reason), (Truth::False, "NotCreated"));
        assert!(part.message.contains("gateway is not created yet"), "{}", part.message);
    }

    #[test]
    fn what_keeps_a_component_from_being_ready_is_told_of_its_own_pods_that_stay() {
        let status =
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 1, "updatedReplicas": 1});
        let workload = gateway(1, &status);
        let part = of_gateway(&[workload.clone(), pod(Component::Gateway, "radiology-gateway-b")]);
        assert_eq!(part.reason, "ImageUnavailable");
        assert!(part.message.contains("pod radiology-gateway-b cannot get image a:1"), "{}", part.message);
        let part = of_gateway(&[workload.clone(), pod(Component::Embedder, "radiology-embedder-b")]);
        assert_eq!(part.reason, "PodsMissing");
        let mut going = pod(Component::Gateway, "radiology-gateway-b");
        going.object.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        assert_eq!(of_gateway(&[workload, going]).reason, "PodsMissing");
    }

    #[test]
    fn an_import_that_failed_is_told_with_its_log_and_one_that_runs_is_not() {
        let mut resource = index();
        resource.spec.imports =
            serde_json::from_value(json!([{"name": "ward", "source": {"claim": "ward"}}])).unwrap();
        let job = |status: &str| {
            let failed = json!({"conditions": [{"type": "Failed", "status": status}]});
            let metadata = json!({"name": import_name("radiology", "ward")});
            live(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": failed}))
        };
        let told = jobs(&resource, &[job("True")], &Stuck::new());
        assert!(told[0].contains("import ward") && told[0].contains("kubectl logs job/"), "{told:?}");
        assert_eq!(jobs(&resource, &[job("False")], &Stuck::new()), Vec::<String>::new());
    }

    #[test]
    fn pods_of_trainings_and_imports_that_do_not_begin_are_told_up_to_a_number() {
        let importers =
            (0..64).map(|number| pod(Component::Importer, &format!("radiology-import-{number}-x")));
        let mut pods: Vec<Live> = importers.collect();
        pods.push(pod(Component::Trainer, "radiology-train-1-x"));
        pods.push(pod(Component::Gateway, "radiology-gateway-x"));
        let told = jobs(&index(), &pods, &Stuck::new());
        assert_eq!(told.len(), TOLD_JOBS);
        assert!(told[0].starts_with("ImageUnavailable: pod radiology-train-1-x cannot get"), "{told:?}");
        assert!(told[1].starts_with("ImageUnavailable: pod radiology-import-0-x cannot get"), "{told:?}");
        assert!(!told.iter().any(|told| told.contains("gateway")), "{told:?}");
    }
}
