//! What goes wrong in a cluster, and that the index comes out of it: nothing doubled, nothing lost. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use medindex_e2e::cluster::{self, cluster, writes_of_the_operator};
use medindex_e2e::index::{self, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{get, kubectl, wait_until};
use medindex_e2e::{Gateway, backends};

const MINUTE: Duration = Duration::from_mins(1);
const OPERATOR_NAMESPACE: &str = "medindex-system";

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

/// Every image is in the index exactly once.
fn check_images(gateway: &Gateway, images: &[(medindex_system_tests::pictures::Picture, String)]) {
    for (picture, id) in images {
        let answer = gateway.client.search(&picture.bytes, &[("k", "5"), ("whole", "true")]);
        let hits = answer["results"].as_array().unwrap();
        let own = hits.iter().filter(|hit| hit["id"] == id.as_str()).count();
        assert_eq!(own, 1, "{} is found {own} times: {answer}", picture.name);
    }
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

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_operator_that_is_killed_leaves_the_work_to_the_other() {
    let Some(_turn) = cluster::turn() else { return };
    let leader = || {
        let lease = get(OPERATOR_NAMESPACE, &["lease", "medindex-operator"]);
        lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
    };
    let killed = leader();
    cluster(&["kill", OPERATOR_NAMESPACE, &killed]);
    let begun = Instant::now();
    delete_settings(MINUTE);
    println!(
        "the leader {killed} killed: what was deleted meanwhile is there again after {:.1} s, by {}",
        begun.elapsed().as_secs_f64(),
        leader()
    );
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
    // No upload meanwhile: gateways are not ready without one embedder (docs/end-to-end.md, open).
    cluster(&["return", "2"]);
    println!("the node is back: ready after {:.1} s", settle().as_secs_f64());
    // The kubelet tells the readiness of before until it has started the pod again.
    let (picture, _) = &images[0];
    let answers = wait_until("a search by a file to be answered", PATIENCE, || {
        gateway.client.try_search(&picture.bytes, &[]).is_ok_and(|answer| answer.status == 200)
    });
    println!("searches by a file are answered after another {:.1} s", answers.as_secs_f64());
    settle();
    check_images(&gateway, &images);
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn kafka_and_hbase_hang_for_a_minute_and_nothing_is_lost() {
    let Some(_turn) = cluster::turn() else { return };
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    for (pod, part, name) in [("kafka-0", "TopicsReady", "Kafka"), ("hbase-0", "TableReady", "HBase")] {
        let begun = Instant::now();
        cluster(&["freeze", backends::NAMESPACE, pod]);
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
        println!("{name} answers again: ready after {:.1} s", settle().as_secs_f64());
    }
    let picture = index::new_picture();
    let new = gateway.client.upload(&picture.name, &picture.bytes, None);
    assert_eq!(gateway.client.wait_for(&new, PATIENCE), "indexed");
    check_images(&gateway, &images);
}
