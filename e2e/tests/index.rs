//! The sample index on a real cluster. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::time::{Duration, Instant};

use medindex_e2e::Gateway;
use medindex_e2e::backends;
use medindex_e2e::cluster::is_ours;
use medindex_e2e::index::{self, IMAGES, NAME, NAMESPACE, PATIENCE};
use medindex_e2e::kubectl::{apply, get, kubectl, wait_until};
use medindex_hbase_admin::{FamilyDescription, TableName};
use medindex_proto::names::TABLE_IMAGES;
use medindex_system_tests::pictures::pictures;
use medindex_system_tests::statistics::percentiles;

/// What drifts is put right, and what is deleted is gone, within this.
const MINUTE: Duration = Duration::from_mins(1);
/// Images whose way from upload to a search's answer is timed one by one.
const TIMED: usize = 10;

#[test]
#[ignore = "wants a cluster: make e2e"]
fn an_applied_index_gets_ready_and_finds_real_images() {
    let _turn = index::turn();
    let gateway = Gateway::reach();
    let (pictures, source) = pictures(IMAGES);
    let begun = Instant::now();
    let (images, new) = gateway.ensure(pictures);
    println!(
        "{IMAGES} images ({source}), of them {new} new, uploaded through the Service and indexed: {:.1} s",
        begun.elapsed().as_secs_f64()
    );

    let mut searches = Vec::new();
    for (picture, id) in &images {
        let asked = Instant::now();
        // As many as no other test asks for: answers are kept.
        let answer = gateway.client.search(&picture.bytes, &[("k", "6"), ("whole", "true")]);
        searches.push(asked.elapsed());
        let hits = answer["results"].as_array().unwrap();
        assert!(hits.iter().any(|hit| hit["id"] == id.as_str()), "{} is not found: {answer}", picture.name);
    }
    println!("search by a file ({source}) over 3 shards, embedding included: {}", percentiles(&searches));
    println!("upload to found by a search (patterns): {}", percentiles(&upload_and_find(&gateway)));

    let counted = images.len() + TIMED;
    let told = wait_until("the status to count the images", PATIENCE, || {
        index::resource()["status"]["images"]["indexed"].as_u64() >= Some(counted as u64)
    });
    println!("images counted in the status after {:.1} s", told.as_secs_f64());
    println!("{}", kubectl(&["get", "mii", "--namespace", NAMESPACE, "--output", "wide"]));
}

/// Uploads images that the index has not seen and searches for each until it is found; how long that took.
fn upload_and_find(gateway: &Gateway) -> Vec<Duration> {
    let found = |_| {
        let picture = index::new_picture();
        let begun = Instant::now();
        let id = gateway.client.upload(&picture.name, &picture.bytes, None);
        wait_until("the image to be found", MINUTE, || {
            let answer = gateway.client.search(&picture.bytes, &[("k", "1")]);
            answer["results"][0]["id"] == id.as_str()
        });
        begun.elapsed()
    };
    (0..TIMED).map(found).collect()
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn what_drifts_is_put_right_within_a_minute() {
    let _turn = index::turn();
    let deployment = format!("{NAME}-gateway");
    let grace = || {
        let live = get(NAMESPACE, &["deployment", &deployment]);
        live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_i64()
    };
    let wanted = grace();
    let begun = Instant::now();
    let edit = r#"{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}"#;
    kubectl(&["patch", "deployment", &deployment, "--namespace", NAMESPACE, "--patch", edit]);
    put_right("a Deployment edited by hand", begun, || grace() == wanted);

    let settings = format!("{NAME}-settings");
    let begun = Instant::now();
    kubectl(&["delete", "configmap", &settings, "--namespace", NAMESPACE]);
    put_right("a ConfigMap deleted by hand", begun, || !get(NAMESPACE, &["configmap", &settings]).is_null());

    let topic = format!("{NAME}.imageupload");
    let retention = || backends::topic_setting(&topic, "retention.ms");
    let wanted = retention();
    let begun = Instant::now();
    backends::set_topic_setting(&topic, "retention.ms", "61000");
    put_right("a topic's setting altered by hand", begun, || retention() == wanted);

    event_tells("ObjectWritten", &format!("Corrected Deployment {deployment}"));
    event_tells("ObjectWritten", &format!("Created ConfigMap {settings}"));
    event_tells("BackendCorrected", &format!("alter topic {topic}: retention.ms"));
    if is_ours() {
        what_drifts_in_the_backends_is_put_right();
    }
    wait_until("the index to be ready again", PATIENCE, || index::is_ready(&index::resource()));
}

fn what_drifts_in_the_backends_is_put_right() {
    let topic = format!("{NAME}.imageupload.dlq");
    let wanted = backends::partitions(&topic);
    let begun = Instant::now();
    backends::delete_topic(&topic);
    let created = format!("create topic {topic}");
    // It may be there again before anyone looks.
    wait_until("the topic to be gone", MINUTE, || {
        backends::partitions(&topic) == 0 || is_told("BackendCorrected", &created)
    });
    put_right("a topic deleted by hand", begun, || backends::partitions(&topic) == wanted);

    let table = TableName::new(NAME, TABLE_IMAGES);
    let wanted = backends::family(&table, "MI");
    let begun = Instant::now();
    backends::alter_family(&table, &FamilyDescription { versions: wanted.versions + 2, ..wanted.clone() });
    // It may be as it was before anyone looks: the event tells that it was altered.
    put_right("a column family altered by hand", begun, || backends::family(&table, "MI") == wanted);

    event_tells("BackendCorrected", &created);
    event_tells("BackendCorrected", &format!("alter table {table}"));
}

fn put_right(what: &str, begun: Instant, is_so: impl FnMut() -> bool) {
    wait_until(what, MINUTE, is_so);
    println!("{what}: put right after {:.1} s", begun.elapsed().as_secs_f64());
}

fn event_tells(reason: &str, words: &str) {
    wait_until(&format!("an event that tells of {words}"), MINUTE, || is_told(reason, words));
}

fn is_told(reason: &str, words: &str) -> bool {
    index::events(reason).iter().any(|note| note.starts_with(words))
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_deleted_index_leaves_its_images_to_the_one_that_is_applied_again() {
    let _turn = index::turn();
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    drop(gateway);
    let begun = Instant::now();
    kubectl(&["delete", "mii", NAME, "--namespace", NAMESPACE, "--timeout=60s"]);
    println!("kubectl delete mii under Retain: {:.1} s", begun.elapsed().as_secs_f64());
    let owned = "app.kubernetes.io/instance=radiology";
    let pods = wait_until("its pods to be gone", MINUTE, || {
        let pods = get(NAMESPACE, &["pods,deployments,statefulsets", "--selector", owned]);
        pods["items"].as_array().is_none_or(Vec::is_empty)
    });
    println!("its pods gone after another {:.1} s", pods.as_secs_f64());

    println!("applied again to Ready: {:.1} s", index::ensure().as_secs_f64());
    let gateway = Gateway::reach();
    for (picture, id) in &images {
        let answer = gateway.client.search(&picture.bytes, &[("k", "5"), ("whole", "true")]);
        let hits = answer["results"].as_array().unwrap();
        assert!(hits.iter().any(|hit| hit["id"] == id.as_str()), "{} is lost: {answer}", picture.name);
    }
    println!("all {} images of the first life are found", images.len());
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_namespace_whose_backends_are_gone_is_deleted_within_a_minute() {
    const LOST: &str = "medindex-lost";
    let _turn = index::alone();
    apply(include_str!("lost.yaml"));
    wait_until("a condition that names Kafka", PATIENCE, || {
        let resource = get(LOST, &["mii", "lost"]);
        index::condition(&resource, "TopicsReady")
            .is_some_and(|(status, message)| status == "False" && message.contains("kafka.gone:9092"))
    });
    let begun = Instant::now();
    kubectl(&["delete", "namespace", LOST, "--timeout=60s"]);
    println!(
        "kubectl delete namespace without Kafka and HBase, under Retain: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}
