//! Tables, collectors, exact products and whole generations.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use half::f16;
use medindex_index::collect::{Collector, Reservoir, TopK};
use medindex_index::kernels::exact::{dot_f16, dot_f16_gather, dot_f16_rows, dot_f32, dot_f32_gather};
use medindex_index::kernels::{CodeBits, CodeShape};
use medindex_index::linear::{Matrix, normalize};
use medindex_index::product::{LookupTable, QuantizedLookupTable};
use medindex_index::quantizer::{Quantizer, TrainingParameters, TrainingStep, lists_for};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::cell::RefCell;

fn sample(n: usize, d: usize, seed: u64) -> Matrix {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let centers: Vec<f32> = (0..20 * d).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut vectors = Matrix::zeros(n, d);
    for i in 0..n {
        for (t, value) in vectors.row_mut(i).iter_mut().enumerate() {
            *value = centers[i % 20 * d + t] + random.random_range(-0.5..0.5);
        }
    }
    vectors
}

fn parameters() -> TrainingParameters {
    TrainingParameters {
        generation: 3,
        dimension: 32,
        sub_quantizers: 8,
        lists: Some(10),
        rotation_iterations: 4,
        ..TrainingParameters::default()
    }
}

#[test]
fn quantized_distances_decode_to_the_inner_product_and_never_overflow() {
    let mut random = Pcg64Mcg::seed_from_u64(1);
    for (sub_quantizers, bits) in [(2, 4), (64, 4), (256, 4), (32, 8), (256, 8)] {
        let shape = CodeShape::new(sub_quantizers, CodeBits::new(bits).unwrap()).unwrap();
        let entries: Vec<f32> =
            (0..sub_quantizers * shape.centroids()).map(|_| random.random_range(-1.0..1.0)).collect();
        let table = LookupTable::from_entries(shape, entries).unwrap();
        let quantized = QuantizedLookupTable::new(&table, 0.9, -0.9);
        if bits == 4 {
            assert!(quantized.largest_entry() <= 127);
        }
        for centroid in [0.9, 0.2, -0.9, -5.0] {
            let bias = quantized.bias(centroid);
            assert!(u32::from(bias) + u32::from(quantized.largest_sum()) <= 65_535);
            let code: Vec<u8> = (0..shape.code_bytes()).map(|_| random.random()).collect();
            let sum: u16 = (0..sub_quantizers)
                .map(|m| {
                    u16::from(quantized.entries()[m * shape.centroids() + usize::from(shape.get(&code, m))])
                })
                .sum();
            if centroid >= -0.9 {
                let error = quantized.inner_product(bias + sum) - (centroid + table.inner_product(&code));
                let rounding = 0.5 * (sub_quantizers + 1) as f32 / quantized.scale();
                assert!(error.abs() <= rounding * 1.01, "{error} is above {rounding}");
            }
        }
    }
}

#[test]
fn a_table_without_any_span_is_all_zeros() {
    let shape = CodeShape::new(4, CodeBits::Four).unwrap();
    let table = LookupTable::from_entries(shape, vec![0.25; 64]).unwrap();
    let quantized = QuantizedLookupTable::new(&table, 0.0, 0.0);
    assert!(quantized.entries().iter().all(|&entry| entry == 0));
    assert!((quantized.inner_product(quantized.bias(0.0)) - 1.0).abs() < 1e-6);
}

#[test]
fn a_generation_saves_and_loads_to_the_same_bits() {
    let vectors = sample(1000, 48, 2);
    let steps = RefCell::new(Vec::new());
    let quantizer = Quantizer::train(&vectors, &parameters(), &|step| steps.borrow_mut().push(step)).unwrap();
    assert_eq!(steps.borrow().first(), Some(&TrainingStep::Project));
    assert!(matches!(steps.borrow().last(), Some(TrainingStep::Done { error }) if *error > 0.0));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("generation-3");
    quantizer.save(&path).unwrap();
    let loaded = Quantizer::load(&path).unwrap();
    assert_eq!(loaded.to_bytes(), quantizer.to_bytes());
    assert_eq!(loaded.generation(), 3);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    let batch = quantizer.encode_batch(&vectors).unwrap();
    assert_eq!(batch, loaded.encode_batch(&vectors).unwrap());
    let again = Quantizer::train(&vectors, &parameters(), &|_| {}).unwrap();
    assert_eq!(again.to_bytes(), quantizer.to_bytes(), "training is deterministic");
}

#[test]
fn a_quantizer_that_was_cut_short_or_changed_is_refused() {
    let quantizer = Quantizer::train(&sample(600, 48, 2), &parameters(), &|_| {}).unwrap();
    let bytes = quantizer.to_bytes();
    for length in (0..bytes.len()).step_by(997).chain([bytes.len() - 1]) {
        let error = Quantizer::from_bytes(&bytes[..length]).unwrap_err().to_string();
        assert!(error.contains("not usable"), "{error}");
    }
    for place in (0..bytes.len()).step_by(991) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        assert!(Quantizer::from_bytes(&changed).is_err(), "byte {place} was changed");
    }
    let error = Quantizer::load(std::path::Path::new("nowhere/generation")).unwrap_err();
    assert!(error.to_string().contains("nowhere/generation"));
}

#[test]
fn decoded_vectors_are_near_what_was_encoded() {
    let vectors = sample(3000, 48, 4);
    let settings = TrainingParameters { dimension: 48, sub_quantizers: 24, ..parameters() };
    let quantizer = Quantizer::train(&vectors, &settings, &|_| {}).unwrap();
    let batch = quantizer.encode_batch(&vectors).unwrap();
    for i in 0..100 {
        let one = quantizer.encode(vectors.row(i)).unwrap();
        assert_eq!(one.list, batch.lists[i]);
        let decoded = quantizer.decode(one.list, &one.code).unwrap();
        let prepared = quantizer.prepare(vectors.row(i)).unwrap();
        let cosine: f32 = decoded.iter().zip(&prepared).map(|(x, y)| x * y).sum();
        assert!(cosine > 0.8, "{cosine}");
        let probes = quantizer.probe(&prepared, 1).unwrap();
        assert_eq!(probes[0].list, one.list);
    }
}

#[test]
fn unsuitable_training_parameters_are_refused_before_any_work() {
    let vectors = sample(600, 48, 5);
    let refused = |change: &dyn Fn(&mut TrainingParameters)| {
        let mut settings = parameters();
        change(&mut settings);
        let error = Quantizer::train(&vectors, &settings, &|_| panic!("work began")).unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    };
    assert!(refused(&|p| p.bits = 6).contains("6 bits"));
    assert!(refused(&|p| p.sub_quantizers = 0).contains("0 sub-quantizers"));
    assert!(refused(&|p| p.sub_quantizers = 10).contains("32 dimensions cannot be cut into 10"));
    let settings = TrainingParameters { lists: Some(601), ..parameters() };
    assert!(Quantizer::train(&vectors, &settings, &|_| {}).is_err());
    let quantizer = Quantizer::train(&vectors, &parameters(), &|_| {}).unwrap();
    assert!(quantizer.encode(&[0.0; 48]).is_err());
    assert!(quantizer.encode(&[1.0; 47]).is_err());
}

#[test]
fn small_indexes_are_scanned_whole() {
    assert_eq!(lists_for(0), 1);
    assert_eq!(lists_for(19_999), 1);
    assert_eq!(lists_for(1_000_000), 4000);
}

#[test]
fn gathered_rows_that_do_not_exist_are_not_a_number() {
    let rows: Vec<f16> = (0..40).map(|i| f16::from_f32(i as f32)).collect();
    let mut products = [0.0; 3];
    dot_f16_gather(&[1.0; 4], &rows, &[9, 10, 0], &mut products);
    assert_eq!(products[0].to_bits(), 150.0_f32.to_bits());
    assert!(products[1].is_nan());
    assert_eq!(products[2].to_bits(), 6.0_f32.to_bits());
}

proptest! {
    #[test]
    fn exact_products_agree_with_double_precision(length in 0_usize..600, rows in 1_usize..20, seed in any::<u64>()) {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut query: Vec<f32> = (0..length).map(|_| random.random_range(-1.0..1.0)).collect();
        normalize(&mut query);
        let half: Vec<f16> = (0..length * rows).map(|_| f16::from_f32(random.random_range(-1.0..1.0))).collect();
        let single: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let indices: Vec<u32> = (0..rows as u32).rev().collect();
        let (mut contiguous, mut gathered, mut gathered_single) =
            (vec![0.0; rows], vec![0.0; rows], vec![0.0; rows]);
        dot_f16_rows(&query, &half, &mut contiguous);
        dot_f16_gather(&query, &half, &indices, &mut gathered);
        dot_f32_gather(&query, &single, &indices, &mut gathered_single);
        for row in 0..rows {
            let (h, s) = (&half[row * length..(row + 1) * length], &single[row * length..(row + 1) * length]);
            let exact: f64 = query.iter().zip(s).map(|(&q, &x)| f64::from(q) * f64::from(x)).sum();
            for product in [dot_f16(&query, h), dot_f32(&query, s), gathered[rows - 1 - row], gathered_single[rows - 1 - row]] {
                prop_assert!((f64::from(product) - exact).abs() < 1e-5);
            }
            if length > 0 {
                prop_assert!((f64::from(contiguous[row]) - exact).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn collectors_keep_the_nearest(distances in prop::collection::vec(0_u32..500, 0..400), k in 0_usize..60) {
        let mut sorted = distances.clone();
        sorted.sort_unstable();
        sorted.truncate(k);
        let mut heap = TopK::new(k);
        let mut reservoir = Reservoir::new(k);
        let mut collector = Collector::new(k);
        for (item, &distance) in distances.iter().enumerate() {
            prop_assert_eq!(heap.push(distance, item), heap.threshold());
            prop_assert_eq!(reservoir.push(distance, item), reservoir.threshold());
            prop_assert_eq!(collector.push(distance, item), collector.threshold());
        }
        for kept in [heap.into_sorted(), reservoir.into_sorted(), collector.into_sorted()] {
            let found: Vec<u32> = kept.iter().map(|pair| pair.0).collect();
            prop_assert_eq!(&found, &sorted);
            for (distance, item) in kept {
                prop_assert_eq!(distances[item], distance);
            }
        }
    }

    #[test]
    fn collectors_order_negative_single_precision_distances(distances in prop::collection::vec(-1.0_f32..1.0, 1..200)) {
        let mut collector = Collector::new(10);
        for (item, &distance) in distances.iter().enumerate() {
            collector.push(distance, item);
        }
        let mut sorted = distances.clone();
        sorted.sort_by(f32::total_cmp);
        sorted.truncate(10);
        let found: Vec<f32> = collector.into_sorted().iter().map(|pair| pair.0).collect();
        prop_assert_eq!(found, sorted);
    }
}
