//! `medindex search`, `recognise`, `status`, `delete`, `train`, `rollback` and `rowkey` on real data folders.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use std::collections::BTreeSet;

use common::{Data, run, sample, samples};
use serde_json::Value;

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn results(answer: &Value) -> &Vec<Value> {
    answer["results"].as_array().unwrap()
}

#[test]
fn search_answers_in_its_documented_form_by_ascending_distance() {
    let data = Data::with_images(12);
    let example = data.scratch("images/even/0004.png").display().to_string();
    let outcome = data.run(["search", &example, "-k", "5", "--json"]);
    let answer = outcome.json();
    assert_eq!(keys(&answer), BTreeSet::from(["query", "generation", "partial", "took_ms", "results"]));
    // The order of the fields is part of the form that people read.
    let places = ["\"query\"", "\"generation\"", "\"partial\"", "\"took_ms\"", "\"results\""];
    assert!(places.map(|name| outcome.stdout.find(name).unwrap()).is_sorted(), "{}", outcome.stdout);
    assert_eq!((&answer["partial"], &answer["generation"]), (&false.into(), &0.into()));
    let hits = results(&answer);
    assert_eq!(hits.len(), 5);
    let fields = ["rank", "id", "frame", "distance", "name", "label", "modality", "body_part", "study_uid"];
    assert_eq!(keys(&hits[0]), BTreeSet::from(fields));
    assert_eq!(hits[0]["name"], "even/0004.png");
    assert!(hits[0]["distance"].as_f64().unwrap() < 1e-3, "{answer}");
    assert!(hits.iter().map(|hit| hit["distance"].as_f64().unwrap()).is_sorted());
    assert!(hits.iter().map(|hit| hit["rank"].as_u64().unwrap()).eq(1..=5));
}

#[test]
fn a_stored_image_is_left_out_of_its_own_results() {
    let data = Data::with_images(6);
    let example = data.scratch("images/even/0002.png").display().to_string();
    let ids = data.ids(&example);
    assert_eq!(ids.len(), 6, "k above the count gives all there are");
    let answer = data.run(["search", &ids[0], "-k", "50", "--json"]).json();
    assert_eq!(answer["query"]["id"], ids[0].as_str());
    let others: BTreeSet<&str> = results(&answer).iter().map(|hit| hit["id"].as_str().unwrap()).collect();
    assert_eq!(others, ids[1..].iter().map(String::as_str).collect());
}

#[test]
fn filters_hold_and_take_nothing_away_that_matches() {
    let data = Data::with_images(10);
    let example = data.scratch("images/even/0000.png").display().to_string();
    let answer = data.run(["search", &example, "--filter", "label=odd", "--json"]).json();
    assert_eq!(results(&answer).len(), 5);
    assert!(results(&answer).iter().all(|hit| hit["label"] == "odd"), "{answer}");
    let both = ["search", &example, "--filter", "label=odd", "--filter", "label=even", "--json"];
    assert!(results(&data.run(both).json()).is_empty(), "several filters must all match");
}

#[test]
fn dicom_attributes_filter_and_group() {
    let data = Data::new();
    let folder = samples().display().to_string();
    let imported = data.run(["import", "--json", &folder]).json();
    let example = sample("CT_small.dcm");
    let answer = data.run(["search", &example, "-k", "50", "--filter", "modality=CT", "--json"]).json();
    assert!(!results(&answer).is_empty());
    assert!(results(&answer).iter().all(|hit| hit["modality"] == "CT"), "{answer}");

    let grouped = data.run(["search", &example, "-k", "500", "--group-by", "study", "--json"]).json();
    let studies: Vec<&str> = results(&grouped).iter().filter_map(|hit| hit["study_uid"].as_str()).collect();
    assert_eq!(studies.len(), studies.iter().collect::<BTreeSet<_>>().len(), "one result a study");
    assert!((results(&grouped).len() as u64) < imported["stored"].as_u64().unwrap());

    let explained = data.run(["search", &example, "--explain", "--json"]).json();
    assert!(explained["explain"]["embed_us"].as_u64().unwrap() > 0, "{explained}");
    assert!(explained["explain"]["index"]["filter_plan"].is_string(), "{explained}");
    let text = data.run(["search", &example, "--explain"]);
    assert!(text.stdout.contains("CT_small.dcm") && text.stdout.contains("embed_us"), "{text:?}");

    let windowed =
        data.run(["search", &example, "--window", "bone", "--roi", "10,10,64,64", "--json"]).json();
    let region = &windowed["query"]["region"];
    assert_eq!((&region["x"], &region["width"]), (&10.into(), &64.into()), "{windowed}");
}

#[test]
fn exact_search_agrees_with_the_index() {
    let data = Data::with_images(20);
    let example = data.scratch("images/odd/0007.png").display().to_string();
    let ids = |answer: &Value| results(answer).iter().map(|hit| hit["id"].clone()).collect::<Vec<_>>();
    let by_index = data.run(["search", &example, "--json"]).json();
    let exact = data.run(["search", &example, "--exact", "--json"]).json();
    assert_eq!(ids(&by_index), ids(&exact));
}

#[test]
fn recognition_gives_classes_or_votes() {
    let data = Data::with_images(8);
    let example = data.scratch("images/even/0000.png").display().to_string();
    let answer = data.run(["recognise", &example, "--json"]).json();
    let fields = ["md5", "model", "generation", "classes", "vote", "cached"];
    assert_eq!(keys(&answer), BTreeSet::from(fields));
    let shares = answer["vote"].as_array().unwrap().iter().map(|vote| vote["probability"].as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-3, "{answer}");
    let text = data.run(["recognise", &example]);
    assert!(text.stdout.contains("not for diagnosis"), "{text:?}");
}

#[test]
fn status_tells_what_is_there() {
    let data = Data::with_images(4);
    let status = data.run(["status", "--json"]).json();
    assert_eq!(status["images"], serde_json::json!({"received": 0, "indexed": 4, "failed": 0}));
    assert_eq!(status["index"]["entries"], 4);
    assert_eq!(status["partitions"], 9);
    assert!(status["model"].as_str().unwrap().starts_with("efficientnet-lite0@"), "{status}");
    let text = data.run(["status"]);
    assert!(text.stdout.contains("images       4 indexed, 0 waiting, 0 failed"), "{text:?}");
}

#[test]
fn deleted_images_are_in_no_later_answer() {
    let data = Data::with_images(5);
    let example = data.scratch("images/even/0000.png").display().to_string();
    let ids = data.ids(&example);
    let deleted = data.run(["delete", &ids[0], "--json"]).json();
    assert_eq!(deleted["ids"], serde_json::json!([ids[0]]));
    assert_eq!(data.ids(&example), ids[1..]);
    data.run(["delete", &ids[0]]).assert_fails(3, &ids[0]);
    data.run(["search", &ids[0]]).assert_fails(3, &ids[0]);
    // The same bytes can come again.
    assert_eq!(data.run(["import", "--json", &example]).json()["stored"], 1);
}

#[test]
fn all_images_of_a_patient_are_deleted_together() {
    let data = Data::new();
    let files = [sample("CT_small.dcm"), sample("MR_small.dcm")];
    assert_eq!(data.run(["import", "--json", &files[0], &files[1]]).json()["stored"], 2);
    let deleted = data.run(["delete", "--patient", "1CT1", "--json"]).json();
    assert_eq!(deleted["ids"].as_array().unwrap().len(), 1, "{deleted}");
    assert_eq!(data.counts()["indexed"], 1);
    data.run(["delete", "--patient", "nobody"]).assert_fails(3, "nobody");
}

#[test]
fn a_folder_uses_its_own_model_and_refuses_another() {
    let data = Data::with_images(2);
    let folder = data.path().display().to_string();
    assert_eq!(run(["status", "--json", "--data", &folder]).json()["images"]["indexed"], 2);
    run(["status", "--data", &folder, "--model", "vgg16"]).assert_fails(4, "out to use efficientnet-lite0");
}

#[test]
fn training_makes_a_generation_and_rollback_returns() {
    let data = Data::with_images(300);
    let report = data.run(["train", "--json"]);
    let report = report.json();
    assert_eq!((&report["generation"], &report["accepted"]), (&1.into(), &true.into()), "{report}");
    assert!(report["recall_at_10"].as_f64().unwrap() >= report["recall_gate"].as_f64().unwrap());
    let example = data.scratch("images/even/0010.png").display().to_string();
    let answer = data.run(["search", &example, "--json"]).json();
    assert_eq!(answer["generation"], 1);
    assert_eq!(results(&answer)[0]["name"], "even/0010.png");
    assert_eq!(data.run(["train", "--json"]).json()["generation"], 2);
    assert_eq!(data.run(["rollback", "--json"]).json()["generation"], 1);
    assert_eq!(data.run(["status", "--json"]).json()["index"]["generation"], 1);
}

#[test]
fn a_row_key_needs_no_data_folder() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    // From Python: hashlib.md5(id.encode()).hexdigest() is 188ee1d9ab598c613e7548cb76738d52; int(that, 16) % 9 and % 10.
    for (partitions, partition) in [("9", 8), ("10", 0)] {
        let answer = run(["rowkey", id, "--partitions", partitions, "--json"]).json();
        assert_eq!(answer["partition"], partition, "{answer}");
        assert_eq!(answer["row_key"], format!("{partition:04}|76738d52{id}"));
    }
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_command_quietly() {
    let data = Data::with_images(30);
    let example = data.scratch("images/even/0000.png").display().to_string();
    let binary = env!("CARGO_BIN_EXE_medindex");
    let script = format!(
        "'{binary}' completions bash | head -n 1; '{binary}' --data '{}' search '{example}' -k 30 | head -n 1",
        data.path().display()
    );
    let outcome = common::finish(std::process::Command::new("sh").args(["-c", &script]));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let outcome = run(["completions", shell]);
        assert_eq!(outcome.code, Some(0));
        assert!(outcome.stdout.contains("recognise"), "{shell}");
    }
}

#[test]
fn evaluation_measures_labelled_images() {
    let data = Data::with_images(40);
    let (json, plot) = (data.scratch("report.json"), data.scratch("report.svg"));
    let (json, plot) = (json.display().to_string(), plot.display().to_string());
    let outcome =
        data.run(["evaluate", "--sample", "20", "--seed", "3", "--save", &json, "--plot", &plot, "--json"]);
    let report = outcome.json();
    assert_eq!((&report["images"], &report["queries"]), (&40.into(), &20.into()), "{report}");
    let names: Vec<&str> = report["rankings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ranking| ranking["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names[..3],
        ["raw 16x16 pixels, mean removed", "raw 16x16 pixels, as they are", "exact vectors"]
    );
    for ranking in report["rankings"].as_array().unwrap() {
        let overall = &ranking["overall"];
        for figure in ["p_at_1", "p_at_10", "map"] {
            assert!((0.0..=1.0).contains(&overall[figure].as_f64().unwrap()), "{ranking}");
        }
        assert_eq!(ranking["labels"].as_array().unwrap().len(), 2);
    }
    // The index compares exactly before it is trained, and so agrees with the exact vectors.
    assert_eq!(report["rankings"][2]["overall"], report["rankings"][3]["overall"]);
    assert_eq!(serde_json::from_str::<Value>(&std::fs::read_to_string(json).unwrap()).unwrap(), report);
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg"));
}

/// Gives images of `data`'s folder their labels: names below it, and a label each.
fn label(data: &Data, labels: &[(&str, &str)]) -> Value {
    let table = data.scratch("images/labels.csv");
    let rows: Vec<String> = labels.iter().map(|(name, label)| format!("{name},{label}")).collect();
    std::fs::write(&table, format!("file,label\n{}\n", rows.join("\n"))).unwrap();
    let images = data.scratch("images").display().to_string();
    data.run(["import", "--json", "--labels", &table.display().to_string(), &images]).json()
}

fn ranking<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    report["rankings"].as_array().unwrap().iter().find(|ranking| ranking["name"] == name)
}

#[test]
fn queries_whose_label_no_other_image_has_are_left_out_of_an_evaluation() {
    let data = Data::new();
    data.images(8);
    let labels = [
        ("even/0000.png", "a"),
        ("even/0002.png", "a"),
        ("even/0004.png", "b"),
        ("even/0006.png", "b"),
        ("odd/0001.png", "alone"),
    ];
    label(&data, &labels);
    let report = data.run(["evaluate", "--no-pixels", "--json"]).json();
    let counts = ["images", "unlabelled", "queries", "queries_left_out"].map(|field| &report[field]);
    assert_eq!(counts, [5, 3, 4, 1], "{report}");
    for ranking in report["rankings"].as_array().unwrap() {
        assert_eq!(ranking["overall"]["queries"], 4, "{ranking}");
        assert_eq!(ranking["labels"].as_array().unwrap().len(), 2, "{ranking}");
    }
    // Both compare all vectors exactly, among the labelled images alone.
    assert_eq!(
        ranking(&report, "exact vectors").unwrap()["overall"],
        ranking(&report, "index (exact: not trained)").unwrap()["overall"]
    );
    let text = data.run(["evaluate", "--no-pixels"]);
    assert!(text.stdout.contains("1 of them are no queries"), "{text:?}");
}

#[test]
fn labels_that_one_image_each_has_leave_nothing_to_evaluate() {
    let data = Data::new();
    data.images(3);
    label(&data, &[("even/0000.png", "a"), ("odd/0001.png", "b")]);
    data.run(["evaluate"]).assert_fails(4, "no label has two images");
}

#[test]
fn an_evaluation_measures_the_index_where_few_images_have_a_label() {
    let data = Data::new();
    data.images(300);
    let names: Vec<String> = (0..12).map(|number| format!("even/{:04}.png", 2 * number)).collect();
    let labels: Vec<(&str, &str)> =
        names.iter().enumerate().map(|(place, name)| (name.as_str(), ["a", "b"][place % 2])).collect();
    label(&data, &labels);
    data.run(["train", "--json"]).json();
    let report = data.run(["evaluate", "--no-pixels", "--json"]).json();
    let counts = ["images", "unlabelled", "queries", "queries_left_out"].map(|field| &report[field]);
    assert_eq!(counts, [12, 288, 12, 0], "{report}");
    assert!(ranking(&report, "index").is_some(), "{report}");
    // Had the index gathered the few images with a label, it would have scanned and re-ranked nothing.
    assert!(ranking(&report, "codes, first 0 re-ranked").is_none(), "{report}");
    assert_eq!(report["rankings"].as_array().unwrap().len(), 4, "{report}");
}
