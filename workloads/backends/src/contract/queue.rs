//! What a queue promises.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Place, pattern, restart};
use crate::queue::{
    Consumer, Delivery, MAX_PAYLOAD_BYTES, Message, Positions, Queue, QueueError, positions_after,
};

type Port = dyn Queue;
type Queues = Arc<dyn Place<Port>>;

super::checks![Port:
    offsets_ascend_and_messages_come_in_order,
    a_batch_is_published_in_order_over_partitions,
    payloads_of_every_size_come_back_and_larger_ones_are_refused,
    keys_of_every_script_come_back,
    wrong_topics_partitions_and_names_are_refused,
    a_topic_keeps_its_number_of_partitions,
    what_was_not_committed_is_delivered_again,
    a_rewind_delivers_again_what_was_not_committed,
    groups_do_not_disturb_each_other,
    consumers_of_a_group_share_partitions_and_take_over,
    a_commit_for_a_partition_that_was_lost_is_refused,
    a_waiting_consumer_is_woken_by_a_message,
    a_poll_without_messages_ends_in_time,
    reading_from_an_offset_ends_at_the_end_and_refuses_beyond,
    trimming_drops_old_messages_and_offsets_go_on,
    a_follower_starts_where_it_is_told_and_is_woken,
    a_follower_whose_place_was_trimmed_is_told_so,
    concurrent_publishers_lose_nothing_and_keep_their_order,
    messages_and_positions_survive_a_restart,
    empty_batches_succeed,
];

const PATIENCE: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(50);

fn message(partition: u32, text: impl Into<String>) -> Message {
    let text = text.into();
    Message { partition, key: format!("key of {text}"), payload: text.into() }
}

async fn open(place: &Queues, partitions: u32) -> Arc<Port> {
    let queue = place.open().await;
    queue.create_topic("work", partitions).await.unwrap();
    queue
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(|each| String::from_utf8(each.payload.to_vec()).unwrap()).collect()
}

/// Polls until `count` messages came.
async fn receive(consumer: &mut dyn Consumer, count: usize) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while received.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages came", received.len());
        received.extend(consumer.poll(count - received.len(), Duration::from_secs(1)).await.unwrap());
    }
    received
}

async fn offsets_ascend_and_messages_come_in_order(place: Queues) {
    let queue = open(&place, 2).await;
    let before = queue.end_offsets("work").await.unwrap();
    let mut offsets = Vec::new();
    for number in 0..20 {
        let message = message(1, format!("{number}"));
        offsets.push(queue.publish("work", 1, &message.key, message.payload).await.unwrap());
    }
    assert!(offsets.is_sorted_by(|one, next| one < next));
    assert!(offsets[0] >= before[&1]);
    let after = queue.end_offsets("work").await.unwrap();
    assert!(after[&1] > offsets[19]);
    assert_eq!(after[&0], before[&0]);
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 20).await;
    assert_eq!(received.iter().map(|each| each.offset).collect::<Vec<_>>(), offsets);
    assert_eq!(texts(&received), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
    for delivery in &received {
        assert_eq!((&*delivery.topic, delivery.partition), ("work", 1));
        assert!(delivery.published_at_ms > 1_700_000_000_000);
    }
    assert_eq!(received[7].key, "key of 7");
}

async fn a_batch_is_published_in_order_over_partitions(place: Queues) {
    let queue = open(&place, 3).await;
    let messages: Vec<_> = (0..300).map(|number| message(number % 3, number.to_string())).collect();
    let offsets = queue.publish_many("work", messages.clone()).await.unwrap();
    assert_eq!(offsets.len(), 300);
    for partition in 0..3 {
        let first = queue.first_offsets("work").await.unwrap()[&partition];
        let read = queue.read_from("work", partition, first, 1000).await.unwrap();
        let published = || messages.iter().zip(&offsets).filter(|(each, _)| each.partition == partition);
        let expected: Vec<_> = published().map(|(each, offset)| (*offset, each.payload.clone())).collect();
        let found: Vec<_> = read.iter().map(|each| (each.offset, each.payload.clone())).collect();
        assert_eq!(found, expected);
    }
}

async fn payloads_of_every_size_come_back_and_larger_ones_are_refused(place: Queues) {
    let queue = open(&place, 1).await;
    let sizes = [0, 1, 4096, 65_536, 1 << 20, MAX_PAYLOAD_BYTES];
    for size in sizes {
        queue.publish("work", 0, "key", pattern(size, 5)).await.unwrap();
    }
    let too_large = pattern(MAX_PAYLOAD_BYTES + 1, 5);
    let error = queue.publish("work", 0, "key", too_large.clone()).await.unwrap_err();
    assert!(matches!(error, QueueError::TooLarge { limit: MAX_PAYLOAD_BYTES, .. }), "{error}");
    let batch = vec![message(0, "fits"), Message { partition: 0, key: "key".into(), payload: too_large }];
    queue.publish_many("work", batch).await.unwrap_err();
    queue.publish("work", 0, &"k".repeat(2000), Bytes::new()).await.unwrap_err();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    for (delivery, size) in receive(&mut *consumer, sizes.len()).await.iter().zip(sizes) {
        assert!(delivery.payload == pattern(size, 5), "a payload of {size} bytes came back changed");
    }
    assert_eq!(consumer.poll(1, SHORT).await.unwrap(), [], "a refused batch was published in part");
}

async fn keys_of_every_script_come_back(place: Queues) {
    let queue = open(&place, 1).await;
    let keys = ["", "0003|deadbeef", "ключ", "🩻 \n\0 鍵"];
    for key in keys {
        queue.publish("work", 0, key, "x".into()).await.unwrap();
    }
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, keys.len()).await;
    assert_eq!(received.iter().map(|each| each.key.as_str()).collect::<Vec<_>>(), keys);
}

async fn wrong_topics_partitions_and_names_are_refused(place: Queues) {
    let queue = open(&place, 2).await;
    let unknown = |error: &QueueError| matches!(error, QueueError::UnknownTopic { topic } if topic == "none");
    assert!(unknown(&queue.publish("none", 0, "", Bytes::new()).await.unwrap_err()));
    assert!(unknown(&queue.partitions("none").await.unwrap_err()));
    assert!(unknown(&queue.end_offsets("none").await.unwrap_err()));
    assert!(unknown(&queue.consumer("none", "group").await.err().unwrap()));
    assert!(unknown(&queue.follow("none", Positions::new()).await.err().unwrap()));
    assert!(unknown(&queue.trim("none", 0, 1).await.unwrap_err()));
    let batch = vec![message(0, "a"), message(2, "b")];
    let error = queue.publish_many("work", batch).await.unwrap_err();
    let wrong = matches!(error, QueueError::UnknownPartition { partition: 2, partitions: 2, .. });
    assert!(wrong, "{error}");
    let first = queue.first_offsets("work").await.unwrap()[&0];
    assert_eq!(queue.read_from("work", 0, first, 10).await.unwrap(), [], "a refused batch came in part");
    queue.read_from("work", 2, 0, 10).await.unwrap_err();
    for name in ["", "a b", "ä", "..", &"a".repeat(250)] {
        let error = queue.create_topic(name, 1).await.unwrap_err();
        assert!(matches!(error, QueueError::CheckName { .. }), "{error}");
        let error = queue.consumer("work", name).await.err().unwrap();
        assert!(matches!(error, QueueError::CheckName { .. }), "{error}");
    }
    queue.create_topic("other", 0).await.unwrap_err();
}

async fn a_topic_keeps_its_number_of_partitions(place: Queues) {
    let queue = open(&place, 9).await;
    queue.create_topic("work", 9).await.unwrap();
    let error = queue.create_topic("work", 10).await.unwrap_err();
    assert!(matches!(error, QueueError::PartitionCount { found: 9, wanted: 10, .. }), "{error}");
    assert_eq!(queue.partitions("work").await.unwrap(), 9);
    assert_eq!(queue.end_offsets("work").await.unwrap().len(), 9);
}

async fn what_was_not_committed_is_delivered_again(place: Queues) {
    let queue = open(&place, 1).await;
    for number in 0..10 {
        queue.publish("work", 0, "", number.to_string().into()).await.unwrap();
    }
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let done = receive(&mut *consumer, 4).await;
    consumer.commit(&positions_after(&done)).await.unwrap();
    assert_eq!(queue.committed("work", "group").await.unwrap(), positions_after(&done));
    assert_eq!(texts(&receive(&mut *consumer, 3).await), ["4", "5", "6"]);
    drop(consumer);
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let rest = receive(&mut *consumer, 6).await;
    assert_eq!(texts(&rest), ["4", "5", "6", "7", "8", "9"]);
    consumer.commit(&positions_after(&rest)).await.unwrap();
    drop(consumer);
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    queue.publish("work", 0, "", "10".into()).await.unwrap();
    assert_eq!(texts(&receive(&mut *consumer, 1).await), ["10"]);
}

async fn a_rewind_delivers_again_what_was_not_committed(place: Queues) {
    let queue = open(&place, 1).await;
    queue.publish_many("work", (0..6).map(|n| message(0, n.to_string())).collect()).await.unwrap();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let done = receive(&mut *consumer, 2).await;
    consumer.commit(&positions_after(&done)).await.unwrap();
    assert_eq!(texts(&receive(&mut *consumer, 3).await), ["2", "3", "4"]);
    consumer.rewind().await.unwrap();
    assert_eq!(texts(&receive(&mut *consumer, 4).await), ["2", "3", "4", "5"]);
}

async fn groups_do_not_disturb_each_other(place: Queues) {
    let queue = open(&place, 2).await;
    queue.publish_many("work", (0..10).map(|n| message(n % 2, n.to_string())).collect()).await.unwrap();
    let mut one = queue.consumer("work", "one").await.unwrap();
    let mut other = queue.consumer("work", "other").await.unwrap();
    let seen = receive(&mut *one, 10).await;
    one.commit(&positions_after(&seen)).await.unwrap();
    assert_eq!(receive(&mut *other, 10).await.len(), 10);
    assert_eq!(queue.committed("work", "other").await.unwrap(), Positions::new());
}

/// Polls both consumers until their partitions are as expected; returns what came meanwhile.
async fn settle(consumers: &mut [Box<dyn Consumer>], partitions: &[usize]) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    loop {
        let mut counts = Vec::new();
        for consumer in consumers.iter_mut() {
            received.extend(consumer.poll(1000, SHORT).await.unwrap());
            counts.push(consumer.assignment().await.unwrap().len());
        }
        counts.sort_unstable();
        if counts == partitions {
            return received;
        }
        assert!(Instant::now() < deadline, "partitions were shared out as {counts:?}");
    }
}

async fn consumers_of_a_group_share_partitions_and_take_over(place: Queues) {
    let queue = open(&place, 4).await;
    let mut consumers = vec![queue.consumer("work", "group").await.unwrap()];
    settle(&mut consumers, &[4]).await;
    consumers.push(queue.consumer("work", "group").await.unwrap());
    settle(&mut consumers, &[2, 2]).await;
    let mut assigned = BTreeSet::new();
    for consumer in &mut consumers {
        assigned.extend(consumer.assignment().await.unwrap());
    }
    assert_eq!(assigned, BTreeSet::from([0, 1, 2, 3]));

    queue.publish_many("work", (0..40).map(|n| message(n % 4, n.to_string())).collect()).await.unwrap();
    let mut one = receive(&mut *consumers[0], 20).await;
    one.extend(consumers[0].poll(100, SHORT).await.unwrap());
    assert_eq!(one.len(), 20, "a consumer received messages of the other's partitions");
    consumers[0].commit(&positions_after(&one)).await.unwrap();
    let other = receive(&mut *consumers[1], 20).await;
    drop(consumers.remove(1));

    // The other's messages were not committed: they come again, to the one who is left.
    let mut again = settle(&mut consumers, &[4]).await;
    again.extend(receive(&mut *consumers[0], 20 - again.len()).await);
    let numbers = |deliveries: &[Delivery]| texts(deliveries).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(numbers(&again), numbers(&other));
}

async fn a_commit_for_a_partition_that_was_lost_is_refused(place: Queues) {
    let queue = open(&place, 2).await;
    let mut consumers = vec![queue.consumer("work", "group").await.unwrap()];
    settle(&mut consumers, &[2]).await;
    queue.publish_many("work", vec![message(0, "a"), message(1, "b")]).await.unwrap();
    let received = receive(&mut *consumers[0], 2).await;
    consumers.push(queue.consumer("work", "group").await.unwrap());
    settle(&mut consumers, &[1, 1]).await;
    let error = consumers[0].commit(&positions_after(&received)).await.unwrap_err();
    assert!(matches!(error, QueueError::Reassigned { .. }), "{error}");
    assert_eq!(queue.committed("work", "group").await.unwrap(), Positions::new());
    let kept = consumers[0].assignment().await.unwrap();
    let own: Vec<_> = received.into_iter().filter(|each| kept.contains(&each.partition)).collect();
    consumers[0].commit(&positions_after(&own)).await.unwrap();
    assert_eq!(queue.committed("work", "group").await.unwrap(), positions_after(&own));
}

async fn a_waiting_consumer_is_woken_by_a_message(place: Queues) {
    let queue = open(&place, 3).await;
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    consumer.poll(1, SHORT).await.unwrap();
    for number in 0..5 {
        let (publisher, waiter) = (Arc::clone(&queue), consumer.poll(10, PATIENCE));
        let publishing = tokio::spawn(async move {
            tokio::time::sleep(SHORT).await;
            publisher.publish("work", number % 3, "", "x".into()).await.unwrap();
            Instant::now()
        });
        let received = waiter.await.unwrap();
        let late = publishing.await.unwrap().elapsed();
        assert_eq!(received.len(), 1);
        assert!(late < Duration::from_secs(5), "woken {late:?} after the message");
    }
}

async fn a_poll_without_messages_ends_in_time(place: Queues) {
    let queue = open(&place, 1).await;
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let start = Instant::now();
    assert_eq!(consumer.poll(10, Duration::from_millis(300)).await.unwrap(), []);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(20), "{took:?}");
}

async fn reading_from_an_offset_ends_at_the_end_and_refuses_beyond(place: Queues) {
    let queue = open(&place, 2).await;
    let messages = (0..10).map(|number| message(1, number.to_string())).collect();
    let offsets = queue.publish_many("work", messages).await.unwrap();
    let read = queue.read_from("work", 1, offsets[3], 4).await.unwrap();
    assert_eq!(texts(&read), ["3", "4", "5", "6"]);
    let end = queue.end_offsets("work").await.unwrap()[&1];
    assert_eq!(queue.read_from("work", 1, end, 4).await.unwrap(), []);
    assert_eq!(queue.read_from("work", 1, offsets[0], 0).await.unwrap(), []);
    let error = queue.read_from("work", 1, end + 1, 4).await.unwrap_err();
    assert!(matches!(error, QueueError::OutOfRange { partition: 1, .. }), "{error}");
}

async fn trimming_drops_old_messages_and_offsets_go_on(place: Queues) {
    let queue = open(&place, 2).await;
    let messages = (0..20).map(|number| message(number % 2, number.to_string())).collect();
    let offsets = queue.publish_many("work", messages).await.unwrap();
    queue.trim("work", 0, offsets[10]).await.unwrap();
    queue.trim("work", 0, offsets[4]).await.unwrap();
    assert_eq!(queue.first_offsets("work").await.unwrap()[&0], offsets[10]);
    let error = queue.read_from("work", 0, offsets[8], 10).await.unwrap_err();
    assert!(matches!(error, QueueError::OutOfRange { .. }), "{error}");
    let read = queue.read_from("work", 0, offsets[10], 100).await.unwrap();
    assert_eq!(texts(&read), ["10", "12", "14", "16", "18"]);
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    assert_eq!(receive(&mut *consumer, 15).await.len(), 15);
    queue.trim("work", 0, u64::MAX).await.unwrap();
    let next = queue.publish("work", 0, "", "next".into()).await.unwrap();
    assert!(next > offsets[18]);
    assert_eq!(texts(&receive(&mut *consumer, 1).await), ["next"]);
    let first = queue.first_offsets("work").await.unwrap();
    assert_eq!(texts(&queue.read_from("work", 0, first[&0], 100).await.unwrap()), ["next"]);
}

async fn a_follower_starts_where_it_is_told_and_is_woken(place: Queues) {
    let queue = open(&place, 3).await;
    let messages: Vec<_> = (0..9).map(|number| message(number % 3, number.to_string())).collect();
    let offsets = queue.publish_many("work", messages).await.unwrap();
    let from = Positions::from([(0, offsets[3]), (2, offsets[8])]);
    let mut follower = queue.follow("work", from).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while received.len() < 3 {
        assert!(Instant::now() < deadline);
        received.extend(follower.poll(10, Duration::from_secs(1)).await.unwrap());
    }
    let found: BTreeSet<_> = texts(&received).into_iter().collect();
    assert_eq!(found, BTreeSet::from(["3".into(), "6".into(), "8".into()]));
    assert_eq!(*follower.positions(), positions_after(&received));
    queue.publish("work", 1, "", "of another partition".into()).await.unwrap();
    let publishing = tokio::spawn(async move {
        tokio::time::sleep(SHORT).await;
        queue.publish("work", 2, "", "woken".into()).await.unwrap();
    });
    let woken = follower.poll(10, PATIENCE).await.unwrap();
    assert_eq!(texts(&woken), ["woken"]);
    publishing.await.unwrap();
}

async fn a_follower_whose_place_was_trimmed_is_told_so(place: Queues) {
    let queue = open(&place, 1).await;
    let messages = (0..10).map(|number| message(0, number.to_string())).collect();
    let offsets = queue.publish_many("work", messages).await.unwrap();
    let mut follower = queue.follow("work", Positions::from([(0, offsets[0])])).await.unwrap();
    assert_eq!(follower.poll(1, PATIENCE).await.unwrap().len(), 1);
    queue.trim("work", 0, offsets[5]).await.unwrap();
    // What was fetched ahead may still come; then the gap is told.
    let deadline = Instant::now() + PATIENCE;
    let mut next = offsets[0] + 1;
    loop {
        assert!(Instant::now() < deadline, "the gap was never told");
        match follower.poll(1, SHORT).await {
            Ok(deliveries) => {
                for delivery in deliveries {
                    assert_eq!(delivery.offset, next, "messages were skipped silently");
                    next += 1;
                }
                if next == offsets[9] + 1 {
                    return;
                }
            }
            Err(error) => {
                assert!(matches!(error, QueueError::OutOfRange { .. }), "{error}");
                break;
            }
        }
    }
    let error = queue.follow("work", Positions::from([(0, offsets[1])])).await.err().unwrap();
    assert!(matches!(error, QueueError::OutOfRange { .. }), "{error}");
}

async fn concurrent_publishers_lose_nothing_and_keep_their_order(place: Queues) {
    let queue = open(&place, 3).await;
    let publishers: Vec<_> = (0..16)
        .map(|publisher| {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move {
                for number in 0..20 {
                    let text = format!("{publisher}:{number}");
                    queue.publish("work", publisher % 3, "", text.into()).await.unwrap();
                }
            })
        })
        .collect();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 320).await;
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut by_publisher = BTreeMap::<String, Vec<u32>>::new();
    for text in texts(&received) {
        let (publisher, number) = text.split_once(':').unwrap();
        by_publisher.entry(publisher.to_owned()).or_default().push(number.parse().unwrap());
    }
    assert_eq!(by_publisher.len(), 16);
    assert!(by_publisher.values().all(|numbers| numbers.iter().copied().eq(0..20)));
    assert_eq!(consumer.poll(1, SHORT).await.unwrap(), []);
}

async fn messages_and_positions_survive_a_restart(place: Queues) {
    let queue = open(&place, 2).await;
    let messages = (0..10).map(|number| message(number % 2, number.to_string())).collect();
    let offsets = queue.publish_many("work", messages).await.unwrap();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    let received = receive(&mut *consumer, 10).await;
    let done = Positions::from([(0, offsets[4]), (1, offsets[9] + 1)]);
    consumer.commit(&done).await.unwrap();
    assert_eq!(received.len(), 10);
    drop(consumer);
    queue.trim("work", 0, offsets[2]).await.unwrap();
    let end = queue.end_offsets("work").await.unwrap();
    let queue = restart(&place, queue).await;
    assert_eq!(queue.partitions("work").await.unwrap(), 2);
    assert_eq!(queue.end_offsets("work").await.unwrap(), end);
    assert_eq!(queue.first_offsets("work").await.unwrap()[&0], offsets[2]);
    assert_eq!(queue.committed("work", "group").await.unwrap(), done);
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    assert_eq!(texts(&receive(&mut *consumer, 3).await), ["4", "6", "8"]);
    assert!(queue.publish("work", 0, "", "new".into()).await.unwrap() > offsets[8]);
}

async fn empty_batches_succeed(place: Queues) {
    let queue = open(&place, 1).await;
    assert!(queue.publish_many("work", Vec::new()).await.unwrap().is_empty());
    queue.publish("work", 0, "", "x".into()).await.unwrap();
    let mut consumer = queue.consumer("work", "group").await.unwrap();
    consumer.commit(&Positions::new()).await.unwrap();
    assert_eq!(consumer.poll(0, PATIENCE).await.unwrap(), []);
    assert_eq!(receive(&mut *consumer, 1).await.len(), 1);
}
