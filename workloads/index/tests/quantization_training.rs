//! Transforms, lists and codebooks: what they promise, and what they refuse.
#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

use medindex_index::coarse::{CoarseQuantizer, KMeansParameters};
use medindex_index::kernels::{CodeBits, CodeShape};
use medindex_index::linear::{
    Matrix, gram, multiply_transposed, normalize, orthogonal_procrustes, symmetric_eigen,
};
use medindex_index::product::{ProductQuantizer, ResidualQuantizer};
use medindex_index::transform::{RotationParameters, Transform, learn_rotation};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Unit vectors around `clusters` directions of falling weight, with noise of falling variance.
fn clustered(n: usize, d: usize, clusters: usize, seed: u64) -> Matrix {
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let mut gauss = |spread: f32| (0..6).map(|_| random.random_range(-1.0_f32..1.0)).sum::<f32>() * spread;
    let centers: Vec<Vec<f32>> = (0..clusters).map(|_| (0..d).map(|_| gauss(1.0)).collect()).collect();
    let mut vectors = Matrix::zeros(n, d);
    for i in 0..n {
        let center = &centers[(i * i / 7 + i) % clusters % (1 + i % clusters)];
        let row = vectors.row_mut(i);
        for (t, value) in row.iter_mut().enumerate() {
            *value = center[t] + gauss(2.0 / (1.0 + t as f32).sqrt());
        }
        normalize(row);
    }
    vectors
}

fn inner(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
}

fn shape(sub_quantizers: usize, bits: u32) -> CodeShape {
    CodeShape::new(sub_quantizers, CodeBits::new(bits).unwrap()).unwrap()
}

#[test]
fn eigenvectors_diagonalise_and_come_largest_first() {
    let vectors = clustered(200, 12, 3, 1);
    let moment = gram(&vectors, &vectors).unwrap();
    let eigen = symmetric_eigen(&moment).unwrap();
    assert!(eigen.values.windows(2).all(|pair| pair[0] >= pair[1]));
    for (value, vector) in eigen.values.iter().zip(eigen.vectors.iter_rows()) {
        let mapped: Vec<f32> = moment.iter_rows().map(|row| inner(row, vector) as f32).collect();
        for (x, y) in mapped.iter().zip(vector) {
            assert!((f64::from(*x) - value * f64::from(*y)).abs() < 1e-3, "{x} is not {value} * {y}");
        }
    }
}

#[test]
fn procrustes_finds_the_rotation_between_two_sets() {
    let source = clustered(300, 8, 5, 2);
    let rotation = symmetric_eigen(&gram(&source, &source).unwrap()).unwrap().vectors;
    let target = multiply_transposed(&source, &rotation).unwrap();
    let found = orthogonal_procrustes(&gram(&target, &source).unwrap()).unwrap();
    for (a, b) in found.as_slice().iter().zip(rotation.as_slice()) {
        assert!((a - b).abs() < 1e-4);
    }
}

#[test]
fn a_projection_gives_unit_vectors_and_keeps_inner_products() {
    let raw = clustered(500, 32, 4, 3);
    let transform = Transform::train(&raw, 24).unwrap();
    let projected = transform.apply_batch(&raw).unwrap();
    for i in 0..50 {
        assert!((inner(projected.row(i), projected.row(i)) - 1.0).abs() < 1e-5);
        let (before, after) =
            (inner(raw.row(i), raw.row(i + 1)), inner(projected.row(i), projected.row(i + 1)));
        assert!((before - after).abs() < 0.05, "{before} became {after}");
        let scaled: Vec<f32> = raw.row(i).iter().map(|x| x * 7.0).collect();
        for (a, b) in transform.apply(&scaled).unwrap().iter().zip(projected.row(i)) {
            assert!((a - b).abs() < 1e-5, "length does not matter, and one vector equals a batch");
        }
    }
}

#[test]
fn a_transform_refuses_what_has_no_direction_or_another_dimension() {
    let raw = clustered(100, 16, 4, 3);
    let transform = Transform::train(&raw, 8).unwrap();
    let message = |vector: &[f32]| transform.apply(vector).unwrap_err().to_string();
    assert!(message(&[0.0; 16]).contains("zero"));
    assert!(message(&[f32::NAN; 16]).contains("not finite"));
    assert!(message(&[1.0; 15]).contains("15 dimensions was given to a transform of 16"));
    let mut broken = raw.clone();
    broken.row_mut(41)[3] = f32::INFINITY;
    assert!(Transform::train(&broken, 8).unwrap_err().to_string().contains("vector 41"));
    assert!(transform.apply_batch(&broken).unwrap_err().to_string().contains("vector 41"));
    assert!(Transform::train(&raw, 17).unwrap_err().to_string().contains("cannot be projected to 17"));
    assert!(Transform::train(&raw, 0).is_err());
    let few = raw.select_rows(&[1, 2, 3]);
    assert!(
        Transform::train(&few, 8).unwrap_err().to_string().contains("at least 8 vectors and was given 3")
    );
}

#[test]
fn a_learned_rotation_is_orthogonal_and_lowers_the_error_of_codes() {
    let vectors = clustered(3000, 32, 20, 4);
    let settings = RotationParameters { shape: shape(8, 4), iterations: 10, seed: 1 };
    let mut errors = Vec::new();
    let learned = learn_rotation(&vectors, &settings, &mut |_, error| errors.push(error)).unwrap();
    let rotation = learned.matrix;
    for i in 0..32 {
        for j in 0..32 {
            let expected = f64::from(u8::from(i == j));
            assert!((inner(rotation.row(i), rotation.row(j)) - expected).abs() < 1e-4);
        }
    }
    assert_eq!(errors.len(), 10);
    assert!(errors[9] < errors[0], "{errors:?}");
    let plain = ProductQuantizer::train(&vectors, settings.shape, 20, 1).unwrap();
    let plain = plain.mean_squared_error(&vectors).unwrap();
    let rotated = multiply_transposed(&vectors, &rotation).unwrap();
    let rotated = learned.quantizer.mean_squared_error(&rotated).unwrap();
    assert!(rotated < 0.9 * plain, "{rotated} against {plain} without rotation");
}

#[test]
fn lists_stay_balanced_although_the_data_are_not() {
    let vectors = clustered(12_000, 16, 40, 5);
    let parameters = KMeansParameters { clusters: 100, ..KMeansParameters::default() };
    let coarse = CoarseQuantizer::train(&vectors, &parameters).unwrap();
    let mut sizes = vec![0; 100];
    for list in coarse.assign_batch(&vectors).unwrap() {
        sizes[list as usize] += 1;
    }
    let largest = sizes.iter().max().unwrap();
    assert!(*largest <= 4 * 120, "the largest of lists of 120 on average has {largest}");
    assert!(sizes.iter().filter(|&&size| size == 0).count() <= 2, "{sizes:?}");
}

#[test]
fn assignment_agrees_between_single_vectors_batches_and_probes() {
    let vectors = clustered(2000, 24, 10, 6);
    let parameters = KMeansParameters { clusters: 40, ..KMeansParameters::default() };
    let coarse = CoarseQuantizer::train(&vectors, &parameters).unwrap();
    let again = CoarseQuantizer::train(&vectors, &parameters).unwrap();
    assert_eq!(coarse.centroids(), again.centroids(), "the same seed gives the same lists");
    let batch = coarse.assign_batch(&vectors).unwrap();
    for (i, &list) in batch.iter().enumerate().take(200) {
        assert_eq!(coarse.assign(vectors.row(i)).unwrap(), list);
        let probes = coarse.probe(vectors.row(i), 5).unwrap();
        assert_eq!(probes.len(), 5);
        assert_eq!(probes[0].list, list);
        for probe in &probes {
            let exact = inner(vectors.row(i), coarse.centroids().row(probe.list as usize));
            assert!((f64::from(probe.inner_product) - exact).abs() < 1e-5);
        }
    }
    let all = coarse.probe(vectors.row(0), 1000).unwrap();
    assert_eq!(all.len(), 40, "more probes than lists are all lists");
}

#[test]
fn the_sketch_of_many_lists_finds_nearly_all_of_the_nearest() {
    let vectors = clustered(30_000, 64, 300, 7);
    let parameters = KMeansParameters { clusters: 1500, iterations: 3, ..KMeansParameters::default() };
    let coarse = CoarseQuantizer::train(&vectors, &parameters).unwrap();
    let mut found = 0;
    for i in 0..200 {
        let exact = coarse.probe_exactly(vectors.row(i * 31), 10).unwrap();
        let sketched = coarse.probe(vectors.row(i * 31), 10).unwrap();
        assert_eq!(sketched.len(), 10);
        found += exact.iter().filter(|probe| sketched.iter().any(|s| s.list == probe.list)).count();
    }
    assert!(found > 1900, "{found} of 2000");
}

#[test]
fn one_list_is_relative_to_the_origin() {
    let coarse = CoarseQuantizer::train(&clustered(10, 8, 2, 1), &KMeansParameters::default()).unwrap();
    let mut vector = vec![0.5; 8];
    assert_eq!(coarse.assign(&vector).unwrap(), 0);
    assert_eq!(coarse.probe(&vector, 3).unwrap()[0].inner_product.to_bits(), 0.0_f32.to_bits());
    coarse.subtract_centroid(&mut vector, 0);
    assert_eq!(vector, vec![0.5; 8]);
}

#[test]
fn lists_refuse_too_few_vectors_and_bad_values() {
    let mut vectors = clustered(50, 8, 4, 8);
    let train = |vectors: &Matrix, clusters| {
        let parameters = KMeansParameters { clusters, ..KMeansParameters::default() };
        CoarseQuantizer::train(vectors, &parameters).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(train(&vectors, 51).unwrap_err().contains("at least 51 vectors and was given 50"));
    assert!(train(&vectors, 0).unwrap_err().contains("0 lists"));
    vectors.row_mut(7)[0] = f32::NAN;
    assert!(train(&vectors, 5).unwrap_err().contains("vector 7"));
}

#[test]
fn vectors_that_are_all_the_same_can_still_be_trained_on() {
    let same = Matrix::from_rows(&vec![[0.5_f32; 4]; 300]).unwrap();
    let parameters = KMeansParameters { clusters: 7, ..KMeansParameters::default() };
    let coarse = CoarseQuantizer::train(&same, &parameters).unwrap();
    assert_eq!(coarse.lists(), 7);
    let product = ProductQuantizer::train(&same, shape(2, 8), 5, 1).unwrap();
    assert!(product.mean_squared_error(&same).unwrap() < 1e-9);
}

#[test]
fn encoding_chooses_the_nearest_centroid_of_every_part() {
    for bits in [4, 8] {
        let vectors = clustered(700, 24, 9, 9);
        let product = ProductQuantizer::train(&vectors, shape(6, bits), 5, 1).unwrap();
        let codes = product.encode_batch(&vectors).unwrap();
        let k = product.shape().centroids();
        for (i, code) in codes.chunks_exact(product.shape().code_bytes()).enumerate() {
            assert_eq!(product.encode(vectors.row(i)).unwrap(), code);
            for m in 0..6 {
                let part = &vectors.row(i)[m * 4..m * 4 + 4];
                let distance = |j: usize| {
                    let centroid = &product.codebooks()[(m * k + j) * 4..][..4];
                    part.iter().zip(centroid).map(|(x, c)| f64::from(x - c).powi(2)).sum::<f64>()
                };
                let chosen = distance(usize::from(product.shape().get(code, m)));
                assert!((0..k).all(|j| chosen <= distance(j) + 1e-5));
            }
        }
    }
}

#[test]
fn a_table_gives_the_inner_product_with_the_decoded_vector() {
    let vectors = clustered(400, 16, 4, 10);
    let product = ProductQuantizer::train(&vectors, shape(8, 4), 5, 1).unwrap();
    let quantizer: &dyn ResidualQuantizer = &product;
    for i in 0..20 {
        let code = product.encode(vectors.row(i)).unwrap();
        let decoded = quantizer.decode(&code).unwrap();
        let table = quantizer.lookup_table(vectors.row(i + 1)).unwrap();
        let expected = inner(vectors.row(i + 1), &decoded);
        assert!((f64::from(table.inner_product(&code)) - expected).abs() < 1e-5);
    }
}

#[test]
fn a_product_quantizer_refuses_what_does_not_fit() {
    let vectors = clustered(300, 16, 4, 11);
    let train = |vectors: &Matrix, shape| {
        ProductQuantizer::train(vectors, shape, 2, 1).map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(train(&vectors, shape(6, 4)).unwrap_err().contains("16 dimensions cannot be cut into 6"));
    let few = vectors.select_rows(&(0..100).collect::<Vec<_>>());
    assert!(train(&few, shape(4, 8)).unwrap_err().contains("at least 256 vectors and was given 100"));
    let product = ProductQuantizer::train(&vectors, shape(4, 4), 2, 1).unwrap();
    assert!(product.encode(&[0.0; 15]).unwrap_err().to_string().contains("15 dimensions"));
    assert!(product.encode(&[f32::NAN; 16]).unwrap_err().to_string().contains("not finite"));
    assert!(product.decode(&[0; 3]).unwrap_err().to_string().contains("3 bytes"));
    assert!(product.lookup_table(&[f32::NAN; 16]).is_err());
}
