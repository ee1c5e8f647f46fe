//! What the operator cannot put right in Kafka and `HBase`: it says so and what a person has to do, touches nothing more, and goes on when that was done.
//! `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::Duration;

use medindex_e2e::cluster::is_ours;
use medindex_e2e::index::tells;
use medindex_e2e::kubectl::{apply, get, kubectl, wait_until};
use medindex_e2e::{backends, index};
use medindex_hbase_admin::tables::image_table;
use medindex_hbase_admin::{Compression, TableDescription};
use serde_json::Value;

const NAMESPACE: &str = "medindex-irreparable";
/// Partitions of the index, as the resource has them.
const PARTITIONS: usize = 3;
/// Nobody tells the operator what is done to topics and tables: it looks every 48 s at the latest.
const PATIENCE: Duration = Duration::from_mins(3);

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_topic_that_was_grown_by_hand_stalls_its_index_until_it_is_made_anew() {
    const NAME: &str = "grown";
    if !is_ours() {
        return;
    }
    let _turn = index::alone();
    clean_up(NAME);
    make(NAME);
    wait_until("the topics to be made", PATIENCE, || is_true(NAME, "TopicsReady"));
    let topic = format!("{NAME}.imageindexed");
    backends::grow_topic(&topic, PARTITIONS + 1);
    let message = wait_for_stall(NAME, "TopicsReady", "TopicIrreparable");
    tells(&message, &[&format!("topic {topic} has {} partitions, not {PARTITIONS}", PARTITIONS + 1)]);
    tells(&message, &["delete the topic"]);
    assert_eq!(backends::partitions(&topic), PARTITIONS + 1, "it is left alone");

    backends::delete_topic(&topic);
    wait_until("the index to go on", PATIENCE, || goes_on(NAME, "TopicsReady"));
    assert_eq!(backends::partitions(&topic), PARTITIONS);
    clean_up(NAME);
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_table_of_other_split_keys_stalls_its_index_before_anything_is_made() {
    const NAME: &str = "crooked";
    if !is_ours() {
        return;
    }
    let _turn = index::alone();
    clean_up(NAME);
    let wanted = image_table(NAME, PARTITIONS as u32, Compression::None);
    let (table, keys) = (wanted.name.clone(), ["0001|5", "0002|5"]);
    let split_keys = keys.map(str::to_owned).to_vec();
    backends::make_table(&TableDescription { split_keys, ..wanted.clone() });
    make(NAME);
    let message = wait_for_stall(NAME, "TableReady", "TableIrreparable");
    let first = &wanted.split_keys[0];
    tells(&message, &[&format!("table {table} has no region that begins at {first}")]);
    tells(&message, &[&format!("split '{table}', '{first}'")]);
    assert_eq!(backends::boundaries(&table).unwrap(), keys, "it is left alone");
    let labels = format!("app.kubernetes.io/instance={NAME}");
    let made = get(NAMESPACE, &["deployments,statefulsets,configmaps", "--selector", &labels]);
    assert!(made["items"].as_array().is_none_or(Vec::is_empty), "made over a table that is wrong: {made}");

    backends::delete_table(&table);
    wait_until("the index to go on", PATIENCE, || goes_on(NAME, "TableReady"));
    assert_eq!(backends::boundaries(&table).unwrap(), wanted.split_keys);
    clean_up(NAME);
}

fn make(name: &str) {
    apply(&include_str!("irreparable.yaml").replace("INDEX", name));
}

fn resource(name: &str) -> Value {
    get(NAMESPACE, &["mii", name])
}

fn is_true(name: &str, condition: &str) -> bool {
    index::condition(&resource(name), condition).is_some_and(|(status, _)| status == "True")
}

/// Whether nothing waits for a person any more, and the part is well.
fn goes_on(name: &str, part: &str) -> bool {
    let stalled = index::reason(&resource(name), "Stalled");
    stalled.as_deref() == Some("NotStalled") && is_true(name, part)
}

/// Waits until the index says that a person has to act, for this reason; its message, which `Ready` and the part have too.
fn wait_for_stall(name: &str, part: &str, reason: &str) -> String {
    let took = wait_until(&format!("{name} to be stalled by {reason}"), PATIENCE, || {
        is_true(name, "Stalled") && index::reason(&resource(name), "Stalled").as_deref() == Some(reason)
    });
    let resource = resource(name);
    let (_, message) = index::condition(&resource, "Stalled").unwrap();
    println!("{reason} told after {:.1} s: {message}", took.as_secs_f64());
    for condition in ["Ready", part] {
        let told = (index::condition(&resource, condition), index::reason(&resource, condition));
        let wanted = (Some(("False".to_owned(), message.clone())), Some(reason.to_owned()));
        assert_eq!(told, wanted, "{condition}");
    }
    assert_eq!(index::reason(&resource, "Reconciling").as_deref(), Some("Stalled"));
    message
}

/// Leaves nothing of an index, nor of a run that was cut off. The resource first: under `Delete` its topics and tables go with it, and the operator
/// wants the Secret for that.
fn clean_up(name: &str) {
    kubectl(&["delete", "mii", "--all", "--namespace", NAMESPACE, "--timeout=120s"]);
    kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s"]);
    wait_until("the topics to be gone", PATIENCE, || backends::topics_of(name).is_empty());
    backends::delete_namespace(name);
}
