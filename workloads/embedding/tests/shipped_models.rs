//! The models that `make setup` prepares, run for real.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "the expected values are exact")]

mod common;

use common::pictures::{clock, waves};
use common::{load_shipped, runtime, shipped};
use medindex_embedding::{MAX_BATCH, Model};
use medindex_imaging::{Rendered, WindowChoice, WindowPreset};

fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

/// A batch gives what single images give, and every vector has length 1.
fn check_batch(model: &Model, images: &[Rendered]) {
    let batch = model.embed(images).unwrap();
    assert_eq!(batch.len(), images.len());
    for (index, (image, together)) in images.iter().zip(&batch).enumerate() {
        let alone = model.embed(std::slice::from_ref(image)).unwrap().remove(0);
        assert_eq!(together.len(), model.dimension());
        assert!((length(together) - 1.0).abs() < 1e-5, "image {index}: length {}", length(together));
        let likeness = cosine(&alone, together);
        assert!(likeness > 0.99999, "image {index}: a batch gives another vector, cosine {likeness}");
    }
    // Different pictures are told apart, or the test would also pass for a constant.
    assert!(cosine(&batch[0], &batch[1]) < 0.99);
}

#[test]
fn lite0_gives_the_same_vectors_in_batches_and_alone() {
    // More than one full batch, of several sizes and shapes.
    let images: Vec<Rendered> =
        (0..MAX_BATCH as u32 + 3).map(|seed| waves(seed, 100 + 20 * seed, 300 - 10 * seed)).collect();
    check_batch(&load_shipped("efficientnet-lite0"), &images);
}

#[test]
fn vgg16_gives_the_same_vectors_in_batches_and_alone() {
    let images: Vec<Rendered> = (0..3).map(|seed| waves(seed, 224, 224)).collect();
    check_batch(&load_shipped("vgg16"), &images);
}

#[test]
fn vgg16_in_eight_bits_gives_nearly_the_same_vectors() {
    let images: Vec<Rendered> = (0..3).map(|seed| waves(seed, 224, 224)).collect();
    let eight_bits = load_shipped("vgg16-int8");
    check_batch(&eight_bits, &images);
    let full = load_shipped("vgg16");
    assert_ne!(full.digest(), eight_bits.digest(), "vectors of the two do not mix");
    let pairs = full.embed(&images).unwrap().into_iter().zip(eight_bits.embed(&images).unwrap());
    for (index, (a, b)) in pairs.enumerate() {
        // Medical images: .985 at least, .998 on average; these waves are further from what was calibrated.
        assert!(cosine(&a, &b) > 0.97, "image {index}: cosine {}", cosine(&a, &b));
    }
}

#[test]
fn lite0_recognises_a_drawn_clock() {
    let classes = load_shipped("efficientnet-lite0").classify(&[clock()]).unwrap().remove(0);
    assert_eq!(classes.len(), 1000);
    assert_eq!(classes[0].label, "analog clock", "{:?}", &classes[..3]);
    assert!(classes[0].probability > 0.5, "{:?}", &classes[..3]);
    let sum: f32 = classes.iter().map(|class| class.probability).sum();
    assert!((sum - 1.0).abs() < 1e-4, "the probabilities sum to {sum}");
}

#[test]
fn vgg16_recognises_with_its_own_preprocessing() {
    let model = load_shipped("vgg16");
    assert_eq!(model.labels(), ["glioma", "meningioma", "notumor", "pituitary"]);
    let classes = model.classify(&[clock()]).unwrap().remove(0);
    let sum: f32 = classes.iter().map(|class| class.probability).sum();
    assert!((sum - 1.0).abs() < 1e-5, "the probabilities sum to {sum}");
    assert!(classes.is_sorted_by(|a, b| a.probability >= b.probability));
    // A clock shows no brain, let alone a tumour; the embedding's preprocessing gives another answer.
    assert_eq!(classes[0].label, "notumor", "{classes:?}");
}

#[test]
fn shipped_manifests_are_those_of_the_repository() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let mut count = 0;
    for entry in std::fs::read_dir(repository).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let ours = std::fs::read_to_string(folder.join("manifest.yaml")).unwrap();
        let cached = std::fs::read_to_string(shipped(&name).join("manifest.yaml")).unwrap();
        assert_eq!(ours, cached, "{name}: run `make setup`");
        let model = Model::load(&shipped(&name), &runtime()).unwrap();
        assert_eq!(model.manifest().name, name);
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn ct_has_a_window_of_its_own_and_others_the_files() {
    let model = load_shipped("efficientnet-lite0");
    assert_eq!(model.window_for(Some("CT")), WindowChoice::Preset(WindowPreset::SoftTissue));
    assert_eq!(model.window_for(Some("MR")), WindowChoice::File);
    assert_eq!(model.window_for(None), WindowChoice::File);
}
