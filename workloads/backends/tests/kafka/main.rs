//! The queue on Kafka keeps what the port promises.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod outages;
mod records;
mod security;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use medindex_backends::contract::{self, Factory, Place};
use medindex_backends::kafka::{KafkaOptions, KafkaQueue, TopicOptions};
use medindex_backends::{Consumer, Delivery, Fault, Follower, Queue, QueueError};
use medindex_testbed::kafka::{Kafka, Listener};

/// One broker for all tests that do not harm it; the kernel kills it with this process.
fn broker() -> &'static Kafka {
    static BROKER: OnceLock<Kafka> = OnceLock::new();
    BROKER.get_or_init(|| Kafka::start(1).unwrap())
}

/// Options for a cluster without copies, with names of their own.
fn options(bootstrap: String) -> KafkaOptions {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let mut options = KafkaOptions::new(bootstrap);
    options.prefix = format!("place{}.", NEXT.fetch_add(1, Ordering::Relaxed));
    options.topic = TopicOptions { replication: 1, min_in_sync: 1, ..TopicOptions::default() };
    options
}

/// Longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `count` messages came; errors that pass are passed over.
async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while received.len() < count {
        match consumer.poll(1000, Duration::from_secs(1)).await {
            Ok(deliveries) => received.extend(deliveries),
            Err(error) => assert!(error.fault().is_some_and(Fault::is_transient), "{error}"),
        }
        assert!(Instant::now() < deadline, "{} of {count} messages came", received.len());
    }
    received
}

/// As [`receive`], of a follower.
async fn follow(follower: &mut dyn Follower, count: usize) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while received.len() < count {
        match follower.poll(1000, Duration::from_secs(1)).await {
            Ok(deliveries) => received.extend(deliveries),
            Err(error) => assert!(error.fault().is_some_and(Fault::is_transient), "{error}"),
        }
        assert!(Instant::now() < deadline, "{} of {count} messages came", received.len());
    }
    received
}

/// Publishes one message to partition 0 of `work`.
async fn publish(queue: &KafkaQueue, text: &str) -> Result<u64, QueueError> {
    queue.publish("work", 0, "key", text.to_owned().into()).await
}

struct Prefix(KafkaOptions);

#[async_trait]
impl Place<dyn Queue> for Prefix {
    async fn open(&self) -> Arc<dyn Queue> {
        Arc::new(KafkaQueue::open(self.0.clone()).await.unwrap())
    }
    async fn close(&self, _port: Arc<dyn Queue>) {}
}

struct Prefixes;

#[async_trait]
impl Factory<dyn Queue> for Prefixes {
    async fn place(&self) -> Arc<dyn Place<dyn Queue>> {
        Arc::new(Prefix(options(broker().bootstrap(Listener::Plain))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_a_queue() {
    if medindex_testbed::skipped("kafka") {
        return;
    }
    contract::queue::run(Prefixes).await;
}
