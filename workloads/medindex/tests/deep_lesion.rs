//! `medindex import` of the DeepLesion layout.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use common::{Data, sample};
use medindex_testbed::deep_lesion::write_data_set;
use serde_json::Value;

fn count(data: &Data, filter: &str) -> usize {
    let found =
        data.run(["search", &sample("CT_small.dcm"), "-k", "50", "--filter", filter, "--json"]).json();
    found["results"].as_array().unwrap().len()
}

#[test]
fn a_data_set_is_searchable_by_its_labels_patients_and_windows() {
    let data = Data::new();
    let folder = data.scratch("DeepLesion");
    std::fs::create_dir(&folder).unwrap();
    let slices = write_data_set(&folder, 6).unwrap();
    let path = folder.display().to_string();
    let summary = data.run(["import", "--json", &path]).json();
    assert_eq!(
        (&summary["stored"], summary["failed"].as_array().unwrap().len()),
        (&6.into(), 0),
        "{summary}"
    );
    assert_eq!(count(&data, "label=lung"), slices.iter().filter(|slice| slice.label == Some("lung")).count());
    assert_eq!(count(&data, "patient=DeepLesion-000001"), 4);
    assert_eq!(count(&data, "modality=CT"), 6);

    // The first slice is the scan itself, in the window of its row.
    let scan = sample("CT_small.dcm");
    let nearest = |window: &str| -> Value {
        data.run(["search", &scan, "-k", "1", "--window", window, "--json"]).json()["results"][0].clone()
    };
    let found = nearest("-500,2000");
    assert_eq!(found["name"], slices[0].file_name.as_str());
    assert!(found["distance"].as_f64().unwrap() < 1e-3, "{found}");
    let id = found["id"].as_str().unwrap();
    let [x, y, width, height] = slices[0].regions[0];
    let box_of_lesion = format!("{x},{y},{width},{height}");
    let by_region = data.run(["search", id, "--roi", &box_of_lesion, "--json"]).json();
    assert_eq!(by_region["results"].as_array().unwrap().len(), 5, "{by_region}");

    let again = data.run(["import", "--json", &folder.join("DL_info.csv").display().to_string()]).json();
    assert_eq!((&again["stored"], &again["duplicates"]), (&0.into(), &6.into()), "{again}");
}

#[test]
fn one_window_may_be_given_for_all_slices() {
    let data = Data::new();
    let folder = data.scratch("DeepLesion");
    std::fs::create_dir(&folder).unwrap();
    write_data_set(&folder, 1).unwrap();
    let path = folder.display().to_string();
    data.run(["import", &path, "--lesion-window", "lungs"]).assert_fails(2, "unknown window");
    assert_eq!(data.run(["import", "--json", "--lesion-window", "40,400", &path]).json()["stored"], 1);
    let found = data.run(["search", &sample("CT_small.dcm"), "--window", "40,400", "--json"]).json();
    assert!(found["results"][0]["distance"].as_f64().unwrap() < 1e-3, "{found}");
}

#[test]
fn a_data_set_is_not_sent_through_a_server_that_would_lose_its_windows() {
    let data = Data::new();
    let folder = data.scratch("DeepLesion");
    std::fs::create_dir(&folder).unwrap();
    write_data_set(&folder, 1).unwrap();
    let path = folder.display().to_string();
    let outcome = common::run(["--server", "http://127.0.0.1:9", "import", &path]);
    outcome.assert_fails(2, "leave out --server");
}
