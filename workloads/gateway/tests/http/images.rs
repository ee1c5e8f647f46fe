//! Adding, reading, listing and deleting images.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use medindex_pipeline::{MarkedRegion, Region, Sidecar, Upload};

use crate::support::{Form, House, sample};

#[tokio::test]
async fn an_uploaded_file_is_read_back_as_it_was_until_it_is_deleted() {
    let house = House::empty().await;
    let id = house.add("CT_small.dcm", Some("chest")).await;

    let details = house.get(&format!("/api/v1/images/{id}")).await.json();
    assert_eq!((details["modality"].as_str(), details["label"].as_str()), (Some("CT"), Some("chest")));
    assert_eq!((details["width"].as_u64(), details["status"].as_str()), (Some(128), Some("indexed")));

    let file = house.get(&format!("/api/v1/images/{id}/file")).await;
    assert_eq!(file.body, sample("CT_small.dcm"));
    assert_eq!(file.header("content-type"), "application/dicom");
    assert!(file.header("content-disposition").starts_with("attachment; filename=\"CT_small.dcm\""));
    assert_eq!(file.header("cache-control"), "no-store");

    let deleted = house.method("DELETE", &format!("/api/v1/images/{id}")).await.json();
    assert_eq!(deleted["ids"][0], id.to_string());
    for part in ["", "/file", "/preview.png"] {
        house.get(&format!("/api/v1/images/{id}{part}")).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn regions_of_interest_are_told_and_searched_with() {
    let house = House::empty().await;
    house.add("MR_small.dcm", None).await;
    let region = Region { x: 10, y: 20, width: 30, height: 40 };
    let regions = vec![
        MarkedRegion { region, label: Some("lung".into()) },
        MarkedRegion { region: Region { x: 0, ..region }, label: None },
    ];
    let sidecar = Some(Sidecar { regions, ..Sidecar::default() });
    let (name, bytes) = ("slice.dcm".to_owned(), sample("CT_small.dcm").into());
    let accepted = house.pipeline.accept(Upload { name, bytes, label: None, sidecar }).await.unwrap();
    let id = accepted.id;
    let patience = std::time::Duration::from_mins(1);
    house.pipeline.wait_until_searchable(&id, patience).await.unwrap();
    let details = house.get(&format!("/api/v1/images/{id}")).await.json();
    let expected = serde_json::json!([
        {"x": 10, "y": 20, "width": 30, "height": 40, "label": "lung"},
        {"x": 0, "y": 20, "width": 30, "height": 40},
    ]);
    assert_eq!(details["regions"], expected);
    let form = Form::new().text("id", &id.to_string()).text("roi", "10,20,30,40");
    let found = house.post("/api/v1/search", form).await.json();
    assert_eq!(found["results"].as_array().unwrap().len(), 1, "{found}");
    let plain = house.get("/api/v1/images?limit=10").await.json();
    assert!(plain["images"][1].get("regions").is_none(), "{plain}");
}

#[tokio::test]
async fn an_upload_says_where_the_image_is() {
    let house = House::empty().await;
    let answer = house.post("/api/v1/images", Form::new().file("a.dcm", &sample("MR_small.dcm"))).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let accepted = answer.json();
    assert_eq!(answer.header("location"), format!("/api/v1/images/{}", accepted["id"].as_str().unwrap()));
    assert_eq!(accepted["duplicate"], false);
    let again = house.post("/api/v1/images", Form::new().file("b.dcm", &sample("MR_small.dcm"))).await.json();
    assert_eq!((&again["id"], &again["duplicate"]), (&accepted["id"], &true.into()));
}

#[tokio::test]
async fn several_files_are_answered_one_by_one() {
    let house = House::empty().await;
    let form = Form::new()
        .file("ct.dcm", &sample("CT_small.dcm"))
        .file("notes.txt", b"no image at all, only words")
        .file("mr.dcm", &sample("MR_small.dcm"))
        .text("label", "head");
    let answer = house.post("/api/v1/images", form).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let items = answer.json()["items"].as_array().unwrap().clone();
    let statuses: Vec<u64> = items.iter().map(|item| item["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 422, 202]);
    assert!(items[1]["problem"]["detail"].as_str().unwrap().contains("not an image"), "{}", items[1]);
    let id = items[2]["accepted"]["id"].as_str().unwrap();
    assert_eq!(house.get(&format!("/api/v1/images/{id}")).await.json()["label"], "head");
}

#[tokio::test]
async fn previews_are_drawn_in_the_window_and_size_asked_for() {
    let house = House::empty().await;
    let id = house.add("CT_small.dcm", None).await;
    let preview = |query: &'static str| {
        let path = format!("/api/v1/images/{id}/preview.png{query}");
        let house = &house;
        async move { house.get(&path).await }
    };
    let lung = preview("?window=lung").await;
    assert_eq!(lung.header("content-type"), "image/png");
    assert!(lung.header("cache-control").starts_with("private"));
    assert_ne!(lung.body, preview("?window=bone").await.body);
    assert_eq!(lung.body, preview("?window=-600,1500").await.body, "a preset is its numbers");
    let small = preview("?size=64&window=full&frame=0").await;
    // Width and height of a PNG are at bytes 16 to 23.
    assert_eq!(small.body[16..24], [0, 0, 0, 64, 0, 0, 0, 64]);
}

#[tokio::test]
async fn a_hostile_file_name_cannot_break_out_of_its_header() {
    let house = House::empty().await;
    let name = "../../x%22; filename=evil.html; é.dcm";
    let answer = house.post("/api/v1/images", Form::new().file(name, &sample("CT_small.dcm"))).await;
    let (id, _) = house.settled(&answer).await;
    let file = house.get(&format!("/api/v1/images/{id}/file")).await;
    let disposition = file.headers["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with("attachment; filename=\""), "{disposition}");
    assert_eq!((disposition.matches('"').count(), disposition.matches(';').count()), (2, 2), "{disposition}");
    assert!(!disposition.contains('/'), "{disposition}");
    assert_eq!(file.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn pages_of_a_list_follow_each_other_to_the_end() {
    let (house, ids) = House::filled().await;
    let mut found = Vec::new();
    let mut path = "/api/v1/images?limit=2".to_owned();
    loop {
        let page = house.get(&path).await.json();
        for image in page["images"].as_array().unwrap() {
            found.push(image["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        assert!(found.len() <= ids.len(), "the pages go on for ever");
        path = format!("/api/v1/images?limit=2&after={next}");
    }
    let newest_first: Vec<String> = ids.iter().rev().map(ToString::to_string).collect();
    assert_eq!(found, newest_first);
    let distinct: BTreeSet<&String> = found.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    let failed = house.get("/api/v1/images?status=failed").await.json();
    assert_eq!(failed["images"].as_array().unwrap().len(), 0);
}
