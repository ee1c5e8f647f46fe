//! From the chart of an earlier version to this one, while users search. `make e2e` runs this.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use medindex_e2e::index::{self, PATIENCE};
use medindex_e2e::kubectl::{get, wait_until};
use medindex_e2e::{Gateway, cluster, load};
use serde_json::{Value, json};

/// The commit that has the earlier chart: the first one that was complete. Nothing was released yet; the first release takes its place.
const EARLIER: &str = "5127940";
/// The commit whose operator is upgraded from too: the newest whose pods are made as today's, so that none has to be replaced.
const EARLIER_OPERATOR: &str = include_str!("../earlier");
const OPERATOR_NAMESPACE: &str = "medindex-system";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The earlier chart, out of the repository's history; `None`, and said, in a clone without it.
fn earlier_chart(commit: &str) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("medindex-e2e-chart-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut archive = Command::new("git");
    archive.args(["-C", &repository().display().to_string(), "archive", commit, "helm/medindex"]);
    let mut archive = archive.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let unpacked = Command::new("tar")
        .arg("--extract")
        .arg("--directory")
        .arg(&folder)
        .stdin(archive.stdout.take().unwrap())
        .status();
    if archive.wait().unwrap().success() && unpacked.unwrap().success() {
        return Some(folder.join("helm/medindex"));
    }
    println!("NOT CHECKED: this clone has no commit {commit}");
    None
}

/// The settings that the chart was installed with.
fn values() -> Value {
    let known = ["get", "values", "medindex", "--output", "json", "--namespace", OPERATOR_NAMESPACE];
    let values = Command::new("helm").args(known).output().unwrap();
    assert!(values.status.success(), "{}", String::from_utf8_lossy(&values.stderr));
    serde_json::from_slice(&values.stdout).unwrap()
}

/// Installs a chart over the one that is there.
fn upgrade(chart: &Path, values: &Value) {
    let chart = chart.display().to_string();
    let file = std::env::temp_dir().join(format!("medindex-e2e-values-{}.json", std::process::id()));
    std::fs::write(&file, values.to_string()).unwrap();
    let path = file.display().to_string();
    let arguments = [
        "upgrade",
        "medindex",
        &chart,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--reset-values",
        "--values",
        &path,
    ];
    let output = Command::new("helm").args(arguments).args(["--wait", "--timeout", "5m"]).output().unwrap();
    std::fs::remove_file(&file).ok();
    assert!(output.status.success(), "helm upgrade: {}", String::from_utf8_lossy(&output.stderr));
}

/// Images of the operators that run.
fn operators() -> Vec<String> {
    let selector = ["pods", "--selector", "app.kubernetes.io/name=medindex-operator"];
    let pods = get(OPERATOR_NAMESPACE, &selector);
    let pods = pods["items"].as_array().into_iter().flatten();
    pods.map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()).collect()
}

fn chart_labels() -> (String, String) {
    let label = |what: &[&str]| {
        let object = get(OPERATOR_NAMESPACE, what);
        object["metadata"]["labels"]["helm.sh/chart"].as_str().unwrap_or_default().to_owned()
    };
    (label(&["deployment", "medindex-operator"]), label(&["crd", "medicalimageindexes.medindex.dev"]))
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_upgrade_of_the_chart_restarts_no_workload_and_fails_no_query() {
    let Some(_turn) = cluster::turn() else { return };
    upgrade_from(EARLIER, None);
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_upgrade_of_operator_and_chart_restarts_no_workload_and_fails_no_query() {
    let Some(_turn) = cluster::turn() else { return };
    if std::env::var("MEDINDEX_E2E_EARLIER").unwrap_or_default().is_empty() {
        println!("NOT CHECKED: the operator of {} was not made (e2e/earlier.sh)", EARLIER_OPERATOR.trim());
        return;
    }
    upgrade_from(EARLIER_OPERATOR.trim(), Some("earlier"));
}

/// From the chart of a commit, with its operator where that has an image, to this one while users search.
fn upgrade_from(commit: &str, operator: Option<&str>) {
    let Some(earlier) = earlier_chart(commit) else { return };
    let today = values();
    let mut former = today.clone();
    if let Some(tag) = operator {
        former["image"]["tag"] = tag.into();
    }
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    upgrade(&earlier, &former);
    wait_until("the index to be ready under the earlier chart", PATIENCE, || {
        index::is_ready(&index::resource())
    });
    let rights =
        || get(OPERATOR_NAMESPACE, &["clusterrole", "medindex-system-medindex-operator"])["rules"].clone();
    let (former_rights, before) = (rights(), index::pods());
    let operators = operators();
    let is_former = |image: &String| operator.is_none_or(|tag| image.ends_with(tag));
    assert!(!operators.is_empty() && operators.iter().all(is_former), "{operators:?}");

    load::while_users_search(&gateway, &images, |load| {
        let begun = Instant::now();
        upgrade(&repository().join("helm/medindex"), &today);
        println!("helm upgrade from {commit}: {:.1} s ({:?})", begun.elapsed().as_secs_f64(), chart_labels());
        let is_other = operator.is_some() || rights().is_array() && rights() != former_rights;
        assert!(is_other, "the charts are the same: choose another commit");
        let image = format!("medindex-operator:{}", today["image"]["tag"].as_str().unwrap());
        wait_until("the former operators to be gone", PATIENCE, || {
            let operators = self::operators();
            !operators.is_empty() && operators.iter().all(|running| running.ends_with(&image))
        });
        edited_under_the_new_one();
        load.go_on(50);
    });
    assert_eq!(index::pods(), before, "pods were replaced or started again");
    println!("{} pods as before", before.len());
    let folder = earlier.parent().and_then(Path::parent);
    folder.map(std::fs::remove_dir_all).transpose().unwrap();
}

/// The operator that runs now has looked at the index: it has seen a change of it that touches no pod.
fn edited_under_the_new_one() {
    let percent = index::resource()["spec"]["quantizer"]["recallGatePercent"].as_i64().unwrap_or(90);
    index::edit(&json!({"spec": {"quantizer": {"recallGatePercent": percent - 1}}}));
    wait_until("the new operator to have looked", PATIENCE, || index::is_ready(&index::resource()));
    index::edit(&json!({"spec": {"quantizer": {"recallGatePercent": null}}}));
}
