//! Everything that can be wrong with a request, and what is answered.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use futures::StreamExt;
use medindex_gateway::GatewaySettings;
use medindex_pipeline::{ImageId, ImageStatus, Settings};
use serde_json::json;
use tokio::sync::oneshot;
use tower::ServiceExt;

use crate::support::{Form, House, request, sample, with_largest_file};

#[tokio::test]
async fn unknown_routes_methods_and_parameters_are_problems() {
    let house = House::empty().await;
    let id = ImageId::new();
    house.get("/api/v1/nothing").await.problem(404, "not-found");
    house.get("/nothing").await.problem(404, "not-found");
    house.get(&format!("/api/v1/images/{id}")).await.problem(404, "not-found");
    house.get("/api/v1/images/x%2Fy").await.problem(404, "not-found");
    house.get("/api/v1/images/%FF").await.problem(400, "bad-request");
    let refused = house.method("PUT", "/api/v1/images").await;
    refused.problem(405, "method-not-allowed");
    assert!(refused.header("allow").contains("POST"), "{}", refused.header("allow"));
    for path in [
        "/api/v1/images?colour=red",
        "/api/v1/images?limit=0",
        "/api/v1/images?limit=many",
        "/api/v1/images?limit=1&limit=2",
        "/api/v1/images?status=lost",
        "/api/v1/images?after=nowhere",
        "/api/v1/status?x=1",
        "/healthz?x=1",
        "/metrics?x=1",
        "/api/openapi.json?x=1",
    ] {
        let detail = house.get(path).await.problem(400, "bad-request");
        assert!(!detail.is_empty(), "{path}");
    }
    let detail = house.get("/api/v1/images?colour=red").await.problem(400, "bad-request");
    assert!(detail.contains("colour") && detail.contains("limit"), "{detail}");
}

#[tokio::test]
async fn a_problem_names_the_request() {
    let house = House::empty().await;
    let asked = request("GET", "/api/v1/nothing?secret=1").header("x-request-id", "from-the-client.1");
    let answer = house.send(asked.body(Body::empty()).unwrap()).await;
    answer.problem(404, "not-found");
    assert_eq!(answer.header("x-request-id"), "from-the-client.1");
    assert_eq!(answer.json()["instance"], "/api/v1/nothing");
    let asked = request("GET", "/healthz").header("x-request-id", "with spaces and \"quotes\"");
    let own = house.send(asked.body(Body::empty()).unwrap()).await;
    assert_eq!(own.header("x-request-id").len(), 36, "{}", own.header("x-request-id"));
}

#[tokio::test]
async fn forms_that_are_not_valid_store_nothing() {
    let house = House::empty().await;
    let file = sample("CT_small.dcm");
    let forms = [
        ("no file", Form::new().text("label", "x")),
        ("unknown field", Form::new().file("a.dcm", &file).text("lable", "x")),
        ("label twice", Form::new().file("a.dcm", &file).text("label", "x").text("label", "y")),
        ("file under another name", Form::new().file_as("image", "a.dcm", &file)),
        ("label too long", Form::new().file("a.dcm", &file).text("label", &"x".repeat(9_000))),
    ];
    for (what, form) in forms {
        let detail = house.post("/api/v1/images", form).await.problem(400, "bad-request");
        assert!(!detail.is_empty(), "{what}");
    }
    let mut cut = Form::new().file("a.dcm", &file).body();
    cut.truncate(cut.len() / 2);
    let answer = house.send(Form::builder("/api/v1/images").body(Body::from(cut)).unwrap()).await;
    answer.problem(400, "bad-request");
    let listed = house.get("/api/v1/images").await.json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 0, "{listed}");
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let house = House::empty().await;
    for (path, content_type) in [
        ("/api/v1/images", "application/dicom"),
        ("/api/v1/images", "application/json"),
        ("/api/v1/search", "text/plain"),
        ("/api/v1/recognise", "application/x-www-form-urlencoded"),
    ] {
        let asked = request("POST", path).header(header::CONTENT_TYPE, content_type);
        let detail =
            house.send(asked.body(Body::from("x")).unwrap()).await.problem(415, "unsupported-media-type");
        assert!(detail.contains(content_type) && detail.contains("multipart/form-data"), "{detail}");
    }
    let none = request("POST", "/api/v1/images").body(Body::from("x")).unwrap();
    house.send(none).await.problem(415, "unsupported-media-type");
    let no_boundary = request("POST", "/api/v1/images").header(header::CONTENT_TYPE, "multipart/form-data");
    house.send(no_boundary.body(Body::from("x")).unwrap()).await.problem(400, "bad-request");
}

#[tokio::test]
async fn files_that_are_no_images_are_refused_with_their_reason() {
    let house = House::empty().await;
    let huge = png_without_pixels(100_000);
    let cases: [(&str, &[u8], u16, &str); 5] = [
        ("empty.dcm", b"", 422, "empty"),
        ("notes.dcm", b"just some words, not an image", 422, "not an image"),
        ("photo.png", b"\x89PNG\r\n\x1a\n", 422, "png"),
        ("report.dcm", &sample("test-SR.dcm"), 422, "no pixel data"),
        ("huge.png", &huge, 413, "100000 x 100000"),
    ];
    for (name, bytes, status, reason) in cases {
        let kind = if status == 413 { "too-large" } else { "unprocessable-image" };
        for path in ["/api/v1/images", "/api/v1/search", "/api/v1/recognise"] {
            let answer = house.post(path, Form::new().file(name, bytes)).await;
            let detail = answer.problem(status, kind).to_lowercase();
            assert!(detail.contains(reason), "{path} {name}: {detail}");
        }
    }
    house.add("CT_small.dcm", None).await;
}

#[tokio::test]
async fn a_file_without_its_end_is_refused_at_once() {
    let house = House::empty().await;
    let whole = sample("CT_small.dcm");
    let cut = Form::new().file("cut.dcm", &whole[..whole.len() / 2]);
    for path in ["/api/v1/search", "/api/v1/recognise", "/api/v1/images"] {
        let detail = house.post(path, cut.clone()).await.problem(422, "unprocessable-image");
        assert!(detail.contains("truncated"), "{path}: {detail}");
    }
    assert_eq!(house.get("/api/v1/alarms").await.json()["alarms"], serde_json::json!([]));
}

#[tokio::test]
async fn an_upload_whose_pixels_are_damaged_fails_with_its_reason_and_raises_an_alarm() {
    let house = House::empty().await;
    // An upload is acknowledged by its header; its pixels are read later.
    let damaged = Form::new().file("damaged.png", &png_without_pixels(64));
    let (id, status) = house.settled(&house.post("/api/v1/images", damaged).await).await;
    assert_eq!(status, ImageStatus::Failed);
    let details = house.get(&format!("/api/v1/images/{id}")).await.json();
    assert!(details["reason"].as_str().unwrap().contains("PNG"), "{details}");
    let alarms = house.get("/api/v1/alarms").await.json()["alarms"].clone();
    let dead = alarms.as_array().unwrap().iter().filter(|alarm| alarm["kind"] == "dead_letter");
    let dead: Vec<_> = dead.collect();
    assert_eq!(dead.len(), 1, "{alarms}");
    assert_eq!(
        (&dead[0]["severity"], &dead[0]["cleared_at_ms"]),
        (&"warning".into(), &serde_json::Value::Null)
    );
}

/// A PNG that declares `edge` x `edge` pixels and has none.
fn png_without_pixels(edge: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend_from_slice(&[edge.to_be_bytes(), edge.to_be_bytes()].concat());
    png.extend_from_slice(b"\x08\0\0\0\0");
    // CRC-32 of the chunk, as in the PNG specification, annex D.
    let mut crc = u32::MAX;
    for byte in &png[12..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
        }
    }
    png.extend_from_slice(&(!crc).to_be_bytes());
    png.extend_from_slice(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    png
}

#[tokio::test]
async fn searches_that_make_no_sense_are_refused_by_name() {
    let (house, ids) = House::filled().await;
    let id = ids[0].to_string();
    for (field, value) in [
        ("k", "0"),
        ("k", "-1"),
        ("k", "ten"),
        ("k", "100000000"),
        ("filter", "colour=red"),
        ("filter", "modality"),
        ("filter", "time>=yesterday"),
        ("group_by", "family"),
        ("roi", "1,2,3"),
        ("roi", "0,0,0,5"),
        ("roi", "100,100,100,100"),
        ("window", "heart"),
        ("frame", "7"),
        ("exact", "perhaps"),
        ("probes", "0"),
    ] {
        let answer = house.post("/api/v1/search", Form::new().text("id", &id).text(field, value)).await;
        let detail = answer.problem(400, "bad-request");
        assert!(!detail.is_empty(), "{field}={value}");
    }
    let file = sample("CT_small.dcm");
    house.post("/api/v1/search", Form::new()).await.problem(400, "bad-request");
    house.post("/api/v1/search", Form::new().text("id", "x")).await.problem(400, "bad-request");
    let both = Form::new().text("id", &id).file("a.dcm", &file);
    house.post("/api/v1/search", both).await.problem(400, "bad-request");
    let two = Form::new().file("a.dcm", &file).file("b.dcm", &file);
    house.post("/api/v1/search", two).await.problem(400, "bad-request");
    let unknown = Form::new().text("id", &ImageId::new().to_string());
    house.post("/api/v1/search", unknown).await.problem(404, "not-found");
    for body in [
        json!({}),
        json!({ "id": id, "kk": 3 }),
        json!({ "id": id, "k": "3" }),
        json!([]),
        json!({ "id": 7 }),
    ] {
        house.post_json("/api/v1/search", &body).await.problem(400, "bad-request");
    }
    let more = house.post_json("/api/v1/search", &json!({ "id": id, "k": 500 })).await.json();
    assert_eq!(more["results"].as_array().unwrap().len(), 4, "more than there are is not an error");
}

#[tokio::test]
async fn previews_that_make_no_sense_are_refused() {
    let house = House::empty().await;
    let id = house.add("CT_small.dcm", None).await;
    for query in ["window=heart", "window=40,0", "size=0", "size=100000", "frame=9", "frame=x", "zoom=2"] {
        house.get(&format!("/api/v1/images/{id}/preview.png?{query}")).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_refused_while_it_arrives() {
    let house = with_largest_file(20_000).await;
    let form = Form::new().file("large.dcm", &sample("CT_small.dcm")).body();
    let declared = Form::builder("/api/v1/images").body(Body::from(form.clone())).unwrap();
    let detail = house.send(declared).await.problem(413, "too-large");
    assert!(detail.contains("20000"), "{detail}");
    // Without a Content-Length, and endless: it must be cut off.
    let endless =
        futures::stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(form[..400].to_vec())) })
            .chain(futures::stream::repeat_with(|| Ok(Bytes::from_static(&[0; 1_024]))));
    let streamed = Form::builder("/api/v1/images").body(Body::from_stream(endless)).unwrap();
    house.send(streamed).await.problem(413, "too-large");
    let declared = Form::builder("/api/v1/images").header(header::CONTENT_LENGTH, "99999999999");
    house.send(declared.body(Body::empty()).unwrap()).await.problem(413, "too-large");
    let json = request("POST", "/api/v1/search").header(header::CONTENT_TYPE, "application/json");
    let long = format!("{{\"id\": \"{}\"}}", "x".repeat(100_000));
    house.send(json.body(Body::from(long)).unwrap()).await.problem(413, "too-large");
}

/// An upload whose body stops after its first part and goes on when told.
fn halting(form: Vec<u8>) -> (Request<Body>, oneshot::Sender<()>) {
    let (go_on, told) = oneshot::channel::<()>();
    let rest = Bytes::from(form[200..].to_vec());
    let stream =
        futures::stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(form[..200].to_vec())) })
            .chain(futures::stream::once(async move {
                told.await.ok();
                Ok(rest)
            }));
    (Form::builder("/api/v1/images").body(Body::from_stream(stream)).unwrap(), go_on)
}

/// An upload of which 16 bytes come every `period`.
fn dripping(form: &[u8], period: Duration) -> Request<Body> {
    let drops: Vec<Bytes> = form.chunks(16).map(Bytes::copy_from_slice).collect();
    let stream = futures::stream::iter(drops).then(move |bytes| async move {
        tokio::time::sleep(period).await;
        Ok::<_, std::io::Error>(bytes)
    });
    Form::builder("/api/v1/images").body(Body::from_stream(stream)).unwrap()
}

#[tokio::test]
async fn an_upload_too_many_is_sent_away_until_another_ends() {
    let settings = GatewaySettings { concurrent_uploads: 1, ..GatewaySettings::default() };
    let house = House::with(Settings::default(), settings).await;
    let form = || Form::new().file("a.dcm", &sample("CT_small.dcm"));
    let (first, go_on) = halting(form().body());
    let first = tokio::spawn(house.routes.clone().oneshot(first));
    // The first has its place once it is polled; the current-thread runtime runs it at the next await.
    tokio::task::yield_now().await;
    let refused = house.post("/api/v1/images", form()).await;
    refused.problem(503, "overloaded");
    assert!(!refused.header("retry-after").is_empty());
    go_on.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().status(), 202);
    assert_eq!(house.post("/api/v1/images", form()).await.status, 202);
}

#[tokio::test]
async fn a_client_that_falls_silent_is_given_up() {
    let settings = GatewaySettings { body_idle: Duration::from_millis(50), ..GatewaySettings::default() };
    let house = House::with(Settings::default(), settings).await;
    let (request, _never) = halting(Form::new().file("a.dcm", &sample("CT_small.dcm")).body());
    house.send(request).await.problem(408, "request-timeout");
}

#[tokio::test]
async fn a_client_that_sends_drop_by_drop_is_given_up() {
    let settings = GatewaySettings {
        body_idle: Duration::from_millis(200),
        body_pace: 1 << 20,
        ..GatewaySettings::default()
    };
    let house = House::with(Settings::default(), settings).await;
    let body = Form::new().file("a.dcm", &sample("CT_small.dcm")).body();
    let began = tokio::time::Instant::now();
    house.send(dripping(&body, Duration::from_millis(50))).await.problem(408, "request-timeout");
    assert!(began.elapsed() < Duration::from_secs(5), "the body would have taken minutes");
}

#[tokio::test]
async fn other_hosts_and_other_sites_are_refused() {
    let house = House::empty().await;
    let rebound = Request::builder().uri("/api/v1/status").header(header::HOST, "attacker.example");
    house.send(rebound.body(Body::empty()).unwrap()).await.problem(421, "wrong-host");
    let path = format!("/api/v1/images/{}", ImageId::new());
    let foreign = request("DELETE", &path).header(header::ORIGIN, "http://attacker.example");
    house.send(foreign.body(Body::empty()).unwrap()).await.problem(403, "cross-site");
    let own = request("DELETE", &path).header(header::ORIGIN, "http://127.0.0.1:8080");
    house.send(own.body(Body::empty()).unwrap()).await.problem(404, "not-found");
    assert_eq!(house.get("/api/v1/status").await.header("access-control-allow-origin"), "");
}
