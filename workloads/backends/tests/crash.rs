//! A process that stores, publishes and accepts is killed at random moments: what it was told to be done is done.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use medindex_backends::catalog::ImageStatus;
use medindex_backends::embedded::{EmbeddedStore, open_catalog};
use medindex_backends::queue::positions_after;
use medindex_backends::{Catalog, Columns, ImageInformation, ImageRow, ImageStore, Queue};
use medindex_proto::{ImageId, RowKey};
use process::{image, patterned, say, start};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

const KILLS: usize = 12;
const SEED: u64 = 20_261_121;

/// Everything that the killed processes were told to be done.
#[derive(Default)]
struct Acknowledged {
    rows: Vec<(RowKey, u64)>,
    messages: Vec<(u32, u64, u64)>,
    images: Vec<ImageId>,
    positions: BTreeMap<u32, u64>,
}

impl Acknowledged {
    fn add(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        match words[0] {
            "row" => self.rows.push((RowKey::parse(words[1]).unwrap(), number(2))),
            "message" => self.messages.push((number(1) as u32, number(2), number(3))),
            "image" => self.images.push(ImageId::parse(words[1]).unwrap()),
            "position" => {
                let position = self.positions.entry(number(1) as u32).or_default();
                *position = (*position).max(number(2));
            }
            "open" => {}
            other => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_at_any_moment() {
    println!("seed {SEED}");
    let mut random = Pcg64Mcg::seed_from_u64(SEED);
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::default();
    for kill in 0..KILLS {
        let mut child = start("writer_process", folder.path(), &[]);
        // Some are killed while they open, which is when a store repairs itself.
        if kill % 4 != 3 {
            child.wait_for_line("open", Duration::from_mins(1));
        }
        let time = Duration::from_micros(random.random_range(0..400_000));
        let mut lines = child.lines_for(time);
        lines.extend(child.kill());
        for line in &lines {
            acknowledged.add(line);
        }
    }
    println!(
        "{KILLS} kills, acknowledged: {} rows, {} messages, {} images",
        acknowledged.rows.len(),
        acknowledged.messages.len(),
        acknowledged.images.len()
    );
    assert!(acknowledged.rows.len() > KILLS && acknowledged.images.len() > KILLS, "hardly anything was done");
    check_store(folder.path(), &acknowledged).await;
    check_catalog(folder.path(), &acknowledged).await;
}

async fn check_store(folder: &Path, acknowledged: &Acknowledged) {
    let store = EmbeddedStore::open(folder).await.unwrap();
    for (row, seed) in &acknowledged.rows {
        let read = store.get(row, Columns::ALL).await.unwrap();
        assert!(read == Some(values(*seed)), "row {row} was lost or changed");
    }
    let mut offsets = BTreeSet::new();
    for &(partition, offset, seed) in &acknowledged.messages {
        assert!(
            offsets.insert((partition, offset)),
            "offset {offset} of partition {partition} was given twice"
        );
        let read = store.read_from("work", partition, offset, 1).await.unwrap();
        assert_eq!(read[0].offset, offset);
        assert!(read[0].payload == patterned(700, seed), "message {offset} was lost or changed");
    }
    let committed = store.committed("work", "group").await.unwrap();
    for (partition, position) in &acknowledged.positions {
        assert!(committed[partition] >= *position, "a commit was lost");
    }
    // Unacknowledged writes are there whole or not at all: everything can be read.
    for partition in 0..9 {
        let mut after = None;
        loop {
            let page = store.scan(partition, Columns::ALL, after.as_ref(), 100).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            assert!(page.iter().all(|(_, values)| values.bytes.is_some() && values.information.is_some()));
        }
    }
    store.close().await;
}

async fn check_catalog(folder: &Path, acknowledged: &Acknowledged) {
    let catalog = open_catalog(folder).await.unwrap();
    let records = catalog.images(&acknowledged.images).await.unwrap();
    for (id, record) in acknowledged.images.iter().zip(records) {
        assert!(record.is_some_and(|record| record.image.id == *id), "image {id} was lost");
    }
    let there = catalog.counts().await.unwrap().of_status(ImageStatus::Received);
    assert!(there >= acknowledged.images.len() as u64);
}

fn values(seed: u64) -> ImageRow {
    let information =
        ImageInformation { generation: seed, meta_json: seed.to_string(), ..ImageInformation::default() };
    // Some take several pieces.
    let length = if seed.is_multiple_of(7) { 150_000 } else { 3000 };
    ImageRow { bytes: Some(patterned(length, seed)), information: Some(information) }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that what_was_acknowledged_survives_kills_at_any_moment kills"]
async fn writer_process() {
    let folder = process::folder();
    let store = EmbeddedStore::open(&folder).await.unwrap();
    let catalog = open_catalog(&folder).await.unwrap();
    store.create_topic("work", 3).await.unwrap();
    say("open");
    // Seeds differ from process to process by the time in an id.
    let base = u64::from_be_bytes(ImageId::new().as_bytes()[..8].try_into().unwrap());
    let mut tasks = Vec::new();
    for worker in 0..6 {
        let (store, catalog) = (store.clone(), catalog.clone());
        tasks.push(tokio::spawn(async move {
            for number in 0.. {
                let seed = base.wrapping_mul(31).wrapping_add(worker * 1_000_003 + number) >> 1;
                let row = RowKey::new(&ImageId::new(), 9);
                store.put(row.clone(), values(seed)).await.unwrap();
                say(&format!("row {row} {seed}"));
                let partition = (worker % 3) as u32;
                let offset = store.publish("work", partition, "key", patterned(700, seed)).await.unwrap();
                say(&format!("message {partition} {offset} {seed}"));
                let mut image = image(0);
                image.sha256[..16].copy_from_slice(image.id.as_bytes());
                let accepted = catalog.accept_image(image).await.unwrap();
                say(&format!("image {}", accepted.id()));
            }
        }));
    }
    let mut consumer = store.consumer("work", "group").await.unwrap();
    loop {
        let deliveries = consumer.poll(10, Duration::from_secs(1)).await.unwrap();
        let positions = positions_after(&deliveries);
        consumer.commit(&positions).await.unwrap();
        for (partition, position) in positions {
            say(&format!("position {partition} {position}"));
        }
        assert!(tasks.iter().all(|task| !task.is_finished()));
    }
}
