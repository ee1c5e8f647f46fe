//! Messages of strangers on the topics of an index.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use medindex_backends::Queue as _;
use medindex_backends::kafka::KafkaQueue;
use medindex_proto::messages::{
    DeadLetter, FrameVector, Frames, ImageIndexed, ImageUpload, Indexed, image_indexed, image_upload, indexed,
};
use medindex_proto::names::{
    MAX_INLINE_BYTES, MAX_MESSAGE_BYTES, TOPIC_DEAD_LETTER, TOPIC_IMAGE_INDEXED, TOPIC_IMAGE_UPLOAD,
};
use medindex_proto::{ImageId, Message as _, RowKey};
use medindex_system_tests::pictures::{Picture, pattern};
use medindex_system_tests::servers::{INDEX, PARTITIONS};
use medindex_system_tests::waiting::{PATIENCE, wait_for_line, wait_for_metric};
use medindex_system_tests::{Client, Cluster, Servers, Shape, any_server_is_skipped};
use medindex_testbed::kafka::Listener;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};

/// A message that a stranger sends, and what its dead letter says.
struct Stray {
    topic: &'static str,
    key: &'static str,
    payload: Vec<u8>,
    reason: &'static str,
}

fn stray(topic: &'static str, key: &'static str, payload: impl Into<Vec<u8>>, reason: &'static str) -> Stray {
    Stray { topic, key, payload: payload.into(), reason }
}

/// Field 1 of every message is its schema version.
const FUTURE: [u8; 2] = [0x08, 99];

fn strays(model_digest: &str, dimension: usize) -> Vec<Stray> {
    let mut strays = Vec::new();
    for topic in [TOPIC_IMAGE_UPLOAD, TOPIC_IMAGE_INDEXED] {
        strays.push(stray(topic, "garbage", "no message", "not a"));
        strays.push(stray(topic, "nothing", "", "no schema version"));
        strays.push(stray(topic, "future", FUTURE, "schema version 99"));
        strays.push(stray(topic, "large", vec![7; MAX_MESSAGE_BYTES + 1], "the limit is"));
        // As it travels it is small enough for the topic.
        strays.push(stray(topic, "enormous", vec![0; 60_000_000], "the limit is"));
    }
    strays.push(stray(TOPIC_IMAGE_UPLOAD, "partition", upload(&beyond()), "partition"));
    strays.push(stray(TOPIC_IMAGE_UPLOAD, "elsewhere", upload(&elsewhere(&strays)), "belongs to partition"));
    let (indexed, vectors) = (TOPIC_IMAGE_INDEXED, vec![1_u8; dimension * 2]);
    strays.push(stray(indexed, "partition", change(&beyond(), model_digest, vectors.clone()), "partition"));
    let misplaced = change(&elsewhere(&strays), model_digest, vectors.clone());
    strays.push(stray(indexed, "elsewhere", misplaced, "belongs to partition"));
    let of_another_model = change(&own(&strays), "sha256:another", vectors);
    strays.push(stray(indexed, "model", of_another_model, "sha256:another"));
    strays.push(stray(indexed, "short", change(&own(&strays), model_digest, vec![1; 8]), "4 components"));
    let not_numbers = change(&own(&strays), model_digest, vec![0xff; dimension * 2]);
    strays.push(stray(indexed, "infinite", not_numbers, "not a finite number"));
    strays
}

/// The partition that the next stray is sent to.
fn next_partition(strays: &[Stray]) -> u32 {
    strays.len() as u32 % PARTITIONS
}

/// Row key of a new image in the partition that the next stray is sent to.
fn own(strays: &[Stray]) -> RowKey {
    row_key(PARTITIONS, |partition| partition == next_partition(strays))
}

/// Row key of a new image in another partition than that.
fn elsewhere(strays: &[Stray]) -> RowKey {
    row_key(PARTITIONS, |partition| partition != next_partition(strays))
}

/// Row key of a new image in an index of more partitions, beyond the last one of ours.
fn beyond() -> RowKey {
    row_key(19, |partition| partition >= PARTITIONS)
}

fn row_key(partitions: u32, suits: impl Fn(u32) -> bool) -> RowKey {
    loop {
        let row_key = RowKey::new(&ImageId::new(), partitions);
        if suits(row_key.partition()) {
            return row_key;
        }
    }
}

fn upload(row_key: &RowKey) -> Vec<u8> {
    let upload = ImageUpload {
        image_id: row_key.image_id().to_string(),
        row_key: row_key.to_string(),
        sha256: vec![7; 32].into(),
        md5: vec![8; 16].into(),
        content: Some(image_upload::Content::Inline(pattern(1).bytes.into())),
        ..ImageUpload::default()
    };
    upload.write().unwrap().to_vec()
}

fn change(row_key: &RowKey, model_digest: &str, vector: Vec<u8>) -> Vec<u8> {
    let frame = FrameVector { frame: 0, vector: vector.into(), ..FrameVector::default() };
    let indexed = Indexed {
        vectors: Some(indexed::Vectors::Frames(Frames { frames: vec![frame] })),
        model_digest: model_digest.to_owned(),
        ..Indexed::default()
    };
    let change = ImageIndexed {
        image_id: row_key.image_id().to_string(),
        row_key: row_key.to_string(),
        change: Some(image_indexed::Change::Indexed(indexed)),
        ..ImageIndexed::default()
    };
    change.write().unwrap().to_vec()
}

/// A publisher that keeps to none of our limits.
fn stranger(servers: &Servers, compression: &str) -> FutureProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", servers.kafka.bootstrap(Listener::Plain));
    config.set("message.max.bytes", "200000000").set("compression.codec", compression);
    config.create().unwrap()
}

async fn send(stranger: &FutureProducer, stray: &Stray, partition: u32) -> Result<(), KafkaError> {
    let topic = format!("{INDEX}.{}", stray.topic);
    let record = FutureRecord::to(&topic).partition(partition as i32).key(stray.key).payload(&stray.payload);
    stranger.send(record, PATIENCE).await.map(drop).map_err(|(error, _)| error)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_none_become_dead_letters_and_the_consumers_go_on() {
    if any_server_is_skipped() {
        return;
    }
    let servers = Servers::start(1).await;
    let mut cluster = Cluster::start(&servers, Shape { gateways: 1, embedders: 1, shards: 1, replicas: 1 });
    let client = cluster.client(0);
    upload_all(&client, 0..3);
    let model = client.get("/api/v1/status").body["model"].clone();
    let (digest, dimension) = description(&servers).await;
    println!("model {model}, {dimension} components");

    let strays = strays(&digest, dimension);
    let (packed, plain) = (stranger(&servers, "zstd"), stranger(&servers, "none"));
    for (number, stray) in strays.iter().enumerate() {
        send(&packed, stray, number as u32 % PARTITIONS).await.unwrap();
    }
    // What is larger than the topic takes does not come that far.
    let refused = send(&plain, &stray(TOPIC_IMAGE_UPLOAD, "refused", vec![7; 60_000_000], ""), 0).await;
    let expected = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
    assert_eq!(refused, Err(expected));

    // Behind them in every partition.
    upload_all(&client, 3..40);
    check_dead_letters(&servers.queue(INDEX).await, &strays).await;
    for stray in &strays {
        let reader = if stray.topic == TOPIC_IMAGE_UPLOAD {
            &mut cluster.embedders[0]
        } else {
            &mut cluster.shards[0]
        };
        wait_for_line(reader, &["image cannot be indexed", stray.key, stray.reason]);
    }
    for process in [&cluster.embedders[0], &cluster.shards[0], &cluster.gateways[0]] {
        wait_for_metric(process, "medindex_alarms{name=\"dead_letter\",severity=\"warning\"} 1");
    }
    assert!(cluster.processes().all(|process| process.is_running() && process.is_ready()));
}

/// Uploads pictures and waits until all that were uploaded can be found.
fn upload_all(client: &Client, seeds: std::ops::Range<u32>) {
    let count = seeds.end;
    let pictures: Vec<Picture> = seeds.map(pattern).collect();
    let ids: Vec<String> =
        pictures.iter().map(|picture| client.upload(&picture.name, &picture.bytes, None)).collect();
    for id in &ids {
        assert_eq!(client.wait_for(id, PATIENCE), "indexed");
    }
    Servers::wait_until("the shard to have all", PATIENCE, || {
        client.get("/api/v1/status").body["index"]["entries"] == count
    });
    for (picture, id) in pictures.iter().zip(&ids) {
        let answer = client.search(&picture.bytes, &[("k", "5")]);
        assert!(answer["results"].as_array().unwrap().iter().any(|hit| hit["id"] == id.as_str()), "{answer}");
    }
}

/// Digest and dimension of the index's model, out of a change of its own.
async fn description(servers: &Servers) -> (String, usize) {
    let queue = servers.queue(INDEX).await;
    for partition in 0..PARTITIONS {
        let deliveries = queue.read_from(TOPIC_IMAGE_INDEXED, partition, 0, 1).await.unwrap();
        let Some(delivery) = deliveries.first() else { continue };
        let message = ImageIndexed::read(&delivery.payload).unwrap();
        if let Some(image_indexed::Change::Indexed(indexed)) = message.change
            && let Some(indexed::Vectors::Frames(frames)) = indexed.vectors
        {
            return (indexed.model_digest, frames.frames[0].vector.len() / 2);
        }
    }
    panic!("nothing was indexed");
}

/// Every stray message has its dead letter, with where it was, the beginning of what it said, and why; and nothing else has one.
async fn check_dead_letters(queue: &KafkaQueue, strays: &[Stray]) {
    let begun = Instant::now();
    let mut letters: BTreeMap<(String, String), DeadLetter> = BTreeMap::new();
    while letters.len() < strays.len() {
        for partition in 0..PARTITIONS {
            for delivery in queue.read_from(TOPIC_DEAD_LETTER, partition, 0, 1_000).await.unwrap() {
                let letter = DeadLetter::read(&delivery.payload).unwrap();
                letters.insert((letter.topic.clone(), letter.key.clone()), letter);
            }
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {}: {:?}", letters.len(), strays.len(), letters.keys());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for (number, stray) in strays.iter().enumerate() {
        let letter = &letters[&(stray.topic.to_owned(), stray.key.to_owned())];
        println!("{}, {}: {}: {}", stray.topic, stray.key, letter.cause, letter.reason);
        assert!(letter.reason.contains(stray.reason), "{}: {}", stray.key, letter.reason);
        assert_eq!(letter.partition, number as u32 % PARTITIONS);
        assert_eq!(letter.payload, &stray.payload[..stray.payload.len().min(MAX_INLINE_BYTES)]);
    }
    assert_eq!(letters.len(), strays.len(), "{:?}", letters.keys());
}
