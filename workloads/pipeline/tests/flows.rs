//! The flows over the embedded backends, with a real model and real files.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use medindex_pipeline::{
    Classified, DeleteError, ErrorKind, FEWEST_IMAGES, GroupBy, ImageStatus, ImportItem, IngestError,
    NotTheOneBefore, Query, ReadError, Region, SearchError, SearchRequest, TrainError, parse_filter,
};
use tokio_util::sync::CancellationToken;

use support::{DEADLINE, open, pattern, sample, store, upload};

fn by_file(upload: &medindex_pipeline::Upload) -> SearchRequest {
    SearchRequest::new(Query::File { name: upload.name.clone(), bytes: upload.bytes.clone() })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploaded_dicom_file_is_found_by_searching_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let scan = sample("CT_small.dcm");
    let ct = store(&pipeline, scan.clone()).await;
    let mr = store(&pipeline, sample("MR_small.dcm")).await;
    let answer = pipeline.search(SearchRequest { explain: true, ..by_file(&scan) }).await.unwrap();
    assert_eq!(answer.results.len(), 2);
    assert_eq!((answer.results[0].id, answer.results[1].id), (ct.id, mr.id));
    assert!(answer.results[0].distance < 1e-3, "{}", answer.results[0].distance);
    assert!(answer.results[1].distance > answer.results[0].distance);
    assert_eq!(answer.results[0].modality.as_deref(), Some("CT"));
    assert!(answer.results[0].study_uid.is_some());
    assert_eq!((answer.generation, answer.partial), (0, false));
    assert_eq!(answer.explain.unwrap().index.exact_scored, 2);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_one_image_however_often_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let uploads = (0..20).map(|_| pipeline.accept(pattern(1)));
    let accepted: Vec<_> = futures::future::join_all(uploads).await.into_iter().map(Result::unwrap).collect();
    assert!(accepted.iter().all(|each| each.id == accepted[0].id));
    assert_eq!(accepted.iter().filter(|each| !each.duplicate).count(), 1);
    pipeline.wait_until_searchable(&accepted[0].id, DEADLINE).await.unwrap();
    let status = pipeline.status().await.unwrap();
    assert_eq!((status.images.indexed, status.index.entries), (1, 1));
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    for bytes in [b"".as_slice(), b"just some text", &pattern(1).bytes[..20]] {
        let error = pipeline.accept(upload("wrong", bytes.to_vec())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unprocessable, "{error}");
    }
    let status = pipeline.status().await.unwrap();
    assert_eq!(status.images.received + status.images.indexed + status.images.failed, 0);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_whose_pixels_are_damaged_fails_with_its_reason_and_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let mut broken = pattern(1).bytes.to_vec();
    let middle = broken.len() / 2;
    broken[middle..middle + 40].fill(0xa5);
    let accepted = pipeline.accept(upload("broken.png", broken.clone())).await.unwrap();
    let status = pipeline.wait_until_searchable(&accepted.id, DEADLINE).await.unwrap();
    assert_eq!(status, ImageStatus::Failed);
    let details = pipeline.image(&accepted.id).await.unwrap();
    assert!(details.reason.unwrap().contains("PNG"), "the reason names the format");
    assert!(pipeline.status().await.unwrap().alarms.iter().any(|alarm| alarm.kind == "dead_letter"));
    store(&pipeline, pattern(2)).await;
    // A failed image may be tried again: it keeps its id.
    let again = pipeline.accept(upload("broken.png", broken)).await.unwrap();
    assert_eq!((again.id, again.status), (accepted.id, ImageStatus::Received));
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_image_is_searched_from_without_finding_itself() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let first = store(&pipeline, pattern(1)).await;
    let second = store(&pipeline, pattern(2)).await;
    let whole = SearchRequest::new(Query::Stored(first.id));
    let answer = pipeline.search(whole.clone()).await.unwrap();
    assert_eq!(answer.results.iter().map(|hit| hit.id).collect::<Vec<_>>(), [second.id]);
    assert_eq!(answer.query.id, Some(first.id));
    let region = Region { x: 8, y: 8, width: 32, height: 32 };
    let part = pipeline.search(SearchRequest { region: Some(region), ..whole.clone() }).await.unwrap();
    assert!((part.results[0].distance - answer.results[0].distance).abs() > 1e-4);
    let outside = Region { x: 60, ..region };
    let error = pipeline.search(SearchRequest { region: Some(outside), ..whole }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert!(error.to_string().contains("64 x 64"), "{error}");
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_groups_narrow_an_answer_without_losing_any() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    for seed in 0..15 {
        store(&pipeline, pattern(seed)).await;
    }
    for name in ["CT_small.dcm", "MR_small.dcm"] {
        store(&pipeline, sample(name)).await;
    }
    let request = by_file(&pattern(3));
    let labelled = SearchRequest { filter: parse_filter("label=class3|class4").unwrap(), ..request.clone() };
    let answer = pipeline.search(labelled).await.unwrap();
    assert_eq!(answer.results.len(), 6);
    assert!(answer.results.iter().all(|hit| matches!(hit.label.as_deref(), Some("class3" | "class4"))));
    assert!(answer.results.is_sorted_by(|left, right| left.distance <= right.distance));
    let ct = SearchRequest { filter: parse_filter("modality=ct").unwrap(), ..request.clone() };
    assert_eq!(pipeline.search(ct).await.unwrap().results.len(), 1);
    let none = SearchRequest { filter: parse_filter("modality=US").unwrap(), ..request.clone() };
    assert!(pipeline.search(none).await.unwrap().results.is_empty());
    let grouped = SearchRequest { group_by: GroupBy::Study, k: 100, ..request };
    assert_eq!(pipeline.search(grouped).await.unwrap().results.len(), 17);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_searches_say_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let image = store(&pipeline, pattern(1)).await;
    let request = SearchRequest::new(Query::Stored(image.id));
    let none = pipeline.search(SearchRequest { k: 0, ..request.clone() }).await.unwrap_err();
    assert!(matches!(none, SearchError::CheckResultCount { k: 0, .. }), "{none}");
    let many = pipeline.search(SearchRequest { k: 1_000_000, ..request.clone() }).await.unwrap_err();
    assert_eq!(many.kind(), ErrorKind::BadRequest);
    let frame = pipeline.search(SearchRequest { frame: Some(7), ..request }).await.unwrap_err();
    assert_eq!(frame.kind(), ErrorKind::BadRequest, "{frame}");
    let stranger = SearchRequest::new(Query::Stored(medindex_pipeline::ImageId::new()));
    assert_eq!(pipeline.search(stranger).await.unwrap_err().kind(), ErrorKind::NotFound);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_image_is_gone_everywhere_and_stays_gone() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let kept = store(&pipeline, pattern(1)).await;
    let gone = store(&pipeline, pattern(2)).await;
    assert_eq!(pipeline.delete(&gone.id).await.unwrap().ids, [gone.id]);
    let found = |pipeline: &medindex_pipeline::Pipeline| {
        let (pipeline, request) = (pipeline.clone(), by_file(&pattern(2)));
        async move { pipeline.search(request).await.unwrap().results.iter().map(|hit| hit.id).collect::<Vec<_>>() }
    };
    assert_eq!(found(&pipeline).await, [kept.id]);
    assert!(matches!(pipeline.image(&gone.id).await, Err(ReadError::FindImage(_))));
    assert!(matches!(pipeline.file(&gone.id).await, Err(ReadError::FindImage(_))));
    assert!(matches!(pipeline.delete(&gone.id).await, Err(DeleteError::FindImage(_))));
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    let pipeline = open(folder.path()).await;
    assert_eq!(found(&pipeline).await, [kept.id]);
    // The same bytes may come again, as a new image.
    let again = store(&pipeline, pattern(2)).await;
    assert!(!again.duplicate && again.id != gone.id);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_images_of_a_patient_are_deleted_together() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let ct = store(&pipeline, sample("CT_small.dcm")).await;
    store(&pipeline, pattern(1)).await;
    let patient = pipeline.image(&ct.id).await.unwrap().patient_id.unwrap();
    assert_eq!(pipeline.delete_patient(&patient).await.unwrap().ids, [ct.id]);
    assert!(matches!(pipeline.delete_patient(&patient).await, Err(DeleteError::FindPatient(_))));
    assert_eq!(pipeline.status().await.unwrap().images.indexed, 1);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart_even_without_the_index_folder() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let mut ids = Vec::new();
    for seed in 0..10 {
        ids.push(store(&pipeline, pattern(seed)).await.id);
    }
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    for lose_index in [false, true] {
        if lose_index {
            std::fs::remove_dir_all(folder.path().join("index")).unwrap();
        }
        let pipeline = open(folder.path()).await;
        assert_eq!(pipeline.status().await.unwrap().index.entries, 10, "index lost: {lose_index}");
        for (seed, id) in ids.iter().enumerate() {
            let answer = pipeline.search(by_file(&pattern(seed as u32))).await.unwrap();
            assert_eq!(answer.results[0].id, *id);
            assert_eq!(pipeline.file(id).await.unwrap().1, pattern(seed as u32).bytes);
        }
        pipeline.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recognition_is_computed_once_and_then_comes_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    for seed in 0..10 {
        store(&pipeline, pattern(seed)).await;
    }
    let query = pattern(3);
    let ask = || pipeline.recognise(query.name.clone(), query.bytes.clone());
    let first = futures::future::join_all((0..50).map(|_| ask())).await;
    let first: Vec<_> = first.into_iter().map(Result::unwrap).collect();
    assert!(first.iter().all(|each| each.classes[0].label == first[0].classes[0].label));
    assert!(!first[0].cached && ask().await.unwrap().cached);
    assert_eq!(first[0].md5.len(), 32);
    let total: f32 = first[0].vote.iter().map(|score| score.probability).sum();
    assert!((total - 1.0).abs() < 1e-4 && !first[0].vote.is_empty());
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn training_swaps_in_a_generation_that_finds_the_same_and_can_be_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let early = pipeline.train(&|_| {}).await.unwrap_err();
    assert!(matches!(early, TrainError::Sample { found: 0, .. }), "{early}");
    assert!(matches!(pipeline.roll_back(None).await, Err(TrainError::RollBack)));
    let one_fewer = FEWEST_IMAGES - 1;
    import_patterns(&pipeline, one_fewer as u32).await;
    let early = pipeline.train(&|_| {}).await.unwrap_err();
    assert!(matches!(early, TrainError::Sample { found, .. } if found == one_fewer), "{early}");
    store(&pipeline, pattern(one_fewer as u32)).await;
    let report = pipeline.train(&|_| {}).await.unwrap();
    assert!(report.accepted, "{report:?}");
    assert_eq!((report.generation, report.code_bytes), (1, 32));
    assert!(report.recall_at_10 >= 0.9);
    let request = SearchRequest { explain: true, ..by_file(&pattern(7)) };
    let coded = pipeline.search(request.clone()).await.unwrap();
    let exact = pipeline.search(SearchRequest { exact: true, ..request.clone() }).await.unwrap();
    assert_eq!(coded.generation, 1);
    assert!(coded.explain.unwrap().index.codes_scanned > 0);
    assert_eq!(coded.results[0].id, exact.results[0].id);
    // Images that come later are found beside the codes.
    let late = store(&pipeline, pattern(1_000)).await;
    assert_eq!(pipeline.search(by_file(&pattern(1_000))).await.unwrap().results[0].id, late.id);
    pipeline.shutdown().await.unwrap();
    drop(pipeline);
    let pipeline = open(folder.path()).await;
    assert_eq!(pipeline.search(request.clone()).await.unwrap().generation, 1);
    assert!(matches!(
        pipeline.roll_back(Some(7)).await,
        Err(TrainError::RollBackTo(NotTheOneBefore { wanted: 7, previous: 0, .. }))
    ));
    assert_eq!(pipeline.roll_back(Some(0)).await.unwrap(), 0);
    assert_eq!(pipeline.roll_back(Some(0)).await.unwrap(), 0, "asked for again, it stays there");
    assert_eq!(pipeline.search(request).await.unwrap().generation, 0);
    pipeline.shutdown().await.unwrap();
}

fn item(upload: medindex_pipeline::Upload) -> ImportItem {
    let medindex_pipeline::Upload { name, label, sidecar, bytes } = upload;
    ImportItem { name, label, sidecar, read: Box::new(move || Ok(bytes)) }
}

async fn import_patterns(pipeline: &medindex_pipeline::Pipeline, count: u32) {
    let items = (0..count).map(|seed| {
        let upload = pattern(seed);
        item(upload)
    });
    let summary = pipeline.import(items, Arc::new(|_| {}), CancellationToken::new()).await.unwrap();
    assert_eq!((summary.stored, summary.failed.len()), (u64::from(count), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_reports_what_became_of_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    store(&pipeline, pattern(0)).await;
    let mut uploads: Vec<_> = (0..5).map(pattern).collect();
    uploads.push(pattern(4));
    uploads.push(upload("notes.txt", b"no image at all".to_vec()));
    let items: Vec<ImportItem> = uploads
        .into_iter()
        .map(item)
        .chain([ImportItem {
            name: "unreadable".into(),
            label: None,
            sidecar: None,
            read: Box::new(|| Err(medindex_pipeline::ReadItemError("permission denied".into()))),
        }])
        .collect();
    let seen = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&seen);
    let progress = Arc::new(move |progress: &medindex_pipeline::ImportProgress| {
        watched.store(progress.seen, Ordering::SeqCst);
    });
    let summary = pipeline.import(items.into_iter(), progress, CancellationToken::new()).await.unwrap();
    assert_eq!((summary.stored, summary.duplicates), (4, 2));
    assert_eq!(summary.failed.len(), 2);
    assert!(summary.failed.iter().any(|failure| failure.name == "notes.txt"));
    assert!(summary.failed.iter().any(|failure| failure.reason == "permission denied"));
    assert_eq!(seen.load(Ordering::SeqCst), 8);
    assert_eq!(pipeline.status().await.unwrap().index.entries, 5);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_is_waited_for_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let id = medindex_pipeline::ImageId::new();
    assert!(matches!(pipeline.wait_until_searchable(&id, DEADLINE).await, Err(IngestError::FindImage(_))));
    pipeline.shutdown().await.unwrap();
}
