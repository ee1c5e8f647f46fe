//! Manifests that are wrong in one place: each is refused with the field's name and what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "the expected values are exact")]

mod common;

use std::path::Path;

use common::onnx::mean_colour;
use common::tiny_manifest;
use medindex_embedding::{Manifest, ManifestError, Pooling};

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text, Path::new("models/tiny/manifest.yaml"))
}

fn good() -> String {
    tiny_manifest(&mean_colour(&[]))
}

/// The error with its causes on one line.
fn refusal(text: &str) -> String {
    let error = parse(text).expect_err("the manifest was accepted");
    let first: &dyn std::error::Error = &error;
    std::iter::successors(first.source(), |cause| cause.source())
        .fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[test]
fn a_good_manifest_is_read() {
    let manifest = parse(&good()).unwrap();
    assert_eq!((manifest.name.as_str(), manifest.version), ("tiny", 1));
    assert_eq!((manifest.embedding.dimension, manifest.embedding.pooling), (3, Pooling::None));
    assert_eq!((manifest.embedding.input.width, manifest.embedding.input.height), (8, 8));
    assert!(manifest.classification.is_none() && manifest.window.is_empty());
}

#[test]
fn one_wrong_value_is_refused_by_the_name_of_its_field() {
    for (from, to, named) in [
        ("schema: 1", "schema: 2", "schema is 2"),
        ("name: tiny", "name: Tiny Model", "name is \"Tiny Model\""),
        ("version: 1", "version: 0", "version is 0"),
        ("licence: Apache-2.0", "licence: \"\"", "licence is empty"),
        ("files:\n  model.onnx", "files:\n  ../model.onnx", "\"../model.onnx\""),
        ("graph: model.onnx", "graph: other.onnx", "embedding.graph is \"other.onnx\""),
        ("width: 8", "width: 0", "embedding.input.width is 0"),
        ("height: 8", "height: 5000", "embedding.input.height is 5000"),
        ("mean: [0.0", "mean: [.nan", "embedding.input.mean is not finite"),
        ("scale: [1.0", "scale: [0.0", "embedding.input.scale must be finite and not 0"),
        ("output: embedding", "output: \" \"", "embedding.output is empty"),
        ("dimension: 3", "dimension: 0", "embedding.dimension is 0"),
        ("dimension: 3", "dimension: 99999", "embedding.dimension is 99999"),
        ("normalise: true", "normalise: false", "embedding.normalise is false"),
    ] {
        let text = good();
        assert!(text.contains(from), "{from} is not in the manifest");
        let line = refusal(&text.replacen(from, to, 1));
        assert!(line.contains(named) && line.contains("models/tiny/manifest.yaml"), "{to}: {line}");
    }
}

#[test]
fn a_digest_that_is_none_is_refused() {
    let text = good();
    let digest = text.lines().find_map(|line| line.strip_prefix("  model.onnx: ")).unwrap().to_owned();
    for wrong in ["abc".to_owned(), digest.to_uppercase(), format!("{digest}0"), "g".repeat(64)] {
        let line = refusal(&text.replace(&digest, &format!("\"{wrong}\"")));
        assert!(line.contains("files.model.onnx is not a SHA-256"), "{wrong}: {line}");
    }
}

#[test]
fn unknown_and_missing_fields_are_refused_by_name() {
    for (from, to, named) in [
        ("version: 1", "version: 1\ncolour: rgb", "colour"),
        ("    resize: squeeze", "    resize: squeeze\n    crop: true", "crop"),
        ("    colour_order: rgb\n", "", "colour_order"),
        ("    resize: squeeze\n", "", "resize"),
        ("  pooling: none\n", "", "pooling"),
        ("source: this test\n", "", "source"),
        ("layout: nchw", "layout: chwn", "chwn"),
        ("pooling: none", "pooling: max", "max"),
        ("mean: [0.0, 0.0, 0.0]", "mean: [0.0]", "mean"),
        ("embedding:\n", "window: {CT: lungs}\nembedding:\n", "lungs"),
    ] {
        let text = good();
        assert!(text.contains(from), "{from} is not in the manifest");
        let line = refusal(&text.replacen(from, to, 1));
        assert!(line.contains(named) && line.contains("docs/models.md"), "{to}: {line}");
    }
}

#[test]
fn classes_need_labels() {
    let classification = "classification:\n  graph: model.onnx\n  input: {name: image, width: 8, height: 8, layout: nchw, \
                          colour_order: rgb, mean: [0, 0, 0], scale: [1, 1, 1], resize: squeeze}\n  output: embedding\n  \
                          activation: softmax\n";
    let empty = refusal(&format!("{}{classification}  labels: []\n", good()));
    assert!(empty.contains("classification.labels is empty"), "{empty}");
    let elsewhere = refusal(&format!("{}{classification}  labels: labels.txt\n", good()));
    assert!(elsewhere.contains("\"labels.txt\", which is not among `files`"), "{elsewhere}");
}

#[test]
fn a_text_that_is_no_manifest_is_refused() {
    for text in ["", "just words", "[1, 2]", "schema: [", "\u{0}"] {
        assert!(refusal(text).contains("models/tiny/manifest.yaml"));
    }
}

#[test]
fn a_missing_manifest_says_what_to_do() {
    let error = Manifest::read(Path::new("/nonexistent")).unwrap_err();
    assert!(error.to_string().contains("make setup"), "{error}");
}
