//! What users get wrong and no schema can tell: the resource says which field, and goes on by itself when it is mended. `make e2e` runs these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use medindex_e2e::index::{self, AtTheEnd, NAME, NAMESPACE, PATIENCE, tells};
use medindex_e2e::kubectl::{get, kubectl, tidied, try_kubectl, wait_until};
use medindex_e2e::{Gateway, load};
use serde_json::{Value, json};

const CATALOG: &str = "radiology-catalog";

/// Waits until a condition has a reason, and gives its message.
fn wait_for_reason(condition: &str, reason: &str) -> String {
    let mut message = String::new();
    wait_until(&format!("{condition} to be {reason}"), PATIENCE, || {
        let resource = index::resource();
        message = index::condition(&resource, condition).unwrap_or_default().1;
        index::reason(&resource, condition).as_deref() == Some(reason)
    });
    println!("{condition}: {reason}: {message}");
    message
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_setting_that_kafka_refuses_is_told_with_its_field_and_no_query_fails() {
    let _turn = index::turn();
    let gateway = Gateway::reach();
    let images = gateway.ensure_images();
    load::while_users_search(&gateway, &images, |_| {
        let settings = AtTheEnd(json!({"spec": {"kafka": {"topicSettings": null}}}));
        index::edit(&json!({"spec": {"kafka": {"topicSettings": {"segment.bytes": "many"}}}}));
        let message = wait_for_reason("TopicsReady", "KafkaRefuses");
        tells(&message, &["segment.bytes", "mend spec.kafka.topicSettings", "tried again within a minute"]);
        drop(settings);
        let took = wait_until("the index to be ready", PATIENCE, || index::is_ready(&index::resource()));
        println!("mended: ready after {:.1} s", took.as_secs_f64());
    });
}

/// The catalog's login as it was, put back whatever becomes of the test.
struct Login(Value);

impl Drop for Login {
    fn drop(&mut self) {
        let right = json!({"data": {"password": self.0}}).to_string();
        tidied(try_kubectl(&["patch", "secret", CATALOG, "--namespace", NAMESPACE, "--patch", &right]));
    }
}

#[test]
#[ignore = "wants a cluster: make e2e"]
fn a_program_that_waits_for_a_login_is_told_in_its_words_and_goes_on_when_it_is_mended() {
    let _turn = index::turn();
    let login = Login(get(NAMESPACE, &["secret", CATALOG])["data"]["password"].clone());
    let wrong = json!({"stringData": {"password": "Fuchsbau-4711"}}).to_string();
    kubectl(&["patch", "secret", CATALOG, "--namespace", NAMESPACE, "--patch", &wrong]);
    let gateways = format!("app.kubernetes.io/instance={NAME},app.kubernetes.io/component=gateway");
    kubectl(&["delete", "pods", "--namespace", NAMESPACE, "--selector", &gateways]);
    let message = wait_for_reason("GatewayReady", "PodsWaiting");
    tells(&message, &["runs and is not ready", "catalog", "tries again by itself"]);
    assert!(!message.contains("Fuchsbau"), "{message}");
    let told = index::events("PodsWaiting");
    assert!(told.iter().any(|note| note.contains("catalog")), "{told:?}");
    drop(login);
    let took = wait_until("the index to be ready", PATIENCE, || index::is_ready(&index::resource()));
    println!("mended: ready after {:.1} s", took.as_secs_f64());
}
