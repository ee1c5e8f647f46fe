//! How many images a second the embedded adapters take, durably: one caller after the other, and 64 at a time.
//!
//! `cargo run --release -p medindex-backends --example throughput [SECONDS] [FOLDER]`. Runs each step for some
//! seconds (default 3) in a temporary folder, and prints a table in Markdown.

use std::future::Future;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use half::f16;
use medindex_backends::catalog::{ImageDescription, IndexedImage, NewImage};
use medindex_backends::embedded::{EmbeddedStore, open_catalog};
use medindex_backends::{
    Catalog, Columns, FrameVector, ImageInformation, ImageRow, ImageStore, Message, Queue,
};
use medindex_proto::{ImageId, RowKey};

const CALLERS: u64 = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(3.0), |text| text.parse())?;
    let time = Duration::from_secs_f64(seconds);
    let temporary = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let store = EmbeddedStore::open(&folder).await?;
    let catalog = open_catalog(&folder).await?;
    store.create_topic("imageupload", 9).await?;

    say("| step | one caller, images/s | 64 callers, images/s |\n| --- | --- | --- |")?;
    for (name, length) in [("put 30 KB and vector", 30_000), ("put 528 KB (CT slice) and vector", 528_000)] {
        let row = image_row(length);
        row_of_table(name, time, |_| {
            let (store, row) = (store.clone(), row.clone());
            async move { Ok(store.put(RowKey::new(&ImageId::new(), 9), row).await?) }
        })
        .await?;
    }
    row_of_table("publish 30 KB", time, |number| {
        let (store, payload) = (store.clone(), Bytes::from(vec![7; 30_000]));
        async move {
            store.publish("imageupload", (number % 9) as u32, "key", payload).await?;
            Ok(())
        }
    })
    .await?;
    row_of_table("accept", time, |number| {
        let catalog = catalog.clone();
        async move {
            catalog.accept_image(new_image(number)).await?;
            Ok(())
        }
    })
    .await?;
    row_of_table("accept and publish 30 KB", time, |number| {
        let (store, catalog, payload) = (store.clone(), catalog.clone(), Bytes::from(vec![7; 30_000]));
        async move {
            catalog.accept_image(new_image(number)).await?;
            store.publish("imageupload", (number % 9) as u32, "key", payload).await?;
            Ok(())
        }
    })
    .await?;
    batches(&store, &catalog, time).await?;
    reads(&store, &catalog, time).await?;
    let file = std::fs::metadata(folder.join(medindex_backends::embedded::STORE_FILE))?;
    say(&format!("\nstore file: {} MiB", file.len() >> 20))?;
    store.close().await;
    catalog.close().await;
    Ok(())
}

/// Batches of 64 from one caller, as bulk import and embedder send them.
async fn batches(
    store: &EmbeddedStore,
    catalog: &medindex_backends::sql_catalog::SqlCatalog,
    time: Duration,
) -> Result<(), Failure> {
    let row = image_row(30_000);
    let puts = rate(time, 1, |_| {
        let rows = (0..64).map(|_| (RowKey::new(&ImageId::new(), 9), row.clone())).collect();
        async { Ok(store.put_many(rows).await?) }
    })
    .await?;
    let publishes = rate(time, 1, |_| {
        let message = |number: u32| Message {
            partition: number % 9,
            key: "key".into(),
            payload: Bytes::from(vec![7; 30_000]),
        };
        let messages = (0..64).map(message).collect();
        async {
            store.publish_many("imageupload", messages).await?;
            Ok(())
        }
    })
    .await?;
    let accepts = rate(time, 1, |_| {
        let images = (0..64).map(new_image).collect::<Vec<_>>();
        async {
            let marks = images.iter().map(indexed).collect();
            catalog.accept_images(images).await?;
            catalog.mark_indexed(marks).await?;
            Ok(())
        }
    })
    .await?;
    say("\n| step | batches of 64, images/s |\n| --- | --- |")?;
    say(&format!("| put 30 KB and vector | {:.0} |", puts * 64.0))?;
    say(&format!("| publish 30 KB | {:.0} |", publishes * 64.0))?;
    say(&format!("| accept, then mark indexed | {:.0} |", accepts * 64.0))
}

async fn reads(
    store: &EmbeddedStore,
    catalog: &medindex_backends::sql_catalog::SqlCatalog,
    time: Duration,
) -> Result<(), Failure> {
    let images: Vec<_> = (0..20_000).map(new_image).collect();
    let ids: Arc<Vec<_>> = Arc::new(images.iter().map(|image| image.id).collect());
    for part in images.chunks(1000) {
        catalog.accept_images(part.to_vec()).await?;
    }
    let lookups = rate(time, 1, |number| {
        let ids: Vec<_> = (0..100).map(|index| ids[(index * 197 + number as usize * 31) % 20_000]).collect();
        async move {
            catalog.images(&ids).await?;
            Ok(())
        }
    })
    .await?;
    say(&format!("\n100 records by id of some 10^5: {:.2} ms", 1000.0 / lookups))?;
    let start = Instant::now();
    let mut rows = 0;
    for partition in 0..9 {
        let mut after = None;
        loop {
            let columns = Columns::VECTORS | Columns::CODES;
            let page = store.scan(partition, columns, after.as_ref(), 1000).await?;
            rows += page.len();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
        }
    }
    let rate = rows as f64 / start.elapsed().as_secs_f64();
    say(&format!("vectors and codes of {rows} rows scanned: {rate:.0} rows/s"))
}

async fn row_of_table<F>(name: &str, time: Duration, act: impl Fn(u64) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let one = rate(time, 1, &act).await?;
    let many = rate(time, CALLERS, &act).await?;
    say(&format!("| {name} | {one:.0} | {many:.0} |"))
}

/// Acts a second with a number of callers at the same time.
async fn rate<F>(time: Duration, callers: u64, act: impl Fn(u64) -> F) -> Result<f64, Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let done = AtomicU64::new(0);
    let start = Instant::now();
    let callers = (0..callers).map(|_| async {
        while start.elapsed() < time {
            act(done.fetch_add(1, Ordering::Relaxed)).await?;
        }
        Ok::<_, Failure>(())
    });
    futures::future::try_join_all(callers).await?;
    Ok(done.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64())
}

fn image_row(length: usize) -> ImageRow {
    let frame = FrameVector { frame: 0, vector: vec![f16::ONE; 512], code: vec![7; 32] };
    let meta_json = r#"{"modality":"CT"}"#.to_owned();
    let information =
        ImageInformation { generation: 1, frames: vec![frame], meta_json, ..ImageInformation::default() };
    ImageRow { bytes: Some(vec![7; length].into()), information: Some(information) }
}

fn new_image(number: u64) -> NewImage {
    let id = ImageId::new();
    let mut sha256 = [0; 32];
    sha256[..16].copy_from_slice(id.as_bytes());
    let description = ImageDescription {
        modality: Some("CT".into()),
        body_part: Some("CHEST".into()),
        patient_id: Some(format!("patient {}", number % 100)),
        ..ImageDescription::default()
    };
    NewImage {
        id,
        row_key: RowKey::new(&id, 9),
        organisation: String::new(),
        sha256,
        md5: [1; 16],
        name: "slice.dcm".into(),
        label: None,
        content_type: "application/dicom".into(),
        format: "dicom".into(),
        bytes: 528_000,
        received_at_ms: number as i64,
        description,
        sidecar: None,
    }
}

fn indexed(image: &NewImage) -> IndexedImage {
    IndexedImage { id: image.id, indexed_at_ms: 1, generation: 1, description: None }
}

fn say(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}
