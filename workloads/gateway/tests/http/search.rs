//! Search by example, and recognition.

use serde_json::{Value, json};

use crate::support::{Form, House, sample};

fn ids_of(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_file_finds_itself_first_and_others_by_ascending_distance() {
    let (house, ids) = House::filled().await;
    let answer =
        house.post("/api/v1/search", Form::new().file("q.dcm", &sample("CT_small.dcm"))).await.json();
    assert_eq!(ids_of(&answer)[0], ids[0].to_string());
    assert_eq!(answer["query"]["name"], "q.dcm");
    let hits = answer["results"].as_array().unwrap();
    let distances: Vec<f64> = hits.iter().map(|hit| hit["distance"].as_f64().unwrap()).collect();
    assert!(distances[0] < 0.01, "{distances:?}");
    assert!(distances.is_sorted(), "{distances:?}");
    assert_eq!(hits.len(), ids.len());
    assert_eq!(hits[1]["rank"], 2);
}

#[tokio::test]
async fn a_stored_image_is_not_its_own_result_and_json_answers_like_the_form() {
    let (house, ids) = House::filled().await;
    let id = ids[1].to_string();
    let form = house.post("/api/v1/search", Form::new().text("id", &id).text("k", "3")).await.json();
    let json = house.post_json("/api/v1/search", &json!({ "id": id, "k": 3 })).await.json();
    assert_eq!(form["results"], json["results"]);
    assert_eq!(ids_of(&form).len(), 3);
    assert!(!ids_of(&form).contains(&id.as_str()));
    assert_eq!(ids_of(&form)[0], ids[2].to_string(), "the same picture in another encoding is nearest");
    let empty = house.post_json("/api/v1/search", &json!({ "id": id, "filter": " " })).await;
    assert!(empty.problem(400, "bad-request").contains("filter is empty"));
}

#[tokio::test]
async fn filters_and_grouping_narrow_a_search() {
    let (house, ids) = House::filled().await;
    let search = |form: Form| {
        let house = &house;
        async move { house.post("/api/v1/search", form.text("id", &ids_first(house).await)).await.json() }
    };
    let only_mr = search(Form::new().text("filter", "modality=MR")).await;
    assert!(only_mr["results"].as_array().unwrap().iter().all(|hit| hit["modality"] == "MR"));
    assert_eq!(ids_of(&only_mr).len(), 2);
    let by_label = search(Form::new().text("filter", "label=heart|colours")).await;
    assert_eq!(ids_of(&by_label).len(), 2);
    let by_study = search(Form::new().text("filter", "modality=MR").text("group_by", "study")).await;
    assert_eq!(ids_of(&by_study).len(), 1, "both are of one study");
    let nothing = search(Form::new().text("filter", "modality=XA")).await;
    assert_eq!(ids_of(&nothing).len(), 0);
    assert_eq!(ids.len(), 5);
}

async fn ids_first(house: &House) -> String {
    let page = house.get("/api/v1/images?limit=100").await.json();
    page["images"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_region_and_a_window_change_what_is_searched_for() {
    let (house, _) = House::filled().await;
    let file = sample("CT_small.dcm");
    let nearest = |form: Form| {
        let (house, file) = (&house, &file);
        async move {
            let answer = house.post("/api/v1/search", form.file("q.dcm", file)).await.json();
            (answer["query"]["region"].clone(), answer["results"][0]["distance"].as_f64().unwrap())
        }
    };
    let (region, whole) = nearest(Form::new()).await;
    assert_eq!(region, Value::Null);
    let (region, part) = nearest(Form::new().text("roi", "10,20,48,40")).await;
    assert_eq!(region, json!({ "x": 10, "y": 20, "width": 48, "height": 40 }));
    assert!(part > whole + 0.01, "{part} {whole}");
    let (_, brain) = nearest(Form::new().text("window", "brain")).await;
    assert!(brain > whole, "{brain} {whole}");
    let by_id =
        json!({ "id": ids_first(&house).await, "roi": { "x": 1, "y": 1, "width": 30, "height": 30 } });
    let answer = house.post_json("/api/v1/search", &by_id).await.json();
    assert_eq!(answer["query"]["region"]["width"], 30);
}

#[tokio::test]
async fn an_explained_search_tells_how_it_was_answered() {
    let (house, _) = House::filled().await;
    let form =
        Form::new().file("q.dcm", &sample("MR_small.dcm")).text("explain", "true").text("exact", "true");
    let answer = house.post("/api/v1/search", form).await.json();
    assert_eq!(answer["explain"]["index"]["entries"], 5);
    assert_eq!(answer["explain"]["index"]["exact_scored"], 5);
    assert!(answer["explain"]["embed_us"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_second_recognition_of_the_same_bytes_comes_from_the_cache() {
    let (house, _) = House::filled().await;
    let form = Form::new().file("mr.dcm", &sample("MR_small.dcm"));
    let first = house.post("/api/v1/recognise", form.clone()).await.json();
    assert_eq!(first["cached"], false);
    assert_eq!(first["vote"][0]["label"], "spine", "{first}");
    let second = house.post("/api/v1/recognise", form).await.json();
    assert_eq!((&second["cached"], &second["vote"]), (&true.into(), &first["vote"]));
}
