//! What a platform team does around a running index: nodes emptied, pods replaced, shards cut anew, all suspended. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use medindex_e2e::cluster::is_ours;
use medindex_e2e::index::{self, AtTheEnd, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{get, kubectl, tidied, try_kubectl, wait_until};
use medindex_e2e::{Gateway, load};
use serde_json::json;

/// Of the sample, in `e2e/index`.
const SHARDS: i64 = 3;
/// The node of the pool that search and gateways run on; there is no other.
const NODE: &str = "node1";

/// The index as a hospital runs it, two of everything that users wait for, and not suspended when the test is over; the rest of the sample comes back
/// with the next test, which applies it.
fn doubled() -> AtTheEnd {
    index::edit(
        &json!({"spec": {"gateway": {"replicas": 2}, "search": {"replicas": 2}, "embedder": {"replicas": 2}}}),
    );
    let resumed = AtTheEnd(json!({"spec": {"suspend": false}}));
    wait_for_pods("two of everything", [2, 2, 2 * SHARDS]);
    resumed
}

/// Ready pods of gateways, embedders and search.
fn ready_pods() -> [i64; 3] {
    let ready = |kind: &str, component: &str| {
        let workload = get(NAMESPACE, &[kind, &format!("{NAME}-{component}")]);
        workload["status"]["readyReplicas"].as_i64().unwrap_or_default()
    };
    [ready("deployment", "gateway"), ready("deployment", "embedder"), ready("statefulset", "search")]
}

fn wait_for_pods(what: &str, pods: [i64; 3]) -> Duration {
    wait_until(what, PATIENCE, || ready_pods() == pods && index::is_ready(&index::resource()))
}

/// A node that is put back into use, whatever became of the test.
struct Cordoned;

impl Drop for Cordoned {
    fn drop(&mut self) {
        tidied(try_kubectl(&["uncordon", NODE]));
    }
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_node_that_is_drained_leaves_enough_pods_that_no_query_fails() {
    if !is_ours() {
        return;
    }
    let _turn = index::turn();
    let _doubled = doubled();
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    load::while_users_search(&gateway, &images, |load| {
        let cordoned = Cordoned;
        // There is no other node for them: the first of each that goes cannot come back, so the budgets hold the rest.
        let drained = try_kubectl(&[
            "drain",
            NODE,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--pod-selector=app.kubernetes.io/instance=radiology",
            "--timeout=20s",
        ]);
        let told = drained.expect_err("all pods went, though there is no node for others");
        assert!(told.contains("disruption budget"), "{told}");
        let left = [1, 2, 2 * SHARDS - 1];
        wait_until("one of two of each to be gone", PATIENCE, || ready_pods() == left);
        load.go_on(200);
        assert_eq!(ready_pods(), left, "of two of each, one at a time may go");
        drop(cordoned);
        let took = wait_for_pods("the pods to be back", [2, 2, 2 * SHARDS]);
        println!(
            "kubectl drain took one gateway and one search pod; uncordoned, ready after {:.1} s",
            took.as_secs_f64()
        );
    });
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn gateways_embedders_and_shards_are_replaced_without_one_failed_query() {
    let _turn = index::turn();
    let _doubled = doubled();
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    load::while_users_search(&gateway, &images, |load| {
        for component in ["gateway", "embedder", "search"] {
            let before = index::pods_of(component);
            index::edit(&json!({"spec": {component: {"requests": {"memory": "120Mi"}}}}));
            let took = wait_until("other pods", PATIENCE, || {
                let pods = index::pods_of(component);
                pods.len() == before.len()
                    && pods.iter().all(|pod| !before.contains(pod))
                    && index::is_ready(&index::resource())
            });
            load.go_on(100);
            println!("{} {component} pods replaced in {:.1} s", before.len(), took.as_secs_f64());
        }
    });
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn more_shards_of_two_replicas_leave_no_answer_without_a_part() {
    let _turn = index::turn();
    let _doubled = doubled();
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    load::while_users_search(&gateway, &images, |load| {
        let shards = SHARDS + 1;
        index::edit(&json!({"spec": {"search": {"shards": shards}}}));
        let took = wait_for_pods("more shards", [2, 2, 2 * shards]);
        load.go_on(100);
        println!("{SHARDS} shards became {shards}: ready after {:.1} s", took.as_secs_f64());
    });
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_suspended_index_has_no_pods_and_comes_back_with_its_images() {
    let _turn = index::turn();
    let _doubled = doubled();
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    drop(gateway);

    index::edit(&json!({"spec": {"suspend": true}}));
    let begun = Instant::now();
    wait_until("no pod", PATIENCE, || {
        ["gateway", "embedder", "search"].into_iter().all(|component| index::pods_of(component).is_empty())
    });
    wait_until("a condition that says so", PATIENCE, || {
        index::reason(&index::resource(), "Ready").is_some_and(|reason| reason == "Suspended")
    });
    println!("suspended: every pod gone or going after {:.1} s", begun.elapsed().as_secs_f64());
    println!("{}", kubectl(&["get", "mii", "--namespace", NAMESPACE]));

    index::edit(&json!({"spec": {"suspend": false}}));
    let took = wait_for_pods("the index to be back", [2, 2, 2 * SHARDS]);
    println!("taken up again: ready after {:.1} s", took.as_secs_f64());
    let gateway = Gateway::reach();
    let whole = gateway.wait_for_the_whole(&images);
    println!("the whole index answers after another {:.1} s", whole.as_secs_f64());
    gateway.check_images(&images);
}
