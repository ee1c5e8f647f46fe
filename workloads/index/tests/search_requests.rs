//! What is asked and what comes back: bad requests, natural limits, grouping, exclusion, explanation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod search_support;

use std::collections::BTreeSet;

use half::f16;
use medindex_index::{
    Attributes, Change, Entry, EntryKey, Field, Filter, FilterPlan, GroupBy, Index, IndexError, SearchRequest,
};
use search_support::{DIMENSION, Model, entry, id, learn, no_positions, open, random, vector};

fn index_of(count: u64, generation: bool) -> (tempfile::TempDir, Index, Model) {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let mut rng = random(1);
    let changes: Vec<Change> = (0..count).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, n, 0))).collect();
    let mut model = Model::default();
    model.apply(&changes);
    index.apply(&changes, &no_positions()).unwrap();
    if generation {
        index.build_generation(learn(&index, 1, 16, 8, 4), &|_| ()).unwrap();
        index.activate(1).unwrap();
    }
    (folder, index, model)
}

fn query(seed: u64) -> Vec<f32> {
    vector(&mut random(seed), DIMENSION, 20)
}

#[test]
fn what_cannot_be_answered_is_an_error_that_says_why() {
    let (_folder, index, _) = index_of(10, false);
    let good = SearchRequest::new(query(3), 5);
    let with = |vector: Vec<f32>| SearchRequest { vector, ..good.clone() };
    let cases = [
        (SearchRequest { k: 0, ..good.clone() }, "k is 0"),
        (with(vec![1.0; DIMENSION - 1]), "15 components"),
        (with(Vec::new()), "0 components"),
        (with(vec![0.0; DIMENSION]), "zero"),
        (with([vec![f32::NAN], vec![1.0; DIMENSION - 1]].concat()), "NaN"),
        (with([vec![1.0; DIMENSION - 1], vec![f32::INFINITY]].concat()), "component 15"),
        (SearchRequest { probes: Some(0), ..good.clone() }, "probes is 0"),
        (SearchRequest { rerank: Some(4), ..good.clone() }, "rerank is below k"),
    ];
    for (request, reason) in cases {
        let error = index.search(&request).unwrap_err();
        assert!(matches!(error, IndexError::InvalidRequest { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
        assert!(index.search_batch(&[good.clone(), request]).is_err());
    }
    assert_eq!(index.search(&good).unwrap().hits.len(), 5);
}

#[test]
fn what_cannot_be_stored_is_refused_whole() {
    let (_folder, index, _) = index_of(10, false);
    let mut rng = random(8);
    let good = entry(&mut rng, DIMENSION, 100, 0);
    let with = |vector: Vec<f16>| Entry { vector, key: EntryKey::new(id(101), 2), ..good.clone() };
    let cases = [
        (with(vec![f16::ONE; 3]), "3 components"),
        (with(vec![f16::ZERO; DIMENSION]), "zero"),
        (with(vec![f16::NAN; DIMENSION]), "finite"),
        (with(vec![f16::INFINITY; DIMENSION]), "finite"),
    ];
    for (bad, reason) in cases {
        let changes = [Change::Upsert(good.clone()), Change::Upsert(bad)];
        let error = index.apply(&changes, &no_positions()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_string().contains("#2"), "{error} does not name the entry");
        assert_eq!(index.len(), 10, "nothing of a refused run is applied");
    }
}

#[test]
fn vectors_of_any_length_are_compared_by_direction() {
    let (_folder, index, _) = index_of(10, false);
    let direction = query(50);
    let long: Vec<f16> = direction.iter().map(|value| f16::from_f32(value * 37.0)).collect();
    let stored = Entry { key: EntryKey::new(id(500), 0), vector: long, attributes: Attributes::default() };
    index.apply(&[Change::Upsert(stored)], &no_positions()).unwrap();
    for scale in [1e-30, 1.0, 1e30] {
        let vector = direction.iter().map(|value| value * scale).collect();
        let hit = index.search(&SearchRequest::new(vector, 1)).unwrap().hits[0];
        assert_eq!(hit.key.id, id(500));
        assert!(hit.distance < 1e-3, "{hit:?}");
    }
}

#[test]
fn an_empty_index_answers_with_nothing() {
    let (_folder, index, _) = index_of(0, false);
    for group_by in [GroupBy::None, GroupBy::Study] {
        let request = SearchRequest { group_by, ..SearchRequest::new(query(1), 5) };
        assert!(index.search(&request).unwrap().hits.is_empty());
    }
    index.snapshot().unwrap();
    index.maintain().unwrap();
    assert!(index.search_batch(&[]).unwrap().is_empty());
    assert_eq!(index.sample_vectors(5, 1).rows(), 0);
}

#[test]
fn more_than_there_is_returns_all() {
    for generation in [false, true] {
        let (_folder, index, model) = index_of(500, generation);
        for k in [499, 500, 501, 100_000, usize::MAX] {
            let response = index.search(&SearchRequest::new(query(2), k)).unwrap();
            assert_eq!(response.hits.len(), k.min(500));
            model.check_hits(&SearchRequest::new(query(2), k), &response);
        }
    }
}

#[test]
fn an_added_entry_is_found_at_once_whatever_its_index_was_trained_on() {
    let (_folder, index, mut model) = index_of(500, true);
    let mut rng = random(77);
    for number in 1_000..1_100 {
        let added = entry(&mut rng, DIMENSION, number, 0);
        let asked: Vec<f32> = added.vector.iter().map(|value| value.to_f32()).collect();
        let changes = [Change::Upsert(added)];
        model.apply(&changes);
        index.apply(&changes, &no_positions()).unwrap();
        let request = SearchRequest::new(asked, 1);
        let response = index.search(&request).unwrap();
        assert_eq!(response.hits[0].key.id, id(number));
        assert_eq!(response.explain.tail_rows, index.status().tail_rows);
    }
}

#[test]
fn an_index_trained_early_does_not_stay_badly_trained() {
    // Trained on 100 entries of one corner, then filled with others: a new generation repairs it.
    let (_folder, index, mut model) = index_of(100, true);
    let mut rng = random(31);
    let changes: Vec<Change> =
        (1_000..5_000).map(|n| Change::Upsert(entry(&mut rng, DIMENSION, n, 0))).collect();
    model.apply(&changes);
    index.apply(&changes, &no_positions()).unwrap();
    index.maintain().unwrap();
    index.build_generation(learn(&index, 2, 32, 8, 4), &|_| ()).unwrap();
    let requests: Vec<SearchRequest> = (0..50).map(|seed| SearchRequest::new(query(seed), 10)).collect();
    let measured = index.measure_recall(2, &requests).unwrap();
    assert!(measured.recall > 0.95, "{measured:?}");
    assert_eq!(index.status().generation, 1, "measuring a built generation does not activate it");
    index.activate(2).unwrap();
    let mean: f64 =
        requests.iter().map(|request| model.recall(request, &index.search(request).unwrap())).sum::<f64>()
            / requests.len() as f64;
    assert!((mean - measured.recall).abs() < 0.02, "{mean} measured as {measured:?}");
}

#[test]
fn grouping_fills_the_page_with_as_many_groups_as_exist() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    let mut rng = random(9);
    let mut model = Model::default();
    // A study of 3,000 slices as near to the query as can be, and 40 studies of one slice far away.
    let near = query(1);
    let mut changes = Vec::new();
    for number in 0..3_040_u64 {
        let mut slice = entry(&mut rng, DIMENSION, number, 0);
        let study = if number < 3_000 { 0 } else { number };
        slice.attributes.study = Some(format!("1.2.{study}"));
        slice.attributes.patient = Some(format!("p{}", study % 7));
        if study == 0 {
            let noise = vector(&mut rng, DIMENSION, 1_000);
            slice.vector = near.iter().zip(noise).map(|(a, b)| f16::from_f32(a + 0.05 * b)).collect();
        }
        changes.push(Change::Upsert(slice));
    }
    index.apply(&changes, &no_positions()).unwrap();
    let stored = |change: &Change| match change {
        Change::Upsert(entry) => {
            let vector = index.vector(entry.key).unwrap();
            Change::Upsert(Entry { vector, ..entry.clone() })
        }
        other @ Change::Remove { .. } => other.clone(),
    };
    model.apply(&changes.iter().map(stored).collect::<Vec<_>>());
    for generation in 0..=1 {
        if generation == 1 {
            index.build_generation(learn(&index, 1, 32, 8, 4), &|_| ()).unwrap();
            index.activate(1).unwrap();
        }
        for (group_by, groups) in [(GroupBy::Study, 41), (GroupBy::Patient, 7), (GroupBy::Image, 3_040)] {
            for k in [1, 5, 10, 41, 60] {
                let request = SearchRequest { group_by, ..SearchRequest::new(near.clone(), k) };
                let response = index.search(&request).unwrap();
                assert_eq!(response.hits.len(), k.min(groups), "{group_by:?} k {k}");
                model.check_hits(&request, &response);
                // Codes may prefer another of 3,000 like slices, but not a worse study.
                for (hit, expected) in response.hits.iter().zip(model.search(&request)) {
                    assert!(
                        hit.distance < expected.distance + 0.01,
                        "{group_by:?} k {k}: {hit:?}, {expected:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn frames_of_one_image_are_one_hit_when_grouped_by_image() {
    let (_folder, index, _) = index_of(50, false);
    let mut rng = random(12);
    let frames: Vec<Change> =
        (0..30).map(|frame| Change::Upsert(entry(&mut rng, DIMENSION, 900, frame))).collect();
    index.apply(&frames, &no_positions()).unwrap();
    assert_eq!(index.frames(id(900)).len(), 30);
    let request = SearchRequest { group_by: GroupBy::Image, ..SearchRequest::new(query(1), 100) };
    let response = index.search(&request).unwrap();
    assert_eq!(response.hits.len(), 51);
    index.apply(&[Change::Remove { id: id(900) }], &no_positions()).unwrap();
    assert_eq!(index.len(), 50, "removing an image removes all its frames");
    assert!(index.frames(id(900)).is_empty());
}

#[test]
fn the_image_searched_from_is_left_out_with_all_its_frames() {
    for generation in [false, true] {
        let (_folder, index, mut model) = index_of(800, generation);
        let mut rng = random(12);
        let frames: Vec<Change> =
            (0..150).map(|frame| Change::Upsert(entry(&mut rng, DIMENSION, 5, frame))).collect();
        model.apply(&frames);
        index.apply(&frames, &no_positions()).unwrap();
        for maintained in [false, true] {
            if maintained {
                index.snapshot().unwrap();
                index.maintain().unwrap();
            }
            for k in [1, 10, 100, 2_000] {
                let request = SearchRequest { exclude: Some(id(5)), ..SearchRequest::new(query(4), k) };
                model.check_hits(&request, &index.search(&request).unwrap());
            }
        }
    }
}

#[test]
fn an_unknown_value_matches_nothing_and_its_negation_everything() {
    let (_folder, index, model) = index_of(300, true);
    for field in Field::ALL {
        let unknown = Filter::equals(field, "never heard of");
        let request = SearchRequest { filter: unknown.clone(), ..SearchRequest::new(query(6), 7) };
        let response = index.search(&request).unwrap();
        assert!(response.hits.is_empty());
        assert_eq!(response.explain.filter_plan, FilterPlan::Empty);
        let filter = Filter::Not(Box::new(unknown));
        let request = SearchRequest { filter, ..SearchRequest::new(query(6), 7) };
        model.check_hits(&request, &index.search(&request).unwrap());
    }
    let error = "side".parse::<Field>().unwrap_err();
    assert!(error.to_string().contains("\"side\"") && error.to_string().contains("body_part"), "{error}");
}

#[test]
fn a_batch_answers_as_its_queries_do_alone() {
    let (_folder, index, _) = index_of(3_000, true);
    let requests: Vec<SearchRequest> = (0..150)
        .map(|seed| SearchRequest { parallel: seed % 2 == 0, ..SearchRequest::new(query(seed), 10) })
        .collect();
    let together = index.search_batch(&requests).unwrap();
    let mut same = 0;
    for (request, response) in requests.iter().zip(&together) {
        let alone = index.search(request).unwrap();
        assert_eq!(alone.hits.len(), response.hits.len());
        let keys = |hits: &[medindex_index::Hit]| hits.iter().map(|hit| hit.key).collect::<BTreeSet<_>>();
        same += keys(&alone.hits).intersection(&keys(&response.hits)).count();
        assert_eq!(response.explain.batch, 150);
    }
    // Ties at the edge of the candidates may go either way; recall must not depend on the batch.
    assert!(same >= 1_495, "{same} of 1,500 hits are the same");
}

#[test]
fn the_explanation_says_what_was_done() {
    let (_folder, index, _) = index_of(3_000, true);
    let explain =
        index.search(&SearchRequest { probes: Some(4), ..SearchRequest::new(query(1), 10) }).unwrap().explain;
    assert_eq!((explain.generation, explain.lists_total, explain.lists_probed), (1, 16, 4));
    assert_eq!(explain.entries, 3_000);
    assert!(explain.codes_scanned > 100 && explain.codes_scanned < 3_000, "{explain:?}");
    assert!(explain.blocks_scanned >= explain.codes_scanned / 32);
    assert_eq!(explain.reranked, 100);
    assert!(!explain.kernel.is_empty());
    assert!(explain.microseconds.total > 0.0 && explain.microseconds.scan > 0.0);
    let exact =
        index.search(&SearchRequest { exact: true, ..SearchRequest::new(query(1), 10) }).unwrap().explain;
    assert_eq!((exact.exact_scored, exact.codes_scanned, exact.lists_probed), (3_000, 0, 0));
    let json = serde_json::to_value(&explain).unwrap();
    for name in
        ["generation", "lists_probed", "blocks_skipped", "codes_scanned", "reranked", "filter_selectivity"]
    {
        assert!(json.get(name).is_some(), "{name}");
    }
    assert!(json["microseconds"]["scan"].is_number());
}

#[test]
fn a_generation_of_the_wrong_kind_is_refused() {
    let (_folder, index, model) = index_of(300, true);
    let other = learn(&index, 1, 4, 8, 4);
    assert!(matches!(
        index.build_generation(other.clone(), &|_| ()),
        Err(IndexError::InvalidGeneration { generation: 1, .. })
    ));
    assert!(matches!(
        index.build_generation(other.with_generation(0), &|_| ()),
        Err(IndexError::InvalidGeneration { generation: 0, .. })
    ));
    let narrow: Vec<Vec<f32>> = (0..100).map(|seed| vector(&mut random(seed), 8, 5)).collect();
    let sample = medindex_index::linear::Matrix::from_rows(&narrow).unwrap();
    let narrow = search_support::learn_from(&sample, 5, 2, 4, 4);
    let error = index.build_generation(narrow, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("8 components"), "{error}");
    assert!(index.activate(9).is_err());
    assert_eq!(index.rollback().unwrap(), 0);
    model.check(&SearchRequest::new(query(5), 10), &index.search(&SearchRequest::new(query(5), 10)).unwrap());
    assert_eq!(index.rollback().unwrap(), 1);
    assert!(matches!(index_of(5, false).1.rollback(), Err(IndexError::InvalidGeneration { .. })));
}

#[test]
fn codes_of_eight_bits_and_odd_shapes_are_searched_too() {
    for (sub_quantizers, bits) in [(16, 8), (4, 8), (2, 4), (16, 4)] {
        let (_folder, index, model) = index_of(2_000, false);
        index.build_generation(learn(&index, 1, 8, sub_quantizers, bits), &|_| ()).unwrap();
        index.activate(1).unwrap();
        for seed in 0..20 {
            let request = SearchRequest::new(query(seed), 10);
            let response = index.search(&request).unwrap();
            model.check_hits(&request, &response);
            assert!(response.explain.codes_scanned > 0);
        }
    }
}
