//! A pipeline over a temporary data folder, the real EfficientNet-Lite0 and real DICOM files.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use medindex_embedding::{
    BatchingOptions, Embedder, Model, RuntimeOptions, cache_folder, find_model, models_folder,
};
use medindex_pipeline::{Accepted, Pipeline, Settings, Upload};

/// Nothing here takes this long unless it is broken.
pub const DEADLINE: Duration = Duration::from_mins(2);

/// A new embedder with the real model.
pub fn embedder() -> Embedder {
    let folder =
        find_model(&models_folder().unwrap(), "efficientnet-lite0").expect("no model: run `make setup`");
    let options =
        RuntimeOptions::from_environment().expect("no ONNX Runtime: run `make setup`").with_threads(1);
    let model = Model::load(&folder, &options).expect("the model cannot be loaded: run `make setup`");
    Embedder::start(Arc::new(model), BatchingOptions::default()).unwrap()
}

/// A pipeline over `folder` that trains only when told to.
pub async fn open(folder: &Path) -> Pipeline {
    let mut settings = Settings::default();
    settings.training.automatic = false;
    open_with(folder, settings).await
}

/// A pipeline over `folder`.
pub async fn open_with(folder: &Path, settings: Settings) -> Pipeline {
    // Shown with `RUST_LOG=debug` and `--nocapture`; a second call leaves the first one's subscriber.
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init().ok();
    Pipeline::open(folder, embedder(), settings).await.unwrap()
}

/// Where the files of the package `pydicom` lie.
pub fn samples() -> PathBuf {
    let folder = std::env::var_os("MEDINDEX_SAMPLES")
        .map_or_else(|| cache_folder().unwrap().join("samples").join("pydicom"), PathBuf::from);
    assert!(folder.is_dir(), "{} is missing: run `make setup`", folder.display());
    folder
}

/// One of pydicom's files, found by name in any subfolder.
pub fn sample(name: &str) -> Upload {
    let path = find(&samples(), name).unwrap_or_else(|| panic!("{name} is missing: run `make setup`"));
    upload(name, std::fs::read(path).unwrap())
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { find(&path, name) } else { (path.file_name()? == name).then_some(path) }
    })
}

/// An upload of bytes.
pub fn upload(name: &str, bytes: impl Into<Bytes>) -> Upload {
    Upload { name: name.to_owned(), bytes: bytes.into(), label: None, sidecar: None }
}

/// A grey PNG whose pattern depends on `seed`: every seed gives other bytes and another embedding.
pub fn pattern(seed: u32) -> Upload {
    let picture = image::GrayImage::from_fn(64, 64, |x, y| {
        let (x, y) = (x as f32, y as f32);
        let angle = seed as f32 * 0.37;
        let wave = (x * angle.cos() + y * angle.sin()) * (0.1 + (seed % 17) as f32 * 0.03);
        let radius = ((x - 32.0).powi(2) + (y - 32.0).powi(2)).sqrt() * (seed % 5) as f32 * 0.1;
        image::Luma([(127.0 + 60.0 * wave.sin() + 60.0 * radius.cos()) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let label = Some(format!("class{}", seed % 5));
    Upload { label, ..upload(&format!("pattern-{seed}.png"), bytes.into_inner()) }
}

/// Uploads and waits until it is searchable.
pub async fn store(pipeline: &Pipeline, upload: Upload) -> Accepted {
    let accepted = pipeline.accept(upload).await.unwrap();
    pipeline.wait_until_searchable(&accepted.id, DEADLINE).await.unwrap();
    accepted
}
