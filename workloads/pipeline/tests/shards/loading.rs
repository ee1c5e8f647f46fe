//! What a load from the rows of the image store takes of main memory.

use half::f16;
use medindex_backends::catalog::{ImageDescription, IndexedImage, NewImage};
use medindex_backends::{FrameVector, ImageInformation, ImageRow};
use medindex_pipeline::{ImageId, LoadSource, Searcher as _, Shard};
use medindex_proto::RowKey;

use crate::index::{PARTITIONS, TestIndex, wait_for};

/// Rows of the image store: several times what an index keeps unwritten, so that a load which keeps all is seen.
const ROWS: u32 = 12_000;
/// Rows that may be unwritten: the index's own limit of 4,096, and a page of each partition that is read at the same time.
const UNWRITTEN: usize = 4_096 + 4 * 512;
const BATCH: u32 = 500;

/// A unit vector that differs from image to image.
fn vector(dimension: usize, number: u32) -> Vec<f16> {
    let mut vector = vec![f16::ZERO; dimension];
    let angle = number as f32 * 0.001;
    vector[number as usize % dimension] = f16::from_f32(angle.cos());
    vector[(number as usize + 1) % dimension] = f16::from_f32(angle.sin());
    vector
}

fn accepted(id: ImageId, number: u32) -> NewImage {
    let mut sha256 = [0; 32];
    sha256[..4].copy_from_slice(&number.to_be_bytes());
    NewImage {
        id,
        row_key: RowKey::new(&id, PARTITIONS),
        organisation: "default".to_owned(),
        sha256,
        md5: [2; 16],
        name: format!("{number}.png"),
        label: None,
        content_type: "image/png".to_owned(),
        format: "png".to_owned(),
        bytes: 1,
        received_at_ms: 1,
        description: ImageDescription::default(),
        sidecar: None,
    }
}

/// Rows and catalog as embedders leave them, without their changes: those of a log that was lost.
async fn store_rows(index: &TestIndex, dimension: usize) {
    for begin in (0..ROWS).step_by(BATCH as usize) {
        let images: Vec<NewImage> =
            (begin..begin + BATCH).map(|number| accepted(ImageId::new(), number)).collect();
        let rows = images.iter().zip(begin..).map(|(image, number)| {
            let frames = vec![FrameVector { frame: 0, vector: vector(dimension, number), code: Vec::new() }];
            let information = Some(ImageInformation { frames, ..ImageInformation::default() });
            (image.row_key.clone(), ImageRow { bytes: None, information })
        });
        index.ports.store.put_many(rows.collect()).await.unwrap();
        let indexed = images
            .iter()
            .map(|image| IndexedImage { id: image.id, indexed_at_ms: 2, generation: 0, description: None })
            .collect();
        index.ports.catalog.accept_images(images).await.unwrap();
        index.ports.catalog.mark_indexed(indexed).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_from_the_rows_keeps_few_of_them_in_main_memory() {
    let index = TestIndex::new().await;
    let core = index.core();
    store_rows(&index, core.model().embedding.dimension).await;
    let all: Vec<u32> = (0..PARTITIONS).collect();
    let shard = Shard::open(core, index.options("fresh", &all)).await.unwrap();
    let mut most = 0;
    wait_for("the shard to be ready", || {
        most = most.max(shard.index().status().tail_rows);
        let shard = &shard;
        async move { shard.unready().await.is_none() }
    })
    .await;
    assert_eq!(shard.loaded().source, Some(LoadSource::Scan));
    assert_eq!(shard.index().len(), ROWS as usize);
    assert!(most <= UNWRITTEN, "{most} rows were in main memory at once");
    shard.close().await.unwrap();
}
