//! Brokers that are killed, halted, or all gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use medindex_backends::kafka::{KafkaOptions, KafkaQueue, TopicOptions};
use medindex_backends::queue::positions_after;
use medindex_backends::{Delivery, Fault, Message, Positions, Queue, QueueError};
use medindex_testbed::kafka::{Kafka, Listener};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::{PATIENCE, options, publish, receive};

/// Three brokers; each test has them to itself, and leaves all three running.
async fn three_brokers() -> MutexGuard<'static, Kafka> {
    static BROKERS: OnceCell<Mutex<Kafka>> = OnceCell::const_new();
    let start = || async {
        let started = tokio::task::spawn_blocking(|| Kafka::start(3)).await;
        Mutex::new(started.unwrap().unwrap())
    };
    BROKERS.get_or_init(start).await.lock().await
}

fn three_copies(kafka: &Kafka) -> KafkaOptions {
    let mut options = options(kafka.bootstrap(Listener::Plain));
    options.topic = TopicOptions::default();
    options
}

/// Publishes numbers to a partition until told to stop; returns the offsets of those that were acknowledged.
async fn keep_publishing(
    queue: Arc<KafkaQueue>,
    partition: u32,
    stop: Arc<AtomicBool>,
    counts: [Arc<AtomicU32>; 2],
) -> BTreeMap<u32, u64> {
    let mut acknowledged = BTreeMap::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<_> = (number..number + 10)
            .map(|number| Message { partition, key: String::new(), payload: number.to_string().into() })
            .collect();
        match queue.publish_many("work", batch).await {
            Ok(offsets) => {
                acknowledged.extend((number..).zip(offsets));
                number += 10;
                for count in &counts {
                    count.fetch_add(10, Ordering::Relaxed);
                }
            }
            Err(error) => assert!(error.fault().is_some_and(Fault::is_transient), "{error}"),
        }
    }
    acknowledged
}

async fn wait_for(count: &AtomicU32, target: u32) {
    let deadline = Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) < target {
        assert!(Instant::now() < deadline, "publishing stands still at {count:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every acknowledged message is there, at its offset, in order.
fn check(received: &[Delivery], partition: u32, acknowledged: &BTreeMap<u32, u64>) {
    let of_partition = received.iter().filter(|delivery| delivery.partition == partition);
    let found: BTreeMap<u64, u32> = of_partition
        .map(|delivery| (delivery.offset, std::str::from_utf8(&delivery.payload).unwrap().parse().unwrap()))
        .collect();
    for (number, offset) in acknowledged {
        assert_eq!(found.get(offset), Some(number), "partition {partition}, offset {offset}");
    }
    // What a publisher sent again is there again, but never before what came earlier.
    let offsets: Vec<_> = acknowledged.values().collect();
    assert!(offsets.is_sorted_by(|one, next| one < next));
}

/// Publishes to all partitions while something happens to a broker, and reads everything back as a group.
async fn publish_through(
    kafka: &mut Kafka,
    partitions: u32,
    happens: impl FnOnce(&mut Kafka),
    ends: impl FnOnce(&mut Kafka),
) {
    let queue = Arc::new(KafkaQueue::open(three_copies(kafka)).await.unwrap());
    queue.create_topic("work", partitions).await.unwrap();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let counts: Vec<Arc<AtomicU32>> = (0..partitions).map(|_| Arc::default()).collect();
    let publish = |(partition, own): (u32, &Arc<AtomicU32>)| {
        let counted = [Arc::clone(&count), Arc::clone(own)];
        tokio::spawn(keep_publishing(Arc::clone(&queue), partition, Arc::clone(&stop), counted))
    };
    let publishers: Vec<_> = (0..partitions).zip(&counts).map(publish).collect();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let mut received = receive(&mut *consumer, 100).await;
    consumer.commit(&positions_after(&received)).await.unwrap();
    wait_for(&count, 300).await;
    happens(kafka);
    let before = count.load(Ordering::Relaxed);
    // Each publisher is one at a time, so one that stood still for ever would be missing below. The others may be far ahead of one whose
    // broker comes back late.
    wait_for(&count, before + 3000).await;
    for own in &counts {
        wait_for(own, 101).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for publisher in publishers {
        acknowledged.push(publisher.await.unwrap());
    }
    assert!(acknowledged.iter().all(|numbers| numbers.len() > 100), "a partition stands still");
    let ends_at = queue.end_offsets("work").await.unwrap();
    let total: u64 = ends_at.values().sum();
    received.extend(receive(&mut *consumer, total as usize - received.len()).await);
    for (partition, numbers) in (0..).zip(&acknowledged) {
        check(&received, partition, numbers);
    }
    commit_at_last(&mut *consumer, &positions_after(&received)).await;
    assert_eq!(queue.committed("work", "group").await.unwrap(), ends_at);
    ends(kafka);
}

/// Commits as soon as the group has a coordinator again.
async fn commit_at_last(consumer: &mut dyn medindex_backends::Consumer, positions: &Positions) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = consumer.commit(positions).await {
        assert!(Instant::now() < deadline, "{error}");
        consumer.poll(1, Duration::from_millis(100)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_while_publishing_loses_no_acknowledged_message() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut kafka = three_brokers().await;
    publish_through(&mut kafka, 3, |kafka| kafka.kill(1), |kafka| kafka.restart(1).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_goes_on_beside_a_broker_that_hangs() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut kafka = three_brokers().await;
    publish_through(&mut kafka, 3, |kafka| kafka.pause(2), |kafka| kafka.resume(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_copies_in_sync_are_told_and_passed() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut kafka = three_brokers().await;
    let mut options = three_copies(&kafka);
    options.publish_timeout = Duration::from_secs(5);
    let queue = KafkaQueue::open(options).await.unwrap();
    queue.create_topic("work", 1).await.unwrap();
    let first = publish(&queue, "one").await.unwrap();
    kafka.kill(2);
    kafka.kill(3);
    let error = publish(&queue, "two").await.unwrap_err();
    assert!(matches!(error, QueueError::Publish { source: Fault::Unavailable { .. }, .. }), "{error}");
    kafka.restart(2).unwrap();
    kafka.restart(3).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let later = loop {
        match publish(&queue, "three").await {
            Ok(offset) => break offset,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert!(later > first);
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_without_brokers_ends_in_time_and_works_again_later() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    let mut kafka = tokio::task::spawn_blocking(|| Kafka::start(1)).await.unwrap().unwrap();
    let mut options = options(kafka.bootstrap(Listener::Plain));
    (options.publish_timeout, options.request_timeout) = (Duration::from_secs(3), Duration::from_secs(2));
    let queue = KafkaQueue::open(options.clone()).await.unwrap();
    queue.create_topic("work", 1).await.unwrap();
    let mut offsets = vec![publish(&queue, "0").await.unwrap()];
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 1).await;
    consumer.commit(&positions_after(&received)).await.unwrap();
    kafka.kill(1);
    let start = Instant::now();
    let error = publish(&queue, "lost or not").await.unwrap_err();
    assert!(matches!(error, QueueError::Publish { source: Fault::Unavailable { .. }, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "publishing took {:?}", start.elapsed());
    let start = Instant::now();
    let error = queue.end_offsets("work").await.unwrap_err();
    assert!(error.fault().is_some_and(Fault::is_transient), "{error}");
    let error = KafkaQueue::open(options).await.err().unwrap();
    assert!(matches!(error, QueueError::Open(Fault::Unavailable { .. })), "{error}");
    assert!(start.elapsed() < Duration::from_secs(12), "asking took {:?}", start.elapsed());
    kafka.restart_all().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while offsets.len() < 4 {
        match publish(&queue, &offsets.len().to_string()).await {
            Ok(offset) => offsets.push(offset),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
    assert!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "3") {
        let came = receive(&mut *consumer, 1).await;
        texts.extend(came.iter().map(|delivery| String::from_utf8(delivery.payload.to_vec()).unwrap()));
    }
    texts.retain(|text| text != "lost or not");
    assert_eq!(texts, ["1", "2", "3"]);
}
