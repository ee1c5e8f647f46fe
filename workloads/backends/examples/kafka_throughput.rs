//! Measures the queue on one local Kafka broker: publishing in batches of 1 and 256, from one publisher and from many, and consuming.
//!
//! `cargo run --release -p medindex-backends --features cluster --example kafka_throughput`

// A measuring program fails as tests do, and prints.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use medindex_backends::kafka::{KafkaOptions, KafkaQueue, TopicOptions};
use medindex_backends::{Message, Positions, Queue};
use medindex_testbed::kafka::{Kafka, Listener};

const PARTITIONS: u32 = 9;
/// About the bytes of a message that names an image; bytes of images travel through the image store or in messages up to 1 MiB.
const PAYLOAD: usize = 1000;

#[tokio::main]
async fn main() {
    let start = Instant::now();
    let kafka = Kafka::start(1).unwrap();
    println!("the broker was up after {:.1} s", start.elapsed().as_secs_f64());
    let mut options = KafkaOptions::new(kafka.bootstrap(Listener::Plain));
    options.topic = TopicOptions { replication: 1, min_in_sync: 1, ..TopicOptions::default() };
    let queue = Arc::new(KafkaQueue::open(options).await.unwrap());
    queue.create_topic("work", PARTITIONS).await.unwrap();
    queue.publish("work", 0, "", "warm".into()).await.unwrap();
    for (publishers, batch, rounds) in [(1, 1, 500), (1, 256, 100), (16, 1, 200), (4, 256, 100)] {
        publish(&queue, publishers, batch, rounds).await;
    }
    consume(&queue).await;
    read(&queue).await;
}

async fn publish(queue: &Arc<KafkaQueue>, publishers: u32, batch: u32, rounds: u32) {
    let start = Instant::now();
    let tasks: Vec<_> =
        (0..publishers).map(|_| tokio::spawn(rounds_of(Arc::clone(queue), batch, rounds))).collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let rate = f64::from(publishers * batch * rounds) / start.elapsed().as_secs_f64();
    println!("{publishers} publishers, batches of {batch}: {rate:.0} messages/s, {}", quantiles(latencies));
}

async fn rounds_of(queue: Arc<KafkaQueue>, batch: u32, rounds: u32) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for round in 0..rounds {
        let message = |number: u32| Message {
            partition: (round + number) % PARTITIONS,
            key: format!("{round:06}{number:06}"),
            payload: noise(u64::from(round * batch + number)),
        };
        let messages = (0..batch).map(message).collect();
        let start = Instant::now();
        queue.publish_many("work", messages).await.unwrap();
        latencies.push(start.elapsed());
    }
    latencies
}

async fn consume(queue: &KafkaQueue) {
    let total: u64 = queue.end_offsets("work").await.unwrap().values().sum();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let (mut count, mut start, mut done) = (0, Instant::now(), Positions::new());
    while count < total {
        let deliveries = consumer.poll(512, Duration::from_secs(5)).await.unwrap();
        if count == 0 {
            println!("a group's first messages came after {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
            start = Instant::now();
        }
        count += deliveries.len() as u64;
        done.extend(medindex_backends::queue::positions_after(&deliveries));
    }
    println!("consuming: {:.0} messages/s", count as f64 / start.elapsed().as_secs_f64());
    let start = Instant::now();
    consumer.commit(&done).await.unwrap();
    println!("a commit took {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}

async fn read(queue: &KafkaQueue) {
    let mut latencies = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        queue.read_from("work", 0, 0, 64).await.unwrap();
        latencies.push(start.elapsed());
    }
    println!("reading 64 from an offset: {}", quantiles(latencies));
    let mut latencies = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        queue.end_offsets("work").await.unwrap();
        latencies.push(start.elapsed());
    }
    println!("asking for the ends of {PARTITIONS} partitions: {}", quantiles(latencies));
}

fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let millis = |quantile: usize| times[(times.len() - 1) * quantile / 100].as_secs_f64() * 1e3;
    format!("{:.1} ms at the median, {:.1} ms at 99 of 100", millis(50), millis(99))
}

/// Bytes that do not compress.
fn noise(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..PAYLOAD).map(next).collect::<Vec<u8>>().into()
}
