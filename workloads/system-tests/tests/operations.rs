//! Operation log, traces and alarms of a cluster over real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use medindex_backends::Queue as _;
use medindex_proto::names::TOPIC_OPERATION_LOG;
use medindex_system_tests::pictures::pattern;
use medindex_system_tests::servers::INDEX;
use medindex_system_tests::traces::TraceReceiver;
use medindex_system_tests::waiting::wait_for_metric;
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::hbase::HbaseProcess;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_mins(2);
/// From a cause to its row, and from its end to the cleared row, with looks every second: a few seconds, and what a busy machine adds.
const WITHIN: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_is_recorded_and_traced_and_what_is_down_is_an_alarm_until_it_is_back() {
    if any_server_is_skipped() {
        return;
    }
    let begun = Instant::now();
    let mut servers = Servers::start(1).await;
    let (receiver, endpoint) = TraceReceiver::start().await;
    let shape = Shape { gateways: 2, embedders: 1, shards: 2, replicas: 1 };
    let more = vec![format!("--otlp-endpoint={endpoint}"), "--alarm-seconds=1".to_owned()];
    let mut cluster = Cluster::start_with(&servers, shape, more);
    let client = cluster.client(0);
    println!("ready after {:.1} s", begun.elapsed().as_secs_f64());

    // The receiver's task shares the runtime: what blocks is done beside it.
    tokio::task::block_in_place(|| one_trace_over_all_programs(&client, &receiver, &cluster));
    println!("traces after {:.1} s", begun.elapsed().as_secs_f64());
    strangers_events_are_put_aside(&client, &servers).await;
    tokio::task::block_in_place(|| {
        operations_are_listed(&client);
        println!("operations after {:.1} s", begun.elapsed().as_secs_f64());
        what_is_down_is_an_alarm(&mut servers, &mut cluster);
    });
    println!("done after {:.1} s", begun.elapsed().as_secs_f64());
}

/// One upload and one search, each in a trace that the client began.
fn one_trace_over_all_programs(client: &Client, receiver: &TraceReceiver, cluster: &Cluster) {
    let picture = pattern(1);
    let upload = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = client.upload_in_trace(&picture.bytes, &format!("00-{upload}-00f067aa0ba902b7-01"));
    assert_eq!(answer.status, 202, "{}", answer.body);
    let id = answer.body["id"].as_str().unwrap().to_owned();
    assert_eq!(client.wait_for(&id, PATIENCE), "indexed");
    let spans = wait_for_spans(receiver, upload, 1);
    assert!(spans["medindex-gateway"].contains(&"POST /api/v1/images".to_owned()), "{spans:?}");
    assert_eq!(spans["medindex-embedder"], ["embed image"], "{spans:?}");
    assert_eq!(spans["medindex-search"], ["apply change"], "{spans:?}");

    let search = "0af7651916cd43dd8448eb211c80319c";
    let answer = client.search_in_trace(&picture.bytes, &format!("00-{search}-b7ad6b7169203331-01"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body["results"][0]["id"], id.as_str());
    let spans = wait_for_spans(receiver, search, 2);
    assert_eq!(spans["medindex-embedder"], ["embed"], "{spans:?}");
    assert_eq!(spans["medindex-search"], ["search shard", "search shard"], "both shards: {spans:?}");

    let log = cluster.gateways[0].log();
    let line = log.lines().find(|line| line.contains(search) && line.contains("answered"));
    let line: Value = serde_json::from_str(line.expect("a line of the log carries the trace")).unwrap();
    assert_eq!((line["trace_id"].as_str(), line["span_id"].as_str().map(str::len)), (Some(search), Some(16)));
}

/// Waits until a trace has spans of all three programs, and as many of shards.
fn wait_for_spans(receiver: &TraceReceiver, trace: &str, shards: usize) -> BTreeMap<String, Vec<String>> {
    let begun = Instant::now();
    loop {
        let spans = receiver.spans_of(trace);
        let has = |program: &str| spans.get(program).map_or(0, Vec::len);
        if has("medindex-gateway") > 0 && has("medindex-embedder") > 0 && has("medindex-search") == shards {
            return spans;
        }
        assert!(begun.elapsed() < PATIENCE, "{trace} is not whole: {:#?}", receiver.summary());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// What is no event, and one that came before, between those of the programs.
async fn strangers_events_are_put_aside(client: &Client, servers: &Servers) {
    let queue = servers.queue(INDEX).await;
    queue.publish(TOPIC_OPERATION_LOG, 1, "a stranger", "no message".into()).await.unwrap();
    tokio::task::block_in_place(|| {
        let failed = wait_for_operation(client, "action=image.fail&subject=a%20stranger");
        assert!(failed["detail"].as_str().unwrap().contains("unreadable_event"), "{failed}");
    });
    // Everything there is once more: the rows stay as they are.
    let before = tokio::task::block_in_place(|| count(client));
    for partition in 0..queue.partitions(TOPIC_OPERATION_LOG).await.unwrap() {
        let first = queue.first_offsets(TOPIC_OPERATION_LOG).await.unwrap()[&partition];
        let events = queue.read_from(TOPIC_OPERATION_LOG, partition, first, 1_000).await.unwrap();
        let again = events.into_iter().filter(|event| event.key != "a stranger");
        for event in again {
            queue.publish(TOPIC_OPERATION_LOG, partition, &event.key, event.payload).await.unwrap();
        }
    }
    tokio::task::block_in_place(|| {
        client.delete("0197f0a2-1c3d-7e4f-8a5b-6c7d8e9f0a1b");
        // It was published after all of them, and a partition is read in order; others may still come.
        wait_for_operation(client, "action=image.delete&outcome=refused");
        assert!(count(client) <= before + 2, "a replay changes nothing");
    });
}

/// Uploads and searches that are listed.
fn count(client: &Client) -> usize {
    ["image.upload", "image.search"]
        .into_iter()
        .map(|action| operations(client, &format!("action={action}&limit=1000")).len())
        .sum()
}

fn operations(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/api/v1/operations?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body["operations"].as_array().unwrap().clone()
}

fn wait_for_operation(client: &Client, query: &str) -> Value {
    let mut found = Vec::new();
    Servers::wait_until(query, PATIENCE, || {
        found = operations(client, query);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{query}: {found:?}");
    found.remove(0)
}

fn operations_are_listed(client: &Client) {
    let uploaded = wait_for_operation(client, "action=image.upload");
    assert_eq!(uploaded["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{uploaded}");
    assert_eq!((&uploaded["actor"], &uploaded["outcome"]), (&"anonymous".into(), &"accepted".into()));
    let searched = wait_for_operation(client, "action=image.search");
    assert_eq!(searched["trace_id"], "0af7651916cd43dd8448eb211c80319c", "{searched}");
    let mut starts = Vec::new();
    Servers::wait_until("five programs to have begun", PATIENCE, || {
        starts = operations(client, "action=program.start");
        starts.len() == 5
    });
    for program in ["gateway@", "embedder@", "search@"] {
        let began = starts.iter().any(|start| start["subject"].as_str().unwrap().starts_with(program));
        assert!(began, "{program}: {starts:?}");
    }
}

/// Milliseconds since 1970 UTC.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// The alarm of a kind that was raised since a time; while the programs begin, shards are missing for a moment.
fn alarm(client: &Client, kind: &str, since_ms: i64) -> Option<Value> {
    let answer = client.get("/api/v1/alarms?raised=false&limit=100");
    let alarms = answer.body["alarms"].as_array()?;
    let of_kind: Vec<&Value> = alarms
        .iter()
        .filter(|alarm| alarm["kind"] == kind && alarm["raised_at_ms"].as_i64() >= Some(since_ms))
        .collect();
    assert!(of_kind.len() < 2, "one cause is one row, of two gateways too: {of_kind:?}");
    of_kind.first().map(|alarm| (*alarm).clone())
}

fn wait_until_raised(client: &Client, kind: &str, since_ms: i64) -> Value {
    let begun = Instant::now();
    Servers::wait_until(kind, WITHIN, || {
        alarm(client, kind, since_ms).is_some_and(|alarm| alarm["cleared_at_ms"].is_null())
    });
    println!("{kind} is raised after {:.1} s", begun.elapsed().as_secs_f64());
    alarm(client, kind, since_ms).unwrap()
}

fn wait_until_cleared(client: &Client, kind: &str, since_ms: i64) {
    let begun = Instant::now();
    Servers::wait_until(&format!("the end of {kind}"), WITHIN, || {
        alarm(client, kind, since_ms).is_some_and(|alarm| alarm["cleared_at_ms"].is_i64())
    });
    println!("{kind} is cleared after {:.1} s", begun.elapsed().as_secs_f64());
}

/// Redis, HBase and a shard at once, then the catalog itself.
fn what_is_down_is_an_alarm(servers: &mut Servers, cluster: &mut Cluster) {
    let client = cluster.client(1);
    let since_ms = now_ms();
    servers.redis.kill(0);
    servers.hbase.kill(HbaseProcess::Thrift1);
    cluster.shards[1].kill();
    for (kind, severity, advice) in [
        ("cache_down", "warning", "Redis"),
        ("store_down", "critical", "Thrift servers"),
        ("shard_missing", "critical", "search processes"),
    ] {
        let raised = wait_until_raised(&client, kind, since_ms);
        assert_eq!(raised["severity"], severity, "{raised}");
        assert!(raised["detail"].as_str().unwrap().contains(advice), "{raised}");
    }
    wait_for_metric(&cluster.embedders[0], "medindex_alarms{name=\"cache_down\",severity=\"warning\"} 1");
    servers.redis.restart(0).unwrap();
    servers.hbase.restart(HbaseProcess::Thrift1).unwrap();
    cluster.shards[1].start();
    for kind in ["cache_down", "store_down", "shard_missing"] {
        wait_until_cleared(&client, kind, since_ms);
        wait_for_operation(&client, &format!("action=alarm.raise&subject={kind}&from_ms={since_ms}"));
        wait_for_operation(&client, &format!("action=alarm.clear&subject={kind}&from_ms={since_ms}"));
    }

    servers.mariadb.kill();
    Servers::wait_until("the metric of a catalog that is down", WITHIN, || {
        let metrics = cluster.gateways[0].metrics();
        metrics.contains("medindex_alarms{name=\"catalog_down\",severity=\"critical\"} 1")
    });
    servers.mariadb.restart().unwrap();
    Servers::wait_until("the row that could not be written", PATIENCE, || {
        alarm(&client, "catalog_down", since_ms).is_some_and(|alarm| alarm["cleared_at_ms"].is_i64())
    });
    let row = alarm(&client, "catalog_down", since_ms).unwrap();
    assert!(row["cleared_at_ms"].as_i64() > row["raised_at_ms"].as_i64(), "{row}");
    let metrics = cluster.gateways[0].metrics();
    assert!(metrics.contains("medindex_operations_recorded{result=\"dropped\"} 0"), "{metrics}");
}
