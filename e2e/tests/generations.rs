//! A bulk import, a training, the swap to its generation and the way back, on a real cluster. `make e2e` runs this.
//!
//! A person asks for the training, as docs/operator.md says: the policy's first one waits for a thousand images at the least (`firstAtImages`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use medindex_e2e::index::{self, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{apply, kubectl, tidied, try_kubectl, wait_until};
use medindex_e2e::load::while_users_search;
use medindex_e2e::plugin::plugin;
use medindex_e2e::{Gateway, QueryLoad};
use medindex_system_tests::pictures::{Picture, pictures};
use serde_json::{Value, json};

/// A training wants 288 at the least; as many as the tests without a cluster train on.
const IMAGES: usize = 400;
/// The claim, and the pod that fills it.
const CLAIM: &str = "collection";
/// The images' folder in the claim; below it one for each label.
const FOLDER: &str = "images";

#[test]
#[ignore = "wants a cluster: make e2e"]
fn imported_images_are_trained_on_and_the_generation_is_taken_back_while_users_search() {
    let _turn = index::turn();
    let _tidy = Tidy;
    let (pictures, source) = pictures(IMAGES);
    let took = import(&pictures);
    println!("{IMAGES} images ({source}) imported by a Job out of a claim: {:.1} s", took.as_secs_f64());
    let gateway = Gateway::reach();
    // Uploading an image that is there adds none and tells its id.
    let (images, new) = gateway.ensure(pictures);
    assert_eq!(new, 0, "{new} of the images were not imported");
    wait_until("the shards to have all of them", PATIENCE, || {
        gateway.client.get("/api/v1/status").body["index_lag"] == 0
    });
    let before = generation(&index::resource());
    while_users_search(&gateway, &images, |load| {
        let trained = train(before);
        load.go_on(100);
        roll_back(&gateway, load, trained, before);
    });
    wait_until("the index to be ready", PATIENCE, || index::is_ready(&index::resource()));
}

/// Leaves the resource as it was, whatever became of the test: `kubectl apply` takes back nothing that it did not set.
struct Tidy;

impl Drop for Tidy {
    fn drop(&mut self) {
        let change = json!({
            "metadata": {"annotations": {"medindex.dev/train-generation": null}},
            "spec": {"imports": null, "quantizer": {"rollbackTo": null}},
        });
        let attempts = [
            index::try_edit(&change),
            try_kubectl(&[
                "delete",
                "pod,persistentvolumeclaim",
                CLAIM,
                "--namespace",
                NAMESPACE,
                "--ignore-not-found",
                "--wait=false",
            ]),
        ];
        attempts.into_iter().for_each(tidied);
    }
}

/// Imports images by the resource; how long that took, from its change to the Job's end.
fn import(pictures: &[Picture]) -> Duration {
    fill_claim(pictures);
    // Under a name of its own: a Job that is there is not run again.
    let name = format!("e2e-{}", std::process::id());
    let source = json!({"claim": CLAIM, "path": FOLDER});
    let begun = Instant::now();
    index::edit(
        &json!({"spec": {"imports": [{"name": name, "source": source, "format": "LabelledFolders"}]}}),
    );
    wait_until("the import to be done", PATIENCE, || {
        let state = index::resource()["status"]["imports"][&name].clone();
        assert_ne!(state, "Failed", "{}", logs(&format!("{NAME}-import-{name}")));
        state == "Complete"
    });
    begun.elapsed()
}

/// Puts images into the claim as a data set has them: a folder for each label.
fn fill_claim(pictures: &[Picture]) {
    let folder = tempfile::tempdir().unwrap();
    for picture in pictures {
        let place = folder.path().join(FOLDER).join(&picture.label);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(&picture.name), &picture.bytes).unwrap();
    }
    apply(include_str!("generations.yaml"));
    let pod = format!("pod/{CLAIM}");
    kubectl(&["wait", "--for=condition=Ready", &pod, "--namespace", NAMESPACE, "--timeout=300s"]);
    let mut pack = Command::new("tar");
    pack.args(["--create", "--file=-", "--directory"]).arg(folder.path()).arg(FOLDER);
    let mut packed = pack.stdout(Stdio::piped()).spawn().unwrap();
    let unpack = ["tar", "--extract", "--file=-", "--directory=/collection"];
    let unpacked = Command::new("kubectl")
        .args(["exec", "--stdin", "--namespace", NAMESPACE, CLAIM, "--"])
        .args(unpack)
        .stdin(packed.stdout.take().unwrap())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&unpacked.stderr);
    assert!(
        packed.wait().unwrap().success() && unpacked.status.success(),
        "the claim is not filled: {error}"
    );
    // Only one node may have the claim, and the importer runs on another.
    kubectl(&["delete", &pod, "--namespace", NAMESPACE, "--grace-period=1"]);
}

/// Generation that answers, by the status.
fn generation(resource: &Value) -> i64 {
    resource["status"]["generation"]["number"].as_i64().unwrap_or(0)
}

/// What `QuantizerReady` says: status, reason, message.
fn quantizer(resource: &Value) -> (String, String, String) {
    let (status, message) = index::condition(resource, "QuantizerReady").unwrap_or_default();
    (status, index::reason(resource, "QuantizerReady").unwrap_or_default(), message)
}

/// Has a generation trained and waits until it answers; its number.
fn train(before: i64) -> i64 {
    // What a former run left to be said is not of this training.
    let (stale, begun) = (quantizer(&index::resource()), Instant::now());
    println!("{}", plugin(&["train", NAME]).trim());
    wait_until("a new generation to answer", PATIENCE, || {
        let resource = index::resource();
        let told = quantizer(&resource);
        let is_lost = ["TrainingFailed", "RecallGateHeld"].contains(&told.1.as_str()) && told != stale;
        assert!(!is_lost, "{}\n{}", told.2, trainer_logs());
        told.0 == "True" && told.1 == "GenerationActive" && generation(&resource) > before
    });
    let resource = index::resource();
    let told = &resource["status"]["generation"];
    let recall: f64 = told["recall"].as_str().and_then(|recall| recall.parse().ok()).unwrap_or_default();
    let trained = generation(&resource);
    println!(
        "generation {trained} trained and taken up in place of {before}: {:.1} s, recall@10 {recall}",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(told["previous"].as_i64().unwrap_or(0), before, "{told}");
    assert!(recall >= 0.9, "the recall gate is 90 %: {told}");
    trained
}

/// Goes back from a generation to the one before, once, and waits until that answers.
fn roll_back(gateway: &Gateway, load: &QueryLoad, trained: i64, before: i64) {
    let (known, begun) = (rollbacks(gateway), Instant::now());
    index::edit(&json!({"spec": {"quantizer": {"rollbackTo": before}}}));
    wait_until("the generation before to answer", PATIENCE, || {
        let resource = index::resource();
        quantizer(&resource).0 == "True" && generation(&resource) == before
    });
    println!("back from generation {trained} to {before}: {:.1} s", begun.elapsed().as_secs_f64());
    load.go_on(100);
    wait_until("the rollback to be in the operation log", PATIENCE, || rollbacks(gateway) > known);
    let done = rollbacks(gateway) - known;
    // Going back twice is going forward: each one swaps the two generations.
    assert_eq!(done, 1, "rollbackTo was set once, and {done} rollbacks were done");
    let status = gateway.client.get("/api/v1/status").body;
    assert_eq!(status["index"]["generation"], before, "{}", status["index"]);
    assert_eq!(index::resource()["status"]["generation"]["previous"], trained);
}

/// Rollbacks in the operation log.
fn rollbacks(gateway: &Gateway) -> usize {
    let page = gateway.client.get("/api/v1/operations?action=generation.rollback&limit=100").body;
    page["operations"].as_array().unwrap_or_else(|| panic!("{page}")).len()
}

fn logs(job: &str) -> String {
    let told = try_kubectl(&["logs", &format!("job/{job}"), "--namespace", NAMESPACE, "--tail", "40"]);
    told.unwrap_or_else(|error| error)
}

fn trainer_logs() -> String {
    plugin(&["logs", NAME, "-c", "trainer", "--tail", "40"])
}
