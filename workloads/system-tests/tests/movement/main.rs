//! Queries go on while everything moves: embedders leave and join, Kafka's partitions get other leaders, a broker dies, regions go to another
//! server, a generation is swapped in, replicas of shards stop, die and come back.
//!
//! No query with a living replica of every shard fails or is partial, and every image that was accepted meanwhile becomes searchable.
//! `MEDINDEX_MOVEMENT_ROUNDS` is how often each thing moves (once here, more in `make movement`), `MEDINDEX_PLOT` a folder for the plot,
//! the table and every query's time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod plot;
mod watch;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::Duration;

use medindex_hbase_admin::{HbaseAdmin, TableName, TimeLimits};
use medindex_proto::names::TABLE_IMAGES;
use medindex_system_tests::pictures::{Picture, pictures};
use medindex_system_tests::servers::{INDEX, PARTITIONS, Servers};
use medindex_system_tests::statistics::percentiles;
use medindex_system_tests::{Client, Cluster, Shape, any_server_is_skipped};
use medindex_testbed::hbase::ThriftServers as _;
use medindex_testbed::hdfs::HdfsCluster;
use medindex_testbed::skipped;
use watch::{ASKERS, PATIENCE, Watch, assignments};

/// Enough that a generation can be trained.
const IMAGES: usize = 400;
const SHAPE: Shape = Shape { gateways: 1, embedders: 2, shards: 2, replicas: 2 };

fn rounds() -> usize {
    let text = std::env::var("MEDINDEX_MOVEMENT_ROUNDS").ok().filter(|text| !text.is_empty());
    text.map_or(1, |text| text.parse().expect("MEDINDEX_MOVEMENT_ROUNDS must be a number"))
}

fn upload(client: &Client, pictures: &[Picture]) -> Vec<String> {
    let upload = |picture: &Picture| client.upload(&picture.name, &picture.bytes, Some(&picture.label));
    let ids: Vec<String> = pictures.iter().map(upload).collect();
    for id in &ids {
        assert_eq!(client.wait_for(id, PATIENCE), "indexed");
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_fails_while_embedders_leaders_regions_generations_and_replicas_move() {
    if any_server_is_skipped() || skipped("hdfs") {
        return;
    }
    let mut servers = Servers::start_over(3, HdfsCluster::start).await;
    tokio::task::block_in_place(|| {
        let mut cluster = Cluster::start(&servers, SHAPE);
        let client = cluster.client(0);
        let (pictures, source) = pictures(IMAGES);
        println!("{IMAGES} images: {source}");
        let ids = upload(&client, &pictures);
        let watch = Watch::new();
        std::thread::scope(|scope| {
            for _ in 0..ASKERS {
                scope.spawn(|| watch.ask(&client, &ids, &pictures));
            }
            scope.spawn(|| watch.upload_until_stopped(&client));
            // Also when something here panics, so that the others end.
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                for round in 0..rounds() {
                    move_embedders(&mut cluster, &client, &watch);
                    move_servers(&mut servers, &watch, round);
                    swap_a_generation(&cluster, &client, &watch);
                    move_replicas(&mut cluster, &watch, round);
                }
            }));
            watch.stop();
            outcome.unwrap_or_else(|panic| resume_unwind(panic));
        });
        check(&watch, &client);
    });
}

/// What was seen is published where one is told to, before anything is held against it.
fn check(watch: &Watch, client: &Client) {
    let (samples, failures) = (watch.samples.lock().unwrap(), watch.failures.lock().unwrap());
    let (accepted, refused) = (watch.accepted.lock().unwrap(), watch.refused.lock().unwrap());
    let times: Vec<Duration> = samples.iter().map(|sample| sample.took).collect();
    println!("{} queries, {} failed; {}", samples.len(), failures.len(), percentiles(&times));
    println!("{} uploads accepted, {} refused: {refused:?}", accepted.len(), refused.len());
    if let Some(folder) = std::env::var_os("MEDINDEX_PLOT").filter(|folder| !folder.is_empty()) {
        let events = watch.events.lock().unwrap();
        plot::write(
            &PathBuf::from(folder),
            &samples,
            &events,
            failures.len(),
            (accepted.len(), refused.len()),
        );
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    for id in accepted.iter() {
        assert_eq!(client.wait_for(id, PATIENCE), "indexed");
    }
    Servers::wait_until("the shards to have everything that was accepted", PATIENCE, || {
        let status = client.get("/api/v1/status").body;
        status["index"]["entries"] == status["images"]["indexed"] && status["index_lag"] == 0
    });
}

/// One embedder leaves the group, so that the other has all partitions, and joins it again.
fn move_embedders(cluster: &mut Cluster, client: &Client, watch: &Watch) {
    let before = assignments(&cluster.embedders[0]);
    watch.during("an embedder leaves", || {
        cluster.embedders[1].stop();
        watch.upload_to_every_partition(client);
    });
    assert!(assignments(&cluster.embedders[0]) > before, "the other embedder was given nothing");
    let before = assignments(&cluster.embedders[1]);
    watch.during("an embedder joins", || {
        cluster.embedders[1].start();
        cluster.embedders[1].wait_until_ready();
        Servers::wait_until("the embedder to get partitions", PATIENCE, || {
            assignments(&cluster.embedders[1]) > before
        });
        watch.upload_to_every_partition(client);
    });
}

fn move_servers(servers: &mut Servers<HdfsCluster>, watch: &Watch, round: usize) {
    watch.during("Kafka's leaders move", || {
        let moved = servers.kafka.move_leaders().unwrap();
        println!("{moved} leaders moved");
        // Of the four topics of the index; after a broker's death some lead already that are to lead now.
        assert!(moved >= 2 * PARTITIONS as usize, "only {moved} leaders moved");
    });
    watch.during("a broker dies and comes back", || {
        let broker = round % 3 + 1;
        servers.kafka.kill(broker);
        watch.moment();
        servers.kafka.restart(broker).unwrap();
    });
    watch.during("regions move", || {
        servers.hbase.move_regions_from(round % 2).unwrap();
        let mut admin = HbaseAdmin::new(servers.hbase.thrift2(), TimeLimits::default());
        let table = admin.table(&TableName::new(INDEX, TABLE_IMAGES)).unwrap().unwrap();
        let holders: BTreeSet<String> = table.regions.into_iter().map(|region| region.server).collect();
        assert_eq!(holders.len(), 1, "regions lie on {holders:?}, though one of two servers was emptied");
    });
}

fn swap_a_generation(cluster: &Cluster, client: &Client, watch: &Watch) {
    let before = client.get("/api/v1/status").body["index"]["generation"].as_u64();
    watch.during("a generation is trained and swapped in", || {
        let report = cluster.train();
        assert_eq!(report["accepted"], true, "{report}");
        assert!(report["generation"].as_u64() > before, "{report}");
        Servers::wait_until("every shard to answer with the generation", PATIENCE, || {
            client.get("/api/v1/status").body["index"]["generation"] == report["generation"]
        });
    });
}

/// A replica of the first shard stops in order and starts, then one of the second is killed and starts.
fn move_replicas(cluster: &mut Cluster, watch: &Watch, round: usize) {
    let first = round % SHAPE.replicas * SHAPE.shards;
    watch.during("a replica stops and starts", || {
        cluster.shards[first].stop();
        watch.moment();
        cluster.shards[first].start();
        cluster.shards[first].wait_until_ready();
    });
    watch.during("a replica is killed and starts", || {
        cluster.shards[first + 1].kill();
        watch.moment();
        cluster.shards[first + 1].start();
        cluster.shards[first + 1].wait_until_ready();
    });
}
