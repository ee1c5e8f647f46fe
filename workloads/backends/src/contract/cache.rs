//! What a cache promises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Place, pattern};
use crate::cache::{Cache, CacheEntry};

type Port = dyn Cache;
type Caches = Arc<dyn Place<Port>>;

super::checks![Port:
    a_value_is_returned_until_it_is_replaced_or_deleted,
    values_of_every_size_and_keys_of_every_script_come_back,
    many_keys_are_answered_in_the_order_asked_for,
    a_value_past_its_time_is_gone,
    a_value_set_again_lives_from_then_on,
    of_many_who_set_an_absent_key_one_wins,
    an_absent_key_may_be_set_again_once_it_is_gone,
    empty_batches_succeed,
];

const LONG: Duration = Duration::from_mins(10);

async fn a_value_is_returned_until_it_is_replaced_or_deleted(place: Caches) {
    let cache = place.open().await;
    assert_eq!(cache.get("image:1").await.unwrap(), None);
    cache.set("image:1", "one".into(), LONG).await.unwrap();
    assert_eq!(cache.get("image:1").await.unwrap(), Some("one".into()));
    cache.set("image:1", "two".into(), LONG).await.unwrap();
    assert_eq!(cache.get("image:1").await.unwrap(), Some("two".into()));
    for _ in 0..2 {
        cache.delete("image:1").await.unwrap();
        assert_eq!(cache.get("image:1").await.unwrap(), None);
    }
}

async fn values_of_every_size_and_keys_of_every_script_come_back(place: Caches) {
    let cache = place.open().await;
    for (key, length) in [("leer", 0), ("ключ", 1), ("鍵 mit Leerzeichen", 1000), ("🩻:\n", 2 << 20)] {
        cache.set(key, pattern(length, 3), LONG).await.unwrap();
        assert!(cache.get(key).await.unwrap() == Some(pattern(length, 3)), "{key}");
    }
}

async fn many_keys_are_answered_in_the_order_asked_for(place: Caches) {
    let cache = place.open().await;
    let entry = |number: u64| CacheEntry {
        key: format!("key:{number}"),
        value: pattern(20, number),
        time_to_live: LONG,
    };
    cache.set_many((0..100).map(entry).collect()).await.unwrap();
    cache.delete_many(&["key:3", "key:4", "none"]).await.unwrap();
    let values = cache.get_many(&["key:9", "none", "key:3", "key:0", "key:9"]).await.unwrap();
    let expected = [Some(pattern(20, 9)), None, None, Some(pattern(20, 0)), Some(pattern(20, 9))];
    assert_eq!(values, expected);
}

/// Waits until the key has no value; returns how long that took.
async fn wait_until_gone(cache: &Port, key: &str) -> Duration {
    let start = Instant::now();
    while cache.get(key).await.unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_secs(20), "{key} stays");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

async fn a_value_past_its_time_is_gone(place: Caches) {
    let cache = place.open().await;
    cache.set("long", "kept".into(), LONG).await.unwrap();
    cache.set("short", "gone".into(), Duration::from_millis(200)).await.unwrap();
    wait_until_gone(&*cache, "short").await;
    assert_eq!(cache.get("long").await.unwrap(), Some("kept".into()));
}

async fn a_value_set_again_lives_from_then_on(place: Caches) {
    let cache = place.open().await;
    cache.set("key", "1".into(), Duration::from_millis(100)).await.unwrap();
    cache.set("key", "2".into(), LONG).await.unwrap();
    cache.set("other", "1".into(), Duration::from_millis(300)).await.unwrap();
    wait_until_gone(&*cache, "other").await;
    assert_eq!(cache.get("key").await.unwrap(), Some("2".into()));
}

async fn of_many_who_set_an_absent_key_one_wins(place: Caches) {
    let cache = place.open().await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let cache = Arc::clone(&cache);
            let value = Bytes::from(format!("{number}"));
            tokio::spawn(async move {
                let won = cache.set_if_absent("lock", value.clone(), LONG).await.unwrap();
                won.then_some(value)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(cache.get("lock").await.unwrap(), winners.pop());
}

async fn an_absent_key_may_be_set_again_once_it_is_gone(place: Caches) {
    let cache = place.open().await;
    assert!(cache.set_if_absent("lock", "1".into(), Duration::from_secs(2)).await.unwrap());
    assert!(!cache.set_if_absent("lock", "2".into(), LONG).await.unwrap());
    wait_until_gone(&*cache, "lock").await;
    assert!(cache.set_if_absent("lock", "3".into(), LONG).await.unwrap());
    assert_eq!(cache.get("lock").await.unwrap(), Some("3".into()));
    cache.delete("lock").await.unwrap();
    assert!(cache.set_if_absent("lock", "4".into(), LONG).await.unwrap());
}

async fn empty_batches_succeed(place: Caches) {
    let cache = place.open().await;
    cache.set_many(Vec::new()).await.unwrap();
    cache.delete_many(&[]).await.unwrap();
    assert!(cache.get_many(&[]).await.unwrap().is_empty());
}
