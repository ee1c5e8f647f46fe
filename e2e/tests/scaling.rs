//! Search is scaled by hand, by Git and by an autoscaler, and given larger disks, while users search. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use medindex_e2e::index::{self, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{apply, get, kubectl, try_kubectl, wait_until};
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

/// A repository of what the tests apply, and a checkout of it that is applied, as Flux and Argo CD do.
struct Git {
    folder: PathBuf,
}

impl Git {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("medindex-e2e-git-{}", std::process::id()));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for part in ["manifests/samples", "e2e/index"] {
            copy(&root.join(part), &folder.join("origin").join(part));
        }
        let git = Self { folder };
        git.run("origin", &["init", "--quiet"]);
        git.commit("The index");
        git.run("", &["clone", "--quiet", "origin", "applied"]);
        git
    }

    fn run(&self, place: &str, arguments: &[&str]) {
        let who = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
        let status =
            Command::new("git").current_dir(self.folder.join(place)).args(who).args(arguments).status();
        assert!(status.unwrap().success(), "git {arguments:?} failed");
    }

    fn commit(&self, message: &str) {
        self.run("origin", &["add", "--all"]);
        self.run("origin", &["commit", "--quiet", "--message", message]);
    }

    /// What a controller of `GitOps` does when the repository has something new.
    fn pull_and_apply(&self) {
        self.run("applied", &["pull", "--quiet"]);
        kubectl(&["apply", "--kustomize", self.folder.join("applied/e2e/index").to_str().unwrap()]);
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Neither Flux nor Argo CD builds from the module registry here: `git pull` and `kubectl apply` stand in for them.
#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_change_committed_to_git_scales_search_without_one_failed_query() {
    let _turn = index::turn();
    let git = Git::new();
    let file = git.folder.join("origin/e2e/index/kustomization.yaml");
    while_users_search(|load| {
        for replicas in [2, 1] {
            let before = fs::read_to_string(&file).unwrap();
            let (search, rest) = before.split_once("      search:\n        replicas: ").unwrap();
            let after = format!("{search}      search:\n        replicas: {replicas}{}", &rest[1..]);
            fs::write(&file, after).unwrap();
            git.commit(&format!("{replicas} replicas"));
            git.pull_and_apply();
            wait_for_replicas("a commit to Git", replicas);
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

/// The sample with its own disks again, whatever became of the test: disks never shrink.
struct MadeAnew;

impl Drop for MadeAnew {
    fn drop(&mut self) {
        let deleted = try_kubectl(&["delete", "mii", NAME, "--namespace", NAMESPACE, "--timeout=60s"]);
        if let Err(error) = deleted {
            println!("not tidied: {error}");
        }
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
        found["items"].as_array().unwrap().iter().map(size).collect()
    };
    while_users_search(|load| {
        let pods = index::pods();
        index::patch(&json!({"search": {"disk": SIZE}}));
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
