//! A bulk import straight to `HBase` and the change log: killed in the middle, told to stop, started again, and every image is found once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use medindex_system_tests::pictures::{Picture, pattern, pictures};
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::deep_lesion::{ExampleSlice, write_data_set};
use medindex_testbed::{Server, process};
use serde_json::Value;

/// Images with labels from a table.
const PICTURES: usize = 200;
/// Slices of the DeepLesion layout.
const SLICES: usize = 24;
const PATIENCE: Duration = Duration::from_mins(3);

/// The files of an import.
struct Files {
    arguments: Vec<String>,
    pictures: Vec<Picture>,
    slices: Vec<ExampleSlice>,
}

/// A folder of images with a table of labels, one of them cut off, and the small DeepLesion set.
fn write_files(folder: &Path) -> Files {
    let (images, lesions) = (folder.join("images"), folder.join("DeepLesion"));
    std::fs::create_dir(&images).unwrap();
    std::fs::create_dir(&lesions).unwrap();
    let (mut pictures, source) = pictures(PICTURES);
    println!("{PICTURES} images: {source}; {SLICES} slices of the DeepLesion layout");
    let mut table = "file,label\n".to_owned();
    for picture in &mut pictures {
        // The labels' folders have files of the same names.
        picture.name = format!("{}/{}", picture.label, picture.name);
        let path = images.join(&picture.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &picture.bytes).unwrap();
        writeln!(table, "{},{}", picture.name, picture.label).unwrap();
    }
    std::fs::write(images.join("broken.png"), &pattern(1).bytes[..40]).unwrap();
    let labels = images.join("labels.csv");
    std::fs::write(&labels, table).unwrap();
    let slices = write_data_set(&lesions, SLICES).unwrap();
    let arguments = vec![
        format!("--source={}", images.display()),
        format!("--source={}", lesions.display()),
        format!("--labels={}", labels.display()),
    ];
    Files { arguments, pictures, slices }
}

/// A figure of an importer's metrics; `None` while it does not answer.
fn figure(port: u16, name: &str) -> Option<u64> {
    let mut answer = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call().ok()?;
    let text = answer.body_mut().read_to_string().ok()?;
    let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
    Some(line.split(' ').nth(1)?.parse::<f64>().ok()? as u64)
}

/// Starts an import and waits until it has stored `images`.
fn start_and_wait_for(cluster: &Cluster, more: &[String], images: u64, log: &Path) -> Server {
    let (command, port) = cluster.importer(more);
    let mut importer = Server::start("importer", &command, log).unwrap();
    importer
        .wait_until("waiting for the first images", PATIENCE, |_| {
            figure(port, "medindex_importer_imported").is_some_and(|imported| imported >= images)
        })
        .unwrap();
    importer
}

/// Runs an import to its end; returns its report.
fn import(cluster: &Cluster, more: &[String]) -> Value {
    let (mut command, _) = cluster.importer(more);
    let report = process::run(&mut command).unwrap();
    println!("{report}");
    serde_json::from_str(&report).unwrap()
}

/// Every record of the catalog by name; two of one name fail.
fn records(client: &Client) -> BTreeMap<String, Value> {
    let page = client.get("/api/v1/images?limit=1000");
    assert_eq!(page.body["next"], Value::Null);
    let mut records = BTreeMap::new();
    for record in page.body["images"].as_array().unwrap() {
        let name = record["name"].as_str().unwrap().to_owned();
        assert!(records.insert(name.clone(), record.clone()).is_none(), "{name} is there twice");
    }
    records
}

fn wait_for_entries(client: &Client, images: usize) {
    Servers::wait_until("the shards to have every image once", PATIENCE, || {
        let status = client.get("/api/v1/status").body;
        status["index"]["entries"] == images && status["index_lag"] == 0
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_and_stopped_goes_on_and_every_image_is_found_once() {
    if any_server_is_skipped() {
        return;
    }
    let servers = Servers::start(1).await;
    let cluster = Cluster::start(&servers, Shape { gateways: 1, embedders: 1, shards: 2, replicas: 1 });
    let client = cluster.client(0);
    let folder = tempfile::tempdir().unwrap();
    let files = write_files(folder.path());
    let total = PICTURES + SLICES;

    let begun = Instant::now();
    let slowly = [files.arguments.clone(), vec!["--images-per-second=40".to_owned()]].concat();
    let mut before = 0;
    for images in [1, 14, 23] {
        let mut killed = start_and_wait_for(&cluster, &slowly, images, &folder.path().join("killed.log"));
        killed.kill();
        before = records(&client).values().filter(|record| record["status"] == "indexed").count();
        println!("killed after {before} of {total} images, {:.1} s", begun.elapsed().as_secs_f64());
        assert!(before >= images as usize && before < total);
    }

    let log = folder.path().join("stopped.log");
    let slowly = [files.arguments.clone(), vec!["--images-per-second=10".to_owned()]].concat();
    let mut stopped = start_and_wait_for(&cluster, &slowly, 5, &log);
    let asked = Instant::now();
    let status =
        stopped.end(Duration::from_secs(30)).expect("it does not end in the time that Kubernetes gives");
    assert_eq!(status.code(), Some(130), "{}", stopped.log_end());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"interrupted\": true") && text.contains("start the same import again"), "{text}");
    println!("stopped within {:.1} s", asked.elapsed().as_secs_f64());

    let failures = folder.path().join("failures.csv");
    let last = [files.arguments.clone(), vec![format!("--failures={}", failures.display())]].concat();
    let report = import(&cluster, &last);
    let (imported, duplicates) =
        (report["imported"].as_u64().unwrap() as usize, report["duplicates"].as_u64().unwrap() as usize);
    assert_eq!(imported + duplicates, total, "{report}");
    assert!(imported > 0 && duplicates >= before + 5, "{report}");
    assert_eq!((&report["failed"], &report["skipped"]), (&1.into(), &1.into()), "{report}");
    assert_eq!((&report["interrupted"], &report["waiting"]), (&false.into(), &0.into()), "{report}");
    assert_eq!(report["unused_labels"], serde_json::json!([]));
    assert!(std::fs::read_to_string(&failures).unwrap().starts_with("file,reason\nbroken.png,"));

    wait_for_entries(&client, total);
    check_records(&client, &files);
    check_searches(&client, &files);

    let again = import(&cluster, &files.arguments);
    assert_eq!((&again["imported"], &again["duplicates"]), (&0.into(), &total.into()), "{again}");
    wait_for_entries(&client, total);
    assert_eq!(records(&client).len(), total);
    println!("done after {:.1} s beside the servers' start", begun.elapsed().as_secs_f64());
}

/// Labels, regions and patients are where they belong.
fn check_records(client: &Client, files: &Files) {
    let records = records(client);
    assert_eq!(records.len(), files.pictures.len() + files.slices.len());
    assert!(records.values().all(|record| record["status"] == "indexed"));
    for picture in &files.pictures {
        assert_eq!(records[&picture.name]["label"], picture.label.as_str(), "{}", picture.name);
    }
    for slice in &files.slices {
        let record = &records[&slice.file_name];
        assert_eq!(record["label"], slice.label.map_or(Value::Null, Value::from), "{record}");
        assert_eq!(
            (&record["modality"], &record["patient_id"]),
            (&"CT".into(), &slice.patient.as_str().into())
        );
        let regions = record["regions"].as_array().unwrap().iter();
        let regions: Vec<[u64; 4]> = regions
            .map(|region| ["x", "y", "width", "height"].map(|edge| region[edge].as_u64().unwrap()))
            .collect();
        assert_eq!(regions, slice.regions.iter().map(|region| region.map(u64::from)).collect::<Vec<_>>());
    }
}

/// Every image is in the index once, and found: pictures by their files, slices from the stored image and by a region of it.
fn check_searches(client: &Client, files: &Files) {
    for picture in &files.pictures {
        let answer = client.search(&picture.bytes, &[("k", "5"), ("whole", "true")]);
        let results = answer["results"].as_array().unwrap();
        let own: Vec<&Value> = results.iter().filter(|hit| hit["name"] == picture.name.as_str()).collect();
        assert_eq!(own.len(), 1, "{}: {answer}", picture.name);
        assert!(own[0]["distance"].as_f64().unwrap() < 1e-3, "{}: {answer}", picture.name);
    }
    let all =
        client.search(&files.pictures[0].bytes, &[("k", "200"), ("filter", "patient=DeepLesion-000001")]);
    assert_eq!(all["results"].as_array().unwrap().len(), 4, "{all}");
    let records = records(client);
    let slice = &files.slices[0];
    let [x, y, width, height] = slice.regions[0];
    let answer = client.search_stored(
        records[&slice.file_name]["id"].as_str().unwrap(),
        &[("roi", &format!("{x},{y},{width},{height}")), ("filter", "modality=CT"), ("k", "50")],
    );
    assert_eq!(answer["results"].as_array().unwrap().len(), SLICES - 1, "{answer}");
}
