//! Search is scaled by hand, by Git and by an autoscaler, and given larger disks, while users search. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::time::{Duration, Instant};

use medindex_e2e::cluster;
use medindex_e2e::gitops::Repository;
use medindex_e2e::index::{self, AtTheEnd, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{apply, get, kubectl, tidied, try_kubectl, wait_until};
use medindex_e2e::{Gateway, QueryLoad, load};
use serde_json::{Value, json};

const SCALER: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: radiology-search, namespace: medindex}
spec:
  scaleTargetRef: {apiVersion: medindex.dev/v1alpha1, kind: MedicalImageIndex, name: radiology}
  minReplicas: 1
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 1}}}]
";

/// Users search from beginning to end of `work`, and not one query fails.
fn while_users_search(work: impl FnOnce(&QueryLoad)) {
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    load::while_users_search(&gateway, &images, work);
}

fn wait_for_replicas(how: &str, replicas: i32) {
    let took = wait_until("search to be scaled", PATIENCE, || {
        let resource = index::resource();
        let search = &resource["status"]["search"];
        index::is_ready(&resource) && search["ready"] == replicas && search["replicas"] == replicas
    });
    println!("{how}: {replicas} replicas of every shard are ready after {:.1} s", took.as_secs_f64());
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn search_is_scaled_by_kubectl_without_one_failed_query() {
    let _turn = index::turn();
    while_users_search(|load| {
        for replicas in [2, 1] {
            let to = format!("--replicas={replicas}");
            kubectl(&["scale", &format!("mii/{NAME}"), "--namespace", NAMESPACE, &to]);
            wait_for_replicas("kubectl scale", replicas);
            load.go_on(100);
        }
    });
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_change_committed_to_git_scales_search_without_one_failed_query() {
    let _turn = index::turn();
    let repository = Repository::new();
    let file = repository.file("e2e/index/kustomization.yaml");
    repository.wait_until_applied();
    while_users_search(|load| {
        for replicas in [2, 1] {
            let before = fs::read_to_string(&file).unwrap();
            let (search, rest) = before.split_once("      search:\n        replicas: ").unwrap();
            let after = format!("{search}      search:\n        replicas: {replicas}{}", &rest[1..]);
            fs::write(&file, after).unwrap();
            repository.commit(&format!("{replicas} replicas"));
            wait_for_replicas(&format!("a commit to Git, applied by {}", repository.applier()), replicas);
            let told = repository.wait_until_applied();
            println!("{} told so after another {:.1} s", repository.applier(), told.as_secs_f64());
            load.go_on(100);
        }
    });
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_autoscaler_drives_the_scale_of_the_resource() {
    let _turn = index::turn();
    while_users_search(|_| {
        apply(SCALER);
        wait_for_replicas("HorizontalPodAutoscaler", 2);
    });
    kubectl(&["delete", "horizontalpodautoscaler", "radiology-search", "--namespace", NAMESPACE]);
    index::ensure();
    wait_for_replicas("applied again without it", 1);
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn gateways_under_an_autoscaler_are_left_alone_by_the_operator() {
    /// Longer than the operator takes to look at everything again.
    const ROUND: Duration = Duration::from_secs(50);
    let Some(_turn) = cluster::turn() else { return };
    let name = format!("{NAME}-gateway");
    let replicas = || get(NAMESPACE, &["deployment", &name])["spec"]["replicas"].as_i64().unwrap_or_default();
    let written = || {
        let written = cluster::writes_of_the_operator();
        written.into_iter().filter(|write| write.ends_with(&format!("deployments/{name}"))).count()
    };
    let before = replicas();
    while_users_search(|load| {
        let _without = AtTheEnd(json!({"spec": {"gateway": {"autoscaling": null}}}));
        let bounds = json!({"minReplicas": before, "maxReplicas": before + 2, "cpuPercent": 100});
        index::edit(&json!({"spec": {"gateway": {"autoscaling": bounds}}}));
        wait_until("the autoscaler to have looked", PATIENCE, || {
            let scaler = get(NAMESPACE, &["horizontalpodautoscaler", &name]);
            scaler["status"]["currentReplicas"].is_i64() && index::is_ready(&index::resource())
        });
        // The operator lets go of the number once another has set it: that write is its last.
        let to = format!("--replicas={}", before + 1);
        kubectl(&["scale", "deployment", &name, "--namespace", NAMESPACE, &to]);
        let (mut known, mut since) = (written(), Instant::now());
        wait_until("a round without a write of the operator", PATIENCE, || {
            let now = written();
            if now != known {
                (known, since) = (now, Instant::now());
            }
            since.elapsed() > ROUND
        });
        let left = replicas();
        assert!(left >= before, "{left} gateways under an autoscaler of at least {before}");
        println!(
            "{left} gateways, and no write of the operator to their Deployment in {} s",
            ROUND.as_secs()
        );
        load.go_on(100);
    });
    wait_until("as many gateways as before", PATIENCE, || {
        replicas() == before && index::is_ready(&index::resource())
    });
}

/// The sample with its own disks again, whatever became of the test: disks never shrink.
struct MadeAnew;

impl Drop for MadeAnew {
    fn drop(&mut self) {
        tidied(try_kubectl(&["delete", "mii", NAME, "--namespace", NAMESPACE, "--timeout=60s"]));
    }
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn disks_grow_while_the_pods_run_without_one_failed_query() {
    const SIZE: &str = "2Gi";
    let _turn = index::turn();
    let _tidy = MadeAnew;
    let sizes = |kind: &str, pointer: &str| -> Vec<String> {
        let search = "app.kubernetes.io/instance=radiology,app.kubernetes.io/component=search";
        let found = get(NAMESPACE, &[kind, "--selector", search]);
        let size =
            |object: &Value| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        // While it is made anew there is none.
        found["items"].as_array().into_iter().flatten().map(size).collect()
    };
    while_users_search(|load| {
        let pods = index::pods();
        index::edit(&json!({"spec": {"search": {"disk": SIZE}}}));
        let took = wait_until("larger disks", PATIENCE, || {
            let made = sizes("statefulsets", "/spec/volumeClaimTemplates/0/spec/resources/requests/storage");
            made == [SIZE] && index::is_ready(&index::resource())
        });
        load.go_on(100);
        let claims = sizes("persistentvolumeclaims", "/spec/resources/requests/storage");
        assert!(!claims.is_empty() && claims.iter().all(|size| size == SIZE), "{claims:?}");
        assert_eq!(index::pods(), pods, "pods were replaced");
        println!("disks of {} pods grown to {SIZE}, ready after {:.1} s", claims.len(), took.as_secs_f64());
    });
}
