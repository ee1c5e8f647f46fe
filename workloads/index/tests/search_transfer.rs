//! Taking an index elsewhere: a copy answers as the original, damage is refused, rows can be taken out of several.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod search_support;

use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use medindex_index::{Change, EntryKey, Export, Index, IndexError, LogPositions, SearchRequest};
use search_support::{DIMENSION, Model, entry, id, learn, open, options, random, vector};

/// Puts an export where `Index::adopt` finds it.
fn copy(export: Export, folder: &Path) {
    let data = folder.join(Export::DATA);
    fs::create_dir_all(&data).unwrap();
    fs::write(folder.join(Export::MANIFEST), &export.manifest).unwrap();
    for mut file in export.files {
        let mut bytes = Vec::new();
        file.file.rewind().unwrap();
        file.file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, file.bytes);
        fs::write(data.join(file.name), bytes).unwrap();
    }
}

/// An index with two segments, removed rows, two generations of which the second is active, and a tail.
fn filled(folder: &Path) -> (Index, Model) {
    let (index, mut model, mut rng) = (open(folder), Model::default(), random(1));
    for part in 0..2_u64 {
        let changes: Vec<Change> =
            (0..300).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, part * 300 + n, 0))).collect();
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
fn a_copy_taken_in_answers_as_the_original_also_when_files_were_merged_away_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (index, model) = filled(&folder.path().join("original"));
    let export = index.export().unwrap();
    assert_eq!((export.generation, export.entries, export.rows), (2, 599, 600));
    assert!(export.quantizer.is_some());
    assert_eq!(export.positions, LogPositions::from([(0, 3)]));
    // Everything is removed while the export is held.
    index.clear().unwrap();
    assert_eq!((index.len(), index.status().generation), (0, 0));
    let staged = folder.path().join("staged");
    copy(export, &staged);

    let other = open(&folder.path().join("other"));
    other.apply(&[Change::Upsert(entry(&mut random(5), DIMENSION, 9_000, 0))], &LogPositions::new()).unwrap();
    other.adopt(&staged).unwrap();
    check(&other, &model);
    let status = other.status();
    assert_eq!((status.generation, status.previous_generation), (2, None));
    assert_eq!(status.log_positions, LogPositions::from([(0, 3)]));
    other.verify().unwrap();
    // It goes on as any index, also after a restart.
    let more = [Change::Upsert(entry(&mut random(6), DIMENSION, 700, 0))];
    other.apply(&more, &LogPositions::from([(0, 4)])).unwrap();
    other.snapshot().unwrap();
    drop(other);
    let other = open(&folder.path().join("other"));
    assert_eq!(other.len(), 600);
    other.verify().unwrap();
}

#[test]
fn a_damaged_copy_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = filled(&folder.path().join("original"));
    let (other, mut model) = (open(&folder.path().join("other")), Model::default());
    let own = [Change::Upsert(entry(&mut random(5), DIMENSION, 9_000, 0))];
    model.apply(&own);
    other.apply(&own, &LogPositions::from([(0, 7)])).unwrap();
    let names: Vec<String> = index.export().unwrap().files.into_iter().map(|file| file.name).collect();
    for name in names {
        let staged = tempfile::tempdir_in(folder.path()).unwrap();
        copy(index.export().unwrap(), staged.path());
        let path = staged.path().join(Export::DATA).join(&name);
        let mut bytes = fs::read(&path).unwrap();
        // Half-way into the file there is a section, never the gap between two.
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        fs::write(&path, bytes).unwrap();
        let outcome = other.adopt(staged.path());
        assert!(matches!(outcome, Err(IndexError::Corrupt { .. })), "{name}: {outcome:?}");
        check(&other, &model);
    }
    let staged = tempfile::tempdir_in(folder.path()).unwrap();
    copy(index.export().unwrap(), staged.path());
    let strange = Index::open(
        &folder.path().join("strange"),
        medindex_index::IndexOptions { model: "another".to_owned(), ..options(DIMENSION) },
    )
    .unwrap();
    assert!(matches!(strange.adopt(staged.path()), Err(IndexError::OtherModel { .. })));
}

#[test]
fn rows_are_taken_out_of_several_indexes_with_their_codes() {
    let folder = tempfile::tempdir().unwrap();
    let (index, model) = filled(&folder.path().join("original"));
    let is_even = |key: &EntryKey| key.id[15].is_multiple_of(2);
    let halves = ["even", "odd"].map(|name| open(&folder.path().join(name)));
    let whole = open(&folder.path().join("whole"));
    for (place, half) in halves.iter().enumerate() {
        let positions = LogPositions::from([(place as u32, 3)]);
        half.absorb(&index, |key| is_even(key) == (place == 0), &positions).unwrap();
        assert_eq!(half.log_positions(), positions);
        whole.absorb(half, |_| true, &positions).unwrap();
    }
    assert_eq!(halves[0].len() + halves[1].len(), 599);
    check(&whole, &model);
    assert_eq!(whole.log_positions(), LogPositions::from([(0, 3), (1, 3)]));
    drop(whole);
    check(&open(&folder.path().join("whole")), &model);

    // With the same generation, codes come along.
    let coded = open(&folder.path().join("coded"));
    coded.build_generation(index.quantizer().unwrap().as_ref().clone(), &|_| ()).unwrap();
    coded.activate(2).unwrap();
    coded.absorb(&index, |_| true, &LogPositions::new()).unwrap();
    assert_eq!(coded.status().coded_segments, 1);
    check(&coded, &model);
}
