//! Recall with and without filters, removals and concurrent writers, on a larger index.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod search_support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use half::f16;
use medindex_index::{
    Attributes, Change, Entry, EntryKey, Field, Filter, FilterPlan, Index, LogPositions, SearchRequest,
};
use rand::RngExt;
use rand_pcg::Pcg64;
use search_support::{id, learn, no_positions, random, vector};

const ROWS: u64 = 100_000;
const DIMENSION: usize = 32;
const CLUSTERS: u64 = 300;

/// The share of the rows that have each label, in ten-thousandths.
const SHARES: [(&str, u64); 5] =
    [("half", 5_000), ("twentieth", 500), ("two-hundredth", 50), ("rare", 1), ("rest", 4_449)];

fn labelled(rng: &mut Pcg64, number: u64) -> Entry {
    let mut draw = rng.random_range(0..10_000);
    let mut label = "rest";
    for (name, share) in SHARES {
        if draw < share {
            label = name;
            break;
        }
        draw -= share;
    }
    let values = vector(rng, DIMENSION, CLUSTERS);
    // Which half of space a row lies in: a filter on it has no match near a query of the other half.
    let side = if values[0] > 0.0 { "right" } else { "left" };
    Entry {
        key: EntryKey::new(id(number), 0),
        vector: values.into_iter().map(f16::from_f32).collect(),
        attributes: Attributes {
            label: Some(label.to_owned()),
            modality: Some(side.to_owned()),
            time_ms: Some(number as i64 * 1_000),
            ..Attributes::default()
        },
    }
}

/// One large trained index for all tests that do not change it.
fn shared() -> &'static Index {
    static INDEX: OnceLock<(tempfile::TempDir, Index)> = OnceLock::new();
    &INDEX
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let options = medindex_index::IndexOptions::new(DIMENSION, "model-a");
            let index = Index::open(folder.path(), options).unwrap();
            let mut rng = random(1);
            for first in (0..ROWS).step_by(20_000) {
                let changes: Vec<Change> =
                    (first..first + 20_000).map(|n| Change::Upsert(labelled(&mut rng, n))).collect();
                index.apply(&changes, &no_positions()).unwrap();
                index.maintain().unwrap();
            }
            index.build_generation(learn(&index, 1, 400, 32, 4), &|_| ()).unwrap();
            index.activate(1).unwrap();
            (folder, index)
        })
        .1
}

fn requests(filter: &Filter) -> Vec<SearchRequest> {
    let mut rng = random(2);
    (0..200)
        .map(|_| SearchRequest {
            filter: filter.clone(),
            ..SearchRequest::new(vector(&mut rng, DIMENSION, CLUSTERS), 10)
        })
        .collect()
}

#[test]
fn a_filter_costs_no_recall_at_any_selectivity() {
    let index = shared();
    let unfiltered = index.measure_recall(1, &requests(&Filter::All)).unwrap().recall;
    assert!(unfiltered > 0.95, "{unfiltered}");
    let plans = [
        ("half", FilterPlan::InScan),
        ("twentieth", FilterPlan::WidenedProbes),
        ("two-hundredth", FilterPlan::Gather),
        ("rare", FilterPlan::Gather),
    ];
    for (label, plan) in plans {
        let requests = requests(&Filter::equals(Field::Label, label));
        let filtered = index.measure_recall(1, &requests).unwrap().recall;
        assert!(filtered >= unfiltered - 0.01, "{label}: {filtered} and without filter {unfiltered}");
        let responses = index.search_batch(&requests).unwrap();
        assert!(responses.iter().all(|response| response.hits.len() == 10), "{label}");
        let explain = &responses[0].explain;
        assert_eq!(explain.filter_plan, plan, "{label}: {}", explain.filter_selectivity);
        println!("{label}: recall {filtered:.4} (without filter {unfiltered:.4}), {explain:?}");
    }
}

#[test]
fn a_filter_whose_matches_lie_far_from_the_query_costs_no_recall() {
    let index = shared();
    let unfiltered = index.measure_recall(1, &requests(&Filter::All)).unwrap().recall;
    for side in ["left", "right"] {
        let away: Vec<SearchRequest> = requests(&Filter::equals(Field::Modality, side))
            .into_iter()
            .filter(|request| (request.vector[0] > 0.0) == (side == "left"))
            .collect();
        assert!(away.len() > 50);
        let recall = index.measure_recall(1, &away).unwrap().recall;
        assert!(recall >= unfiltered - 0.01, "{side}: {recall}, {unfiltered} without filter");
    }
}

#[test]
fn a_filter_on_time_finds_its_range() {
    let index = shared();
    let filter = Filter::TimeRange { from_ms: 40_000_000, to_ms: 40_007_000 };
    let request =
        SearchRequest { filter, ..SearchRequest::new(vector(&mut random(3), DIMENSION, CLUSTERS), 100) };
    let hits = index.search(&request).unwrap().hits;
    let expected: std::collections::BTreeSet<[u8; 16]> = (40_000..40_007).map(id).collect();
    assert_eq!(hits.iter().map(|hit| hit.key.id).collect::<std::collections::BTreeSet<_>>(), expected);
}

#[test]
fn an_entry_takes_at_most_64_bytes_of_memory_beside_the_mapped_files() {
    let status = shared().status();
    assert!(status.coded_segments > 0);
    let bytes = status.memory_bytes_per_entry();
    // 16-byte codes here; 32-byte codes add 16 to it.
    println!("{bytes:.1} bytes an entry, {status:?}");
    assert!(bytes + 16.0 <= 64.0, "{bytes}");
}

#[test]
fn removing_is_quick_and_the_removed_are_never_found() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), medindex_index::IndexOptions::new(DIMENSION, "model-a")).unwrap();
    let mut rng = random(5);
    let rows = 40_000;
    let changes: Vec<Change> = (0..rows).map(|n| Change::Upsert(labelled(&mut rng, n))).collect();
    index.apply(&changes, &no_positions()).unwrap();
    index.build_generation(learn(&index, 1, 100, 16, 4), &|_| ()).unwrap();
    index.activate(1).unwrap();
    let start = Instant::now();
    for number in (0..rows).step_by(40) {
        index.apply(&[Change::Remove { id: id(number) }], &no_positions()).unwrap();
    }
    let each = start.elapsed() / (rows as u32 / 40);
    assert!(each < Duration::from_millis(5), "{each:?} for each removal");
    let removed: std::collections::BTreeSet<[u8; 16]> = (0..rows).step_by(40).map(id).collect();
    for filter in [Filter::All, Filter::equals(Field::Label, "half"), Filter::equals(Field::Label, "rare")] {
        for response in index.search_batch(&requests(&filter)).unwrap() {
            assert!(response.hits.iter().all(|hit| !removed.contains(&hit.key.id)));
        }
    }
    let recall = index.measure_recall(1, &requests(&Filter::All)).unwrap();
    assert!(recall.recall > 0.95, "{recall:?}");
}

#[test]
fn readers_see_everything_applied_while_writers_and_maintenance_work() {
    let folder = tempfile::tempdir().unwrap();
    let options = medindex_index::IndexOptions {
        tail_rows: 256,
        merge_segments: 3,
        ..medindex_index::IndexOptions::new(DIMENSION, "model-a")
    };
    let index = Index::open(folder.path(), options).unwrap();
    let first: Vec<Change> = (0..2_000).map(|n| Change::Upsert(labelled(&mut random(n), n))).collect();
    index.apply(&first, &no_positions()).unwrap();
    let applied = AtomicU64::new(2_000);
    let stop = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_mins(1);
    let searches = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let index = &index;
        let (applied, stop, searches) = (&applied, &stop, &searches);
        for reader in 0..2_u64 {
            scope.spawn(move || {
                let mut rng = random(reader + 500);
                while !stop.load(Ordering::Acquire) {
                    // Entries whose number is a multiple of three are removed later; the others stay.
                    let number = rng.random_range(0..applied.load(Ordering::Acquire));
                    let number = if number.is_multiple_of(3) { number + 1 } else { number };
                    if number >= applied.load(Ordering::Acquire) {
                        continue;
                    }
                    let stored = labelled(&mut random(number), number);
                    let asked = stored.vector.iter().map(|value| value.to_f32()).collect();
                    let request = SearchRequest { parallel: false, ..SearchRequest::new(asked, 1) };
                    let hits = index.search(&request).unwrap().hits;
                    assert!(
                        hits.first().is_some_and(|hit| hit.distance < 1e-3),
                        "{number} is not found: {hits:?}"
                    );
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(move || {
            for generation in 1..=3 {
                index.build_generation(learn(index, generation, 16, 16, 4), &|_| ()).unwrap();
                index.activate(generation).unwrap();
                index.maintain().unwrap();
                index.snapshot().unwrap();
            }
            while applied.load(Ordering::Acquire) < 12_000 && Instant::now() < deadline {
                index.maintain().unwrap();
                index.snapshot().unwrap();
            }
        });
        for start in (2_000..12_000_u64).step_by(50) {
            let mut changes: Vec<Change> =
                (start..start + 50).map(|n| Change::Upsert(labelled(&mut random(n), n))).collect();
            changes.extend(
                (start - 2_000..start - 1_950).filter(|n| n % 3 == 0).map(|n| Change::Remove { id: id(n) }),
            );
            index.apply(&changes, &LogPositions::from([(0, start + 50)])).unwrap();
            applied.store(start + 50, Ordering::Release);
        }
        // At least some searches must have run beside the last changes, and on a busy machine few ran beside the others.
        let enough = (searches.load(Ordering::Relaxed) + 20).max(51);
        while searches.load(Ordering::Relaxed) < enough && Instant::now() < deadline {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Release);
    });
    index.snapshot().unwrap();
    index.verify().unwrap();
    let removed = (0..10_000).filter(|n| n % 3 == 0).count();
    assert_eq!(index.len(), 12_000 - removed);
    assert!(searches.load(Ordering::Relaxed) > 50);
}
