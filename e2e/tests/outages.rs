//! What goes wrong in a cluster, and that the index comes out of it: nothing doubled, nothing lost. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use medindex_e2e::cluster::{self, cluster, writes_of_the_operator};
use medindex_e2e::index::{self, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{get, kubectl, wait_until};
use medindex_e2e::load::{UploadLoad, Uploads};
use medindex_e2e::{Gateway, backends};
use medindex_system_tests::pictures::Picture;

const MINUTE: Duration = Duration::from_mins(1);
const OPERATOR_NAMESPACE: &str = "medindex-system";
/// Its Deployment, and its lease.
const OPERATOR: &str = "medindex-operator";

/// Waits until the index is ready; how long that took.
fn settle() -> Duration {
    let begun = Instant::now();
    wait_until("the index to be ready", PATIENCE, || index::is_ready(&index::resource()));
    begun.elapsed()
}

/// Deletes the ConfigMap that the operator made, and waits until it is there again; how long that took.
fn delete_settings(patience: Duration) -> Duration {
    let settings = format!("{NAME}-settings");
    kubectl(&["delete", "configmap", &settings, "--namespace", NAMESPACE]);
    wait_until("the deleted ConfigMap", patience, || !get(NAMESPACE, &["configmap", &settings]).is_null())
}

/// What was accepted while something was away is in the index, each exactly once.
fn check_uploads(gateway: &Gateway, accepted: &[(Picture, String)]) {
    for (picture, id) in accepted {
        assert_eq!(gateway.client.wait_for(id, PATIENCE), "indexed", "{} was accepted", picture.name);
    }
    gateway.check_images(accepted);
}

/// Tells what became of uploads.
fn tell(when: &str, uploads: &Uploads) {
    let Uploads { accepted, refused } = uploads;
    println!("uploads {when}: {} accepted, {} refused {refused:?}", accepted.len(), refused.len());
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_round_that_finds_all_in_order_writes_nothing() {
    let Some(_turn) = cluster::turn() else { return };
    // What the pods of former tests still bring about.
    let mut known = writes_of_the_operator().len();
    let mut since = Instant::now();
    wait_until("100 seconds without a write", PATIENCE, || {
        let written = writes_of_the_operator();
        if written.len() > known {
            println!("written: {}", written[known..].join(", "));
            (known, since) = (written.len(), Instant::now());
        }
        // Two rounds at the least: each begins within 48 s.
        since.elapsed() > Duration::from_secs(100)
    });
    println!("no write of the operator in 100 s and two rounds; {known} since it was installed");
}

/// The pod that has the operators' lease; empty while none has it.
fn leader() -> String {
    let lease = get(OPERATOR_NAMESPACE, &["lease", OPERATOR]);
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_operator_that_is_killed_leaves_the_work_to_the_other() {
    let Some(_turn) = cluster::turn() else { return };
    let deployment = format!("deployment/{OPERATOR}");
    kubectl(&["rollout", "status", &deployment, "--namespace", OPERATOR_NAMESPACE, "--timeout=180s"]);
    let killed = leader();
    assert!(!killed.is_empty(), "nobody leads");
    // Without a word, so that the lease is not given back; and its pod goes too, or its container would start again and lead on under the same name.
    cluster(&["kill", OPERATOR_NAMESPACE, &killed]);
    kubectl(&["delete", "pod", &killed, "--namespace", OPERATOR_NAMESPACE, "--grace-period=0", "--force"]);
    let took = wait_until("another operator to lead", MINUTE, || {
        let leads = leader();
        !leads.is_empty() && leads != killed
    });
    let new = leader();
    println!("the leader {killed} killed: {new} leads after {:.1} s", took.as_secs_f64());

    let took = delete_settings(MINUTE);
    wait_until("the new leader to tell of its work", MINUTE, || {
        index::tellers("ObjectWritten", &format!("Created ConfigMap {NAME}-settings")).contains(&new)
    });
    println!("it put right what was deleted by hand after {:.1} s", took.as_secs_f64());
    assert_eq!(leader(), new, "the lease went on to a third operator");
    settle();
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn the_api_server_starts_again_and_no_pod_does() {
    let Some(_turn) = cluster::turn() else { return };
    let before = index::pods();
    cluster(&["restart-api"]);
    let took = delete_settings(2 * MINUTE);
    println!("the API server killed and started: the operator works again after {:.1} s", took.as_secs_f64());
    settle();
    assert_eq!(index::pods(), before, "pods were replaced or started again");
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn the_node_of_the_gpu_pool_is_lost_and_comes_back() {
    let Some(_turn) = cluster::turn() else { return };
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    cluster(&["lose", "2"]);
    let noticed = wait_until("a condition that says so", 2 * MINUTE, || {
        index::condition(&index::resource(), "EmbedderReady").is_some_and(|(status, _)| status == "False")
    });
    println!("the node of the embedder lost: told after {:.1} s", noticed.as_secs_f64());
    // A gateway that was ready once stays so without an embedder, and takes uploads (docs/cluster.md): they wait in Kafka.
    let load = UploadLoad::start(&gateway.client);
    wait_until("uploads without an embedder", 2 * MINUTE, || load.done() >= 5);
    let uploads = load.finish();
    tell("without an embedder", &uploads);
    assert!(!uploads.accepted.is_empty(), "gateways want no embedder to accept an upload");
    cluster(&["return", "2"]);
    println!("the node is back: ready after {:.1} s", settle().as_secs_f64());
    // The kubelet tells the readiness of before until it has started the pod again.
    let (picture, _) = &images[0];
    let answers = wait_until("a search by a file to be answered", PATIENCE, || {
        gateway.client.try_search(&picture.bytes, &[]).is_ok_and(|answer| answer.status == 200)
    });
    println!("searches by a file are answered after another {:.1} s", answers.as_secs_f64());
    settle();
    gateway.check_images(&images);
    check_uploads(&gateway, &uploads.accepted);
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn kafka_and_hbase_hang_for_a_minute_and_nothing_is_lost() {
    let Some(_turn) = cluster::turn() else { return };
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    let mut accepted = Vec::new();
    for (pod, part, name) in [("kafka-0", "TopicsReady", "Kafka"), ("hbase-0", "TableReady", "HBase")] {
        let begun = Instant::now();
        cluster(&["freeze", backends::NAMESPACE, pod]);
        // They may be refused; what is accepted must not be lost.
        let load = UploadLoad::start(&gateway.client);
        let told = wait_until("a condition that names the backend", 3 * MINUTE, || {
            index::condition(&index::resource(), part).is_some_and(|(status, _)| status == "False")
        });
        let (_, message) = index::condition(&index::resource(), part).unwrap();
        wait_until("a minute", 2 * MINUTE, || begun.elapsed() > MINUTE);
        cluster(&["thaw", backends::NAMESPACE, pod]);
        println!(
            "{name} hung for {:.0} s, told after {:.1} s: {message}",
            begun.elapsed().as_secs_f64(),
            told.as_secs_f64()
        );
        let uploads = load.finish();
        tell(&format!("while {name} hung"), &uploads);
        accepted.extend(uploads.accepted);
        println!("{name} answers again: ready after {:.1} s", settle().as_secs_f64());
    }
    let picture = index::new_picture();
    let new = gateway.client.upload(&picture.name, &picture.bytes, None);
    assert_eq!(gateway.client.wait_for(&new, PATIENCE), "indexed");
    check_uploads(&gateway, &accepted);
    gateway.check_images(&images);
}
