//! What the gateway tells of model and generations, and what follows from it.

use std::sync::atomic::Ordering;

use medindex_operator::external::IndexStatus;
use serde_json::{Value, json};

use crate::World;

/// An index whose pods are ready and whose gateway tells this: generation 3 answers, and 2 before it, with what is given over it.
async fn answering(change: impl FnOnce(&mut IndexStatus)) -> World {
    let world = World::new();
    world.settle().await;
    world.bring_pods_up();
    let mut status = IndexStatus::default();
    status.index.generation = 3;
    status.index.previous_generation = Some(2);
    change(&mut status);
    *world.backends.status() = status;
    world.settle().await;
    world
}

/// Status and reason, and that the message has these words.
fn assert_told(world: &World, condition: &str, wanted: (&str, &str), words: &[&str]) {
    let (status, reason, message) = world.condition(condition);
    assert_eq!((status.as_str(), reason.as_str()), wanted, "{message}");
    for word in words {
        assert!(message.contains(word), "{word} is not in: {message}");
    }
}

#[tokio::test]
async fn another_model_than_the_resource_names_stalls_and_names_both() {
    let (named, other) = ("a".repeat(64), "b".repeat(64));
    let world = answering(|status| status.model_digest.clone_from(&other)).await;
    assert_told(&world, "Ready", ("True", "Ready"), &[]);
    world.edit("/spec/embedding/digest", json!(named));
    world.settle().await;
    let words = [
        format!("spec.embedding.digest is {named}"),
        format!("the model {other}"),
        "give the model that the digest names".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_told(&world, "Stalled", ("True", "ModelMismatch"), &words);
    assert_told(&world, "Ready", ("False", "ModelMismatch"), &words);
    world.backends.status().model_digest = named;
    world.settle().await;
    assert_told(&world, "Stalled", ("False", "NotStalled"), &[]);
    assert_told(&world, "Ready", ("True", "Ready"), &[]);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_leaves_the_generation_unknown() {
    let world = World::new();
    world.settle().await;
    assert_told(&world, "QuantizerReady", ("Unknown", "GatewaySilent"), &["gateway does not tell"]);
    world.bring_pods_up();
    world.settle().await;
    assert_told(&world, "QuantizerReady", ("True", "Exact"), &["until there are images enough"]);
    world.backends.gateway_is_silent.store(true, Ordering::Relaxed);
    world.settle().await;
    let words = ["http://radiology-gateway.imaging.svc", "status 503", "tried again within a minute"];
    assert_told(&world, "QuantizerReady", ("Unknown", "GatewaySilent"), &words);
}

#[tokio::test]
async fn a_gateway_that_does_not_go_back_says_why() {
    let world = answering(|_| ()).await;
    world.backends.gateway_keeps_generation.store(true, Ordering::Relaxed);
    world.edit("/spec/quantizer", json!({"rollbackTo": 2}));
    world.settle().await;
    let words = ["going back to 2", "status 503", "tried again within a minute"];
    assert_told(&world, "QuantizerReady", ("False", "RollingBack"), &words);
    world.backends.gateway_keeps_generation.store(false, Ordering::Relaxed);
    world.settle().await;
    world.settle().await;
    assert_told(&world, "QuantizerReady", ("True", "GenerationActive"), &["generation 2 answers"]);
}

#[tokio::test]
async fn a_generation_under_the_gate_is_told_and_the_one_before_answers_on() {
    let world = answering(|_| ()).await;
    assert_told(&world, "QuantizerReady", ("True", "GenerationActive"), &["generation 3 answers"]);
    let held = json!({"generation": 4, "accepted": false, "vectors": 20_000, "recall_at_10": 0.5});
    world.backends.status().training = serde_json::from_value(held).unwrap();
    world.settle().await;
    let words = ["generation 3 answers", "generation 4 found 0.5000", "was not taken"];
    assert_told(&world, "QuantizerReady", ("True", "RecallGateHeld"), &words);
}

#[tokio::test]
async fn going_back_is_told_while_it_is_done_and_where_it_cannot_be() {
    let world = answering(|_| ()).await;
    let go_back = |to: Value| world.edit("/spec/quantizer", json!({"rollbackTo": to}));
    go_back(json!(1));
    world.settle().await;
    let words = ["spec.quantizer.rollbackTo is 1", "generation 3 answers", "the one before it is 2"];
    assert_told(&world, "QuantizerReady", ("False", "RollbackImpossible"), &words);
    go_back(json!(2));
    world.reconcile().await.unwrap();
    assert_told(&world, "QuantizerReady", ("False", "RollingBack"), &["going back to 2"]);
    world.settle().await;
    assert_told(&world, "QuantizerReady", ("True", "GenerationActive"), &["generation 2 answers"]);
}

#[tokio::test]
async fn a_suspended_index_says_that_its_data_are_kept() {
    let world = answering(|_| ()).await;
    world.edit("/spec/suspend", json!(true));
    world.settle().await;
    let words = ["spec.suspend is true", "all data are kept"];
    assert_told(&world, "Ready", ("False", "Suspended"), &words);
}
