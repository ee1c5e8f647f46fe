//! The command line against a running `medindex serve`: the same answers, the same exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where its ground gives way")]

mod common;

use std::collections::BTreeSet;

use common::server::Server;
use common::{Data, finish, medindex, picture, sample};
use serde_json::Value;

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn a_server_says_when_it_is_ready_and_stops_on_sigterm() {
    let data = Data::with_images(3);
    let server = Server::start(&data);
    assert_eq!(server.ready["images"], 3);
    let file = data.path().join("server.json");
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written["url"], server.ready["url"]);
    assert_eq!(server.stop(), Some(0));
    assert!(!file.exists(), "the folder no longer names a server");
}

#[test]
fn search_and_status_answer_alike_with_and_without_a_server() {
    let data = Data::with_images(9);
    let example = data.scratch("images/even/0002.png").display().to_string();
    let asked = ["search", &example, "-k", "4", "--filter", "label=even", "--roi", "2,2,40,40", "--json"];
    let here = data.run(asked).json();
    let status_here = data.run(["status", "--json"]).json();
    let server = Server::start(&data);
    let there = server.run(asked).json();
    assert_eq!(keys(&here), keys(&there));
    let ids = |answer: &Value| {
        let hits = answer["results"].as_array().unwrap();
        hits.iter().map(|hit| hit["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&here), ids(&there));
    let by_id = server.run(["search", &ids(&here)[0], "--json"]).json();
    assert_eq!(by_id["query"]["id"], ids(&here)[0].as_str());
    let status_there = server.run(["status", "--json"]).json();
    assert_eq!(keys(&status_here), keys(&status_there));
    assert_eq!(status_here["images"], status_there["images"]);
    let text = server.run(["search", &example]);
    assert!(text.stdout.contains("even/0002.png"), "{text:?}");
}

#[test]
fn imports_and_deletes_go_through_a_server() {
    let data = Data::with_images(1);
    let server = Server::start(&data);
    let folder = data.images(20);
    std::fs::write(data.scratch("images/notes.txt"), "text").unwrap();
    std::fs::write(data.scratch("images/broken.png"), &picture(3)[..60]).unwrap();
    let summary = server.run(["import", "--json", "--label-from-folder", &folder]).json();
    assert_eq!((&summary["stored"], &summary["duplicates"]), (&19.into(), &1.into()), "{summary}");
    assert_eq!(summary["failed"][0]["name"], "broken.png", "{summary}");
    assert_eq!(summary["skipped"][0]["name"], "notes.txt", "{summary}");
    let ct = sample("CT_small.dcm");
    assert_eq!(server.run(["import", "--json", &ct]).json()["stored"], 1);
    let deleted = server.run(["delete", "--patient", "1CT1", "--json"]).json();
    assert_eq!(deleted["ids"].as_array().unwrap().len(), 1, "{deleted}");
    assert_eq!(server.run(["status", "--json"]).json()["images"]["indexed"], 20);
    let recognised = server.run(["recognise", &ct, "--json"]).json();
    assert!(recognised["md5"].is_string(), "{recognised}");
}

#[test]
fn failures_have_the_exit_codes_that_they_have_without_a_server() {
    let data = Data::with_images(2);
    let server = Server::start(&data);
    let example = data.scratch("images/even/0000.png").display().to_string();
    let text = data.scratch("text.png");
    std::fs::write(&text, "no image").unwrap();
    let text = text.display().to_string();
    server.run(["search", "01890a5d-ac96-774b-bcce-b302099a8057"]).assert_fails(3, "01890a5d");
    server.run(["delete", "01890a5d-ac96-774b-bcce-b302099a8057"]).assert_fails(3, "01890a5d");
    server.run(["search", &text]).assert_fails(4, "plain text");
    server.run(["search", &example, "--roi", "40,40,20,20"]).assert_fails(4, "48");
    server.run(["search", &example, "--filter", "colour=red"]).assert_fails(2, "unknown filter field");
    server.run(["train"]).assert_fails(4, "too few");
    server.run(["rollback"]).assert_fails(4, "no earlier generation");
    server.run(["evaluate"]).assert_fails(2, "data folder itself");
    assert_eq!(server.run(["status", "--json"]).json()["images"]["indexed"], 2, "the server lives");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let data = Data::with_images(1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    data.run(["serve", "--port", &port]).assert_fails(5, &port);
}

#[test]
fn an_address_of_another_machine_is_named_with_what_to_give_instead() {
    let data = Data::with_images(1);
    // Of a network for examples (RFC 5737), which no machine has.
    data.run(["serve", "--host", "192.0.2.1", "--port", "0"]).assert_fails(2, "give --host one that it has");
}

#[test]
fn a_new_folder_can_be_served_before_anything_is_imported() {
    let data = Data::new();
    let server = Server::start(&data);
    assert_eq!(server.ready["images"], 0);
    let images = data.images(2);
    let mut import = medindex();
    import.env("MEDINDEX_SERVER", server.url()).args(["import", "--json", &images]);
    assert_eq!(finish(&mut import).json()["stored"], 2);
}
