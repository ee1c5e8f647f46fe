//! A data folder that lost a part is refused with the cure, and repaired without losing what the rest holds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use std::fs;
use std::path::Path;

use common::{Data, Outcome, picture};
use serde_json::Value;

const IMAGES: usize = 6;

/// A search that finds every image, with ids, names and labels.
fn found(data: &Data) -> Vec<[String; 3]> {
    let example = data.scratch("images/even/0000.png").display().to_string();
    let answer = data.run(["search", &example, "-k", "50", "--json"]).json();
    let text = |result: &Value, key: &str| result[key].as_str().unwrap_or_default().to_owned();
    let results = answer["results"].as_array().unwrap().iter();
    let mut found: Vec<_> = results.map(|hit| ["id", "name", "label"].map(|key| text(hit, key))).collect();
    found.sort();
    found
}

fn remove_catalog(data: &Data) {
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let path = data.path().join(name);
        if path.exists() {
            fs::remove_file(path).unwrap();
        }
    }
}

fn import_again(data: &Data) -> Outcome {
    let images = data.scratch("images").display().to_string();
    data.run(["import", "--label-from-folder", "--json", &images])
}

/// Repairs the folder; the exit code says whether images are gone, and the result is printed all the same.
fn repair(data: &Data) -> Value {
    let outcome = data.run(["repair", "--json"]);
    let report: Value =
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    let gone: usize = ["lost", "unreadable"].iter().map(|list| report[list].as_array().unwrap().len()).sum();
    assert_eq!(outcome.code, Some(if gone == 0 { 0 } else { 6 }), "{outcome:?}");
    let told = ["images are gone", "1 image is gone"].iter().any(|words| outcome.stderr.contains(words));
    assert_eq!(told, gone > 0, "{outcome:?}");
    report
}

/// Every way to open the folder is refused with the cure.
fn assert_refused(data: &Data, words: &str) {
    let images = data.scratch("images").display().to_string();
    for command in [["status", "--json"], ["import", &images]] {
        let refused = data.run(command);
        refused.assert_fails(6, words);
        assert!(refused.stderr.contains("medindex repair"), "{refused:?}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() { copy(&from, &to) } else { fs::copy(from, to).map(drop).unwrap() }
    }
}

#[test]
fn a_lost_store_is_noticed_and_its_images_can_be_imported_again() {
    let data = Data::with_images(IMAGES);
    let before = found(&data);
    fs::remove_file(data.path().join("store.redb")).unwrap();
    assert_refused(&data, "store.redb is not there");
    assert!(!data.path().join("store.redb").exists(), "a refusal leaves the folder as it was");
    let repaired = repair(&data);
    assert_eq!(repaired["lost"].as_array().unwrap().len(), IMAGES, "{repaired}");
    assert_eq!((&repaired["recovered"], &repaired["searchable"]), (&0.into(), &0.into()), "{repaired}");
    assert_eq!(data.counts()["failed"], IMAGES);
    assert_eq!(import_again(&data).json()["stored"], IMAGES);
    assert_eq!(found(&data), before, "the images keep their ids");
    assert_eq!(repair(&data)["lost"], Value::Array(vec![]), "nothing is lost any more");
}

#[test]
fn a_folder_of_which_only_the_index_is_left_is_not_repaired_and_not_emptied() {
    let data = Data::with_images(IMAGES);
    remove_catalog(&data);
    fs::remove_file(data.path().join("store.redb")).unwrap();
    for command in ["status", "repair"] {
        data.run([command]).assert_fails(6, "neither store.redb nor catalog.sqlite is there");
    }
    assert!(data.path().join("index").exists());
}

#[test]
fn a_lost_catalog_is_written_again_from_the_store() {
    let data = Data::with_images(IMAGES);
    let before = found(&data);
    remove_catalog(&data);
    assert_refused(&data, "catalog.sqlite is not there");
    assert!(!data.path().join("catalog.sqlite").exists(), "a refusal leaves the folder as it was");
    let repaired = repair(&data);
    assert_eq!(repaired["recovered"], IMAGES, "{repaired}");
    assert_eq!((&repaired["lost"], &repaired["searchable"]), (&Value::Array(vec![]), &IMAGES.into()));
    assert_eq!(found(&data), before, "ids, names and labels are as before");
    assert_eq!(import_again(&data).json()["duplicates"], IMAGES);
    let again = repair(&data);
    assert_eq!((&again["recovered"], &again["searchable"]), (&0.into(), &IMAGES.into()), "{again}");
}

/// The damages that a catalog's file may have, done to its bytes.
fn damages(whole: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    let mut scattered = whole.to_vec();
    for page in scattered.chunks_mut(4096).skip(1) {
        page[8..200].fill(0xee);
    }
    [("empty", Vec::new()), ("half", whole[..whole.len() / 2].to_vec()), ("scattered", scattered)]
}

#[test]
fn a_damaged_catalog_is_set_aside_and_written_again_from_the_store() {
    let data = Data::with_images(IMAGES);
    let before = found(&data);
    let path = data.path().join("catalog.sqlite");
    for (number, (damage, bytes)) in damages(&fs::read(&path).unwrap()).into_iter().enumerate() {
        remove_catalog(&data);
        fs::write(&path, &bytes).unwrap();
        assert_refused(&data, "catalog.sqlite cannot be read");
        let repaired = repair(&data);
        assert_eq!(repaired["recovered"], IMAGES, "{damage}: {repaired}");
        let kept = repaired["catalog_set_aside"].as_str().unwrap();
        let suffix = if number == 0 { ".damaged".to_owned() } else { format!(".damaged-{}", number + 1) };
        assert!(kept.ends_with(&format!("catalog.sqlite{suffix}")) && Path::new(kept).exists(), "{kept}");
        assert_eq!(found(&data), before, "{damage}: ids, names and labels are as before");
        let again = repair(&data);
        assert_eq!((&again["recovered"], &again["catalog_set_aside"]), (&0.into(), &Value::Null), "{again}");
    }
}

/// Changes what the store says of an image, as bad hardware would.
fn damage_row(data: &Data, name: &str) {
    let path = data.path().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    let wanted = format!("\"name\":\"{name}\"").into_bytes();
    let places: Vec<usize> =
        (0..bytes.len() - wanted.len()).filter(|place| bytes[*place..].starts_with(&wanted)).collect();
    assert!(!places.is_empty(), "the store says nothing of {name}");
    for place in places {
        bytes[place + 9] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_damaged_row_of_the_store_is_named_and_the_rest_is_saved() {
    for catalog_is_lost in [false, true] {
        let data = Data::with_images(IMAGES);
        let before = found(&data);
        damage_row(&data, "even/0002.png");
        if catalog_is_lost {
            remove_catalog(&data);
        }
        let repaired = repair(&data);
        let unreadable = repaired["unreadable"].as_array().unwrap();
        assert_eq!(unreadable.len(), 1, "{repaired}");
        assert_eq!(repaired["searchable"], IMAGES - 1, "{repaired}");
        assert_eq!(found(&data).len(), IMAGES - 1, "the rest is as before");
        assert_eq!(import_again(&data).json()["stored"], 1);
        assert_eq!(found(&data).len(), before.len());
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_set_aside_and_its_images_can_be_imported_again() {
    let data = Data::with_images(IMAGES);
    let before = found(&data);
    let path = data.path().join("store.redb");
    for (number, damage) in ["empty", "cut", "overwritten"].into_iter().enumerate() {
        let whole = fs::read(&path).unwrap();
        let damaged = match damage {
            "empty" => Vec::new(),
            "cut" => whole[..1000].to_vec(),
            _ => vec![0xee; whole.len()],
        };
        fs::write(&path, &damaged).unwrap();
        assert_refused(&data, "store.redb cannot be opened");
        assert_eq!(fs::read(&path).unwrap(), damaged, "a refusal leaves the folder as it was");
        let repaired = repair(&data);
        assert_eq!(repaired["lost"].as_array().unwrap().len(), IMAGES, "{damage}: {repaired}");
        let kept = repaired["store_set_aside"].as_str().unwrap();
        let suffix = if number == 0 { ".damaged".to_owned() } else { format!(".damaged-{}", number + 1) };
        assert!(kept.ends_with(&format!("store.redb{suffix}")), "{kept}");
        assert_eq!(fs::read(kept).unwrap(), damaged);
        assert_eq!(import_again(&data).json()["stored"], IMAGES, "{damage}");
        assert_eq!(found(&data), before, "{damage}: the images keep their ids");
    }
}

/// Makes the keys of a row impossible, as bad hardware would.
fn damage_keys(data: &Data, id: &str) {
    let row = common::run(["rowkey", id, "--json"]).json()["row_key"].as_str().unwrap().to_owned();
    let path = data.path().join("store.redb");
    let mut bytes = fs::read(&path).unwrap();
    // In keys a zero follows it, in messages it does not.
    let wanted = [row.as_bytes(), b"\0"].concat();
    let places: Vec<usize> =
        (0..bytes.len() - wanted.len()).filter(|place| bytes[*place..].starts_with(&wanted)).collect();
    assert!(places.len() > 1, "the store has no keys of {row}");
    for place in places {
        bytes[place + 8] = 0xff;
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_row_whose_keys_are_damaged_does_not_keep_the_others_back() {
    for catalog_is_lost in [false, true] {
        let data = Data::with_images(IMAGES);
        let before = found(&data);
        damage_keys(&data, &before[2][0]);
        if catalog_is_lost {
            remove_catalog(&data);
        }
        let repaired = repair(&data);
        assert_eq!(repaired["searchable"], IMAGES - 1, "{repaired}");
        let lost =
            repaired["lost"].as_array().unwrap().len() + repaired["unreadable"].as_array().unwrap().len();
        assert_eq!(lost, usize::from(!catalog_is_lost), "only the catalog knows what is gone: {repaired}");
        assert_eq!(found(&data).len(), IMAGES - 1, "the rest is as before");
        assert_eq!(import_again(&data).json()["stored"], 1);
        assert_eq!(found(&data).len(), before.len());
    }
}

#[test]
fn a_damaged_store_is_refused_with_one_line() {
    let data = Data::with_images(IMAGES);
    let path = data.path().join("store.redb");
    let whole = fs::read(&path).unwrap();
    for seed in 1..=4_u8 {
        for pages in [1..2, 1..4, 2..9] {
            let mut bytes = whole.clone();
            let mut state = u32::from(seed);
            for byte in &mut bytes[pages.start * 4096..pages.end * 4096] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (state >> 24) as u8;
            }
            fs::write(&path, bytes).unwrap();
            let mut command = data.command(["status", "--json"]);
            let outcome = common::finish(command.env("RUST_BACKTRACE", "1"));
            if outcome.code == Some(0) {
                continue; // The damage lies in pages that are free.
            }
            outcome.assert_fails(6, "store");
            assert!(!outcome.stderr.contains("unreachable"), "{outcome:?}");
        }
    }
}

#[test]
fn a_store_with_damaged_pages_is_saved_in_a_new_file_and_completed_by_importing_again() {
    let data = Data::with_images(IMAGES);
    let before = found(&data);
    let path = data.path().join("store.redb");
    let whole = fs::read(&path).unwrap();
    let catalog = fs::read(data.path().join("catalog.sqlite")).unwrap();
    let (mut tried, mut salvaged) = (0, 0);
    let is_used = |page: &usize| whole[page * 4096..][..4096].iter().any(|byte| *byte != 0);
    // Scattered over the file, as all of them would take long. Where what lies differs from run to run.
    let pages = (0..5).flat_map(|first| (1 + first..whole.len() / 4096).step_by(5)).filter(is_used);
    for page in pages {
        if tried >= 10 && salvaged >= 3 {
            break;
        }
        tried += 1;
        let mut bytes = whole.clone();
        bytes[page * 4096..][..4096].fill(0xa7);
        fs::write(&path, &bytes).unwrap();
        remove_catalog(&data);
        fs::write(data.path().join("catalog.sqlite"), &catalog).unwrap();
        let repaired = repair(&data);
        let listed = ["lost", "unreadable"].map(|list| repaired[list].as_array().unwrap().len());
        let searchable = repaired["searchable"].as_u64().unwrap() as usize;
        assert_eq!(searchable + listed[0] + listed[1], IMAGES, "page {page}: {repaired}");
        if let Some(kept) = repaired["store_set_aside"].as_str() {
            assert!(fs::read(kept).unwrap() == bytes, "page {page}: the damaged store is kept as it was");
            fs::remove_file(kept).unwrap();
            salvaged += 1;
        }
        let again = import_again(&data).json();
        assert_eq!(again["stored"], IMAGES - searchable, "page {page}: {again}");
        assert_eq!(found(&data), before, "page {page}");
    }
    assert!(salvaged >= 3, "{salvaged} of {tried} stores had damaged pages that mattered");
}

#[test]
fn an_older_catalog_is_noticed_and_completed() {
    let data = Data::with_images(IMAGES);
    let kept = data.scratch("older.sqlite");
    fs::copy(data.path().join("catalog.sqlite"), &kept).unwrap();
    fs::write(data.scratch("images/odd/new.png"), picture(99)).unwrap();
    assert_eq!(import_again(&data).json()["stored"], 1);
    let before = found(&data);
    remove_catalog(&data);
    fs::copy(kept, data.path().join("catalog.sqlite")).unwrap();
    assert_refused(&data, "1 images of store.redb are not in its catalog");
    assert_eq!(repair(&data)["recovered"], 1);
    assert_eq!(found(&data), before);
}

#[test]
fn an_older_catalog_of_as_many_images_is_noticed_too() {
    let data = Data::with_images(IMAGES);
    let kept = data.scratch("older.sqlite");
    fs::copy(data.path().join("catalog.sqlite"), &kept).unwrap();
    let gone = found(&data)[0][0].clone();
    data.run(["delete", &gone]);
    let new = data.scratch("new.png");
    fs::write(&new, picture(99)).unwrap();
    assert_eq!(data.run(["import", "--json", new.to_str().unwrap()]).json()["stored"], 1);
    let before = found(&data);
    remove_catalog(&data);
    fs::copy(kept, data.path().join("catalog.sqlite")).unwrap();
    assert_refused(&data, "1 images of store.redb are not in its catalog");
    let repaired = repair(&data);
    assert_eq!((&repaired["recovered"], &repaired["searchable"]), (&1.into(), &IMAGES.into()), "{repaired}");
    let ids = |found: &[[String; 3]]| found.iter().map(|image| image[0].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found(&data)), ids(&before));
}

#[test]
fn the_catalog_of_another_folder_is_noticed() {
    let (data, other) = (Data::with_images(IMAGES), Data::with_images(IMAGES));
    remove_catalog(&data);
    fs::copy(other.path().join("catalog.sqlite"), data.path().join("catalog.sqlite")).unwrap();
    assert_refused(&data, &format!("{IMAGES} images of store.redb are not in its catalog"));
    repair(&data);
    import_again(&data).json();
    assert_eq!(found(&data).len(), IMAGES);
}

#[test]
fn an_older_store_is_noticed_and_what_it_lacks_is_named() {
    let data = Data::with_images(IMAGES);
    let kept = data.scratch("older.redb");
    fs::copy(data.path().join("store.redb"), &kept).unwrap();
    fs::write(data.scratch("images/odd/new.png"), picture(99)).unwrap();
    assert_eq!(import_again(&data).json()["stored"], 1);
    let before = found(&data);
    fs::copy(kept, data.path().join("store.redb")).unwrap();
    assert_refused(&data, "1 images of its catalog are not in store.redb");
    let repaired = repair(&data);
    assert_eq!(repaired["searchable"], IMAGES, "{repaired}");
    assert!(repaired["lost"][0]["name"].as_str().unwrap().ends_with("new.png"), "{repaired}");
    assert_eq!(import_again(&data).json()["stored"], 1);
    assert_eq!(found(&data), before);
}

#[test]
fn a_deleted_image_does_not_come_back_by_a_repair() {
    let data = Data::with_images(IMAGES);
    let gone = found(&data)[0][0].clone();
    data.run(["delete", &gone]);
    let repaired = repair(&data);
    assert_eq!((&repaired["recovered"], &repaired["searchable"]), (&0.into(), &(IMAGES - 1).into()));
    assert!(found(&data).iter().all(|[id, ..]| *id != gone));
}

#[test]
fn a_lost_or_damaged_index_is_made_again_without_a_word() {
    let data = Data::with_images(IMAGES);
    let before = found(&data);
    let whole = data.scratch("whole");
    copy(&data.path().join("index"), &whole);
    let rows = |data: &Data| {
        let mut files =
            fs::read_dir(data.path().join("index/data")).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == "rows")).unwrap()
    };
    let damages: [&dyn Fn(&Data); 5] = [
        &|data| {
            let mut bytes = fs::read(rows(data)).unwrap();
            let vectors = 64..64 + 2 * 512;
            bytes[vectors].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7));
            fs::write(rows(data), bytes).unwrap();
        },
        &|data| fs::remove_dir_all(data.path().join("index")).unwrap(),
        &|data| fs::remove_file(rows(data)).unwrap(),
        &|data| fs::write(rows(data), b"cut").unwrap(),
        &|data| fs::remove_file(data.path().join("index/manifest.json")).unwrap(),
    ];
    for damage in damages {
        let index = data.path().join("index");
        if index.exists() {
            fs::remove_dir_all(&index).unwrap();
        }
        copy(&whole, &index);
        damage(&data);
        assert_eq!(found(&data), before);
    }
}

#[test]
fn a_folder_without_its_description_is_no_new_folder() {
    let data = Data::with_images(1);
    fs::remove_file(data.path().join("medindex.json")).unwrap();
    data.run(["status"]).assert_fails(6, "medindex.json is missing");
}
