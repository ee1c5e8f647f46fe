//! The embedder: batches form, answers reach their callers, and no caller can hold up another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::float_cmp, reason = "the expected values are exact")]

mod common;

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::onnx::mean_colour;
use common::pictures::plain;
use common::{runtime, tiny_manifest, tiny_model, write_model};
use medindex_embedding::{BatchingOptions, BatchingStatistics, EmbedError, Embedder, Model, ModelError};
use tempfile::TempDir;

/// Longer than any test may take: a batch that waits for it has not formed.
const NEVER: Duration = Duration::from_hours(1);

fn start(max_batch: usize, max_delay: Duration, queue: usize) -> Embedder {
    let model = Model::load(tiny_model().path(), &runtime()).unwrap();
    Embedder::start(Arc::new(model), BatchingOptions { max_batch, max_delay, queue }).unwrap()
}

fn angle(vector: &[f32]) -> f32 {
    vector[1].atan2(vector[0])
}

#[tokio::test]
async fn images_of_many_callers_share_a_batch() {
    let embedder = start(8, NEVER, 64);
    let callers: Vec<_> = (1..=8_u8)
        .map(|green| {
            let embedder = embedder.clone();
            tokio::spawn(async move { embedder.embed(plain([100, green, 0])).await })
        })
        .collect();
    for (green, caller) in (1..=8_u8).zip(callers) {
        let vector = caller.await.unwrap().unwrap();
        let expected = f32::from(green).atan2(100.0);
        assert!((angle(&vector) - expected).abs() < 1e-5, "the answer of another caller");
    }
    assert_eq!(embedder.statistics(), BatchingStatistics { batches: 1, images: 8 });
}

#[tokio::test]
async fn one_image_waits_no_longer_than_the_delay() {
    let embedder = start(8, Duration::from_millis(1), 64);
    let answer = tokio::time::timeout(Duration::from_secs(30), embedder.embed(plain([1, 2, 3]))).await;
    assert_eq!(answer.unwrap().unwrap().len(), 3);
}

#[tokio::test]
async fn many_images_through_a_small_queue_all_arrive_in_order() {
    let embedder = start(4, Duration::from_millis(1), 4);
    let images: Vec<_> = (0..200_u8).map(|green| plain([100, green, 0])).collect();
    let vectors = embedder.embed_many(images).await.unwrap();
    assert_eq!(vectors.len(), 200);
    assert!(vectors.iter().zip(vectors.iter().skip(1)).all(|(a, b)| angle(a) < angle(b)));
    assert_eq!(embedder.statistics().images, 200);
}

#[tokio::test]
async fn a_full_queue_makes_the_next_caller_wait() {
    let embedder = start(2, NEVER, 2);
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(embedder.embed(plain([1, 0, 0])));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let (second, third) = (embedder.embed(plain([0, 1, 0])), embedder.embed(plain([0, 0, 1])));
    // The first two fill the queue and the batch; the third gets its place when they are done, and the batch
    // that it opens is filled by the fourth.
    let fourth = embedder.embed(plain([1, 1, 1]));
    let (first, second, third, fourth) = tokio::join!(first, second, third, fourth);
    assert_eq!((first.unwrap()[0], second.unwrap()[1], third.unwrap()[2]), (1.0, 1.0, 1.0));
    assert!(fourth.is_ok());
    assert_eq!(embedder.statistics(), BatchingStatistics { batches: 2, images: 4 });
}

#[tokio::test]
async fn a_caller_that_went_away_costs_nothing() {
    let embedder = start(2, NEVER, 8);
    {
        let mut gone = pin!(embedder.embed(plain([1, 2, 3])));
        assert!(gone.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(embedder.embed(plain([4, 5, 6])).await.is_ok());
    assert_eq!(embedder.statistics(), BatchingStatistics { batches: 1, images: 1 });
}

#[tokio::test]
async fn one_bad_image_fails_alone() {
    let folder = TempDir::new().unwrap();
    let graph = mean_colour(&["Log"]);
    write_model(folder.path(), &graph, &tiny_manifest(&graph));
    let model = Model::load(folder.path(), &runtime()).unwrap();
    let options = BatchingOptions { max_batch: 3, max_delay: NEVER, queue: 8 };
    let embedder = Embedder::start(Arc::new(model), options).unwrap();
    let outcomes = embedder.embed_each(vec![plain([9, 8, 7]), plain([0, 8, 7]), plain([7, 8, 9])]).await;
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let Err(EmbedError::Model(cause)) = &outcomes[1] else { panic!("{:?}", outcomes[1]) };
    assert!(matches!(**cause, ModelError::UseOutput { .. }), "{cause}");
    assert_eq!(embedder.statistics().batches, 1);
}

#[tokio::test]
async fn a_model_without_classes_refuses_every_recognition() {
    let embedder = start(2, NEVER, 8);
    let (classes, vector) =
        tokio::join!(embedder.classify(plain([1, 2, 3])), embedder.embed(plain([1, 2, 3])));
    assert!(vector.is_ok(), "the other image of the batch is answered");
    let Err(EmbedError::Model(cause)) = classes else { panic!("{classes:?}") };
    assert!(matches!(*cause, ModelError::Classify { .. }), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_on_many_threads_each_get_their_own_answer() {
    let embedder = start(5, Duration::from_micros(200), 16);
    let callers: Vec<_> = (0..40_u8)
        .map(|caller| {
            let embedder = embedder.clone();
            tokio::spawn(async move {
                for round in 0..25_u8 {
                    let green = caller.wrapping_mul(5).wrapping_add(round);
                    let vector = embedder.embed(plain([100, green, 0])).await.unwrap();
                    assert!((angle(&vector) - f32::from(green).atan2(100.0)).abs() < 1e-5);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let statistics = embedder.statistics();
    assert_eq!(statistics.images, 1000);
    assert!(statistics.batches < 1000, "40 callers at once must share batches");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let model = Arc::new(Model::load(tiny_model().path(), &runtime()).unwrap());
    for (max_batch, queue) in [(0, 8), (8, 7)] {
        let options = BatchingOptions { max_batch, queue, ..BatchingOptions::default() };
        let error = Embedder::start(Arc::clone(&model), options).unwrap_err();
        assert!(error.to_string().contains("max_batch"), "{error}");
    }
}

#[test]
fn dropping_the_last_handle_ends_the_thread_and_frees_the_model() {
    let model = Arc::new(Model::load(tiny_model().path(), &runtime()).unwrap());
    let embedder = Embedder::start(Arc::clone(&model), BatchingOptions::default()).unwrap();
    drop(embedder.clone());
    assert_eq!(Arc::strong_count(&model), 3, "the test's, the handle's and the thread's");
    drop(embedder);
    assert_eq!(Arc::strong_count(&model), 1);
}
