//! Published segments: who takes them over finds what everybody finds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use medindex_backends::image_store::{BlobInfo, Result};
use medindex_backends::{Columns, Fault, ImageRow, ImageStore, ImageStoreError};
use medindex_pipeline::{LoadSource, Ports, train_and_publish};
use medindex_proto::RowKey;

use crate::index::{PARTITIONS, Running, TestIndex, publications, wait_for};

fn print_time(running: &Running) {
    let loaded = running.shard.loaded();
    let (source, entries) = (loaded.source.unwrap().name(), running.shard.index().len());
    let (load, ready) = (loaded.load_time.unwrap(), loaded.ready_after.unwrap_or_default());
    println!("{entries} entries from {source}: loaded after {load:?}, ready after {ready:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_shard_answers_from_published_segments_as_one_that_scanned_and_one_that_restarted() {
    let index = TestIndex::new().await;
    let first = index.publishing_shard("first", &[0, 1, 2, 3, 4, 5]).await;
    assert_eq!(first.source(), Some(LoadSource::Log));
    let ids = index.upload(&first.shard, 0..300).await;
    let report = train_and_publish(&index.core(), &index.subfolder("trainer"), &|_| {}).await.unwrap();
    assert!(report.accepted);
    wait_for("generation 1", || async { first.shard.index().status().generation == 1 }).await;
    first.published().await;
    let second = index.whole_shard("second").await;
    assert_eq!(second.source(), Some(LoadSource::Segments));
    assert_eq!(second.shard.index().status().generation, 1, "codes come with the segments");
    assert!(second.shard.index().status().coded_segments > 0);

    let gateway = index.gateway(&first.shard);
    gateway.delete(&ids[7]).await.unwrap();
    index.upload(&first.shard, 300..310).await;
    wait_for("the second to follow", || async { second.shard.index().len() == 309 }).await;
    first.published().await;
    let third = index.whole_shard("third").await;
    assert_eq!((third.source(), third.shard.index().len()), (Some(LoadSource::Segments), 309));
    third.shard.index().verify().unwrap();

    for blob in index.store().list_blobs("segments/").await.unwrap() {
        index.store().delete_blob(&blob.name).await.unwrap();
    }
    let scanned = index.whole_shard("scanned").await;
    assert_eq!(scanned.source(), Some(LoadSource::Scan));
    second.close().await;
    let restarted = index.whole_shard("second").await;
    assert_eq!(restarted.source(), Some(LoadSource::Disk));
    let expected = index.answers(&first.shard, &first.shard).await;
    for running in [&third, &scanned, &restarted] {
        print_time(running);
        assert_eq!(running.shard.index().len(), 309);
        assert_eq!(index.answers(&running.shard, &first.shard).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_shard_reads_the_rows_where_the_log_was_lost_with_all_its_messages() {
    let index = TestIndex::new().await;
    let first = index.publishing_shard("first", &[0, 1, 2, 3, 4, 5]).await;
    let ids = index.upload(&first.shard, 0..20).await;
    first.published().await;
    // As after a restore of everything but the queue.
    let queue = index.empty_queue("another queue").await;
    let over_a_new_log = || Ports { queue: Arc::clone(&queue), ..index.ports.clone() };
    let options = index.options("fresh", &[0, 1, 2, 3, 4, 5]);
    let fresh = index.open_over(over_a_new_log(), options).await;
    assert_eq!((fresh.source(), fresh.shard.index().len()), (Some(LoadSource::Scan), ids.len()));
    assert_eq!(
        index.answers(&fresh.shard, &first.shard).await,
        index.answers(&first.shard, &first.shard).await
    );
    fresh.close().await;
    let again = index.open_over(over_a_new_log(), index.options("fresh", &[0, 1, 2, 3, 4, 5])).await;
    assert_eq!(again.source(), Some(LoadSource::Disk), "its rows are read once");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_shards_takes_its_rows_out_of_what_the_former_published() {
    let index = TestIndex::new().await;
    let even = index.publishing_shard("even", &[0, 2, 4]).await;
    let odd = index.publishing_shard("odd", &[1, 3, 5]).await;
    let whole = index.whole_shard("whole").await;
    index.upload(&whole.shard, 0..40).await;
    wait_for("the halves to follow", || async {
        even.shard.index().len() + odd.shard.index().len() == whole.shard.index().len()
            && whole.shard.index().len() == 40
    })
    .await;
    even.published().await;
    odd.published().await;
    let mut entries = 0;
    for number in 0..3 {
        let held = [number, number + 3];
        let third = index.open(index.options(&format!("third-{number}"), &held)).await;
        assert_eq!(third.source(), Some(LoadSource::Segments));
        third.shard.index().verify().unwrap();
        let positions = third.shard.index().log_positions();
        assert!(positions.keys().all(|partition| held.contains(partition)), "{positions:?}");
        entries += third.shard.index().len();
        // It follows on from there.
        let before = third.shard.index().len();
        let more = index.upload(&whole.shard, 100 + number * 10..110 + number * 10).await;
        let own = more.iter().filter(|id| held.contains(&medindex_proto::partition_of(id, PARTITIONS)));
        let expected = before + own.count();
        wait_for("the new shard to follow", || async { third.shard.index().len() == expected }).await;
    }
    // Of the first forty, and of what came before each was opened, every image is in one of the three.
    assert!(entries >= 40, "{entries}");
    // All of one larger shard too, out of both halves.
    let joined = index.open(index.options("joined", &[0, 1, 2, 3, 4, 5])).await;
    assert_eq!(joined.source(), Some(LoadSource::Segments));
    wait_for("everything", || async { joined.shard.index().len() == 70 }).await;
    assert_eq!(
        index.answers(&joined.shard, &whole.shard).await,
        index.answers(&whole.shard, &whole.shard).await
    );
}

/// A store whose writes of blobs stop working after a while, as those of a publisher that is killed.
struct Interrupted {
    inner: Arc<dyn ImageStore>,
    puts_left: AtomicI64,
}

#[async_trait]
impl ImageStore for Interrupted {
    async fn put_many(&self, rows: Vec<(RowKey, ImageRow)>) -> Result<()> {
        self.inner.put_many(rows).await
    }
    async fn get_many(&self, rows: &[RowKey], columns: Columns) -> Result<Vec<Option<ImageRow>>> {
        self.inner.get_many(rows, columns).await
    }
    async fn delete_many(&self, rows: &[RowKey]) -> Result<()> {
        self.inner.delete_many(rows).await
    }
    async fn scan(
        &self,
        partition: u32,
        columns: Columns,
        after: Option<&RowKey>,
        limit: usize,
    ) -> Result<Vec<(RowKey, ImageRow)>> {
        self.inner.scan(partition, columns, after, limit).await
    }
    async fn put_blob(&self, name: &str, bytes: Bytes) -> Result<()> {
        if self.puts_left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return self.inner.put_blob(name, bytes).await;
        }
        let source = Fault::Unavailable { place: "the test".to_owned(), source: "killed".into() };
        Err(ImageStoreError::PutBlob { name: name.to_owned(), source })
    }
    async fn get_blob(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.get_blob(name).await
    }
    async fn get_blob_range(&self, name: &str, offset: u64, length: usize) -> Result<Option<Bytes>> {
        self.inner.get_blob_range(name, offset, length).await
    }
    async fn delete_blob(&self, name: &str) -> Result<()> {
        self.inner.delete_blob(name).await
    }
    async fn list_blobs(&self, prefix: &str) -> Result<Vec<BlobInfo>> {
        self.inner.list_blobs(prefix).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_killed_half_way_leaves_the_former_publication_and_its_leftovers_are_swept() {
    let index = TestIndex::new().await;
    let all = [0, 1, 2, 3, 4, 5];
    let first = index.publishing_shard("first", &all).await;
    index.upload(&first.shard, 0..20).await;
    first.published().await;
    let (blob, former) = publications(index.store()).await.remove(0);
    first.close().await;

    // One part of a file arrives, the description does not.
    let inner = Arc::clone(&index.ports.store);
    let interrupted = Arc::new(Interrupted { inner, puts_left: AtomicI64::new(1) });
    let ports = Ports { store: interrupted.clone(), ..index.ports.clone() };
    let options = index.publishing_options("first", &all);
    let killed = index.open_over(ports, options).await;
    index.upload(&killed.shard, 20..40).await;
    wait_for("the publisher to be stopped", || async { interrupted.puts_left.load(Ordering::SeqCst) < 0 })
        .await;
    index.wait_for_alarm("segments_not_published", true, &["load more slowly"]).await;
    killed.core.end().await;
    drop(killed);
    assert_eq!(publications(index.store()).await, [(blob.clone(), former.clone())]);
    let leftovers = unnamed_files(&index).await;
    assert!(!leftovers.is_empty(), "it had begun");
    let fresh = index.whole_shard("fresh").await;
    assert_eq!(fresh.source(), Some(LoadSource::Segments));
    wait_for("the rest to come from the log", || async { fresh.shard.index().len() == 40 }).await;

    // Leftovers of a publisher that may still be at work are left alone; those of a dead one go.
    let old = "segments-of-long-ago";
    let prefix = blob.strip_suffix("publication").unwrap();
    let long_ago = format!("{prefix}files/0188aaaa-0000-7000-8000-000000000000/{old}.rows/000000");
    index.store().put_blob(&long_ago, Bytes::from_static(b"x")).await.unwrap();
    let again = index.publishing_shard("first", &all).await;
    again.published().await;
    index.wait_for_alarm("segments_not_published", false, &[]).await;
    wait_for("the sweep", || async { index.store().get_blob(&long_ago).await.unwrap().is_none() }).await;
    // Younger than an hour; what the last publication replaced goes a moment after it stands.
    wait_for("nothing else to be left", || async { unnamed_files(&index).await == leftovers }).await;
}

/// Files in the store that no publication names.
async fn unnamed_files(index: &TestIndex) -> Vec<String> {
    let published = publications(index.store()).await;
    let named = |name: &str| {
        published.iter().any(|(blob, publication)| {
            let prefix = blob.strip_suffix("publication").unwrap();
            publication["files"].as_array().unwrap().iter().any(|file| {
                let (id, file) = (file["publication"].as_str().unwrap(), file["name"].as_str().unwrap());
                name.starts_with(&format!("{prefix}files/{id}/{file}/"))
            })
        })
    };
    let blobs = index.store().list_blobs("segments/").await.unwrap();
    let files = blobs.into_iter().map(|blob| blob.name).filter(|name| name.contains("/files/"));
    files.filter(|name| !named(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_stay_are_not_sent_again_and_replaced_ones_go_unless_somebody_reads() {
    let index = TestIndex::new().await;
    let all = [0, 1, 2, 3, 4, 5];
    let first = index.publishing_shard("first", &all).await;
    index.upload(&first.shard, 0..10).await;
    first.published().await;
    let (blob, before) = publications(index.store()).await.remove(0);
    let lease = format!("{}readers/somebody", blob.strip_suffix("publication").unwrap());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    index.store().put_blob(&lease, now.to_string().into()).await.unwrap();
    // Enough snapshots that segments are merged and files replaced.
    let mut shared = false;
    for seed in 10..40 {
        index.upload(&first.shard, seed..seed + 1).await;
        first.published().await;
        let (_, publication) = publications(index.store()).await.remove(0);
        let stays = |file: &serde_json::Value| file["publication"] != publication["id"];
        shared |= publication["files"].as_array().unwrap().iter().any(stays);
    }
    assert!(shared, "nothing but the new segment is sent");
    let files = |publication: &serde_json::Value| publication["files"].as_array().unwrap().clone();
    let (_, after) = publications(index.store()).await.remove(0);
    assert_ne!(files(&before), files(&after));
    let kept = unnamed_files(&index).await;
    assert!(!kept.is_empty(), "somebody reads: nothing is removed");

    // The lease expires: it is removed, and so is what the next publications replace.
    index.store().put_blob(&lease, "0".into()).await.unwrap();
    index.upload(&first.shard, 40..60).await;
    first.published().await;
    wait_for("the expired lease to go", || async { index.store().get_blob(&lease).await.unwrap().is_none() })
        .await;
}
