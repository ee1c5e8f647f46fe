//! Models written here: what a manifest promises is checked when a model is loaded, and what a model answers
//! is checked for every image.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "the expected values are exact")]

mod common;

use std::path::Path;

use common::onnx::mean_colour;
use common::pictures::{plain, waves};
use common::{runtime, tiny_manifest, tiny_model, write_model};
use medindex_embedding::{
    Device, Model, ModelError, RuntimeError, RuntimeOptions, available_models, find_model,
};
use medindex_imaging::Rendered;
use tempfile::TempDir;

fn load(graph: &[u8], manifest: &str) -> Result<Model, ModelError> {
    let folder = TempDir::new().unwrap();
    write_model(folder.path(), graph, manifest);
    Model::load(folder.path(), &runtime())
}

/// The error and its causes on one line.
fn explain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[test]
fn the_colour_order_and_the_length_are_the_manifests() {
    let graph = mean_colour(&[]);
    let manifest = tiny_manifest(&graph);
    let image = [plain([30, 0, 40])];
    let rgb = load(&graph, &manifest).unwrap().embed(&image).unwrap();
    assert_eq!(rgb, [[0.6, 0.0, 0.8]]);
    let bgr = load(&graph, &manifest.replace("order: rgb", "order: bgr")).unwrap().embed(&image).unwrap();
    assert_eq!(bgr, [[0.8, 0.0, 0.6]]);
}

#[test]
fn an_average_over_the_plane_equals_the_one_that_the_graph_computes() {
    let graph = mean_colour(&[]);
    let manifest = tiny_manifest(&graph);
    let pooled =
        manifest.replace("output: embedding", "output: planes").replace("pooling: none", "pooling: average");
    let images: Vec<Rendered> = (0..3).map(|seed| waves(seed, 8, 8)).chain([plain([30, 0, 40])]).collect();
    let by_graph = load(&graph, &manifest).unwrap().embed(&images).unwrap();
    let by_us = load(&graph, &pooled).unwrap().embed(&images).unwrap();
    let difference =
        by_graph.iter().flatten().zip(by_us.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference < 1e-6, "{difference}");
    let wrong = load(&graph, &manifest.replace("pooling: none", "pooling: average")).unwrap_err();
    assert!(wrong.to_string().contains("[1, 3, height, width], and it is [1, 3]"), "{wrong}");
}

#[test]
fn a_wrong_digest_names_the_file_and_both_digests() {
    let graph = mean_colour(&[]);
    let folder = TempDir::new().unwrap();
    write_model(folder.path(), &graph, &tiny_manifest(&graph));
    std::fs::write(folder.path().join("model.onnx"), b"changed").unwrap();
    let error = Model::load(folder.path(), &runtime()).unwrap_err();
    let ModelError::VerifyFile { path, expected, found } = &error else { panic!("{error}") };
    assert!(path.ends_with("model.onnx"));
    assert!(expected.len() == 64 && found.len() == 64 && expected != found);
    for part in [&path.display().to_string(), expected, found, "make setup"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_missing_model_file_is_named() {
    let folder = tiny_model();
    std::fs::remove_file(folder.path().join("model.onnx")).unwrap();
    let error = Model::load(folder.path(), &runtime()).unwrap_err();
    assert!(explain(&error).contains("model.onnx"), "{}", explain(&error));
}

#[test]
fn a_file_that_is_no_onnx_model_is_refused() {
    let garbage = b"not a model";
    let error = load(garbage, &tiny_manifest(garbage)).unwrap_err();
    assert!(matches!(error, ModelError::LoadGraph { .. }), "{error}");
}

#[test]
fn a_wrong_dimension_is_found_at_loading() {
    let graph = mean_colour(&[]);
    let error = load(&graph, &tiny_manifest(&graph).replace("dimension: 3", "dimension: 4")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("[1, 4]") && text.contains("[1, 3]"), "{text}");
}

#[test]
fn a_wrong_input_or_output_name_lists_those_there_are() {
    let graph = mean_colour(&[]);
    let input = load(&graph, &tiny_manifest(&graph).replace("name: image", "name: pixels")).unwrap_err();
    assert!(input.to_string().contains("no input named \"pixels\", only image"), "{input}");
    let output = load(&graph, &tiny_manifest(&graph).replace("output: embedding", "output: features"));
    let output = output.unwrap_err();
    assert!(output.to_string().contains("no output named \"features\", only embedding, planes"), "{output}");
}

#[test]
fn labels_that_do_not_fit_the_classes_are_counted() {
    let graph = mean_colour(&[]);
    let manifest = format!("{}{}", tiny_manifest(&graph), classification("[one, two]", "softmax"));
    let error = load(&graph, &manifest).unwrap_err();
    assert!(error.to_string().contains("2 labels for 3 classes"), "{error}");
}

/// A classification block on the graph's only output.
fn classification(labels: &str, activation: &str) -> String {
    format!(
        "classification:\n  graph: model.onnx\n  input: {{name: image, width: 8, height: 8, layout: nchw, colour_order: rgb, \
         mean: [0, 0, 0], scale: [0.05, 0.05, 0.05], resize: squeeze}}\n  output: embedding\n  \
         activation: {activation}\n  labels: {labels}\n"
    )
}

#[test]
fn classes_come_most_probable_first_and_sum_to_one() {
    let graph = mean_colour(&[]);
    let manifest = format!("{}{}", tiny_manifest(&graph), classification("[red, green, blue]", "softmax"));
    let classes = load(&graph, &manifest).unwrap().classify(&[plain([10, 60, 30])]).unwrap().remove(0);
    let labels: Vec<&str> = classes.iter().map(|class| class.label.as_str()).collect();
    assert_eq!(labels, ["green", "blue", "red"]);
    let sum: f32 = classes.iter().map(|class| class.probability).sum();
    assert!((sum - 1.0).abs() < 1e-6);
    // Logits 0.5, 3.0, 1.5: softmax by hand.
    assert!((classes[0].probability - 0.7662).abs() < 1e-4, "{classes:?}");
}

#[test]
fn a_model_without_classification_says_so() {
    let error =
        Model::load(tiny_model().path(), &runtime()).unwrap().classify(&[plain([1, 2, 3])]).unwrap_err();
    assert!(matches!(error, ModelError::Classify { .. }), "{error}");
}

#[test]
fn an_output_that_is_not_finite_is_refused() {
    let graph = mean_colour(&["Log"]);
    let model = load(&graph, &tiny_manifest(&graph)).unwrap();
    assert!(model.embed(&[plain([1, 2, 3])]).is_ok());
    let error = model.embed(&[plain([9, 0, 9])]).unwrap_err();
    assert!(error.to_string().contains("component 1 is not a finite number"), "{error}");
}

#[test]
fn an_output_without_direction_is_refused() {
    let error = Model::load(tiny_model().path(), &runtime()).unwrap().embed(&[plain([0; 3])]).unwrap_err();
    assert!(error.to_string().contains("no direction"), "{error}");
}

#[test]
fn no_images_give_no_vectors() {
    let model = Model::load(tiny_model().path(), &runtime()).unwrap();
    assert_eq!(model.embed(&[]).unwrap(), Vec::<Vec<f32>>::new());
}

#[test]
fn the_digest_follows_the_preprocessing_and_not_the_prose() {
    let graph = mean_colour(&[]);
    let manifest = tiny_manifest(&graph);
    let digest = |manifest: &str| load(&graph, manifest).unwrap().digest().to_owned();
    let original = digest(&manifest);
    assert_eq!(original, digest(&manifest.replace("Mean colour", "The mean colour")));
    for (from, to) in [
        ("version: 1", "version: 2"),
        ("mean: [0.0", "mean: [1.0"),
        ("order: rgb", "order: bgr"),
        ("resize: squeeze", "resize: pad"),
        ("embedding:\n", "window: {CT: lung}\nembedding:\n"),
    ] {
        assert_ne!(original, digest(&manifest.replacen(from, to, 1)), "{to}");
    }
}

#[test]
fn an_unknown_model_lists_those_there_are() {
    let folder = TempDir::new().unwrap();
    let graph = mean_colour(&[]);
    for name in ["vgg", "lite"] {
        write_model(&folder.path().join(name), &graph, &tiny_manifest(&graph));
    }
    std::fs::create_dir(folder.path().join("half-made")).unwrap();
    assert_eq!(available_models(folder.path()), ["lite", "vgg"]);
    assert_eq!(find_model(folder.path(), "vgg").unwrap(), folder.path().join("vgg"));
    let error = find_model(folder.path(), "resnet").unwrap_err();
    assert!(error.to_string().contains("there are: lite, vgg"), "{error}");
    let none = find_model(Path::new("/nonexistent"), "resnet").unwrap_err();
    assert!(none.to_string().contains("none") && none.to_string().contains("make setup"), "{none}");
}

#[test]
fn a_missing_library_says_what_to_do() {
    let library = "/nonexistent/libonnxruntime.so".into();
    let options = RuntimeOptions { library, threads: 1, device: Device::Cpu };
    let error = Model::load(tiny_model().path(), &options).unwrap_err();
    assert!(matches!(error, ModelError::Runtime(RuntimeError::FindLibrary { .. })), "{error}");
    assert!(error.to_string().contains("make setup") && error.to_string().contains("MEDINDEX_ONNXRUNTIME"));
}

/// `make setup` fetches a build for processors.
#[test]
fn a_runtime_without_cuda_is_refused_instead_of_computing_on_the_processor() {
    let folder = tiny_model();
    for number in [0, 3] {
        let options = runtime().with_device(Device::Cuda(number));
        let error = Model::load(folder.path(), &options).unwrap_err();
        assert!(
            matches!(error, ModelError::Runtime(RuntimeError::SupportDevice { .. })),
            "{}",
            explain(&error)
        );
        let device = format!("cuda:{number}");
        let library = options.library.display().to_string();
        for part in
            [&device, &library, "MEDINDEX_ONNXRUNTIME", "libonnxruntime_providers_cuda.so", "--device cpu"]
        {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    // The process is none the worse for it.
    let model = Model::load(folder.path(), &runtime()).unwrap();
    assert_eq!(model.device(), Device::Cpu);
}
