//! SQL over the rows that the pipeline writes, with the view that the documentation gives to users.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::DateTime;
use medindex_system_tests::pictures::pattern;
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::java::cache_folder;
use medindex_testbed::phoenix::Phoenix;
use medindex_testbed::skipped;

const PATIENCE: Duration = Duration::from_mins(3);
const VIEW: &str = r#""medindex"."image_info""#;

/// The file that `docs/phoenix.md` tells users to run.
fn documented_view() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/phoenix.sql")
}

/// A file of the package pydicom as another file of the same image: the first 128 bytes of DICOM mean nothing.
fn sample(name: &str, seed: u8) -> Vec<u8> {
    let path = cache_folder().join("samples").join("pydicom").join(name);
    let mut bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    bytes[0] = seed;
    bytes
}

/// Images of one kind: their files and the ids that they got.
#[derive(Default)]
struct Uploaded {
    ids: BTreeSet<String>,
    bytes: usize,
}

impl Uploaded {
    fn add(&mut self, client: &Client, name: &str, bytes: &[u8], label: Option<&str>) {
        self.ids.insert(client.upload(name, bytes, label));
        self.bytes += bytes.len();
    }
}

fn upload_samples(client: &Client, name: &str, seeds: std::ops::Range<u8>) -> Uploaded {
    let mut uploaded = Uploaded::default();
    for seed in seeds {
        uploaded.add(client, name, &sample(name, seed), None);
    }
    wait_for_all(client, &uploaded);
    uploaded
}

fn wait_for_all(client: &Client, uploaded: &Uploaded) {
    for id in &uploaded.ids {
        assert_eq!(client.wait_for(id, PATIENCE), "indexed");
    }
}

/// A time as SQL writes it.
fn date(milliseconds: i64) -> String {
    let time = DateTime::from_timestamp_millis(milliseconds).unwrap();
    format!("TO_DATE('{}')", time.format("%Y-%m-%d %H:%M:%S%.3f"))
}

fn received(client: &Client, id: &str) -> i64 {
    client.get(&format!("/api/v1/images/{id}")).body["received_at_ms"].as_i64().unwrap()
}

/// The ids that each condition selects.
fn select<const N: usize>(phoenix: &Phoenix, conditions: [&str; N]) -> [BTreeSet<String>; N] {
    let query = |condition| format!(r#"SELECT "id" FROM {VIEW} WHERE {condition}"#);
    let answers = phoenix.query(&conditions.map(query)).unwrap();
    let ids = |rows: Vec<Vec<String>>| {
        let count = rows.len();
        let ids: BTreeSet<String> = rows.into_iter().map(|row| row[0].clone()).collect();
        assert_eq!(ids.len(), count, "an image came twice");
        ids
    };
    answers.into_iter().map(ids).collect::<Vec<_>>().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_selects_by_type_and_time_exactly_what_the_pipeline_wrote() {
    if any_server_is_skipped() || skipped("phoenix") {
        return;
    }
    let started = Instant::now();
    let servers = Servers::start_over(1, Phoenix::start).await;
    let cluster = Cluster::start(&servers, Shape { gateways: 1, embedders: 1, shards: 1, replicas: 1 });
    println!("servers and programs ready after {:.1} s", started.elapsed().as_secs_f64());
    let (client, phoenix) = (cluster.client(0), &servers.hbase);

    let scans = upload_samples(&client, "CT_small.dcm", 0..3);
    let resonances = upload_samples(&client, "MR_small.dcm", 0..4);
    let mut patterns = Uploaded::default();
    for seed in 0..10 {
        let picture = pattern(seed);
        patterns.add(&client, &picture.name, &picture.bytes, Some("胸部 '1'"));
    }
    wait_for_all(&client, &patterns);

    phoenix.run_file(&documented_view()).unwrap();
    println!("the view is there after {:.1} s", started.elapsed().as_secs_f64());
    let conditions = [
        r#""type" = 'CT'"#,
        r#""modality" = 'MR' AND "format" = 'DICOM'"#,
        r#""label" = '胸部 ''1''' AND "type" IS NULL"#,
    ];
    let [computed, magnetic, labelled] = select(phoenix, conditions);
    assert_eq!((&computed, &magnetic, &labelled), (&scans.ids, &resonances.ids, &patterns.ids));
    check_totals(phoenix, &[&scans, &resonances, &patterns]);

    // What is written after the view was made is in it, and a boundary in time parts the two.
    let later = upload_samples(&client, "CT_small.dcm", 3..5);
    let boundary = date(later.ids.iter().map(|id| received(&client, id)).min().unwrap());
    let condition = |sign: &str| format!(r#""type" = 'CT' AND "received" {sign} {boundary}"#);
    let [since, before] = select(phoenix, [&condition(">="), &condition("<")]);
    assert_eq!((&since, &before), (&later.ids, &scans.ids));
    check_one(phoenix, &client, later.ids.first().unwrap());

    let refused =
        phoenix.query(&[format!(r#"UPSERT INTO {VIEW} ("row", "id") VALUES ('0000|x', 'x')"#)]).unwrap_err();
    assert!(refused.to_string().contains("read only"), "{refused}");
    check_that_the_view_can_be_made_again_and_shows_deletions(phoenix, &client, &(&scans.ids | &later.ids));
    println!("done after {:.1} s", started.elapsed().as_secs_f64());
}

/// Counts and sums are those of the files that were uploaded.
fn check_totals(phoenix: &Phoenix, uploaded: &[&Uploaded]) {
    let query = format!(r#"SELECT COUNT(*), SUM("length") FROM {VIEW} WHERE "id" IS NOT NULL"#);
    let count: usize = uploaded.iter().map(|kind| kind.ids.len()).sum();
    let bytes: usize = uploaded.iter().map(|kind| kind.bytes).sum();
    assert_eq!(phoenix.query(&[query]).unwrap(), [[[count.to_string(), bytes.to_string()]]]);
}

/// Every column of one image says what the gateway says of it.
fn check_one(phoenix: &Phoenix, client: &Client, id: &str) {
    let columns = r#""row", "type", "modality", "name", "format", "generation", TO_CHAR("received", 'yyyy-MM-dd HH:mm:ss.SSS')"#;
    let query = format!(r#"SELECT {columns} FROM {VIEW} WHERE "id" = '{id}'"#);
    let rows = phoenix.query(&[query]).unwrap().remove(0);
    let [row] = rows.as_slice() else { panic!("{} rows of one image", rows.len()) };
    let time = DateTime::from_timestamp_millis(received(client, id)).unwrap();
    let time = time.format("%Y-%m-%d %H:%M:%S%.3f").to_string();
    assert!(row[0].ends_with(id), "{row:?}");
    assert_eq!(row[1..], ["CT", "CT", "CT_small.dcm", "DICOM", "0", &time]);
}

fn check_that_the_view_can_be_made_again_and_shows_deletions(
    phoenix: &Phoenix,
    client: &Client,
    scans: &BTreeSet<String>,
) {
    phoenix.run_file(&documented_view()).unwrap();
    let mut kept = scans.clone();
    let deleted = kept.pop_first().unwrap();
    assert_eq!(client.delete(&deleted).status, 200);
    Servers::wait_until("SQL to give all but the deleted image", PATIENCE, || {
        let [found] = select(phoenix, [r#""type" = 'CT'"#]);
        assert!(found.is_superset(&kept), "{kept:?} became {found:?}");
        found == kept
    });
}
