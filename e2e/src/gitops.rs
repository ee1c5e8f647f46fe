//! A repository of Git that holds the sample index, and what applies it: Flux' own controllers, run beside the cluster.
//!
//! `tools/setup.sh flux` builds the controllers from their Go modules. Where they are not there, `git pull` and `kubectl apply --kustomize` stand in for
//! them, and that is said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use medindex_testbed::Server;
use medindex_testbed::java::cache_folder;
use medindex_testbed::ports::free_port;
use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::is_ours;
use crate::index::{NAMESPACE, PATIENCE};
use crate::kubectl::{apply, get, kubectl, tidied, try_kubectl, wait_until};

/// The controllers and their types answer within this.
const STARTED_WITHIN: Duration = Duration::from_mins(2);
/// What Flux' objects are called.
const NAME: &str = "radiology-from-git";

/// A repository of what the tests apply, and what applies it.
pub struct Repository {
    /// It ends first: its controllers keep files in the folder.
    flux: Option<Flux>,
    folder: TempDir,
}

impl Repository {
    /// With the sample in its first commit.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("medindex-e2e-git-").tempdir().unwrap();
        // The server of the repository runs as nobody.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for part in ["manifests/samples", "e2e/index"] {
            copy(&root().join(part), &folder.path().join("origin").join(part));
        }
        let mut repository = Self { flux: None, folder };
        repository.git("origin", &["init", "--quiet", "--initial-branch=main"]);
        repository.commit("The index");
        repository.flux = Flux::start(repository.folder.path());
        if repository.flux.is_none() {
            println!(
                "NOT CHECKED: Flux is not built (tools/setup.sh flux), or this cluster may have its own: git pull and kubectl apply stand in for it"
            );
            repository.git("", &["clone", "--quiet", "origin", "applied"]);
        }
        repository
    }

    /// A file of it that may be changed.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("origin").join(name)
    }

    /// Commits all changes.
    pub fn commit(&self, message: &str) {
        self.git("origin", &["add", "--all"]);
        self.git("origin", &["commit", "--quiet", "--message", message]);
        if self.flux.is_none() && self.folder.path().join("applied").exists() {
            self.git("applied", &["pull", "--quiet"]);
            let place = self.folder.path().join("applied/e2e/index");
            kubectl(&["apply", "--kustomize", place.to_str().unwrap()]);
        }
    }

    /// Waits until Flux tells that the last commit is applied and healthy; how long that took. Where Flux is not there, at once.
    pub fn wait_until_applied(&self) -> Duration {
        if self.flux.is_none() {
            return Duration::ZERO;
        }
        let commit = self.git("origin", &["rev-parse", "HEAD"]);
        let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
        wait_until("Flux to tell that the commit is applied", PATIENCE, || {
            let applied = get(NAMESPACE, &["kustomizations.kustomize.toolkit.fluxcd.io", NAME]);
            let revision = applied["status"]["lastAppliedRevision"].as_str().unwrap_or_default();
            let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
            let conditions = applied["status"]["conditions"].as_array();
            revision.ends_with(&commit) && conditions.is_some_and(|conditions| conditions.iter().any(ready))
        })
    }

    /// Who applies it.
    pub fn applier(&self) -> &'static str {
        if self.flux.is_some() { "Flux" } else { "git pull and kubectl apply" }
    }

    fn git(&self, place: &str, arguments: &[&str]) -> Output {
        let who = ["-c", "user.name=e2e", "-c", "user.email=e2e@localhost"];
        let mut command = Command::new("git");
        command.current_dir(self.folder.path().join(place)).args(who).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Default for Repository {
    fn default() -> Self {
        Self::new()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Flux' controllers that watch a repository and apply it.
struct Flux {
    _servers: [Server; 3],
}

impl Flux {
    /// Of `folder`/origin; `None` where they are not built, and on a cluster of somebody else, who may have a Flux of other types.
    fn start(folder: &Path) -> Option<Self> {
        let programs = programs().filter(|_| is_ours())?;
        kubectl(&["apply", "--server-side", "--filename", programs.join("types").to_str().unwrap()]);
        let (git_port, files_port) = (free_port(), free_port());
        let repository = serve_repository(folder, git_port);
        let files = format!("127.0.0.1:{files_port}");
        let storage = folder.join("storage");
        fs::create_dir(&storage).unwrap();
        let source = [
            format!("--storage-path={}", storage.display()),
            format!("--storage-addr={files}"),
            format!("--storage-adv-addr={files}"),
        ];
        let source = start_controller(&programs, "source-controller", folder, &source);
        let kustomize = start_controller(&programs, "kustomize-controller", folder, &[]);
        apply(&objects(git_port));
        Some(Self { _servers: [repository, source, kustomize] })
    }
}

impl Drop for Flux {
    /// Its objects while the controllers run, which their finalizers want; what was applied stays (`prune: false`).
    fn drop(&mut self) {
        for kind in ["kustomizations.kustomize.toolkit.fluxcd.io", "gitrepositories.source.toolkit.fluxcd.io"]
        {
            tidied(try_kubectl(&["delete", kind, NAME, "--namespace", NAMESPACE, "--timeout=60s"]));
        }
    }
}

/// Where `tools/setup.sh flux` put the controllers.
fn programs() -> Option<PathBuf> {
    Some(cache_folder().join("flux")).filter(|flux| flux.join("complete").exists())
}

fn start_controller(programs: &Path, name: &str, folder: &Path, more: &[String]) -> Server {
    let (health, metrics) = (free_port(), free_port());
    let log = folder.join(format!("{name}.log"));
    let mut command = Command::new(programs.join("bin").join(name));
    command.args(more).arg("--watch-all-namespaces=false").arg("--events-addr=");
    command.env("RUNTIME_NAMESPACE", NAMESPACE);
    command
        .arg(format!("--health-addr=127.0.0.1:{health}"))
        .arg(format!("--metrics-addr=127.0.0.1:{metrics}"));
    command.env("TMPDIR", folder);
    let mut server = Server::start(name, &command, &log).unwrap();
    server.wait_for_log("Starting workers", STARTED_WITHIN).unwrap();
    server
}

/// Serves the repository over HTTP, which is what Flux takes: Git's own CGI program behind Python's server.
fn serve_repository(folder: &Path, port: u16) -> Server {
    let place = folder.join("cgi-bin");
    fs::create_dir(&place).unwrap();
    let script = format!(
        "#!/bin/sh\nexport GIT_PROJECT_ROOT='{}' GIT_HTTP_EXPORT_ALL=1\n\
         export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'\n\
         exec git http-backend\n",
        folder.display()
    );
    let program = place.join("git");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("python3");
    command.args(["-m", "http.server", "--cgi", "--bind", "127.0.0.1", "--directory"]);
    command.arg(folder).arg(port.to_string()).current_dir(folder);
    let mut server = Server::start("git", &command, &folder.join("git.log")).unwrap();
    let url = url(port);
    server
        .wait_until("serving the repository", STARTED_WITHIN, |_| {
            Command::new("git").args(["ls-remote", &url]).output().is_ok_and(|output| output.status.success())
        })
        .unwrap();
    server
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/cgi-bin/git/origin/.git")
}

/// What a user of Flux applies; it waits until the index is ready by its conditions.
fn objects(git_port: u16) -> String {
    let url = url(git_port);
    format!(
        "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: {NAME}, namespace: {NAMESPACE}}}
spec: {{url: '{url}', ref: {{branch: main}}, interval: 5s}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: {NAME}, namespace: {NAMESPACE}}}
spec:
  sourceRef: {{kind: GitRepository, name: {NAME}}}
  path: e2e/index
  interval: 1m
  timeout: 5m
  prune: false
  wait: true
"
    )
}
