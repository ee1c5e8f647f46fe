//! Programs that are told to end do so in time and in order while a backend hangs, and nothing that was accepted is lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use medindex_system_tests::pictures::{Picture, pattern};
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped, metrics};
use medindex_testbed::hbase::HbaseProcess;
use medindex_testbed::say;

const PATIENCE: Duration = Duration::from_mins(2);
/// More than an embedder takes from the queue at once.
const IMAGES: u32 = 40;

fn upload(client: &Client, seed: u32) -> (Picture, String) {
    let picture = pattern(seed);
    let id = client.upload(&picture.name, &picture.bytes, Some(&picture.label));
    (picture, id)
}

/// Images that the embedder's model has seen.
fn computed(cluster: &Cluster) -> f64 {
    metrics::value(&cluster.embedders[0].metrics(), "medindex_embedder_model_images")
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_in_time_while_hbase_hangs_and_what_was_accepted_is_indexed_afterwards() {
    if any_server_is_skipped() {
        return;
    }
    let mut servers = Servers::start(1).await;
    let mut cluster = Cluster::start(&servers, Shape { gateways: 1, embedders: 1, shards: 1, replicas: 1 });
    let client = cluster.client(0);
    let mut uploaded = vec![upload(&client, 0)];
    assert_eq!(client.wait_for(&uploaded[0].1, PATIENCE), "indexed");

    // The one of its processes that programs talk to: it keeps their connections and answers nothing.
    servers.hbase.pause(HbaseProcess::Thrift1);
    let before = computed(&cluster);
    uploaded.extend((1..=IMAGES).map(|seed| upload(&client, seed)));
    Servers::wait_until("the embedder to have work", PATIENCE, || computed(&cluster) > before);
    for process in cluster.processes() {
        let took = process.stop();
        say!("{} ended after {:.1} s", process.name, took.as_secs_f64());
    }
    let log = cluster.embedders[0].log();
    let warning = log.lines().find(|line| line.contains("a batch is given up because the process ends"));
    assert!(warning.is_some_and(|line| line.contains("\"WARN\"")), "{log}");

    servers.hbase.resume(HbaseProcess::Thrift1);
    for process in cluster.processes() {
        process.start();
    }
    for process in cluster.processes() {
        process.wait_until_ready();
    }
    for (picture, id) in &uploaded {
        assert_eq!(client.wait_for(id, PATIENCE), "indexed", "{}", picture.name);
    }
    Servers::wait_until("the shard to have every image once", PATIENCE, || {
        let status = client.get("/api/v1/status").body;
        status["index"]["entries"] == uploaded.len() && status["index_lag"] == 0
    });
    for (picture, id) in &uploaded {
        let answer = client.search(&picture.bytes, &[("k", "5"), ("whole", "true")]);
        let results = answer["results"].as_array().unwrap();
        assert!(results.iter().any(|hit| hit["id"] == id.as_str()), "{}: {answer}", picture.name);
    }
}
