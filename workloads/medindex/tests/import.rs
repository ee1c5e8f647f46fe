//! `medindex import` with real files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use std::collections::BTreeSet;
use std::io::Write as _;

use common::{Data, Outcome, picture, sample, samples};
use serde_json::Value;

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn every_sample_is_stored_or_named_with_a_reason_and_a_second_import_changes_nothing() {
    let data = Data::new();
    let folder = samples().display().to_string();
    let files = walk(&samples());
    let first = data.run(["import", "--json", &folder]).json();
    for list in ["failed", "skipped"] {
        for item in first[list].as_array().unwrap() {
            assert!(!item["reason"].as_str().unwrap().is_empty(), "{item}");
        }
    }
    let count = |summary: &Value| {
        summary["stored"].as_u64().unwrap()
            + summary["duplicates"].as_u64().unwrap()
            + (names(&summary["failed"]).len() + names(&summary["skipped"]).len()) as u64
    };
    assert_eq!(count(&first), files, "{first}");
    assert!(first["stored"].as_u64().unwrap() >= 80, "{first}");
    assert_eq!(first["interrupted"], false);

    let second = data.run(["import", "--json", &folder]).json();
    assert_eq!(second["stored"], 0, "{second}");
    assert_eq!(count(&second), files, "{second}");
    assert_eq!(sorted(&second["failed"]), sorted(&first["failed"]));
    assert_eq!(data.counts()["indexed"], first["stored"]);
}

fn sorted(list: &Value) -> BTreeSet<&str> {
    names(list).into_iter().collect()
}

fn walk(folder: &std::path::Path) -> u64 {
    let visible = |entry: &walkdir::DirEntry| !entry.file_name().to_string_lossy().starts_with('.');
    let all = walkdir::WalkDir::new(folder).into_iter().filter_entry(visible).map(Result::unwrap);
    all.filter(|entry| entry.file_type().is_file()).count() as u64
}

#[test]
fn the_summary_has_its_documented_fields() {
    let data = Data::new();
    let summary = data.run(["import", "--json", &data.images(2)]).json();
    let fields: BTreeSet<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "stored",
        "duplicates",
        "labels_set",
        "labels_kept",
        "failed",
        "skipped",
        "unused_labels",
        "waiting",
        "seconds",
        "interrupted",
    ];
    assert_eq!(fields, BTreeSet::from(documented));
}

#[test]
fn a_table_labels_by_path_and_by_base_name() {
    let data = Data::new();
    let folder = data.images(3);
    let table = data.scratch("labels.csv");
    std::fs::write(&table, "file,label\nimages/even/0000.png,Zero\n0001.png,One\nmissing.png,None\n")
        .unwrap();
    let table = table.display().to_string();
    let summary = data.run(["import", "--json", &folder, "--labels", &table]).json();
    assert_eq!(summary["unused_labels"], serde_json::json!(["missing.png"]));
    let labels = data.run(["status", "--json"]).json()["labels"].clone();
    let count = |name: &str| {
        let found = labels.as_array().unwrap().iter().find(|label| label["name"] == name);
        found.map_or(0, |label| label["count"].as_u64().unwrap())
    };
    assert_eq!((count("Zero"), count("One")), (1, 1), "{labels}");
}

#[test]
fn images_that_were_stored_without_a_label_are_labelled_later() {
    let data = Data::new();
    let folder = data.images(4);
    assert_eq!(data.run(["import", "--json", &folder]).json()["stored"], 4);
    let labelled = data.run(["import", "--json", "--label-from-folder", &folder]).json();
    assert_eq!((&labelled["duplicates"], &labelled["labels_set"]), (&4.into(), &4.into()), "{labelled}");
    let example = data.scratch("images/even/0000.png").display().to_string();
    let found = |filter: &str| {
        let answer = data.run(["search", &example, "--filter", filter, "--json"]).json();
        answer["results"].as_array().unwrap().len()
    };
    assert_eq!(found("label=even"), 2, "a filter sees the labels");
    let again = data.run(["import", "--json", "--label-from-folder", &folder]).json();
    assert_eq!((&again["labels_set"], &again["labels_kept"]), (&0.into(), &0.into()), "{again}");
    let table = data.scratch("labels.csv");
    std::fs::write(&table, "file,label\n0000.png,Other\n").unwrap();
    let kept = data.run(["import", &folder, "--labels", &table.display().to_string()]);
    assert!(kept.stdout.contains("1 labels kept") && kept.stdout.contains("delete the image"), "{kept:?}");
    assert_eq!(found("label=Other"), 0);
    // The label is in the store too, and outlives the catalog and the index.
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = std::fs::remove_file(data.path().join(name));
    }
    assert_eq!(data.run(["repair", "--json"]).json()["recovered"], 4);
    assert_eq!(found("label=even"), 2);
}

#[test]
fn no_messages_are_left_once_an_import_that_was_cut_off_is_done() {
    let data = Data::new();
    let folder = data.images(120);
    for round in 0..3 {
        let mut import = data.command(["import", &folder]).spawn().unwrap();
        // The moment of the kill is what is tested; it is not waiting for anything.
        std::thread::sleep(std::time::Duration::from_millis(600 + 150 * round));
        import.kill().unwrap();
        import.wait().unwrap();
    }
    data.run(["import", "--json", &folder]).json();
    let status = data.run(["status", "--json"]).json();
    assert_eq!((&status["upload_lag"], &status["images"]["received"]), (&0.into(), &0.into()), "{status}");
}

#[test]
fn links_to_nothing_and_pipes_are_skipped_with_the_reason() {
    let data = Data::new();
    let folder = data.images(2);
    std::os::unix::fs::symlink("gone", data.scratch("images/link.png")).unwrap();
    let pipe = data.scratch("images/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let summary = data.run(["import", "--json", &folder]).json();
    assert_eq!(summary["stored"], 2, "{summary}");
    assert_eq!(names(&summary["skipped"]), ["link.png", "pipe.png"]);
}

#[test]
fn a_dicom_directory_leads_to_its_files() {
    let data = Data::new();
    let directory = sample("dicomdirtests/DICOMDIR");
    let summary = data.run(["import", "--json", &directory]).json();
    assert_eq!(summary["stored"], 31, "{summary}");
    // Copied without its files, every one of them is named.
    let lonely = data.scratch("DICOMDIR");
    std::fs::copy(&directory, &lonely).unwrap();
    let outcome = data.run(["import", "--json", &lonely.display().to_string()]);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    let summary: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let failed = summary["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 31, "{summary}");
    assert!(failed.iter().all(|item| item["reason"].as_str().unwrap().contains("missing")), "{summary}");
}

#[test]
fn an_archive_is_imported_without_unpacking_it() {
    let data = Data::new();
    let archive = data.scratch("images.zip");
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&archive).unwrap());
    let entries: [(&str, Vec<u8>); 3] =
        [("Hand/1.png", picture(1)), ("Head/2.png", picture(2)), ("readme.txt", b"two images".to_vec())];
    for (name, bytes) in entries {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.finish().unwrap();
    let archive = archive.display().to_string();
    let summary = data.run(["import", "--json", "--label-from-folder", &archive]).json();
    assert_eq!(summary["stored"], 2, "{summary}");
    assert_eq!(names(&summary["skipped"]), ["readme.txt"]);
    let status = data.run(["status", "--json"]).json();
    assert_eq!(status["labels"].as_array().unwrap().len(), 2, "{status}");
}

#[test]
fn all_frames_of_an_image_become_searchable_when_asked_for() {
    let (middle, all) = (Data::new(), Data::new());
    let file = sample("examples_ybr_color.dcm");
    let vectors = |data: &Data, frames: &[&str]| {
        let arguments = [&["import", "--json", &file], frames].concat();
        assert_eq!(data.run(arguments).json()["stored"], 1);
        data.run(["status", "--json"]).json()["index"]["entries"].as_u64().unwrap()
    };
    assert_eq!(vectors(&middle, &[]), 1);
    assert_eq!(vectors(&all, &["--frames", "all"]), 30);
}

#[test]
fn globs_and_hidden_files() {
    let data = Data::new();
    let folder = data.images(4);
    std::fs::write(data.scratch("images/even/.hidden.png"), picture(9)).unwrap();
    let summary = data.run(["import", "--json", &format!("{folder}/even/*.png"), &folder]).json();
    assert_eq!((&summary["stored"], &summary["duplicates"]), (&4.into(), &2.into()), "{summary}");
}

#[test]
fn one_bad_file_among_good_ones_fails_only_when_strict() {
    let data = Data::new();
    let folder = data.images(2);
    std::fs::write(data.scratch("images/broken.png"), &picture(3)[..60]).unwrap();
    let summary = data.run(["import", "--json", &folder]).json();
    assert_eq!(names(&summary["failed"]), ["broken.png"]);
    let strict: Outcome = data.run(["import", "--strict", "--json", &folder]);
    assert_eq!(strict.code, Some(4), "{strict:?}");
    assert!(strict.stderr.contains("broken.png"), "{strict:?}");
}

#[test]
fn without_a_terminal_there_is_no_progress_bar() {
    let data = Data::new();
    let outcome = data.run(["import", &data.images(3)]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.starts_with("3 stored, 0 duplicates, 0 failed, 0 skipped in "), "{outcome:?}");
}

#[test]
fn a_text_that_is_too_long_fails_its_file_and_not_the_import() {
    let data = Data::new();
    let images = data.images(4);
    let table = data.scratch("images/labels.csv");
    let long = "x".repeat(300);
    std::fs::write(&table, format!("file,label\neven/0000.png,{long}\neven/0002.png,short\n")).unwrap();
    let summary = data.run(["import", "--json", "--labels", &table.display().to_string(), &images]).json();
    assert_eq!(summary["stored"], 3, "{summary}");
    let failed = summary["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 1, "{summary}");
    assert!(failed[0]["name"].as_str().unwrap().ends_with("0000.png"), "{summary}");
    assert!(failed[0]["reason"].as_str().unwrap().contains("label has 300 characters"), "{summary}");
}
