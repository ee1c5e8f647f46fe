//! Pods that run and are not ready for long: why, in the words of their programs.
//!
//! A program that waits for a server, a login or another program says so at its probe (`/readyz`), and nowhere else but in its log; what Kubernetes tells of
//! the pod is that it is not ready. So the probe is asked.
//!
//! Failure mode: a pod that does not answer is told of by numbers alone, and the log says why.

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::mounts::{Held, Stuck};
use super::objects::Live;
use super::pod_state::{condition, containers};
use super::workload_state::pods;
use crate::build::{OPERATION_PORT, SERVING};
use crate::external::Backends;
use crate::validate::ValidatedIndex;

/// So many seconds a program may take to be ready before it is asked.
const PATIENCE: i64 = 20;
/// So many pods of a component are asked: what one waits for, most wait for.
const ASKED: usize = 2;

/// What the pods say that take long to be ready.
pub async fn ask(backends: &dyn Backends, index: &ValidatedIndex, live: &[Live], now: &Time) -> Stuck {
    let asked = probes(&index.name, live, now).map(|(name, probe)| async move {
        match backends.unreadiness(&probe).await {
            Ok(reason) => reason.map(|reason| (name.to_owned(), Held::Says(reason))),
            Err(error) => {
                tracing::info!(pod = name, %error, "a pod that is not ready does not say why");
                None
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Pods of an index that are asked, and where.
fn probes<'a>(index: &str, live: &'a [Live], now: &Time) -> impl Iterator<Item = (&'a str, String)> {
    SERVING.into_iter().flat_map(|component| {
        let pods = pods(index, component, live);
        pods.filter_map(|pod| Some((pod.name(), probe(&pod.object.data, now)?))).take(ASKED)
    })
}

/// Where a pod can be asked that has run for long and is not ready.
fn probe(json: &Value, now: &Time) -> Option<String> {
    let is_ready = condition(json, "Ready").is_none_or(|ready| ready["status"] != "False");
    if is_ready {
        return None;
    }
    let runs_long = |container: &Value| {
        let since = container.pointer("/state/running/startedAt").cloned();
        let since: Option<Time> = since.and_then(|since| serde_json::from_value(since).ok());
        since.is_some_and(|since| now.0.as_second() - since.0.as_second() >= PATIENCE)
    };
    if !containers(json).any(runs_long) {
        return None;
    }
    let address = json["status"]["podIP"].as_str()?;
    Some(if address.contains(':') {
        format!("[{address}]:{OPERATION_PORT}")
    } else {
        format!("{address}:{OPERATION_PORT}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::names::{Component, selector_labels};
    use crate::reconcile::objects::Kind;

    fn pod(ready: &str, started: &str, address: &str) -> Live {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "radiology-search-0", "labels": selector_labels("radiology", Component::Search)},
            "status": {
                "podIP": address,
                "conditions": [{"type": "Ready", "status": ready}],
                "containerStatuses": [{"state": {"running": {"startedAt": started}}}],
            },
        });
        Live { kind: Kind::of(&object).unwrap(), object: serde_json::from_value(object).unwrap() }
    }

    #[test]
    fn only_a_pod_that_runs_for_long_unready_and_stays_is_asked() {
        let now: Time = serde_json::from_value(json!("2026-01-01T00:01:00Z")).unwrap();
        let probe = |pod: &Live, now: &Time| {
            let asked: Vec<_> = probes("radiology", std::slice::from_ref(pod), now).collect();
            asked.first().map(|(_, address)| address.clone())
        };
        let (long, lately) = ("2026-01-01T00:00:40Z", "2026-01-01T00:00:41Z");
        assert_eq!(probe(&pod("False", long, "10.0.0.7"), &now).unwrap(), "10.0.0.7:9600");
        assert_eq!(probe(&pod("False", long, "fd00::7"), &now).unwrap(), "[fd00::7]:9600");
        assert_eq!(probe(&pod("True", long, "10.0.0.7"), &now), None);
        assert_eq!(probe(&pod("False", lately, "10.0.0.7"), &now), None);
        let mut going = pod("False", long, "10.0.0.7");
        going.object.metadata.deletion_timestamp = Some(now.clone());
        assert_eq!(probe(&going, &now), None);
        let mut waits = pod("False", long, "10.0.0.7");
        waits.object.data["status"]["containerStatuses"] = json!([{"state": {"waiting": {}}}]);
        assert_eq!(probe(&waits, &now), None);
    }
}
