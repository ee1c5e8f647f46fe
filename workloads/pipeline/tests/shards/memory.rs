//! A shard at its memory limit stops taking more, goes on answering, and goes on taking when memory is free.

use medindex_pipeline::{ImageId, Searcher as _, Shard, ShardOptions};

use crate::index::{TestIndex, wait_for};

/// What a shard counts with: 64 MiB, and 128 bytes an entry.
const ROOM_FOR_20: u64 = (64 << 20) + 20 * 128;

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_at_its_limit_keeps_answering_and_goes_on_when_images_are_deleted() {
    let index = TestIndex::new().await;
    let roomy = index.whole_shard("roomy").await;
    let all = [0, 1, 2, 3, 4, 5];
    let limited = || ShardOptions { memory_limit: Some(ROOM_FOR_20), ..index.options("limited", &all) };
    let narrow = index.open(limited()).await;
    let first = index.upload(&roomy.shard, 0..15).await;
    wait_for("the first to be followed", || async { narrow.shard.index().len() == 15 }).await;
    assert_eq!(narrow.shard.memory_pressure(), None);
    let later = index.upload(&roomy.shard, 15..40).await;
    wait_for("the limit", || async { narrow.shard.memory_pressure().is_some() }).await;
    let pressure = narrow.shard.memory_pressure().unwrap();
    assert!(pressure.needed_bytes > pressure.limit_bytes && pressure.limit_bytes == ROOM_FOR_20);
    assert!(narrow.shard.index().row_count() <= 20);
    assert_eq!(narrow.shard.unready().await, None, "it goes on answering");
    assert!(!index.answers(&narrow.shard, &roomy.shard).await[0].is_empty());
    assert!(narrow.shard.lag().await.unwrap() > 0);
    index.wait_for_alarm("memory_short", true, &["memory limit", "searches go on"]).await;
    index.wait_for_alarm("shard_lagging", true, &["changes wait and none was applied"]).await;

    // After a restart it has what it had, and says the same.
    narrow.close().await;
    let narrow = index.open(limited()).await;
    assert!(narrow.shard.index().len() >= 15);
    wait_for("the limit again", || async { narrow.shard.memory_pressure().is_some() }).await;
    let stopped_at = narrow.shard.index().log_positions();

    // Deletions far beyond the place where it stopped are taken all the same, and free what it needs.
    let gateway = index.gateway(&roomy.shard);
    for id in &first {
        gateway.delete(id).await.unwrap();
    }
    let holds_first = || first.iter().any(|id| !narrow.shard.index().frames(*id.as_bytes()).is_empty());
    wait_for("the deleted to be gone", || async { !holds_first() }).await;
    wait_for("more to be taken", || async { narrow.shard.index().log_positions() != stopped_at }).await;

    // Twenty-five are still too many; ten of those that it has go.
    let holds = |id: &ImageId| !narrow.shard.index().frames(*id.as_bytes()).is_empty();
    wait_for("ten of the later ones to be taken", || async {
        later.iter().filter(|id| holds(id)).count() >= 10
    })
    .await;
    let held: Vec<ImageId> = later.iter().filter(|id| holds(id)).copied().collect();
    for id in &held[..10] {
        gateway.delete(id).await.unwrap();
    }
    wait_for("everything to be followed", || async {
        narrow.shard.index().len() == 15 && narrow.shard.lag().await.unwrap() == 0
    })
    .await;
    assert_eq!(narrow.shard.memory_pressure(), None);
    index.wait_for_alarm("memory_short", false, &[]).await;
    index.wait_for_alarm("shard_lagging", false, &[]).await;
    assert_eq!(
        index.answers(&narrow.shard, &roomy.shard).await,
        index.answers(&roomy.shard, &roomy.shard).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_would_load_more_than_fits_says_so_and_stays_alive() {
    let index = TestIndex::new().await;
    let roomy = index.whole_shard("roomy").await;
    index.upload(&roomy.shard, 0..30).await;
    let all = [0, 1, 2, 3, 4, 5];
    let options = ShardOptions { memory_limit: Some(ROOM_FOR_20), ..index.options("narrow", &all) };
    let core = index.core();
    let shard = Shard::open(std::sync::Arc::clone(&core), options).await.unwrap();
    wait_for("the refusal", || async {
        shard.unready().await.is_some_and(|reason| reason.contains("more shards"))
    })
    .await;
    assert!(shard.index().is_empty());
    index.wait_for_alarm("shard_not_loading", true, &["more shards"]).await;
    core.end().await;
}
