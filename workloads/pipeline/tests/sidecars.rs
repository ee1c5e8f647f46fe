//! What is known of an image beside its file: kept with it, used to show, embed and search it, and there again after a repair.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Cursor;

use image::{ImageBuffer, ImageFormat, Luma};
use medindex_imaging::{FrameSelection, Limits, decode};
use medindex_pipeline::{
    MarkedRegion, Pipeline, PreviewRequest, Query, Region, SearchRequest, Settings, Sidecar, Upload,
    WindowChoice,
};

use support::{embedder, open, sample, store, upload};

const BONE: WindowChoice = WindowChoice::Explicit { center: 400.0, width: 1800.0 };
const REGION: Region = Region { x: 20, y: 30, width: 40, height: 24 };

/// A CT slice as a data set like DeepLesion keeps it: 16 bits, 32,768 more than Hounsfield units.
fn slice(window: WindowChoice) -> Upload {
    let scan = decode(&sample("CT_small.dcm").bytes, &Limits::default(), FrameSelection::Middle).unwrap();
    let frame = &scan.frames[0];
    let values =
        frame.modality_values().unwrap().into_iter().map(|hounsfield| (hounsfield + 32_768.0) as u16);
    let picture: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_raw(frame.width(), frame.height(), values.collect()).unwrap();
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let sidecar = Sidecar {
        image_type: Some("CT".into()),
        modality: Some("CT".into()),
        patient_id: Some("DeepLesion-000001".into()),
        hounsfield_offset: Some(-32_768.0),
        window: Some(window),
        regions: vec![MarkedRegion { region: REGION, label: Some("bone".into()) }],
        ..Sidecar::default()
    };
    let label = Some("bone".to_owned());
    Upload { sidecar: Some(sidecar), label, ..upload("slice.png", bytes.into_inner()) }
}

fn by_scan(window: WindowChoice, region: Option<Region>) -> SearchRequest {
    let scan = sample("CT_small.dcm");
    let query = Query::File { name: scan.name, bytes: scan.bytes };
    SearchRequest { window: Some(window), region, ..SearchRequest::new(query) }
}

/// Distance of the only stored image.
async fn distance(pipeline: &Pipeline, request: SearchRequest) -> f32 {
    let answer = pipeline.search(request).await.unwrap();
    assert_eq!(answer.results.len(), 1);
    answer.results[0].distance
}

async fn check(pipeline: &Pipeline, id: &medindex_pipeline::ImageId) {
    let details = pipeline.image(id).await.unwrap();
    assert_eq!(details.regions, [MarkedRegion { region: REGION, label: Some("bone".into()) }]);
    assert_eq!(details.patient_id.as_deref(), Some("DeepLesion-000001"));
    assert_eq!((details.modality.as_deref(), details.image_type.as_deref()), (Some("CT"), Some("CT")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_image_is_embedded_and_shown_as_its_sidecar_says() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let image = slice(BONE);
    let stored = store(&pipeline, image.clone()).await;
    check(&pipeline, &stored.id).await;
    // The same Hounsfield units in the same window, once from DICOM and once from PNG.
    let same = distance(&pipeline, by_scan(BONE, None)).await;
    let other = distance(&pipeline, by_scan("brain".parse().unwrap(), None)).await;
    assert!(same < 1e-3 && other > same + 0.01, "{same} in its window, {other} in another");

    let preview = PreviewRequest { window: None, frame: None, max_edge: 128 };
    let shown = pipeline.preview(&stored.id, preview).await.unwrap();
    let scan = sample("CT_small.dcm").bytes;
    let expected = pipeline.render(scan, PreviewRequest { window: Some(BONE), ..preview }).await.unwrap();
    assert_eq!(shown, expected);
    let bare = pipeline.render(image.bytes, preview).await.unwrap();
    assert_ne!(shown, bare, "without its sidecar the file is shown from its least to its greatest value");
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_of_a_stored_image_is_searched_in_its_own_window() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let stored = store(&pipeline, slice(BONE)).await;
    let other = store(&pipeline, sample("MR_small.dcm")).await;
    let region = pipeline.image(&stored.id).await.unwrap().regions[0].region;
    let from_stored = SearchRequest { region: Some(region), ..SearchRequest::new(Query::Stored(stored.id)) };
    let answer = pipeline.search(from_stored).await.unwrap();
    assert_eq!(answer.query.region, Some(region));
    let found = answer.results.iter().find(|hit| hit.id == other.id).unwrap().distance;
    let answer = pipeline.search(by_scan(BONE, Some(region))).await.unwrap();
    let expected = answer.results.iter().find(|hit| hit.id == other.id).unwrap().distance;
    assert!((found - expected).abs() < 1e-3, "{found} from the stored image, {expected} from the scan");
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_outlives_the_catalog_and_the_image_its_second_upload() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let stored = store(&pipeline, slice(BONE)).await;
    let again = pipeline.accept(slice("brain".parse().unwrap())).await.unwrap();
    assert!(again.duplicate && again.id == stored.id);
    check(&pipeline, &stored.id).await;
    assert!(distance(&pipeline, by_scan(BONE, None)).await < 1e-3, "an image keeps what it was stored with");
    pipeline.shutdown().await.unwrap();
    drop(pipeline);

    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        std::fs::remove_file(folder.path().join(name)).ok();
    }
    let report = Pipeline::repair(folder.path(), embedder(), Settings::default()).await.unwrap();
    assert_eq!(report.recovered, 1);
    let pipeline = open(folder.path()).await;
    check(&pipeline, &stored.id).await;
    let shown = PreviewRequest { window: None, frame: None, max_edge: 64 };
    let scan = sample("CT_small.dcm").bytes;
    let expected = pipeline.render(scan, PreviewRequest { window: Some(BONE), ..shown }).await.unwrap();
    assert_eq!(pipeline.preview(&stored.id, shown).await.unwrap(), expected);
    pipeline.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_too_long_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = open(folder.path()).await;
    let mut image = slice(BONE);
    let regions = vec![MarkedRegion { region: REGION, label: Some("bone".into()) }; 500];
    image.sidecar = Some(Sidecar { regions, ..Sidecar::default() });
    let refusal = pipeline.accept(image).await.unwrap_err().to_string();
    assert!(refusal.contains("sidecar") && refusal.contains("8192"), "{refusal}");
    pipeline.shutdown().await.unwrap();
}
