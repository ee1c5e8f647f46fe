//! Vectors that are damaged on disk: noticed while the shard runs, told, and read from the image store again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use medindex_index::{EntryKey, SearchRequest};
use medindex_pipeline::{ImageId, Searcher as _};

use crate::caches::{ask, by_file};
use crate::index::{TestIndex, wait_for};

/// The files of rows of a shard's index.
fn row_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder.join("data")) else { return Vec::new() };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rows")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_vectors_are_an_alarm_and_are_read_from_the_image_store_again() {
    let index = TestIndex::new().await;
    let running = index.whole_shard("damaged").await;
    let ids = index.upload(&running.shard, 0..40).await;
    let folder = index.subfolder("damaged");
    wait_for("everything to be on disk", || async {
        running.shard.index().status().durable_positions == running.shard.index().log_positions()
            && !row_files(&folder).is_empty()
    })
    .await;
    let vector = |id: &ImageId| running.shard.index().vector(EntryKey::new(*id.as_bytes(), 0)).unwrap();
    let vectors: Vec<_> = ids[..8].iter().map(vector).collect();
    let question = |row: usize| {
        let vector = vectors[row].iter().map(|value| value.to_f32()).collect();
        SearchRequest { exact: true, ..SearchRequest::new(vector, 10) }
    };
    let mut expected = Vec::new();
    for row in 0..vectors.len() {
        expected.push(running.shard.search(question(row)).await.unwrap().hits);
    }
    let gateway = index.gateway(&running.shard);
    let (answer, _) = ask(&gateway, by_file(1)).await;
    assert!(ask(&gateway, by_file(1)).await.1, "an answer is kept");
    for path in row_files(&folder) {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        // The vectors come first.
        file.write_all_at(&[0x3c; 2_000], 64).unwrap();
    }
    index.wait_for_alarm("index_damaged", true, &["vectors"]).await;
    wait_for("the index to be whole", || async { running.shard.index().verify().is_ok() }).await;
    index.wait_for_alarm("index_damaged", false, &[]).await;
    assert_eq!(running.shard.index().len(), ids.len());
    for (row, expected) in expected.iter().enumerate() {
        let hits = running.shard.search(question(row)).await.unwrap().hits;
        assert_eq!(&hits, expected);
    }
    // What was answered meanwhile may have been wrong.
    wait_for("kept answers to be forgotten", || async {
        index.ports.cache.get("results:mended").await.unwrap().is_some()
    })
    .await;
    let (again, kept) = ask(&gateway, by_file(1)).await;
    assert!(!kept && again[0].id == answer[0].id);
    assert!(ask(&gateway, by_file(1)).await.1);
    gateway.shutdown().await.unwrap();
    running.close().await;
}
