//! What Kafka alone has: records of others, prefixes, settings of topics, the group's protocol.

use std::time::{Duration, Instant};

use medindex_backends::kafka::{KafkaQueue, TopicOptions};
use medindex_backends::queue::{MAX_PAYLOAD_BYTES, positions_after};
use medindex_backends::{Fault, Positions, Queue, QueueError};
use medindex_testbed::kafka::Listener;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{PATIENCE, broker, follow, options, publish, receive};

fn plain() -> medindex_backends::kafka::KafkaOptions {
    options(broker().bootstrap(Listener::Plain))
}

fn foreign() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker().bootstrap(Listener::Plain));
    config
}

/// A publisher that keeps to none of our limits.
fn stranger() -> FutureProducer {
    let mut config = foreign();
    config.set("message.max.bytes", "200000000").set("compression.codec", "zstd");
    config.create().unwrap()
}

async fn send(stranger: &FutureProducer, topic: &str, key: Option<&[u8]>, payload: Option<&[u8]>) {
    let mut record = FutureRecord::<[u8], [u8]>::to(topic).partition(0);
    (record.key, record.payload) = (key, payload);
    stranger.send(record, PATIENCE).await.map_err(|(error, _)| error).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_strangers_come_out_and_stop_nothing() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut options = plain();
    let limits = [("max.message.bytes".to_owned(), "200000000".to_owned())];
    options.topic.settings.extend(limits);
    let queue = KafkaQueue::open(options.clone()).await.unwrap();
    queue.create_topic("work", 1).await.unwrap();
    let (stranger, topic) = (stranger(), format!("{}work", options.prefix));
    let large = vec![7; MAX_PAYLOAD_BYTES + 5];
    let enormous = vec![0; 60_000_000];
    send(&stranger, &topic, None, Some(b"without key")).await;
    send(&stranger, &topic, Some(b"key"), None).await;
    send(&stranger, &topic, None, None).await;
    send(&stranger, &topic, Some(b"\xff\xfe"), Some(b"not UTF-8")).await;
    send(&stranger, &topic, Some(b"large"), Some(&large)).await;
    send(&stranger, &topic, Some(b"enormous"), Some(&enormous)).await;
    publish(&queue, "ours").await.unwrap();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 7).await;
    let found: Vec<_> = received.iter().map(|each| (each.key.as_str(), each.payload.len())).collect();
    let expected = [
        ("", 11),
        ("key", 0),
        ("", 0),
        ("\u{fffd}\u{fffd}", 9),
        ("large", large.len()),
        ("enormous", enormous.len()),
        ("key", 4),
    ];
    assert_eq!(found, expected);
    consumer.commit(&positions_after(&received)).await.unwrap();
    let from = Positions::from([(0, received[0].offset)]);
    let mut follower = queue.follow("work", from).await.unwrap();
    assert_eq!(follow(&mut *follower, 7).await, received);
    assert_eq!(queue.read_from("work", 0, received[0].offset, 100).await.unwrap(), received);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_with_other_prefixes_share_a_cluster_unseen() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let one = KafkaQueue::open(plain()).await.unwrap();
    let other = KafkaQueue::open(plain()).await.unwrap();
    one.create_topic("work", 1).await.unwrap();
    let error = other.end_offsets("work").await.unwrap_err();
    assert!(matches!(&error, QueueError::UnknownTopic { topic } if topic == "work"), "{error}");
    other.create_topic("work", 2).await.unwrap();
    publish(&one, "of one").await.unwrap();
    publish(&other, "of the other").await.unwrap();
    for (queue, text) in [(&one, "of one"), (&other, "of the other")] {
        let mut consumer = queue.consumer("work", "group").await.unwrap();
        let received = receive(&mut *consumer, 1).await;
        assert_eq!((&*received[0].topic, &received[0].payload[..]), ("work", text.as_bytes()));
    }
    let mut wrong = plain();
    wrong.prefix = "a b".to_owned();
    let error = KafkaQueue::open(wrong).await.err().unwrap();
    assert!(matches!(error, QueueError::CheckName { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_with_their_settings() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut options = plain();
    let single = TopicOptions { replication: 1, min_in_sync: 1, ..TopicOptions::default() };
    options.topic = single.clone().kept_for(Duration::from_hours(48));
    options.topics.insert("changes".to_owned(), single.compacted());
    options.topics.insert("copies".to_owned(), TopicOptions::default());
    let queue = KafkaQueue::open(options.clone()).await.unwrap();
    let admin: AdminClient<DefaultClientContext> = foreign().create().unwrap();
    let cases = [
        ("work", [("cleanup.policy", "delete"), ("retention.ms", "172800000"), ("min.insync.replicas", "1")]),
        (
            "changes",
            [("cleanup.policy", "compact"), ("max.message.bytes", "2163712"), ("min.insync.replicas", "1")],
        ),
    ];
    for (topic, settings) in cases {
        queue.create_topic(topic, 1).await.unwrap();
        let name = format!("{}{topic}", options.prefix);
        let described =
            admin.describe_configs([&ResourceSpecifier::Topic(&name)], &AdminOptions::new()).await;
        let resource = described.unwrap().remove(0).unwrap();
        for (setting, value) in settings {
            assert_eq!(resource.get(setting).unwrap().value.as_deref(), Some(value), "{topic}: {setting}");
        }
    }
    let error = queue.create_topic("copies", 1).await.unwrap_err().to_string();
    assert!(error.contains("replication"), "{error}");
    // Kafka keeps what is compacted: it does not drop the beginning of it.
    let offset = queue.publish("changes", 0, "key", "x".into()).await.unwrap();
    let error = queue.trim("changes", 0, offset + 1).await.unwrap_err();
    assert!(matches!(error, QueueError::Trim { source: Fault::Failed { .. }, .. }), "{error}");
    assert!(error.to_string().contains("cleanup.policy"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_works_too_long_loses_its_partitions_and_joins_again() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut options = plain();
    (options.session_timeout, options.work_timeout) = (Duration::from_secs(2), Duration::from_secs(2));
    let queue = KafkaQueue::open(options).await.unwrap();
    queue.create_topic("work", 1).await.unwrap();
    publish(&queue, "x").await.unwrap();
    let mut slow = queue.consumer("work", "group").await.unwrap();
    let done = positions_after(&receive(&mut *slow, 1).await);
    // The other is given the partition only because the slow one does not poll.
    let mut other = queue.consumer("work", "group").await.unwrap();
    let again = receive(&mut *other, 1).await;
    assert_eq!(positions_after(&again), done);
    let error = slow.commit(&done).await.unwrap_err();
    assert!(matches!(error, QueueError::Reassigned { partition: 0, .. }), "{error}");
    other.commit(&done).await.unwrap();
    drop(other);
    publish(&queue, "y").await.unwrap();
    assert_eq!(&receive(&mut *slow, 1).await[0].payload[..], b"y");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_its_topic_takes_is_told_and_stops_nothing() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut options = plain();
    options.topic.settings.insert("max.message.bytes".to_owned(), "100000".to_owned());
    let queue = KafkaQueue::open(options).await.unwrap();
    queue.create_topic("work", 1).await.unwrap();
    // Kafka's limit counts what is left after compression, and noise stays as large as it is.
    let mut noise = vec![0; 200_000];
    Pcg64Mcg::seed_from_u64(1).fill_bytes(&mut noise);
    let start = Instant::now();
    let error = queue.publish("work", 0, "", noise.into()).await.unwrap_err();
    assert!(matches!(error, QueueError::Publish { source: Fault::Failed { .. }, .. }), "{error}");
    assert!(error.to_string().contains("max.message.bytes"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10));
    publish(&queue, "small").await.unwrap();
}
