//! What is on disk: damage is named, a second opener is refused, errors leave the old state, space comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod search_support;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use medindex_index::{Change, EntryKey, Index, IndexError, IndexOptions, LogPositions, SearchRequest};
use search_support::{DIMENSION, Model, entry, id, learn, no_positions, open, options, random, vector};

/// An index with everything a folder can have: two segments with lists, removed rows, two generations.
fn full_index(folder: &Path) -> (Index, Model) {
    let index = open(folder);
    let mut model = Model::default();
    let mut rng = random(1);
    for part in 0..2_u64 {
        let mut changes: Vec<Change> =
            (0..200).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, part * 200 + n, 0))).collect();
        changes.push(Change::Remove { id: id(part * 200 + 3) });
        model.apply(&changes);
        index.apply(&changes, &LogPositions::from([(0, part + 1)])).unwrap();
        index.snapshot().unwrap();
    }
    for generation in 1..=2 {
        index.build_generation(learn(&index, generation, 4, 8, 4), &|_| ()).unwrap();
        index.activate(generation).unwrap();
    }
    let late = [Change::Remove { id: id(17) }];
    model.apply(&late);
    index.apply(&late, &LogPositions::from([(0, 3)])).unwrap();
    index.snapshot().unwrap();
    (index, model)
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.join("data")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("data")).unwrap();
    fs::copy(from.join("manifest.json"), to.join("manifest.json")).unwrap();
    for file in files_in(from) {
        fs::copy(&file, to.join("data").join(file.file_name().unwrap())).unwrap();
    }
}

fn check(index: &Index, model: &Model) {
    let mut rng = random(99);
    assert_eq!(index.len(), model.entries.len());
    for _ in 0..10 {
        let request =
            SearchRequest { exact: true, ..SearchRequest::new(vector(&mut rng, DIMENSION, 20), 20) };
        model.check(&request, &index.search(&request).unwrap());
        let request = SearchRequest { exact: false, ..request };
        model.check_hits(&request, &index.search(&request).unwrap());
    }
}

#[test]
fn a_reopened_index_has_everything_of_the_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let (index, model) = full_index(folder.path());
    let before = index.status();
    drop(index);
    let index = open(folder.path());
    check(&index, &model);
    let after = index.status();
    assert_eq!((after.generation, after.previous_generation), (2, Some(1)));
    assert_eq!(after.log_positions, LogPositions::from([(0, 3)]));
    assert_eq!(after.entries, before.entries);
    index.verify().unwrap();
    assert_eq!(index.rollback().unwrap(), 1);
    check(&index, &model);
    assert_eq!(index.rollback().unwrap(), 2);
    check(&index, &model);
}

#[test]
fn every_truncated_or_flipped_file_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = full_index(folder.path());
    drop(index);
    let mut damaged = files_in(folder.path());
    assert!(damaged.len() >= 9, "rows, lists of two generations, removed rows, quantizers: {damaged:?}");
    damaged.push(folder.path().join("manifest.json"));
    for file in damaged {
        let whole = fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut versions: Vec<Vec<u8>> =
            [0, 1, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()).to_vec();
        for at in (0..whole.len()).step_by((whole.len() / 23).max(1)).chain([whole.len() - 1]) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x04;
            versions.push(flipped);
        }
        for version in versions {
            let copy = tempfile::tempdir().unwrap();
            copy_folder(folder.path(), copy.path());
            let path = if name == "manifest.json" {
                copy.path().join(&name)
            } else {
                copy.path().join("data").join(&name)
            };
            fs::write(&path, &version).unwrap();
            let options = IndexOptions { verify_vectors_up_to: u64::MAX, ..options(DIMENSION) };
            // The files of the previous generation are only read when they are needed, and by `verify`.
            let Err(error) = Index::open(copy.path(), options).and_then(|index| index.verify()) else {
                // A flipped bit of padding between sections is harmless: nothing reads it.
                assert_eq!(version.len(), whole.len(), "{name} was cut and is accepted");
                continue;
            };
            assert!(error.to_string().contains(&name), "{error} does not name {name}");
            assert!(
                matches!(
                    error,
                    IndexError::Corrupt { .. } | IndexError::FormatTooNew { .. } | IndexError::Read { .. }
                ),
                "{error:?}"
            );
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(full_index(folder.path()));
    for file in files_in(folder.path()).into_iter().chain([folder.path().join("manifest.json")]) {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let path = if name == "manifest.json" {
            copy.path().join(&name)
        } else {
            copy.path().join("data").join(&name)
        };
        fs::remove_file(path).unwrap();
        let error = match Index::open(copy.path(), options(DIMENSION)) {
            Err(error) => error,
            Ok(index) => index.verify().unwrap_err(),
        };
        assert!(error.to_string().contains(&name), "{error} does not name {name}");
    }
}

/// Changes a byte of the first vector of the first file of rows.
fn damage_vectors(folder: &Path) -> String {
    let files = files_in(folder);
    let rows = files.iter().find(|file| file.extension().is_some_and(|name| name == "rows")).unwrap();
    let file = fs::OpenOptions::new().read(true).write(true).open(rows).unwrap();
    // The vectors are the first section.
    let mut byte = [0];
    file.read_exact_at(&mut byte, 65).unwrap();
    file.write_all_at(&[byte[0] ^ 0x30], 65).unwrap();
    rows.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn vectors_that_are_damaged_while_the_index_is_open_are_named_and_not_merged_until_they_are_applied_again() {
    let folder = tempfile::tempdir().unwrap();
    let (index, model) = full_index(folder.path());
    assert!(index.damaged().is_empty());
    let name = damage_vectors(folder.path());
    let damaged = index.damaged();
    assert_eq!(damaged.len(), 1);
    assert!(damaged[0].error.is_damage() && damaged[0].error.to_string().contains(&name));
    let keys = damaged[0].keys.as_ref().expect("its keys are whole");
    assert!(keys.len() > 100, "all that it holds: {}", keys.len());
    // A third of it is removed, which asks for a rewrite.
    let (removed, kept) = keys.split_at(keys.len() / 3);
    let mut model = model;
    let changes: Vec<Change> = removed.iter().map(|key| Change::Remove { id: key.id }).collect();
    model.apply(&changes);
    index.apply(&changes, &no_positions()).unwrap();
    let refused = index.maintain().unwrap_err();
    assert!(refused.is_damage() && refused.to_string().contains(&name), "{refused}");
    let changes: Vec<Change> = kept.iter().map(|key| Change::Upsert(model.entries[key].clone())).collect();
    index.apply(&changes, &no_positions()).unwrap();
    index.maintain().unwrap();
    index.snapshot().unwrap();
    assert!(index.damaged().is_empty());
    index.verify().unwrap();
    check(&index, &model);
    drop(index);
    check(&open(folder.path()), &model);
}

#[test]
fn damage_beside_the_vectors_is_found_while_the_index_is_open_and_its_keys_are_not_relied_on() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = full_index(folder.path());
    let files = files_in(folder.path());
    let rows = files.iter().find(|file| file.extension().is_some_and(|name| name == "rows")).unwrap();
    let length = fs::metadata(rows).unwrap().len();
    // The vectors are the first section; attributes and footer the last.
    fs::OpenOptions::new().write(true).open(rows).unwrap().write_all_at(&[0x5a; 64], length / 2).unwrap();
    let damaged = index.damaged();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert!(damaged[0].error.is_damage() && damaged[0].keys.is_none(), "{damaged:?}");
}

#[test]
fn damaged_vectors_of_a_small_index_are_noticed_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    drop(full_index(folder.path()));
    let name = damage_vectors(folder.path());
    let error = Index::open(folder.path(), options(DIMENSION)).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains(&name), "{error}");
    let large = IndexOptions { verify_vectors_up_to: 0, ..options(DIMENSION) };
    assert_eq!(Index::open(folder.path(), large).unwrap().damaged().len(), 1);
}

#[test]
fn a_damaged_index_can_be_created_anew() {
    let folder = tempfile::tempdir().unwrap();
    drop(full_index(folder.path()));
    fs::write(folder.path().join("manifest.json"), "not a manifest").unwrap();
    assert!(Index::open(folder.path(), options(DIMENSION)).is_err());
    let index = Index::recreate(folder.path(), options(DIMENSION)).unwrap();
    assert!(index.is_empty());
    assert!(index.log_positions().is_empty(), "the caller rebuilds from the beginning");
    assert!(files_in(folder.path()).is_empty(), "nothing of the damaged index takes space");
    let changes = [Change::Upsert(entry(&mut random(5), DIMENSION, 1, 0))];
    index.apply(&changes, &no_positions()).unwrap();
    index.snapshot().unwrap();
    drop(index);
    assert_eq!(open(folder.path()).len(), 1);
}

#[test]
fn a_second_opener_of_a_folder_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let error = Index::open(folder.path(), options(DIMENSION)).unwrap_err();
    assert!(matches!(error, IndexError::FolderLocked { .. }));
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    drop(index);
    open(folder.path());
}

#[test]
fn an_index_of_another_model_or_dimension_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    for other in [IndexOptions::new(DIMENSION, "model-b"), IndexOptions::new(DIMENSION + 1, "model-a")] {
        let error = Index::open(folder.path(), other).unwrap_err();
        assert!(matches!(error, IndexError::OtherModel { .. }), "{error}");
    }
    let error = Index::open(folder.path(), IndexOptions::new(0, "model-a")).unwrap_err();
    assert!(error.to_string().contains("dimension is 0"), "{error}");
}

#[test]
fn a_failed_write_is_an_error_and_the_old_state_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (index, mut model) = full_index(folder.path());
    let positions = index.status().durable_positions;
    // A folder in the way of the new manifest fails the write as a full disk does.
    let obstacle = folder.path().join("manifest.json.new");
    fs::create_dir(&obstacle).unwrap();
    let mut rng = random(4);
    let changes: Vec<Change> = (500..600).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, n, 0))).collect();
    model.apply(&changes);
    index.apply(&changes, &LogPositions::from([(0, 9)])).unwrap();
    for _ in 0..3 {
        let error = index.snapshot().unwrap_err();
        assert!(matches!(error, IndexError::Write { .. }), "{error}");
        assert!(error.to_string().contains("manifest.json.new"), "{error}");
        assert!(index.rollback().is_err());
        check(&index, &model);
        assert_eq!(index.status().durable_positions, positions);
        assert_eq!(index.status().generation, 2);
    }
    // The stored state is the old one.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    assert_eq!(open(copy.path()).log_positions(), positions);
    // With space again, everything goes on.
    fs::remove_dir(&obstacle).unwrap();
    index.snapshot().unwrap();
    assert_eq!(index.rollback().unwrap(), 1);
    drop(index);
    let index = open(folder.path());
    check(&index, &model);
    assert_eq!(index.log_positions(), LogPositions::from([(0, 9)]));
}

#[test]
fn removing_gives_space_back_without_filling_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let mut rng = random(3);
    let changes: Vec<Change> = (0..3_000).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, n, 0))).collect();
    index.apply(&changes, &no_positions()).unwrap();
    index.maintain().unwrap();
    let size =
        |folder: &Path| files_in(folder).iter().map(|file| fs::metadata(file).unwrap().len()).sum::<u64>();
    let before = size(folder.path());
    let mut most = 0;
    for number in 0..2_900 {
        index.apply(&[Change::Remove { id: id(number) }], &no_positions()).unwrap();
        if number % 50 == 0 {
            index.maintain().unwrap();
            most = most.max(size(folder.path()));
        }
    }
    index.maintain().unwrap();
    assert_eq!(index.len(), 100);
    assert!(most < before + before / 4, "{most} bytes at most, {before} before");
    assert!(size(folder.path()) < before / 10, "{} of {before} bytes are left", size(folder.path()));
    assert!(index.vector(EntryKey::new(id(2_950), 0)).is_some());
}

#[test]
fn one_added_entry_rewrites_no_large_segment() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let mut rng = random(6);
    let changes: Vec<Change> = (0..5_000).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, n, 0))).collect();
    index.apply(&changes, &no_positions()).unwrap();
    index.snapshot().unwrap();
    index.maintain().unwrap();
    let large = files_in(folder.path());
    for number in 5_000..5_040 {
        let change = Change::Upsert(entry(&mut rng, DIMENSION, number, 0));
        index.apply(&[change], &no_positions()).unwrap();
        index.snapshot().unwrap();
        index.maintain().unwrap();
    }
    let now = files_in(folder.path());
    assert!(large.iter().all(|file| now.contains(file)), "the large segment stays as it was written");
    assert!(index.status().segments < 12, "small segments are merged: {:?}", index.status());
}
