//! Why a pod does not begin, or does not stay: what a person would find with `kubectl describe`, and what to do. Pure.
//!
//! All of it is tried again by Kubernetes itself: by the scheduler when nodes or claims change, by the node after waits of five minutes at the
//! most. Messages hold no times, so that a condition changes only when what it tells does.

use serde_json::Value;

use super::mounts::{Held, Stuck};
use crate::names::Component;

/// A reason in one word, and what is so and what to do.
pub type Trouble = (&'static str, String);

/// What keeps a pod from running, first its node, then its images and containers, then what it mounts or its program waits for.
pub fn trouble(component: Component, name: &str, pod: &Value, stuck: &Stuck) -> Option<Trouble> {
    without_node(component, name, pod)
        .or_else(|| containers(pod).find_map(|container| waiting(component, name, pod, container)))
        .or_else(|| match stuck.get(name)? {
            Held::Lacks(missing) => unmounted(name, pod, missing),
            Held::Says(reason) => Some(unready(name, reason)),
        })
}

/// A condition of a pod, by its type.
pub(super) fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

/// How the containers of a pod are, those first that run before the others.
pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let status = &pod["status"];
    let lists = [&status["initContainerStatuses"], &status["containerStatuses"]];
    lists.into_iter().filter_map(Value::as_array).flatten()
}

fn volumes(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["volumes"].as_array().into_iter().flatten()
}

/// The part of the spec that a component's pods follow. Importers run where embedders do.
fn field(component: Component) -> Component {
    if component == Component::Importer { Component::Embedder } else { component }
}

fn without_node(component: Component, name: &str, pod: &Value) -> Option<Trouble> {
    let scheduled = condition(pod, "PodScheduled").filter(|scheduled| scheduled["status"] == "False")?;
    let message = scheduled["message"].as_str().unwrap_or("no reason given").trim_end_matches('.');
    if message.contains("persistentvolumeclaim \"") && message.contains("not found") {
        let told = format!(
            "pod {name} finds no disk: {message}; create that PersistentVolumeClaim, or name another in the resource; the scheduler tries again by itself"
        );
        return Some(("MountsMissing", told));
    }
    let labels = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(label, value)| format!("{label}={}", value.as_str().unwrap_or_default())).collect();
    let pool = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
    let field = field(component);
    let told = format!(
        "pod {name} finds no node: {message}; see spec.{field}.nodePool{pool}, spec.{field}.requests and the nodes; the scheduler tries again by itself"
    );
    Some(("Unschedulable", told))
}

fn waiting(component: Component, name: &str, pod: &Value, container: &Value) -> Option<Trouble> {
    let waiting = &container["state"]["waiting"];
    let message = waiting["message"].as_str().unwrap_or("no message");
    match waiting["reason"].as_str()? {
        "ImagePullBackOff"
        | "ErrImagePull"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "ImageInspectError"
        | "RegistryUnavailable"
        | "SignatureValidationFailed" => {
            let (image, field) = image(component, pod, container, message);
            let told = format!(
                "pod {name} cannot get image {image}: {message}; mend {field}, or the registry and its pull secret (spec.imagePullSecrets); the node tries again within five minutes"
            );
            Some(("ImageUnavailable", told))
        }
        "CrashLoopBackOff" => {
            let status = container.pointer("/lastState/terminated/exitCode").and_then(Value::as_i64);
            let status = status.map_or_else(String::new, |status| format!(" with status {status}"));
            let told = format!(
                "pod {name} ends{status} as soon as it starts: see kubectl logs {name}; the node tries again within five minutes"
            );
            Some(("Crashing", told))
        }
        "CreateContainerError" | "RunContainerError" => {
            let told = format!(
                "pod {name} cannot start its container: {message}; see its image and spec.{}.podOverrides; the node tries again by itself",
                field(component)
            );
            Some(("Crashing", told))
        }
        "CreateContainerConfigError" => {
            let told =
                format!("pod {name} cannot start: {message}; mend that, the node tries again by itself");
            Some(("MountsMissing", told))
        }
        _ => None,
    }
}

/// The image that a node cannot get, and the field of the resource that names it.
fn image<'a>(component: Component, pod: &'a Value, container: &'a Value, message: &str) -> (&'a str, String) {
    // The status of a container that waits for the image of a volume names the container's own; the message knows better.
    let mut of_volumes = volumes(pod).filter_map(|volume| volume["image"]["reference"].as_str());
    if let Some(image) = of_volumes.find(|image| message.contains(*image)) {
        return (image, "spec.embedding.model.image".to_owned());
    }
    let field = match component {
        Component::Importer => "spec.imports[].image".to_owned(),
        other => format!("spec.{other}.image"),
    };
    (container["image"].as_str().unwrap_or_default(), field)
}

/// A pod whose program runs and says why it is not ready: it waits for something that it lacks, or takes its time.
fn unready(name: &str, says: &str) -> Trouble {
    let told = format!("pod {name} runs and is not ready: {says}; it tries again by itself");
    (if says.starts_with("waiting for ") { "PodsWaiting" } else { "PodsMissing" }, told)
}

/// A pod that has had its node for long and does not begin.
fn unmounted(name: &str, pod: &Value, missing: &[String]) -> Option<Trouble> {
    if !missing.is_empty() {
        let told = format!("pod {name} cannot start: {}; the node tries again by itself", missing.join("; "));
        return Some(("MountsMissing", told));
    }
    // Set once volumes and network are there; what takes long then is an image.
    let began = condition(pod, "PodReadyToStartContainers")?;
    let claims = volumes(pod).filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str());
    let claims: Vec<&str> = claims.collect();
    let claims = if claims.is_empty() {
        String::new()
    } else {
        format!(" (PersistentVolumeClaim {})", claims.join(", "))
    };
    let told = format!(
        "pod {name} has waited for over a minute for its volumes{claims} or its network: see kubectl describe pod {name}; the node tries again by itself"
    );
    (began["status"] == "False").then_some(("PodsMissing", told))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(component: Component, pod: &Value) -> Trouble {
        trouble(component, "radiology-search-0", pod, &Stuck::new()).unwrap()
    }

    fn assert_told(trouble: &Trouble, reason: &str, words: &[&str]) {
        assert_eq!(trouble.0, reason, "{}", trouble.1);
        for word in words {
            assert!(trouble.1.contains(word), "{word} is not in: {}", trouble.1);
        }
    }

    fn unscheduled(message: &str) -> Value {
        json!({
            "spec": {"nodeSelector": {"pool": "gpu"}},
            "status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": message}]},
        })
    }

    fn pod_waiting(reason: &str, message: &str) -> Value {
        let waiting = json!({"reason": reason, "message": message});
        json!({"status": {"containerStatuses": [{"image": "registry.example/search:1", "state": {"waiting": waiting}}]}})
    }

    #[test]
    fn a_pod_without_a_node_names_what_the_scheduler_says_its_pool_and_where_to_look() {
        let pod = unscheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.");
        let found = told(Component::Search, &pod);
        let words = [
            "pod radiology-search-0",
            "3 Insufficient nvidia.com/gpu; see spec.search.nodePool (pool=gpu)",
            "tries again",
        ];
        assert_told(&found, "Unschedulable", &words);
        assert_told(
            &told(Component::Importer, &pod),
            "Unschedulable",
            &["spec.embedder.nodePool (pool=gpu)"],
        );
    }

    #[test]
    fn a_claim_that_is_missing_is_named_and_asked_for() {
        let pod = unscheduled(
            "0/3 nodes are available: persistentvolumeclaim \"model-vgg16\" not found. preemption: none.",
        );
        let words = [
            "pod radiology-search-0",
            "\"model-vgg16\" not found",
            "create that PersistentVolumeClaim",
            "tries again",
        ];
        assert_told(&told(Component::Embedder, &pod), "MountsMissing", &words);
        // One that is there and has no disk yet is for the scheduler to say.
        let unbound = unscheduled("pod has unbound immediate PersistentVolumeClaims");
        assert_eq!(told(Component::Embedder, &unbound).0, "Unschedulable");
    }

    #[test]
    fn an_image_that_cannot_be_had_is_named_with_the_field_that_names_it() {
        for reason in [
            "ImagePullBackOff",
            "ErrImagePull",
            "ErrImageNeverPull",
            "InvalidImageName",
            "ImageInspectError",
            "RegistryUnavailable",
            "SignatureValidationFailed",
        ] {
            let pod = pod_waiting(reason, "no such host");
            let words = [
                "pod radiology-search-0 cannot get image registry.example/search:1: no such host",
                "mend spec.search.image",
                "pull secret",
                "tries again",
            ];
            assert_told(&told(Component::Search, &pod), "ImageUnavailable", &words);
        }
        let pod = pod_waiting("ErrImagePull", "no such host");
        assert_told(&told(Component::Importer, &pod), "ImageUnavailable", &["spec.imports[].image"]);
    }

    #[test]
    fn the_image_of_the_model_is_told_from_that_of_the_container() {
        let mut pod =
            pod_waiting("ImagePullBackOff", "Back-off pulling image \"registry.example/models/vgg16:1\"");
        pod["spec"] = json!({"volumes": [{"name": "model", "image": {"reference": "registry.example/models/vgg16:1"}}]});
        let words = ["cannot get image registry.example/models/vgg16:1", "mend spec.embedding.model.image"];
        assert_told(&told(Component::Embedder, &pod), "ImageUnavailable", &words);
    }

    #[test]
    fn a_container_that_ends_or_cannot_run_names_its_log_or_what_the_node_says() {
        let mut pod = pod_waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container");
        pod["status"]["containerStatuses"][0]["lastState"] = json!({"terminated": {"exitCode": 2}});
        let words = ["ends with status 2", "kubectl logs radiology-search-0", "tries again"];
        assert_told(&told(Component::Search, &pod), "Crashing", &words);
        let words = ["pod radiology-search-0", "exec: not found", "spec.search.podOverrides", "tries again"];
        for reason in ["CreateContainerError", "RunContainerError"] {
            let pod = pod_waiting(reason, "exec: not found");
            assert_told(&told(Component::Search, &pod), "Crashing", &words);
        }
    }

    #[test]
    fn a_container_without_its_settings_names_them() {
        let pod = pod_waiting("CreateContainerConfigError", "configmap \"radiology-settings\" not found");
        let words = [
            "pod radiology-search-0",
            "configmap \"radiology-settings\" not found; mend that",
            "tries again",
        ];
        assert_told(&told(Component::Search, &pod), "MountsMissing", &words);
    }

    #[test]
    fn a_container_that_runs_before_the_others_is_looked_at_first() {
        let first =
            json!({"image": "init:1", "state": {"waiting": {"reason": "ErrImagePull", "message": "denied"}}});
        let mut pod = pod_waiting("PodInitializing", "");
        pod["status"]["initContainerStatuses"] = json!([first]);
        assert_told(&told(Component::Search, &pod), "ImageUnavailable", &["image init:1: denied"]);
    }

    #[test]
    fn a_pod_that_takes_long_names_what_it_lacks_or_its_claims() {
        let mut pod = pod_waiting("ContainerCreating", "");
        pod["spec"] =
            json!({"volumes": [{"name": "model", "persistentVolumeClaim": {"claimName": "model-vgg16"}}]});
        pod["status"]["conditions"] = json!([{"type": "PodReadyToStartContainers", "status": "False"}]);
        let find = |pod: &Value, stuck: &Stuck| trouble(Component::Embedder, "embedder-0", pod, stuck);
        let lacks = "the Secret \"extra\" is not in namespace imaging: create it there".to_owned();
        let stuck = |lacks: Vec<String>| Stuck::from([("embedder-0".to_owned(), Held::Lacks(lacks))]);
        let found = find(&pod, &stuck(vec![lacks])).unwrap();
        assert_told(
            &found,
            "MountsMissing",
            &["pod embedder-0", "Secret \"extra\"", "create it there", "tries again"],
        );
        let found = find(&pod, &stuck(Vec::new())).unwrap();
        let words = ["(PersistentVolumeClaim model-vgg16)", "kubectl describe pod embedder-0", "tries again"];
        assert_told(&found, "PodsMissing", &words);
        // Neither one that has not waited for long nor one that gets its image.
        assert_eq!(find(&pod, &Stuck::new()), None);
        pod["status"]["conditions"][0]["status"] = json!("True");
        assert_eq!(find(&pod, &stuck(Vec::new())), None);
    }

    #[test]
    fn a_program_that_waits_is_told_in_its_own_words() {
        let pod = json!({"status": {"containerStatuses": [{"image": "a", "state": {"running": {}}}]}});
        let says = Held::Says("waiting for the catalog: access denied for user \"me\"".to_owned());
        let stuck = Stuck::from([("search-0".to_owned(), says)]);
        let told = trouble(Component::Search, "search-0", &pod, &stuck).unwrap();
        let words = ["pod search-0 runs and is not ready", "catalog: access denied", "tries again by itself"];
        assert_told(&told, "PodsWaiting", &words);
        assert_eq!(trouble(Component::Search, "search-1", &pod, &stuck), None);
        let stuck = Stuck::from([("search-0".to_owned(), Held::Says("the index is loading".to_owned()))]);
        let told = trouble(Component::Search, "search-0", &pod, &stuck).unwrap();
        assert_told(&told, "PodsMissing", &["is not ready: the index is loading"]);
    }

    #[test]
    fn a_pod_that_runs_has_no_trouble() {
        let pod = json!({"status": {
            "conditions": [{"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [{"image": "a", "state": {"running": {}}}],
        }});
        assert_eq!(trouble(Component::Search, "radiology-search-0", &pod, &Stuck::new()), None);
    }
}
