//! The operation log over the embedded backends: what is done is recorded, once, whatever the queue does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Instant;

use medindex_backends::Queue as _;
use medindex_backends::embedded::{EmbeddedStore, StoreOptions};
use medindex_pipeline::{
    ImportItem, OperationEntry, OperationRequest, Pipeline, Query, ReadError, ReadItemError, SearchRequest,
};
use medindex_proto::message::Message as _;
use medindex_proto::messages::{DeadLetter, OperationEvent};
use medindex_proto::names::{TOPIC_DEAD_LETTER, TOPIC_OPERATION_LOG};
use tokio_util::sync::CancellationToken;

use support::{DEADLINE, open, pattern, store, upload};

async fn operations(pipeline: &Pipeline, action: &str) -> Vec<OperationEntry> {
    let request =
        OperationRequest { limit: 100, action: Some(action.to_owned()), ..OperationRequest::default() };
    match pipeline.operations(&request).await {
        Ok(page) => page.operations,
        // That of a newer program is not known before the first one is in the log.
        Err(ReadError::CheckName { .. }) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Waits until so many operations of a kind are listed, latest first.
async fn wait_for(pipeline: &Pipeline, action: &str, count: usize) -> Vec<OperationEntry> {
    let begun = Instant::now();
    loop {
        let found = operations(pipeline, action).await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "{count} of {action} are not listed: {found:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_do_is_listed_with_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let first = store(&pipeline, pattern(1)).await;
    pipeline.accept(pattern(1)).await.unwrap();
    pipeline.accept(upload("letter.txt", b"no image".to_vec())).await.unwrap_err();
    let outcomes: Vec<(String, String)> = wait_for(&pipeline, "image.upload", 3)
        .await
        .into_iter()
        .map(|operation| (operation.outcome, operation.subject))
        .collect();
    for expected in
        [("accepted", first.id.to_string()), ("duplicate", first.id.to_string()), ("refused", String::new())]
    {
        let found = outcomes.iter().find(|(outcome, _)| outcome == expected.0).unwrap();
        assert_eq!(found.1, expected.1);
    }

    pipeline.search(SearchRequest::new(Query::Stored(first.id))).await.unwrap();
    pipeline.search(SearchRequest { k: 0, ..SearchRequest::new(Query::Stored(first.id)) }).await.unwrap_err();
    let searches = wait_for(&pipeline, "image.search", 2).await;
    assert!(searches.iter().all(|search| search.subject == first.id.to_string() && search.actor == "local"));
    assert!(searches.iter().any(|search| search.outcome == "refused" && search.detail.contains('0')));

    pipeline.recognise("query.png".to_owned(), pattern(1).bytes).await.unwrap();
    pipeline.recognise("query.png".to_owned(), pattern(1).bytes).await.unwrap();
    let outcomes: Vec<String> =
        wait_for(&pipeline, "image.recognise", 2).await.into_iter().map(|one| one.outcome).collect();
    assert_eq!(outcomes, ["cached", "answered"]);
    pipeline.file(&first.id).await.unwrap();
    wait_for(&pipeline, "image.download", 1).await;

    let items = [
        Ok(pattern(2).bytes),
        Ok(pattern(1).bytes),
        Err(ReadItemError("the folder cannot be read".to_owned())),
    ];
    let items = items.into_iter().enumerate().map(|(number, content)| ImportItem {
        name: format!("{number}.png"),
        label: None,
        sidecar: None,
        read: Box::new(move || content),
    });
    let imported = pipeline.import(items, Arc::new(|_| {}), CancellationToken::new()).await.unwrap();
    assert_eq!((imported.stored, imported.duplicates, imported.failed.len()), (1, 1, 1));
    let import = wait_for(&pipeline, "index.import", 1).await.remove(0);
    assert!(import.detail.starts_with("1 stored, 1 there already, 1 refused"), "{}", import.detail);
    assert_eq!(operations(&pipeline, "image.upload").await.len(), 3, "an import is one operation");

    pipeline.delete(&first.id).await.unwrap();
    pipeline.delete(&first.id).await.unwrap_err();
    pipeline.delete_patient("nobody").await.unwrap_err();
    let deletions = wait_for(&pipeline, "image.delete", 2).await;
    assert_eq!(deletions.iter().filter(|one| one.outcome == "deleted").count(), 1);
    assert_eq!(wait_for(&pipeline, "patient.delete", 1).await[0].subject, "nobody");
    pipeline.train(&|_| {}).await.unwrap_err();
    assert_eq!(wait_for(&pipeline, "generation.train", 1).await[0].outcome, "failed");
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_noted_last_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let stored = store(&pipeline, pattern(1)).await;
    pipeline.search(SearchRequest::new(Query::Stored(stored.id))).await.unwrap();
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    let pipeline = open(folder.path()).await;
    assert_eq!(operations(&pipeline, "image.search").await.len(), 1);
    assert_eq!(operations(&pipeline, "image.upload").await.len(), 1);
    assert_eq!(pipeline.operation_counts().dropped, 0);
    pipeline.shutdown().await.unwrap();
}

/// An event of another process.
fn event(change: impl FnOnce(&mut OperationEvent)) -> OperationEvent {
    let mut event = OperationEvent {
        event_id: "0197f0a2-1c3d-7e4f-8a5b-6c7d8e9f0a1b".to_owned(),
        at_ms: 1_000,
        actor: "Dr. Ü".to_owned(),
        action: "image.annotate".to_owned(),
        subject: "患者".to_owned(),
        outcome: "done".to_owned(),
        ..OperationEvent::default()
    };
    change(&mut event);
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_changes_nothing_and_what_is_no_event_is_put_aside_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).await.shutdown().await.unwrap();
    let queue = EmbeddedStore::open_with(folder.path(), StoreOptions::default()).await.unwrap();
    let mut future = event(|event| event.action = "of the future".to_owned()).write().unwrap().to_vec();
    future.splice(0..2, [0x08, 0x63]);
    let long = event(|event| {
        event.event_id = "0197f0a2-1c3d-7e4f-8a5b-000000000001".to_owned();
        event.subject = "s".repeat(256);
    });
    let payloads = [
        event(|_| {}).write().unwrap(),
        bytes::Bytes::from_static(b"\xff\xff no message"),
        event(|event| event.detail = "changed".to_owned()).write().unwrap(),
        future.into(),
        long.write().unwrap(),
    ];
    for payload in payloads {
        queue.publish(TOPIC_OPERATION_LOG, 3, "a stranger", payload).await.unwrap();
    }
    queue.close().await;
    drop(queue);

    let pipeline = open(folder.path()).await;
    let annotated = wait_for(&pipeline, "image.annotate", 1).await.remove(0);
    assert_eq!((annotated.actor.as_str(), annotated.subject.as_str()), ("Dr. Ü", "患者"));
    let failed = wait_for(&pipeline, "image.fail", 3).await;
    for words in ["not a OperationEvent", "version 99", "subject has 256 characters"] {
        assert!(failed.iter().any(|one| one.detail.contains(words)), "{words}: {failed:?}");
    }
    assert_eq!(wait_for(&pipeline, "image.annotate", 1).await[0].detail, "", "the first one counts");
    let alarms = pipeline.alarms(true, 10).await.unwrap();
    assert!(alarms.iter().any(|alarm| alarm.kind == "dead_letter"), "{alarms:?}");
    pipeline.shutdown().await.unwrap();
    drop(pipeline);

    let queue = EmbeddedStore::open_with(folder.path(), StoreOptions::default()).await.unwrap();
    let letters = queue.read_from(TOPIC_DEAD_LETTER, 3, 0, 10).await.unwrap();
    let letters: Vec<DeadLetter> =
        letters.iter().map(|letter| DeadLetter::read(&letter.payload).unwrap()).collect();
    assert_eq!(letters.len(), 3, "each once");
    assert!(
        letters.iter().all(|letter| letter.topic == "operationlog" && letter.cause == "unreadable_event")
    );
}
