//! Status, probes, metrics, training.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Form, House, sample};

#[tokio::test]
async fn the_probes_answer_when_the_gateway_can_work() {
    let house = House::empty().await;
    assert_eq!(house.get("/healthz").await.json()["status"], "ok");
    assert_eq!(house.get("/readyz").await.json()["status"], "ready");
    house.pipeline.shutdown().await.unwrap();
    let unready = house.get("/readyz").await;
    assert!(unready.problem(503, "unavailable").contains("shutting down"));
    assert!(!unready.header("retry-after").is_empty());
    assert_eq!(house.get("/healthz").await.json()["status"], "ok");
}

#[tokio::test]
async fn the_status_counts_what_is_there() {
    let (house, ids) = House::filled().await;
    let status = house.get("/api/v1/status").await.json();
    assert_eq!(status["images"]["indexed"], ids.len());
    assert_eq!(status["intended_use"], "For research and teaching, not for diagnosis.");
    let modalities = status["modalities"].as_array().unwrap();
    let mr = modalities.iter().find(|count| count["name"] == "MR").unwrap();
    assert_eq!(mr["count"], 2);
}

#[tokio::test]
async fn every_metric_is_documented_and_none_names_a_patient() {
    let (house, ids) = House::filled().await;
    house.post("/api/v1/search", Form::new().file("secret.dcm", &sample("CT_small.dcm"))).await;
    for _ in 0..2 {
        house.post("/api/v1/recognise", Form::new().file("secret.dcm", &sample("CT_small.dcm"))).await;
    }
    house.get("/api/v1/unknown").await;
    let answer = house.get("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "medindex_images{status=\"indexed\"} 5",
        "medindex_uploads_total{result=\"accepted\"} 5",
        "medindex_searches_total{query=\"file\",result=\"answered\"} 1",
        "medindex_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "medindex_cache_lookups_total{kept=\"recognitions\",result=\"miss\"} 1",
        "medindex_cache_lookups_total{kept=\"recognitions\",result=\"hit\"} 1",
        "medindex_ready 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(name.starts_with("medindex_"), "{name}");
        assert!(manual.contains(&format!("`{name}")), "docs/metrics.md does not name {name}");
    }
    for private in ["secret", "spine", ids[0].to_string().as_str(), "1CT1"] {
        assert!(!text.contains(private), "{private}");
    }
}

#[tokio::test]
async fn what_was_done_is_listed_latest_first_and_found_by_filter() {
    let (house, ids) = House::filled().await;
    house.post("/api/v1/search", Form::new().file("query.dcm", &sample("CT_small.dcm"))).await;
    house.method("DELETE", &format!("/api/v1/images/{}", ids[0])).await.json();
    let deleted = format!("/api/v1/operations?action=image.delete&subject={}", ids[0]);
    // The log is written behind the actions.
    let begun = Instant::now();
    let found = loop {
        let (deletions, searches) = (
            house.get(&deleted).await.json()["operations"].clone(),
            house.get("/api/v1/operations?action=image.search").await.json()["operations"].clone(),
        );
        if deletions.as_array().unwrap().len() == 1 && searches.as_array().unwrap().len() == 1 {
            break deletions[0].clone();
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "not listed: {deletions} and {searches}");
        tokio::task::yield_now().await;
    };
    assert_eq!((&found["actor"], &found["outcome"]), (&"local".into(), &"deleted".into()));
    let all = house.get("/api/v1/operations?limit=1000").await.json();
    let times: Vec<i64> =
        all["operations"].as_array().unwrap().iter().map(|one| one["at_ms"].as_i64().unwrap()).collect();
    assert!(times.len() >= ids.len() + 2 && times.is_sorted_by(|left, right| left >= right), "{times:?}");
    let first = house.get("/api/v1/operations?limit=1").await.json();
    let next = first["next"].as_str().unwrap();
    let second = house.get(&format!("/api/v1/operations?limit=1&after={next}")).await.json();
    assert_eq!(second["operations"][0], all["operations"][1]);
    house.get("/api/v1/operations?limit=0").await.problem(400, "bad-request");
    house.get("/api/v1/operations?who=me").await.problem(400, "bad-request");
    for misspelt in ["outcome=zz", "action=image.remove"] {
        let refused = house.get(&format!("/api/v1/operations?{misspelt}")).await;
        assert!(refused.problem(400, "bad-request").contains("use one of"), "{misspelt}");
    }
    house.get("/api/v1/alarms?raised=perhaps").await.problem(400, "bad-request");
    assert!(house.get("/api/v1/alarms?raised=false").await.json()["alarms"].is_array());
}

#[tokio::test]
async fn training_without_enough_images_says_how_many_it_needs() {
    let (house, _) = House::filled().await;
    let trained = house.method("POST", "/api/v1/train").await;
    let detail = trained.problem(409, "conflict");
    assert!(detail.contains(char::is_numeric), "{detail}");
    house.method("POST", "/api/v1/index/rollback").await.problem(409, "conflict");
    house.get("/api/v1/train").await.problem(405, "method-not-allowed");
}
