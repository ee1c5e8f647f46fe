//! The page, as a browser without scripts uses it.

use axum::body::Body;
use axum::http::header;

use crate::support::{Answer, Form, House, request, sample};

async fn open(house: &House, path: &str) -> Answer {
    let asked = request("GET", path).header(header::ACCEPT, "text/html,application/xhtml+xml");
    house.send(asked.body(Body::empty()).unwrap()).await
}

async fn submit(house: &House, path: &str, form: Form) -> Answer {
    let mut asked = form.request(path);
    asked.headers_mut().insert(header::ACCEPT, "text/html".parse().unwrap());
    house.send(asked).await
}

#[tokio::test]
async fn the_page_shows_what_is_there_and_what_it_is_for() {
    let empty = House::empty().await;
    assert!(open(&empty, "/").await.text().contains("The index is empty"));
    let (house, ids) = House::filled().await;
    let page = open(&house, "/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains("For research and teaching, not for diagnosis."));
    assert!(text.contains("<strong>5</strong> images"), "{text}");
    for id in ids {
        assert!(text.contains(&format!("href=\"/?id={id}\"")));
    }
    assert!(text.contains("<option value=\"spine\">spine (2)</option>"), "{text}");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(!text.contains("style=") && !text.contains("onclick"), "the policy forbids inline code");
}

#[tokio::test]
async fn a_link_searches_from_an_image_and_keeps_the_choices() {
    let (house, ids) = House::filled().await;
    let page = open(&house, &format!("/?id={}&modality=MR&label=&window=bone&k=10", ids[0])).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    assert!(text.contains("2 images most like <em>CT_small.dcm</em>"), "{text}");
    assert!(
        text.contains(&format!("href=\"/?id={}&amp;k=10&amp;modality=MR&amp;window=bone\"", ids[1])),
        "{text}"
    );
    assert!(text.contains("preview.png?size=256&amp;window=bone"));
    assert!(text.contains("<option value=\"bone\" selected>"));
}

#[tokio::test]
async fn a_file_is_searched_with_and_shown_but_not_stored() {
    let (house, ids) = House::filled().await;
    let form = Form::new().text("modality", "").text("k", "3").text("roi", "5,6,70,80");
    let page = submit(&house, "/", form.file("query.dcm", &sample("CT_small.dcm"))).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    assert!(text.contains("3 images most like <em>query.dcm</em>"), "{text}");
    assert!(text.contains("href=\"data:image/png;base64,iVBOR"));
    assert!(text.contains("<rect class=\"region\" x=\"5\" y=\"6\" width=\"70\" height=\"80\">"), "{text}");
    let listed = house.get("/api/v1/images").await.json();
    assert_eq!(listed["images"].as_array().unwrap().len(), ids.len());
}

#[tokio::test]
async fn a_form_without_a_file_moves_to_the_address_of_its_search() {
    let (house, ids) = House::filled().await;
    let form = Form::new().file("", b"").text("id", &ids[0].to_string()).text("label", "a b");
    let moved = submit(&house, "/", form).await;
    assert_eq!(moved.status, 303);
    assert_eq!(moved.header("location"), format!("/?id={}&label=a%20b", ids[0]));
    let nothing = submit(&house, "/", Form::new().file("", b"")).await;
    assert_eq!(nothing.status, 400);
    assert!(nothing.text().contains("Choose an image first"));
}

#[tokio::test]
async fn names_and_labels_cannot_bring_code_into_the_page() {
    let house = House::empty().await;
    let form = Form::new().text("label", "<script>alert(1)</script>");
    let name = "<img src=x onerror=alert(2)>.dcm";
    let answer = house.post("/api/v1/images", form.file(name, &sample("CT_small.dcm"))).await;
    let (id, _) = house.settled(&answer).await;
    let search = format!("/?id={id}&label=%22%3E%3Csvg%20onload=alert(3)%3E");
    for page in [open(&house, "/").await, open(&house, &search).await] {
        let text = page.text();
        assert!(text.contains("&lt;script&gt;alert(1)"), "{text}");
        for code in ["<script>alert", "<img src=x", "<svg onload"] {
            assert!(!text.contains(code), "{code}");
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_is_said_on_a_page_with_its_status() {
    let (house, ids) = House::filled().await;
    let missing = open(&house, "/nothing").await;
    assert_eq!((missing.status.as_u16(), missing.header("content-type")), (404, "text/html; charset=utf-8"));
    let unknown = open(&house, "/?colour=red").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("colour"));
    let outside = open(&house, &format!("/?id={}&roi=100,100,100,100", ids[0])).await;
    assert_eq!(outside.status, 400);
    assert!(
        outside.text().contains("role=\"alert\"") && outside.text().contains("outside"),
        "{}",
        outside.text()
    );
    let words = submit(&house, "/", Form::new().file("notes.txt", b"only words here, no image")).await;
    assert_eq!(words.status, 422);
    assert!(words.text().contains("The file is not an image"));
    let api = request("GET", "/api/v1/nothing").header(header::ACCEPT, "text/html");
    house.send(api.body(Body::empty()).unwrap()).await.problem(404, "not-found");
}

#[tokio::test]
async fn files_are_added_by_a_form_of_their_own() {
    let house = House::empty().await;
    let form = Form::new()
        .text("label", "head")
        .file("ct.dcm", &sample("CT_small.dcm"))
        .file("x.txt", b"only words");
    let page = submit(&house, "/add", form).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("1 of 2 files added"), "{}", page.text());
    let empty = submit(&house, "/add", Form::new().file("", b"")).await;
    assert_eq!(empty.status, 400);
}

#[tokio::test]
async fn assets_are_kept_by_browsers_under_addresses_that_change_with_them() {
    let house = House::empty().await;
    let page = open(&house, "/").await;
    let addresses: Vec<&str> = page.text().split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert!(addresses.len() >= 3);
    for address in &addresses {
        let asset = house.get(address).await;
        assert_eq!(asset.status, 200, "{address}");
        assert!(asset.header("cache-control").contains("immutable"));
    }
    house.get("/assets/0000000000000000/style.css").await.problem(404, "not-found");
    let script = addresses.iter().find(|address| address.ends_with("script.js")).unwrap();
    assert_eq!(house.get(script).await.header("content-type"), "text/javascript; charset=utf-8");
}
