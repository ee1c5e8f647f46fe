//! All programs over four servers that want TLS and logins: wrong ones are told and waited for, and renewed ones are taken up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod site;

use std::time::Instant;

use medindex_system_tests::cluster::Process;
use medindex_system_tests::pictures::{Picture, pattern};
use medindex_system_tests::waiting::{PATIENCE, wait_until_it_waits};
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::say;
use site::{Given, PASSWORDS, Site};

const SHAPE: Shape = Shape { gateways: 1, embedders: 1, shards: 1, replicas: 1 };

#[tokio::test(flavor = "multi_thread")]
async fn programs_wait_for_certificates_and_logins_that_fit_and_take_renewed_ones_up() {
    if any_server_is_skipped() {
        return;
    }
    let mut site = Site::start().await;
    let mut cluster = Cluster::describe(&site.servers, SHAPE);
    site.give_wrong_ones();
    for process in cluster.processes() {
        process.set(&site.arguments());
        process.start();
    }
    mend_one_after_the_other(&mut cluster.embedders[0], &site);
    cluster.processes().for_each(Process::wait_until_ready);
    let client = cluster.client(0);
    let mut uploaded = vec![store(&client, 1)];
    are_found(&client, &uploaded);
    recognises_from_the_cache(&client, &uploaded[0].0);

    let renewed = Instant::now();
    site.renew_servers();
    for given in Given::ALL {
        site.give(given);
    }
    Servers::wait_until("the gateway to accept uploads again", PATIENCE, || {
        let picture = pattern(2);
        client
            .try_upload(&picture.name, &picture.bytes, None)
            .is_ok_and(|answer| [200, 202].contains(&answer.status))
    });
    uploaded.push(store(&client, 2));
    uploaded.push(store(&client, 3));
    are_found(&client, &uploaded);
    Servers::wait_until("all alarms to be cleared", PATIENCE, || {
        let answer = client.get("/api/v1/alarms?raised=true&limit=100");
        answer.status == 200 && answer.body["alarms"].as_array().is_some_and(Vec::is_empty)
    });
    // A picture that was not asked for before: the cache of now.
    recognises_from_the_cache(&client, &uploaded[2].0);
    say!(
        "certificates and passwords of four servers renewed; all in order again after {:.1} s",
        renewed.elapsed().as_secs_f64()
    );
    for process in cluster.processes() {
        assert!(process.is_running(), "{} ended: {}", process.name, process.log());
        let log = process.log();
        for password in PASSWORDS {
            assert!(!log.contains(password), "{} logs a password", process.name);
        }
    }
}

/// Everything is wrong; each line of the log says what is, and the next thing is looked at once it is right.
fn mend_one_after_the_other(embedder: &mut Process, site: &Site) {
    wait_until_it_waits(embedder, "catalog", &["certificate"]);
    site.give(Given::Catalog);
    wait_until_it_waits(embedder, "image_store", &["certificate"]);
    site.give(Given::Hbase);
    wait_until_it_waits(embedder, "queue", &["certificate"]);
    site.give(Given::KafkaAuthority);
    wait_until_it_waits(embedder, "queue", &["uthentication", "kafka-password"]);
    site.give(Given::KafkaLogin);
    wait_until_it_waits(embedder, "cache", &["certificate"]);
    site.give(Given::Cache);
}

/// Uploads a pattern where it is not there yet, and waits until it is indexed.
fn store(client: &Client, seed: u32) -> (Picture, String) {
    let picture = pattern(seed);
    let answer = client.try_upload(&picture.name, &picture.bytes, Some(&picture.label)).unwrap();
    assert!([200, 202].contains(&answer.status), "{}", answer.body);
    let id = answer.body["id"].as_str().unwrap().to_owned();
    assert_eq!(client.wait_for(&id, PATIENCE), "indexed");
    (picture, id)
}

fn are_found(client: &Client, uploaded: &[(Picture, String)]) {
    for (picture, id) in uploaded {
        Servers::wait_until("an image to be found", PATIENCE, || {
            let answer = client.search(&picture.bytes, &[("k", "1"), ("whole", "true")]);
            answer["results"][0]["id"] == id.as_str()
        });
    }
}

/// The second time, which only Redis can answer so.
fn recognises_from_the_cache(client: &Client, picture: &Picture) {
    Servers::wait_until("a recognition out of the cache", PATIENCE, || {
        let answer = client.recognise(&picture.bytes);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["cached"] == true
    });
}
