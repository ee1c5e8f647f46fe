//! What the search tests share: random entries, and a plain model of an index to compare with.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use half::f16;
use medindex_index::linear::Matrix;
use medindex_index::quantizer::{Quantizer, TrainingParameters};
use medindex_index::{
    Attributes, Change, Entry, EntryKey, Field, Filter, GroupBy, Hit, Index, IndexOptions, LogPositions,
    SearchRequest, SearchResponse,
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

pub const DIMENSION: usize = 16;
/// Distances are sums in another order than the model's.
pub const TOLERANCE: f32 = 2e-5;

pub fn id(number: u64) -> [u8; 16] {
    // Scattered, so that the order of keys is not that of arrival.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mixed.to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

pub fn random(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

/// A unit vector near one of `clusters` centres.
pub fn vector(rng: &mut Pcg64, dimension: usize, clusters: u64) -> Vec<f32> {
    let mut centre = random(rng.random_range(0..clusters) + 1_000_000);
    let values: Vec<f32> = (0..dimension)
        .map(|_| centre.random_range(-1.0..1.0_f32) + 0.35 * rng.random_range(-1.0..1.0_f32))
        .collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / norm).collect()
}

pub fn entry(rng: &mut Pcg64, dimension: usize, number: u64, frame: u32) -> Entry {
    let one_of = |rng: &mut Pcg64, values: &[&str]| {
        let at = rng.random_range(0..=values.len());
        values.get(at).map(|value| (*value).to_owned())
    };
    Entry {
        key: EntryKey::new(id(number), frame),
        vector: vector(rng, dimension, 20).into_iter().map(f16::from_f32).collect(),
        attributes: Attributes {
            image_type: Some("dicom".to_owned()),
            modality: one_of(rng, &["CT", "MR", "US", "CR"]),
            body_part: one_of(rng, &["CHEST", "HEAD"]),
            label: Some(format!("label-{}", rng.random_range(0..40))),
            organisation: None,
            study: one_of(rng, &["1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7"]),
            patient: one_of(rng, &["p1", "p2", "p3"]),
            time_ms: rng.random_bool(0.8).then(|| rng.random_range(0..1_000) * 86_400_000),
        },
    }
}

pub fn options(dimension: usize) -> IndexOptions {
    IndexOptions { tail_rows: 64, merge_segments: 3, ..IndexOptions::new(dimension, "model-a") }
}

pub fn open(folder: &Path) -> Index {
    Index::open(folder, options(DIMENSION)).unwrap()
}

/// A quantizer learned from the index's own vectors.
pub fn learn(index: &Index, generation: u64, lists: usize, sub_quantizers: usize, bits: u32) -> Quantizer {
    let sample = index.sample_vectors(20_000, 7);
    learn_from(&sample, generation, lists, sub_quantizers, bits)
}

pub fn learn_from(
    sample: &Matrix,
    generation: u64,
    lists: usize,
    sub_quantizers: usize,
    bits: u32,
) -> Quantizer {
    let parameters = TrainingParameters {
        generation,
        dimension: sample.columns(),
        sub_quantizers,
        bits,
        lists: Some(lists),
        expected_vectors: sample.rows(),
        ..TrainingParameters::default()
    };
    Quantizer::train(sample, &parameters, &|_| ()).unwrap()
}

pub fn no_positions() -> LogPositions {
    LogPositions::new()
}

/// A plain map that answers as an index must.
#[derive(Clone, Default)]
pub struct Model {
    pub entries: BTreeMap<EntryKey, Entry>,
}

impl Model {
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Upsert(entry) => {
                    self.entries.insert(entry.key, entry.clone());
                }
                Change::Remove { id } => self.entries.retain(|key, _| key.id != *id),
            }
        }
    }

    pub fn matches(filter: &Filter, attributes: &Attributes) -> bool {
        let value = |field: &Field| match field {
            Field::ImageType => &attributes.image_type,
            Field::Modality => &attributes.modality,
            Field::BodyPart => &attributes.body_part,
            Field::Label => &attributes.label,
            Field::Organisation => &attributes.organisation,
            Field::Study => &attributes.study,
            Field::Patient => &attributes.patient,
        };
        match filter {
            Filter::All => true,
            Filter::Equals { field, value: wanted } => value(field).as_ref() == Some(wanted),
            Filter::In { field, values } => value(field).as_ref().is_some_and(|value| values.contains(value)),
            Filter::TimeRange { from_ms, to_ms } => {
                attributes.time_ms.is_some_and(|time| *from_ms <= time && time < *to_ms)
            }
            Filter::And(filters) => filters.iter().all(|filter| Self::matches(filter, attributes)),
            Filter::Or(filters) => filters.iter().any(|filter| Self::matches(filter, attributes)),
            Filter::Not(filter) => !Self::matches(filter, attributes),
        }
    }

    fn group(entry: &Entry, group_by: GroupBy) -> String {
        let alone = || format!("image {:?}", entry.key.id);
        match group_by {
            GroupBy::None => format!("{:?}", entry.key),
            GroupBy::Image => alone(),
            GroupBy::Study => entry.attributes.study.clone().unwrap_or_else(alone),
            GroupBy::Patient => entry.attributes.patient.clone().unwrap_or_else(alone),
        }
    }

    /// Every hit that a search without a limit would have, one of each group, ascending.
    pub fn search(&self, request: &SearchRequest) -> Vec<Hit> {
        let norm = request.vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        let mut hits: Vec<(f32, &Entry)> = self
            .entries
            .values()
            .filter(|entry| Some(entry.key.id) != request.exclude)
            .filter(|entry| Self::matches(&request.filter, &entry.attributes))
            .map(|entry| {
                let stored = entry.vector.iter().zip(&request.vector);
                let product: f32 = stored.map(|(stored, value)| stored.to_f32() * value / norm).sum();
                ((1.0 - product).clamp(0.0, 2.0), entry)
            })
            .collect();
        hits.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut groups = BTreeSet::new();
        hits.retain(|(_, entry)| groups.insert(Self::group(entry, request.group_by)));
        hits.into_iter().map(|(distance, entry)| Hit { key: entry.key, distance, group: 0 }).collect()
    }

    /// Compares an exact answer: the right number of hits, the right distances, hits that exist and match.
    pub fn check(&self, request: &SearchRequest, response: &SearchResponse) {
        let mut expected = self.search(request);
        expected.truncate(request.k);
        assert_eq!(response.hits.len(), expected.len(), "number of hits of {request:?}");
        for (hit, expected) in response.hits.iter().zip(&expected) {
            assert!((hit.distance - expected.distance).abs() < TOLERANCE, "{hit:?} is not {expected:?}");
        }
        self.check_hits(request, response);
    }

    /// Compares what every answer must satisfy, approximate or not: `min(k, matching groups)` hits, each with its
    /// exact distance, each matching, one of each group, ascending.
    pub fn check_hits(&self, request: &SearchRequest, response: &SearchResponse) {
        let expected = self.search(request).len().min(request.k);
        assert_eq!(response.hits.len(), expected, "number of hits of {request:?}: {:?}", response.explain);
        assert!(response.hits.windows(2).all(|pair| pair[0].distance <= pair[1].distance));
        let mut groups = BTreeSet::new();
        for hit in &response.hits {
            let entry = self.entries.get(&hit.key).unwrap_or_else(|| panic!("{:?} is not stored", hit.key));
            assert!(Self::matches(&request.filter, &entry.attributes), "{:?} does not match", hit.key);
            assert_ne!(Some(hit.key.id), request.exclude);
            assert!(groups.insert(Self::group(entry, request.group_by)), "two hits of one group");
            let alone = SearchRequest {
                filter: Filter::All,
                group_by: GroupBy::None,
                exclude: None,
                ..request.clone()
            };
            let one = Self { entries: BTreeMap::from([(hit.key, entry.clone())]) };
            assert!((one.search(&alone)[0].distance - hit.distance).abs() < TOLERANCE, "distance of {hit:?}");
        }
    }

    /// Share of the exact hits that the answer has.
    pub fn recall(&self, request: &SearchRequest, response: &SearchResponse) -> f64 {
        let mut expected = self.search(request);
        expected.truncate(request.k);
        let Some(last) = expected.last() else { return 1.0 };
        let found = response.hits.iter().filter(|hit| hit.distance <= last.distance + TOLERANCE).count();
        found.min(expected.len()) as f64 / expected.len() as f64
    }
}

/// A request of any kind.
pub fn request(rng: &mut Pcg64, dimension: usize, known: u64) -> SearchRequest {
    let k = [1, 3, 10, 50, 1_000][rng.random_range(0..5)];
    let group_by = [GroupBy::None, GroupBy::None, GroupBy::Image, GroupBy::Study, GroupBy::Patient]
        [rng.random_range(0..5)];
    let exclude = rng.random_bool(0.3).then(|| id(rng.random_range(0..known.max(1))));
    let parallel = rng.random_bool(0.5);
    let filter = filter(rng, 2);
    SearchRequest { filter, group_by, exclude, parallel, ..SearchRequest::new(vector(rng, dimension, 20), k) }
}

pub fn filter(rng: &mut Pcg64, depth: u32) -> Filter {
    let several = |rng: &mut Pcg64| (0..rng.random_range(0..3)).map(|_| filter(rng, depth - 1)).collect();
    match rng.random_range(0..if depth == 0 { 7 } else { 10 }) {
        0..3 => Filter::All,
        3 => Filter::equals(Field::Modality, ["CT", "MR", "unknown"][rng.random_range(0..3)]),
        4 => Filter::In {
            field: Field::Label,
            values: (0..rng.random_range(0..20))
                .map(|_| format!("label-{}", rng.random_range(0..50)))
                .collect(),
        },
        5 => {
            let from = rng.random_range(-10..1_000) * 86_400_000;
            Filter::TimeRange { from_ms: from, to_ms: from + rng.random_range(0..500) * 86_400_000 }
        }
        6 => Filter::equals(Field::Study, ["1.1", "1.2", "unknown"][rng.random_range(0..3)]),
        7 => Filter::And(several(rng)),
        8 => Filter::Or(several(rng)),
        _ => Filter::Not(Box::new(filter(rng, depth - 1))),
    }
}
