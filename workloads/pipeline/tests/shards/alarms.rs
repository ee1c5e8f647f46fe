//! What a shard cannot do by itself is an alarm until it can: taking up a generation, looking after its index.

use std::fs;

use medindex_pipeline::{Searcher as _, train_and_publish};

use crate::index::{TestIndex, wait_for};

/// Which generation is active, as the catalog has it.
const POINTER: &str = "generation.current";

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_cannot_be_taken_up_is_an_alarm_until_another_is_active() {
    let index = TestIndex::new().await;
    let running = index.whole_shard("shard").await;
    index.upload(&running.shard, 0..300).await;
    assert!(train_and_publish(&index.core(), &index.subfolder("trainer"), &|_| {}).await.unwrap().accepted);
    let generation = || running.shard.index().status().generation;
    wait_for("generation 1", || async { generation() == 1 }).await;
    let catalog = &index.ports.catalog;
    let pointer = catalog.setting(POINTER).await.unwrap().unwrap();

    let mut lost: serde_json::Value = serde_json::from_str(&pointer).unwrap();
    lost["active"] = 7.into();
    catalog.put_setting(POINTER, &lost.to_string()).await.unwrap();
    index.wait_for_alarm("generation_failed", true, &["generation 7", "train again"]).await;
    assert_eq!((generation(), running.shard.unready().await), (1, None), "it answers by the one it has");
    catalog.put_setting(POINTER, "no pointer").await.unwrap();
    index.wait_for_alarm("generation_failed", true, &["no pointer", "cannot be read"]).await;

    catalog.put_setting(POINTER, &pointer).await.unwrap();
    index.wait_for_alarm("generation_failed", false, &[]).await;
    assert_eq!(generation(), 1);
    running.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_that_fails_is_an_alarm_until_it_succeeds_and_nothing_is_lost() {
    let index = TestIndex::new().await;
    let running = index.whole_shard("shard").await;
    index.upload(&running.shard, 0..10).await;
    let (data, away) = (index.subfolder("shard").join("data"), index.subfolder("away"));
    fs::rename(&data, &away).unwrap();
    fs::write(&data, "no folder").unwrap();
    index.upload(&running.shard, 10..20).await;
    index.wait_for_alarm("maintenance_failed", true, &["restarts take longer"]).await;
    assert_eq!((running.shard.index().len(), running.shard.unready().await), (20, None));

    fs::remove_file(&data).unwrap();
    fs::rename(&away, &data).unwrap();
    index.upload(&running.shard, 20..30).await;
    index.wait_for_alarm("maintenance_failed", false, &[]).await;
    running.close().await;
    let again = index.whole_shard("shard").await;
    assert_eq!(again.shard.index().len(), 30);
    again.shard.index().verify().unwrap();
    again.close().await;
}
